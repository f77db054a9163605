"""The one port for a process's figures, whoever keeps them.

In: counts that stage and settle return. Out: calls of a `Recorder`. Rules: lower layers return
counts and know no recorder; every figure is named here, and is recorded in this file or nowhere. Two keep them:
`connectors.metrics`, since the process started, and `connectors.history`, minute by minute.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Protocol

from state.outbox import SettleCounts, StageCounts


class SyncCount(Enum):
    """Counted by sync."""

    CHANGES = auto()
    DELIVERED = auto()
    WRITES = auto()
    SUPPRESSED = auto()
    PARKED = auto()
    FOREIGN_EDITS = auto()
    PULLED = auto()
    PULL_ECHOES = auto()
    PULL_PARKED = auto()
    CONFLICTS = auto()
    PULL_LOST = auto()
    PULL_REVERTED = auto()


class ProcessCount(Enum):
    """Counted for the whole process, where the sync is not known."""

    MERGED = auto()
    REPLAYED = auto()
    STALE = auto()
    HISTORY_LOST = auto()


class Latency(Enum):
    """Measured by sync, for each row."""

    PUSH = auto()
    """Commit in PostgreSQL to the write acknowledged and recorded."""
    BULK = auto()
    """The same of rows that a reconcile found, from when it staged them."""
    PULL = auto()
    """Edit of an item, by Graph's clock, to its commit in PostgreSQL."""


class Recorder(Protocol):
    """Keeps figures; any thread calls it, and no call waits."""

    def count(self, sync: str, name: SyncCount, n: int) -> None:
        """Add ``n`` to a figure of a sync."""

    def count_process(self, name: ProcessCount, n: int) -> None:
        """Add ``n`` to a figure of the process."""

    def observe(self, sync: str, kind: Latency, seconds: Sequence[float]) -> None:
        """Record latencies, one for each row."""


class Recorders:
    """A `Recorder` that tells each of several the same, so that they agree."""

    def __init__(self, *each: Recorder) -> None:
        self._each = each

    def count(self, sync: str, name: SyncCount, n: int) -> None:
        """Add ``n`` to a figure of a sync."""
        for one in self._each:
            one.count(sync, name, n)

    def count_process(self, name: ProcessCount, n: int) -> None:
        """Add ``n`` to a figure of the process."""
        for one in self._each:
            one.count_process(name, n)

    def observe(self, sync: str, kind: Latency, seconds: Sequence[float]) -> None:
        """Record latencies, one for each row."""
        for one in self._each:
            one.observe(sync, kind, seconds)


def record_stage(recorder: Recorder, counts: StageCounts) -> None:
    """Record what a stage did."""
    recorder.count_process(ProcessCount.MERGED, counts.merged)
    recorder.count_process(ProcessCount.REPLAYED, counts.dropped)
    for sync, changes in counts.new.items():
        recorder.count(sync, SyncCount.CHANGES, changes)


def record_settle(recorder: Recorder, counts: SettleCounts) -> None:
    """Record what a settle did."""
    recorder.count_process(ProcessCount.STALE, counts.stale)
    for sync, did in counts.by_sync.items():
        recorder.count(sync, SyncCount.DELIVERED, did.delivered)
        recorder.count(sync, SyncCount.WRITES, did.writes)
        recorder.count(sync, SyncCount.SUPPRESSED, did.suppressed)
        recorder.count(sync, SyncCount.PARKED, did.parked)
        recorder.count(sync, SyncCount.FOREIGN_EDITS, did.foreign_edits)
        recorder.observe(sync, Latency.PUSH, did.latencies_s)
        recorder.observe(sync, Latency.BULK, did.bulk_latencies_s)


_PULLED = {
    "applied": SyncCount.PULLED,
    "echoes": SyncCount.PULL_ECHOES,
    "parked": SyncCount.PULL_PARKED,
    "conflicts": SyncCount.CONFLICTS,
    "lost": SyncCount.PULL_LOST,
    "reverted": SyncCount.PULL_REVERTED,
}


def record_pulled(recorder: Recorder, sync: str, did: Mapping[str, int], latencies_s: Sequence[float]) -> None:
    """Record what became of entries of the inbox, and how long those took that were applied."""
    for name, count in did.items():
        if count:
            recorder.count(sync, _PULLED[name], count)
    recorder.observe(sync, Latency.PULL, latencies_s)


def record_lost_minutes(recorder: Recorder, minutes: int) -> None:
    """Record how many minutes of a sync's history were dropped."""
    recorder.count_process(ProcessCount.HISTORY_LOST, minutes)
