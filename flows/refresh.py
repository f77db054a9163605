"""Reads rows anew from the source when outbox and ledger do not suffice to decide them.

In: syncs with rows that wait to be read. Out: what the rows are now, written back and due in the line of their list.
Rules (docs/design.md section 6): claiming never touches a source; each source is read by a thread of its own; a table
that cannot be read holds back its own rows only, and is tried with one of them, as other processes find on record
(`flows.faults`); of what is held nothing is read. Reading needs no quota.
"""

import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import psycopg

from connectors.claimer import LEASE_S
from connectors.loops import Loop
from connectors.postgres import refetch
from connectors.postgres.connections import as_source_errors
from connectors.postgres.source_sessions import SourceSessions
from connectors.trouble import Trouble
from flows.applied_view import View
from rowtide.catalog import Catalog
from rowtide.deciding.outcomes import Outcome, ParkRow, Release
from rowtide.deciding.records import Work
from rowtide.error_catalogue import process_errors
from rowtide.errors import RowtideError
from rowtide.holds import FaultHold
from state import eras, failpoints, instance, outbox, pulse
from state.database import ONE_PLAN, Connection, Link

MOST_ROWS: Final = 500
"""Rows of one table that are read at once."""

NOT_YET_S: Final = 0.1
"""Seconds until a row is read again whose transaction is streamed but not visible yet."""

STOP_S: Final = 0.3
"""Seconds that all threads together have to end."""

# A table that somebody has locked must not hold back the others of its source.
_LIMITS: Final = "SET lock_timeout = '200ms'; SET statement_timeout = '5s'"


class Refresher:
    """A thread for each source of which rows wait to be read. `wake` is for the claiming thread."""

    def __init__(
        self, state_dsn: str, owner: str, view: Callable[[], View], sessions: Callable[[], SourceSessions]
    ) -> None:
        """``sessions``: sessions on sources for one more thread."""
        self._make = partial(_SourceReader, state_dsn, owner, view, sessions)
        self._view = view
        self._readers: dict[str, _SourceReader] = {}

    def start(self) -> None:
        """Nothing is read before somebody asks for it."""

    def wake(self, syncs: Collection[str]) -> None:
        """Rows of these syncs wait to be read."""
        known = self._view().catalog.syncs
        for sync in syncs:
            if sync in known:
                self._reader_of(known[sync].postgres).wake(sync)

    def _reader_of(self, source: str) -> "_SourceReader":
        if source not in self._readers:
            self._readers[source] = self._make(source)
        return self._readers[source]

    @property
    def faults(self) -> list[FaultHold]:
        """The tables that cannot be read."""
        return [fault for reader in list(self._readers.values()) for fault in reader.faults]

    def heed(self, fault: FaultHold) -> None:
        """Wait for a table as another process does."""
        sync = self._view().catalog.syncs.get(fault.object)
        if sync is not None:
            self._reader_of(sync.postgres).heed(fault)

    def hasten(self, fault: FaultHold) -> None:
        """Wait no longer than is written down by now of the same failure."""
        for reader in self._readers.values():
            reader.hasten(fault)

    def forget(self, fault: FaultHold) -> None:
        """The table can be read again, or no row of it waits to be read."""
        for reader in self._readers.values():
            reader.forget(fault.object)

    def stop(self) -> None:
        """End every thread, whatever it reads; the process gives up what they have leased."""
        for reader in self._readers.values():
            reader.stop()
        until = time.monotonic() + STOP_S
        for reader in self._readers.values():
            reader.join(until)

    def sessions(self) -> list[SourceSessions]:
        """The sessions of every thread."""
        return [reader.sessions for reader in list(self._readers.values())]


@dataclass(slots=True)
class _Pause:
    """Until when the table of a sync is not asked again."""

    trouble: Trouble
    until: float = 0.0

    @classmethod
    def of(cls, source: str, sync: str) -> "_Pause":
        """That of a table which can be read, as far as anybody knows."""
        return cls(Trouble("rows wait to be read", "rows are read again", source=source, sync=sync))

    @property
    def left_s(self) -> float:
        """Seconds until it may be asked again."""
        return max(0.0, self.until - time.monotonic())

    def failed(self, error: RowtideError, fault: Exception) -> float:
        """Seconds for which its rows wait after this failure."""
        after_s = self.trouble.failed(error, fault)
        self.until = time.monotonic() + after_s
        return after_s


