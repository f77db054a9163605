"""Applies people's edits of items to rows: a thread for each source and tenant that a sync of two ways joins.

In: entries of the inbox (news on `state.channels.INBOX`, and a look now and then), the view in force. Out: rows of the
source, ledger and conflicts. Rules (docs/design.md section 19): a sync is pulled only while the session that writes
holds the source's lock of it; one row that is locked, one sync that is paused, one source or tenant that is away holds
back its own entries only; whatever ends in between is taken again, and found done where it was done.
"""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from connectors.loops import Loop
from connectors.postgres.source_sessions import SourceSessions
from connectors.trouble import Trouble
from flows import lost_edits
from flows.applied_view import View
from flows.graph_reads import PacedGraph
from flows.item_requests import ItemRequests
from flows.pull_benches import Benches
from flows.pulled_entry import Bench, Done, given_back, work_on
from flows.pulled_row import PullStopped
from rowtide.backoff import Backoff
from rowtide.deciding.pull_steps import Drop, HoldOpen, ListRestored, ParkEntry
from rowtide.deciding.recorded import Recorded
from rowtide.error_catalogue import process_errors
from rowtide.errors import RowtideError
from rowtide.log_row import LogRow
from rowtide.mapping.compiled_sync import CompiledSync
from state import applying, channels, database, failpoints, inbox, instance, one_way, pulled, pulse, suspect
from state.applying import Lease, TakeRequest
from state.database import ONE_PLAN, Connection, Link

log = structlog.get_logger()

IDLE_S: Final = 1.0
"""Seconds between two looks whether an entry is due; news come at once."""
LEASE_S: Final = 120.0
MOST_ENTRIES: Final = 20
"""Entries of one sync that are taken at once; then the next sync has its turn."""
STOP_S: Final = 0.5
"""Seconds that all threads together have to end."""

Counted = Callable[[str, Counter[str], Sequence[float]], None]
"""Told of a sync what became of its entries (``applied``, ``echoes``, ``parked``, ``conflicts``, ``reverted``), and of
edits that its source has ``lost``; and how many seconds after the edit each was applied.
"""
SiteOf = Callable[[str], str | None]
Sessions = Callable[[], SourceSessions]


@dataclass(frozen=True, slots=True)
class PullPorts:
    """What the threads of a process reach.

    ``writers`` and ``readers``: sessions on sources for one more thread, as the role that applies edits and as the one
    that reads.
    """

    state_dsn: str
    owner: str
    view: Callable[[], View]
    tenants: Mapping[str, PacedGraph]
    writers: Sessions
    readers: Sessions
    site_of: SiteOf
    now: Callable[[], datetime]
    counted: Counted


class Puller:
    """The threads of a process, and one that listens for news; threads begin where a sync goes both ways."""

    def __init__(self, ports: PullPorts) -> None:
        self._ports = ports
        self._pairs: dict[tuple[str, str], _PairPuller] = {}
        self._version = -1
        self._stop = threading.Event()
        self._keeper = Loop(failpoints.LOOP_PULL_LISTEN, self._listen, self._stop)

    def start(self) -> None:
        """Begin to listen, and to pull what goes both ways."""
        self._keeper.start()

    def stop(self) -> None:
        """End every thread; the process gives up what they have leased."""
        self._stop.set()
        for pair in self._pairs.values():
            pair.stop()
        until = time.monotonic() + STOP_S
        for pair in self._pairs.values():
            pair.join(until)

    @property
    def problems(self) -> dict[str, RowtideError]:
        """Why the edits of a sync are not applied, by sync."""
        return {sync: error for pair in list(self._pairs.values()) for sync, error in pair.problems.items()}

    def sessions(self) -> list[SourceSessions]:
        """The sessions of every thread."""
        return [sessions for pair in list(self._pairs.values()) for sessions in pair.sessions]

    def _listen(self) -> None:
        """Wake the threads whenever entries came in; begin those that a new definition needs."""
        backoff = Backoff()
        while not self._stop.is_set():
            try:
                with database.connect(self._ports.state_dsn, "rowtide listen") as connection, database.translated():
                    channels.listen(connection, channels.INBOX)
                    backoff.succeeded()
                    self._wake_all()
                    while not self._stop.is_set():
                        self._keeper.turn()
                        self._begin(connection)
                        if any(True for _ in connection.notifies(timeout=IDLE_S, stop_after=1)):
                            self._wake_all()
            except RowtideError as error:
                pulse.wait(self._stop, backoff.failed(error))

    def _wake_all(self) -> None:
        for pair in self._pairs.values():
            pair.wake()

    def _begin(self, connection: Connection) -> None:
        view = self._ports.view()
        if view.latest != self._version:
            one_way.forget(connection, [one.sync for one in view.catalog.syncs.values() if not one.two_ways])
            self._version = view.latest
        for compiled in view.catalog.syncs.values():
            place = compiled.postgres, compiled.graph
            if compiled.two_ways and place not in self._pairs and compiled.graph in self._ports.tenants:
                self._pairs[place] = _PairPuller(self._ports, *place)


