"""Reads rows anew from the source when outbox and ledger do not suffice to decide them.

In: syncs with rows that wait to be read. Out: what the rows are now, written back and due in the line of their list.
Rules (docs/design.md section 6): claiming never touches a source; each source is read by a thread of its own; a table
that cannot be read holds back its own rows only, and is tried with one of them; of what is held nothing is read.
Reading needs no quota.
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
from state import eras, failpoints, instance, outbox
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
                source = known[sync].postgres
                if source not in self._readers:
                    self._readers[source] = self._make(source)
                self._readers[source].wake(sync)

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
            self._woken.wait(self._round())
        self.sessions.close()
        self._state.close()

    def _round(self) -> float | None:
        """Read what may be read now; the seconds until more may be, None until somebody says so."""
        with self._lock:
            waiting = sorted(self._waiting)
        waits: list[float | None] = []
        for sync in waiting:
            pause = self._pause_of(sync)
            if (left_s := pause.until - time.monotonic()) > 0:
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
            return pause.failed(problem, error)
        return 0.0 if found else None

    def _pause_of(self, sync: str) -> _Pause:
        if sync not in self._pauses:
            self._pauses[sync] = _Pause(Trouble("rows wait to be read", "rows are read again", sync=sync))
        return self._pauses[sync]

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
            after_s = pause.failed(error, error)
            back: list[Outcome] = [Release(work, after_s, unknown=False, reason=error.sentence) for work in works]
            self._state.run(lambda connection: outbox.settle(connection, back))
            return
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