class _SourceReader:
    """The thread of one source."""

    def __init__(
        self,
        state_dsn: str,
        owner: str,
        view: Callable[[], View],
        sessions: Callable[[], SourceSessions],
        source: str,
    ) -> None:
        self.sessions = sessions()
        self._source = source
        self._owner = owner
        self._view = view
        # After a failover the records may be older than the lists: nothing is leased before that is looked at.
        self._state = Link(state_dsn, "rowtide refresh", ONE_PLAN, begin=instance.confirm)
        self._lock = threading.Lock()
        self._limited: psycopg.Connection | None = None
        self._waiting: set[str] = set()
        self._pauses: dict[str, _Pause] = {}
        self._failed: list[str] = []  # tokens of leases whose rows were not written back
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._thread = Loop(failpoints.LOOP_REFRESH, self._run, self._stop, f"rowtide-refresh-{source}")
        self._thread.start()

    def wake(self, sync: str) -> None:
        """Rows of the sync wait to be read."""
        with self._lock:
            self._waiting.add(sync)
        self._woken.set()

    @property
    def faults(self) -> list[FaultHold]:
        """The tables of this source that cannot be read."""
        with self._lock:
            return [
                FaultHold.of("table", sync, problem, one.trouble.failures, one.left_s)
                for sync, one in self._pauses.items()
                if (problem := one.trouble.problem) is not None
            ]

    def heed(self, fault: FaultHold) -> None:
        """Wait for a table as another process does."""
        with self._lock:
            pause = self._pauses.setdefault(fault.object, _Pause.of(self._source, fault.object))
            if pause.trouble.problem is None:
                pause.trouble.resume(fault.problem, fault.failures)
                pause.until = time.monotonic() + fault.wait_s

    def hasten(self, fault: FaultHold) -> None:
        """Wait no longer than is written down by now of the same failure."""
        with self._lock:
            pause = self._pauses.get(fault.object)
            if pause is not None and pause.trouble.failures == fault.failures:
                pause.until = min(pause.until, time.monotonic() + fault.wait_s)
        self._woken.set()

    def forget(self, sync: str) -> None:
        """The table can be read again, or no row of it waits to be read."""
        with self._lock:
            if (pause := self._pauses.get(sync)) is not None:
                pause.trouble.succeeded()
                pause.until = 0.0
        self._woken.set()

    def stop(self) -> None:
        """End soon; at once, if the source lets go of the read."""
        self._stop.set()
        self._woken.set()

    def join(self, until: float) -> None:
        """Wait for the end until then, by the monotonic clock; nobody waits for a source that holds on to a read."""
        if time.monotonic() < until:
            self.sessions.cancel()
            self._thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while not self._stop.is_set():
            self._thread.turn()
            self._woken.clear()
            pulse.wait(self._woken, self._round())
        self.sessions.close()
        self._state.close()

    def _round(self) -> float | None:
        """Read what may be read now; the seconds until more may be, None until somebody says so."""
        with self._lock:
            waiting = sorted(self._waiting)
        waits: list[float | None] = []
        for sync in waiting:
            pause = self._pause_of(sync)
            if (left_s := pause.left_s) > 0:
                waits.append(left_s)
            elif not self._stop.is_set():
                waits.append(self._try(sync, pause))
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    def _try(self, sync: str, pause: _Pause) -> float | None:
        """Read rows of a sync; the seconds until it may be read again, None when nothing of it waits any more."""
        try:
            found = self._read_some(sync, pause)
        except Exception as error:
            self._thread.count(error)
            name = type(error).__name__
            problem = error if isinstance(error, RowtideError) else process_errors.REFRESH_FAILED(error=name)
            return self._note_failure(pause, problem, error)
        return 0.0 if found else None

    def _note_failure(self, pause: _Pause, problem: RowtideError, fault: Exception) -> float:
        with self._lock:
            return pause.failed(problem, fault)

    def _pause_of(self, sync: str) -> _Pause:
        with self._lock:
            return self._pauses.setdefault(sync, _Pause.of(self._source, sync))

    def _read_some(self, sync: str, pause: _Pause) -> bool:
        """Lease rows, read them and write them back; whether there were any."""
        with self._lock:
            self._waiting.discard(sync)
        view = self._view()
        if sync not in view.running:
            return False  # whoever lets it run again has its rows surveyed
        limit, token = 1 if pause.trouble.failures else MOST_ROWS, uuid.uuid4().hex
        try:
            self._take_back()
            works = self._state.run(lambda connection: self._lease(connection, sync, limit, token))
            if works:
                with self._lock:
                    self._waiting.add(sync)
                self._read_and_write_back(view.catalog, works, pause)
        except Exception:
            self._failed.append(token)
            with self._lock:
                self._waiting.add(sync)
            raise
        return bool(works)

    def _take_back(self) -> None:
        if self._failed:
            self._state.run(lambda connection: outbox.take_back(connection, self._owner, self._failed))
            self._failed.clear()

    def _lease(self, connection: Connection, sync: str, limit: int, token: str) -> list[Work]:
        lines = [line for line in outbox.survey(connection, [sync]) if line.waits_for == outbox.READ]
        if not lines:
            return []
        first = min(lines, key=lambda line: line.priority)
        return outbox.claim(connection, outbox.ClaimRequest({first: limit}, self._owner, token, LEASE_S, {})).works

    def _read_and_write_back(self, catalog: Catalog, works: Sequence[Work], pause: _Pause) -> None:
        try:
            answers = self._read(catalog, works)
        except RowtideError as error:
            after_s = self._note_failure(pause, error, error)
            back: list[Outcome] = [Release(work, after_s, unknown=False, reason=error.sentence) for work in works]
            self._state.run(lambda connection: outbox.settle(connection, back))
            return
        with self._lock:
            pause.trouble.succeeded()
        self._take(answers)

    def _read(self, catalog: Catalog, works: Sequence[Work]) -> Sequence[refetch.Refetched]:
        connection = self._session()
        # The eras of the records, not of a reader: this process may read no slot, or not yet.
        syncs = {work.desired.sync for work in works}
        present = self._state.run(lambda state: eras.read(state, syncs))
        try:
            return refetch.refetch_works(connection, catalog, works, present)
        except RowtideError:
            # The session was had: what failed is the reading of one table, of which the source is not accused.
            self.sessions.drop(self._source)
            raise

    def _session(self) -> psycopg.Connection:
        connection = self.sessions.get(self._source)
        if connection is not self._limited:
            with as_source_errors("limiting how long a read may wait"):
                connection.execute(_LIMITS)
            self._limited = connection
        return connection

    def _take(self, answers: Sequence[refetch.Refetched]) -> None:
        back: list[Outcome] = []
        completed: list[Work] = []
        for answer in answers:
            if isinstance(answer, refetch.NotYet):
                back.append(Release(answer.work, NOT_YET_S, unknown=False))
            elif isinstance(answer, ParkRow):
                back.append(answer)
            else:
                completed.append(answer)
        self._state.run(partial(outbox.complete, works=completed))
        self._state.run(lambda connection: outbox.settle(connection, back))