class _PairPuller:
    """The thread of one source and one tenant."""

    def __init__(self, ports: PullPorts, source: str, graph: str) -> None:
        self._source, self._graph = source, graph
        self._owner, self._view, self._counted = ports.owner, ports.view, ports.counted
        # After a failover the records may be older than the lists: nothing is taken before that is looked at.
        self._state = Link(ports.state_dsn, "rowtide pull", ONE_PLAN, begin=instance.confirm)
        requests = ItemRequests(ports.tenants[graph], ports.site_of)
        self._benches = Benches(self._state, source, ports.writers(), ports.readers(), requests, ports.now)
        self._failing: set[str] = set()
        self._left: list[Lease] = []
        self._troubles: dict[str, Trouble] = {}
        self._not_before: dict[str, float] = {}
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._thread = Loop(failpoints.LOOP_PULL, self._run, self._stop, f"rowtide-pull-{source}-{graph}")
        self._thread.start()

    @property
    def sessions(self) -> tuple[SourceSessions, SourceSessions]:
        """The sessions of the thread."""
        return self._benches.sessions

    @property
    def problems(self) -> dict[str, RowtideError]:
        """Why the edits of a sync are not applied."""
        troubles = dict(self._troubles)
        return {sync: one.problem for sync, one in troubles.items() if one.problem is not None}

    def wake(self) -> None:
        """Entries may be due."""
        self._woken.set()

    def stop(self) -> None:
        """End soon."""
        self._stop.set()
        self._woken.set()

    def join(self, until: float) -> None:
        """Wait for the end until then; nobody waits for a source that holds on to a row."""
        self._thread.join(max(0.0, until - time.monotonic()))

    # --- rounds -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._thread.turn()
            self._woken.clear()
            pulse.wait(self._woken, self._round())
        self._benches.close()
        self._state.close()

    def _round(self) -> float:
        """Apply what may be applied now; the seconds until the next look."""
        view = self._view()
        syncs = [one for one in view.catalog.syncs.values() if self._is_pulled(one, view)]
        self._benches.stay()
        for sync in self._benches.let_go({one.sync for one in syncs}):
            self._troubles.pop(sync, None)
        waits = [self._try(one, view) for one in syncs if not self._stop.is_set()]
        return min(waits, default=IDLE_S)

    def _is_pulled(self, one: CompiledSync, view: View) -> bool:
        is_here = (one.postgres, one.graph) == (self._source, self._graph)
        return is_here and one.two_ways and one.mode == "deliver" and one.sync in view.running

    def _try(self, compiled: CompiledSync, view: View) -> float:
        sync = compiled.sync
        left_s = self._not_before.get(sync, 0.0) - time.monotonic()
        if left_s > 0:
            return left_s
        trouble = self._trouble(sync)
        try:
            found = self._pull(compiled, view)
            if not self._has_failing(sync):
                trouble.succeeded()
        except Exception as error:
            self._thread.count(error)
            name = type(error).__name__
            problem = error if isinstance(error, RowtideError) else process_errors.PULL_FAILED(error=name)
            wait_s = trouble.failed(problem, error)
            self._not_before[sync] = time.monotonic() + wait_s
            return wait_s
        return 0.0 if found else IDLE_S

    def _trouble(self, sync: str) -> Trouble:
        if sync not in self._troubles:
            self._troubles[sync] = Trouble(
                "edits are not applied", "edits are applied again", source=self._source, sync=sync
            )
        return self._troubles[sync]

    def _has_failing(self, sync: str) -> bool:
        """Whether an entry of the sync has met an error that nobody expected, and may wait still."""
        if sync in self._failing:
            counts = self._state.run(inbox.waiting).get(sync)
            if counts is None or counts.waiting == 0:
                self._failing.discard(sync)
        return sync in self._failing

    # --- one sync ---------------------------------------------------------------------------------------------------

    def _pull(self, compiled: CompiledSync, view: View) -> bool:
        """Apply entries of a sync that are due; whether there were any."""
        self._give_back()
        unconfirmed = self._state.run(partial(pulled.read_unconfirmed, sync=compiled.sync, limit=lost_edits.AT_ONCE))
        if not unconfirmed.pairs and not self._state.run(partial(inbox.due, syncs=[compiled.sync])):
            return False
        # The session is proven for the era that was just read, or a later one.
        bench = self._benches.find(compiled, view)
        if bench is None:
            return False
        if unconfirmed.pairs:
            lost = lost_edits.look_through(bench, unconfirmed)
            self._counted(compiled.sync, Counter(lost=lost.total()), ())
            return True
        request = TakeRequest(compiled.sync, self._owner, uuid.uuid4().hex, LEASE_S, MOST_ENTRIES)
        self._left = self._state.run(partial(applying.take, request=request))
        return self._work(bench)

    def _work(self, bench: Bench) -> bool:
        found, sync = bool(self._left), bench.sync.compiled.sync
        while self._left and not self._stop.is_set():
            try:
                done = work_on(bench, self._left[0])
            except RowtideError:
                raise
            except Exception as error:
                self._set_back(sync, error)
                continue
            if isinstance(done, PullStopped):
                self._stopped(sync, done)
                return False
            lease = self._left.pop(0)
            self._note(bench, lease, done)
        return found

    def _set_back(self, sync: str, error: Exception) -> None:
        """What nobody expected is the entry's own: it waits, longer each time, and the others go on."""
        self._thread.count(error)
        self._trouble(sync).note(process_errors.PULL_FAILED(error=type(error).__name__), error)
        self._failing.add(sync)
        self._state.run(partial(applying.record_end, lease=self._left[0], end=given_back(self._left[0], failed=True)))
        del self._left[0]

    def _stopped(self, sync: str, why: PullStopped) -> None:
        self._benches.stopped(sync, why)
        if why.error is not None:
            raise why.error

    def _note(self, bench: Bench, lease: Lease, done: Done) -> None:
        """Count what became of the entry, and act on what it says of its list."""
        sync = bench.sync.compiled.sync
        if not done.recorded:
            return
        match done.end:
            case Recorded():
                did = Counter(applied=int(done.end.pulled is not None), echoes=int(done.end.pulled is None))
                did["conflicts"] = len(done.end.conflicts)
                did["reverted"] = sum(one.sentence is not None for one in done.end.conflicts)
                if did["reverted"]:
                    kind = done.end.conflicts[0].kind.name
                    log.info("edit refused, its item follows the row", **self._in_log(lease), kind=kind)
                self._counted(sync, did, self._latencies_s(bench, lease) if did["applied"] else ())
            case Drop():
                self._counted(sync, Counter(echoes=1), ())
            case ParkEntry():
                log.info("edit set aside", **self._in_log(lease), code=done.end.code)
                self._counted(sync, Counter(parked=1), ())
            case HoldOpen():
                self._counted(sync, Counter(conflicts=1), ())
            case ListRestored():
                self._state.run(partial(suspect.note_restored, sync=sync, list_id=done.end.list_id))
            case _:
                pass

    @staticmethod
    def _in_log(lease: Lease) -> dict[str, object]:
        """What log lines about the entry's row carry; the row of a new item has no key yet."""
        row = None if lease.key is None else LogRow(lease.sync, lease.key)
        return {"sync": lease.sync, "key_hash": row, "list_id": lease.shown.list_id, "item_id": lease.shown.item_id}

    def _latencies_s(self, bench: Bench, lease: Lease) -> Sequence[float]:
        """How long ago the entry's edit was made, by Graph's clock; nothing where either is not known."""
        edited_at, ahead_s = lease.shown.modified_at, bench.requests.clock_s()
        if edited_at is None or ahead_s is None:
            return ()
        return (time.monotonic() + ahead_s - edited_at.timestamp(),)

    def _give_back(self) -> None:
        """Give up what was taken and not worked on."""
        while self._left:
            lease = self._left[0]
            self._state.run(partial(applying.record_end, lease=lease, end=given_back(lease)))
            del self._left[0]
