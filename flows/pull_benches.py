"""What one thread of the puller works with: sessions that write and read, tables, syncs, requests to the tenant.

In: sessions on sources for this thread, the view in force. Out: a `Bench` for a sync whose lock the session holds.
Called by `flows.puller`, always from the same thread. Rule (docs/design.md section 21): the lock is the connection's
own; with another connection everything is read anew.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import psycopg

from connectors import clocks
from connectors.postgres.apply_session import ApplySession
from connectors.postgres.apply_table import ApplyTable, read_apply_table
from connectors.postgres.connections import as_source_errors
from connectors.postgres.source_sessions import SourceSessions
from flows import tidying
from flows.applied_view import View
from flows.item_requests import ItemRequests
from flows.pair_turns import PairTurns
from flows.pulled_entry import Bench
from flows.pulled_row import PullStopped
from rowtide.errors import RowtideError
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.mapping.pulled_sync import PulledSync
from state.database import Link

TIDY_EVERY: Final = timedelta(hours=1)
"""Between two looks for edits that the source need not remember any longer."""
STAY_S: Final = 15.0
"""Seconds after which a session that holds locks is used, although nothing is to be applied."""
CLOCK_EVERY_S: Final = 60.0
"""Between two looks at the source's clock, while it is needed."""


class Benches:
    """The benches of one thread, one for each sync that it pulls."""

    def __init__(
        self,
        state: Link,
        source: str,
        writers: SourceSessions,
        readers: SourceSessions,
        requests: ItemRequests,
        now: Callable[[], datetime],
    ) -> None:
        self.sessions = (writers, readers)
        self._state = state
        self._source = source
        self._writers, self._readers = writers, readers
        self._requests = requests
        self._now = now
        self._session: ApplySession | None = None
        self._tables: dict[str, tuple[int, ApplyTable]] = {}
        self._compiled: dict[str, PulledSync] = {}
        self._held: set[str] = set()
        self._used = time.monotonic()
        self._tidied: dict[str, datetime] = {}
        self._clock: tuple[float, float] | None = None
        self._turns: dict[str, PairTurns] = {}

    def find(self, compiled: CompiledSync, view: View) -> Bench | None:
        """The bench of a sync; None while another process pulls it. Raises errors of the source."""
        session = self._session_of_now()
        if not session.hold(compiled.sync):
            return None
        self._held.add(compiled.sync)
        self._used = time.monotonic()
        self._tidy(session, compiled.sync)
        table, pulled = self._table(session, compiled, view), self._pulled(compiled, view)
        return Bench(
            self._state, session, table, pulled, self._requests, self._now, self._source_clock_s,
            self._turns.setdefault(compiled.sync, PairTurns()),
        )  # fmt: skip

    def stay(self) -> None:
        """Keep the locks: the server ends a session that nobody uses, because its process may stand still."""
        if self._session is None or not self._held or time.monotonic() - self._used < STAY_S:
            return
        self._used = time.monotonic()
        try:
            self._session.stay()
        except RowtideError:
            # It is made anew with the next entry, which says what is wrong if anything still is.
            self._writers.drop(self._source)
            self._session = None
            self._held.clear()

    def let_go(self, pulled: Collection[str]) -> set[str]:
        """Let other processes pull what is not ours to pull any more; which syncs these are."""
        gone = self._held - set(pulled)
        self._held -= gone
        for sync in gone:
            if self._session is not None:
                with suppress(RowtideError):
                    self._session.release(sync)
        return gone

    def stopped(self, sync: str, why: PullStopped) -> None:
        """Nothing of the sync can be applied now: its table is read anew, and a session that is lost made anew."""
        self._tables.pop(sync, None)
        if why.of_source:
            assert why.error is not None, "a source that is away says so"
            self._writers.failed(self._source, why.error)
            self._session = None
            self._held.clear()

    def close(self) -> None:
        """Close every connection but that to the state database."""
        self._writers.close()
        self._readers.close()
        self._requests.close()

    def _tidy(self, session: ApplySession, sync: str) -> None:
        now = self._now()
        if sync not in self._tidied or now - self._tidied[sync] >= TIDY_EVERY:
            self._state.run(lambda state: tidying.tidy_edits(state, session.connection, sync))
            self._tidied[sync] = now

    def _source_clock_s(self) -> float:
        """How far the source's clock is ahead of the monotonic one. Raises errors of the source."""
        now = time.monotonic()
        if self._clock is None or now - self._clock[0] >= CLOCK_EVERY_S:
            with as_source_errors("asking for the time"):
                self._clock = now, clocks.ahead_of_monotonic_s(self._session_of_now().connection)
        return self._clock[1]

    def _session_of_now(self) -> ApplySession:
        connection = self._writers.get(self._source)
        if self._session is None or self._session.connection is not connection:
            self._session = ApplySession(connection, self._reader)
            self._clock = None
            self._tables.clear()
            self._held.clear()
        return self._session

    def _reader(self) -> psycopg.Connection:
        return self._readers.get(self._source)

    def _table(self, session: ApplySession, compiled: CompiledSync, view: View) -> ApplyTable:
        known = self._tables.get(compiled.sync)
        if known is None or known[0] != compiled.version:
            path = view.reach.source(self._source).apply_search_path or ()
            known = self._tables[compiled.sync] = compiled.version, read_apply_table(session.connection, compiled, path)
        return known[1]

    def _pulled(self, compiled: CompiledSync, view: View) -> PulledSync:
        known = self._compiled.get(compiled.sync)
        if known is None or known.compiled is not compiled:
            lists = view.catalog.lists.get(compiled.sync, {})
            known = self._compiled[compiled.sync] = PulledSync.of(compiled, lists)
        return known
