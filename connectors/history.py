"""The recorder's figures as minutes of each sync, which the state database keeps (`state.history`).

In: calls of the port `connectors.recorder.Recorder`, from any thread; each second a connection to `write` with. Out:
rows that hold what this incarnation of the process did in a minute. Rules (docs/design.md section 23): minutes are by
the database's clock; every write says the whole minute, so that one that is lost or comes twice does no harm; while the
database is away an hour is kept, and what is older is dropped and counted.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from connectors.recorder import Latency, ProcessCount, SyncCount
from state import history
from state.database import Connection
from state.history import SyncMinute

_KEPT: Final = timedelta(minutes=3)
"""So long a written minute is kept for what may still be counted in it: the clock is set by the database each second.
"""

PLACES: Final = {one: history.COUNTS.index(one.name.lower()) for one in SyncCount}


class _Figures:
    """What was done for one sync in one minute by one incarnation, and whether that is written."""

    __slots__ = ("latencies", "n", "unwritten")

    def __init__(self) -> None:
        self.n = [0] * len(history.COUNTS)
        self.latencies = {one: [0] * (len(history.BOUNDS_MS) + 1) for one in Latency}
        self.unwritten = True


_Key = tuple[datetime, str, UUID]


class HistoryRecorder:
    """A `Recorder` that keeps what each sync did; one thread at a time writes it."""

    def __init__(self, now: Callable[[], datetime], new_id: Callable[[], UUID] = uuid4) -> None:
        """``now``: the state database's clock."""
        self.incarnation = new_id()
        self._now = now
        self._new_id = new_id
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._minutes: dict[_Key, _Figures] = {}
        # Minutes up to this one may have been written and let go of: none of them is begun again.
        self._over: datetime | None = None
        self._lost = 0

    # --- the port ---------------------------------------------------------------------------------------------------

    def count(self, sync: str, name: SyncCount, n: int) -> None:
        """Add ``n`` to a figure of a sync."""
        if n:
            with self._lock:
                self._figures(sync).n[PLACES[name]] += n

    def observe(self, sync: str, kind: Latency, seconds: Sequence[float]) -> None:
        """Record latencies."""
        if seconds:
            with self._lock:
                buckets = self._figures(sync).latencies[kind]
                for one in seconds:
                    buckets[bisect_left(history.BOUNDS_MS, one * 1000)] += 1

    def count_process(self, name: ProcessCount, n: int) -> None:
        """Nothing: only syncs have a history."""

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(self, connection: Connection) -> None:
        """Write the minutes in which anything was counted since they were written."""
        # A second thread would perhaps write older values over newer ones.
        if not self._writing.acquire(timeout=1.0):
            return
        try:
            rows = self._take()
            try:
                if rows:
                    history.write(connection, rows)
            except BaseException:
                self._put_back(rows)
                raise
        finally:
            self._writing.release()

    def take_lost(self) -> int:
        """How many minutes of syncs were dropped since the last call."""
        with self._lock:
            lost, self._lost = self._lost, 0
            return lost

    def _take(self) -> list[SyncMinute]:
        with self._lock:
            self._forget(self._now())
            found = [(key, one) for key, one in self._minutes.items() if one.unwritten]
            for _, one in found:
                one.unwritten = False
            return [_row(key, one) for key, one in found]

    def _put_back(self, rows: Sequence[SyncMinute]) -> None:
        with self._lock:
            for row in rows:
                if (one := self._minutes.get((row.minute, row.sync, row.incarnation))) is not None:
                    one.unwritten = True

    # --- minutes ----------------------------------------------------------------------------------------------------

    def _figures(self, sync: str) -> _Figures:
        """The figures of the minute that it is."""
        now = self._now()
        minute = now.replace(second=0, microsecond=0)
        if self._over is not None and minute <= self._over:
            # The database's clock was set back. What this incarnation did then stands as it is, so another one begins.
            self.incarnation, self._over = self._new_id(), None
        key = (minute, sync, self.incarnation)
        found = self._minutes.get(key)
        if found is None:
            self._forget(now)
            found = self._minutes[key] = _Figures()
        found.unwritten = True
        return found

    def _forget(self, now: datetime) -> None:
        """Let go of minutes that are over and written, and of those that are too old to be written."""
        for key, one in list(self._minutes.items()):
            age = now - key[0]
            if age > history.WRITTEN_FOR or (age > _KEPT and not one.unwritten):
                del self._minutes[key]
                self._lost += one.unwritten
                if key[2] == self.incarnation:
                    self._over = key[0] if self._over is None else max(self._over, key[0])


def _row(key: _Key, one: _Figures) -> SyncMinute:
    push, bulk, pull = (list(one.latencies[kind]) for kind in (Latency.PUSH, Latency.BULK, Latency.PULL))
    return SyncMinute(*key, list(one.n), push, bulk, pull)
