"""The duty `gauge`: where every sync stands, looked at by one process for all.

In: the view in force, the state database. Out: rows of ``gauge`` and of ``slo_minute``; the same figures for
Prometheus from this process alone. Rules (docs/design.md section 24): whoever holds the lock looks, the others export
nothing; what the figures mean is `rowtide.gauge`'s; a look is followed by a pause of a hundred times its length.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from connectors.loops import Loop
from connectors.trouble import Trouble
from flows.applied_view import View
from rowtide import gauge
from rowtide.errors import RowtideError
from rowtide.gauge import Gauge, Minute
from rowtide.holds import covering
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.reconcile import Coverage
from state import cursors, definitions, failpoints, gauges, holds
from state.database import Connection, Link
from state.reconcile import record as reconciles

LOCKED_S: Final = 5.0
"""Seconds after which the duty is asked for again while another process has it."""

Shown = Callable[[Mapping[str, Gauge]], None]
"""Called with the newest gauges; with none when the process has not got the duty."""


class Gauger:
    """One thread a process. A process that works by an older definition than the one in force leaves the duty."""

    def __init__(self, state_dsn: str, view: Callable[[], View], shown: Shown) -> None:
        """``shown`` is told each time."""
        self._link = Link(state_dsn, "rowtide gauge")
        self._view = view
        self._shown = shown
        self._holder: Connection | None = None
        # Of the last two looks the shorter one counts: a machine that was busy once makes no figure old.
        self._took_s = deque([0.0, 0.0], maxlen=2)
        self._stop = threading.Event()
        self._trouble = Trouble("syncs not looked at", "syncs are looked at again")
        self._thread = Loop(failpoints.LOOP_GAUGE, self._run, self._stop)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; the duty goes to whoever asks next."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._thread.turn()
                self._stop.wait(self._turn())
        finally:
            self._give_up()

    def _turn(self) -> float:
        """Look once, if the duty is ours; seconds until the next turn."""
        view = self._view()
        if view.not_taken is not None:
            self._give_up()
            return LOCKED_S
        try:
            found = self._link.run(lambda connection: self._look(connection, view))
        except RowtideError as error:
            self._give_up()
            return self._trouble.failed(error)
        self._trouble.succeeded()
        self._shown(found or {})
        return LOCKED_S if found is None else gauge.pause_s(min(self._took_s))

    def _give_up(self) -> None:
        self._link.close()
        self._holder = None
        self._shown({})

    def _look(self, connection: Connection, view: View) -> dict[str, Gauge] | None:
        """The gauges, and they are on record; None while another process has the duty, which goes with a session."""
        if self._holder is not connection:
            if not gauges.hold(connection):
                return None
            self._holder = connection
        with connection.transaction():
            # The next look says the same again: nobody waits until it is safe on the disk.
            connection.execute("SET LOCAL synchronous_commit = off")
            began_s = time.monotonic()
            records = _SyncRecords(connection, view)
            self._took_s.append(time.monotonic() - began_s)
            found = {name: records.gauge_of(sync) for name, sync in records.syncs.items()}
            minutes = {name: records.minute_of(sync, found[name]) for name, sync in records.syncs.items()}
            gauges.write(connection, records.now, found, minutes)
        return found


class _SyncRecords:
    """What one look has read."""

    def __init__(self, connection: Connection, view: View) -> None:
        [(now,)] = connection.execute("SELECT clock_timestamp()").fetchall()
        self.now: datetime = now
        self._view = view
        self._applied_at = definitions.read_applied_at(connection, view.catalog.version) or now
        self._states = definitions.sync_states(connection)
        self._holds = holds.read(connection)
        self._reconciles = reconciles.read_all(connection)
        self._heard_at = cursors.read_heard_at(connection)
        self._lists = gauges.read_lists(connection)
        self._counted = gauges.count(connection)
        self.syncs = {name: one for name, one in view.catalog.syncs.items() if not self._is_retired(name)}

    def _is_retired(self, sync: str) -> bool:
        state = self._states.get(sync)
        return state is not None and state.retired

    def gauge_of(self, sync: CompiledSync) -> Gauge:
        """Where a sync stands."""
        definition, state, record = (
            self._view.catalog.definition,
            self._states.get(sync.sync),
            self._reconciles.get(sync.sync),
        )
        known = gauge.Knowledge(
            applied_at=self._applied_at,
            holds=covering(self._holds, sync),
            reconcile_done=record is not None and record.state == "done",
            covered=None if record is None else record.covered,
            coverage=None if state is None else Coverage(state.era, sync.version),
            asked_at=None if record is None else record.requested_at,
            silent_since=None,
        )
        heard_at = self._heard_at.get(definition.slot(sync.postgres))
        stream = gauge.HeardStream(heard_at, definition.postgres[sync.postgres].heartbeat)
        counted = self._counted.get(sync.sync, gauge.Counted())
        return gauge.to_gauge(counted, known, stream, self._lists_of(sync), self.now)

    def _lists_of(self, sync: CompiledSync) -> list[gauge.ListRead] | None:
        if not sync.two_ways:
            return None
        found, never = self._lists.get(sync.sync, {}), gauge.ListRead(None, None, whole=True)
        return [found.get(ref.id, never) for ref in self._view.catalog.lists_of(sync.sync)]

    def minute_of(self, sync: CompiledSync, found: Gauge) -> Minute:
        """What is said of the present minute."""
        return gauge.minute_of(found, covering(self._holds, sync), sync.mode == "observe")
