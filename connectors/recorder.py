"""The one port for a process's figures, whoever keeps them.

In: counts that stage and settle return, readings of the moment. Out: calls of a `Recorder`. Rules: lower layers return
counts and know no recorder; every figure is named here, and is recorded in this file or nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class GraphReading:
    """One graph at this moment: units used since the process started, and seconds until it may be asked again."""

    ru_used: float
    gate_s: float


class Recorder(Protocol):
    """Keeps figures; any thread calls it, and no call waits."""

    def count(self, sync: str, name: SyncCount, n: int) -> None:
        """Add ``n`` to a figure of a sync."""

    def count_process(self, name: ProcessCount, n: int) -> None:
        """Add ``n`` to a figure of the process."""

    def observe_latency(self, sync: str, seconds: float) -> None:
        """Record the time from a row's commit to its delivery."""

    def read(self, in_flight: int, graphs: Mapping[str, GraphReading]) -> None:
        """Record the readings of the moment: rows claimed and not settled, and each graph."""

    def read_loops(self, failures: Mapping[str, int]) -> None:
        """Record how often each loop met an unexpected error since the process started."""

    def read_faults(self, counts: Mapping[str, int]) -> None:
        """Record how much fails at the moment, by scope."""


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
        for latency_s in did.latencies_s:
            recorder.observe_latency(sync, latency_s)


_PULLED = {
    "applied": SyncCount.PULLED,
    "echoes": SyncCount.PULL_ECHOES,
    "parked": SyncCount.PULL_PARKED,
    "conflicts": SyncCount.CONFLICTS,
    "lost": SyncCount.PULL_LOST,
    "reverted": SyncCount.PULL_REVERTED,
}


def record_pulled(recorder: Recorder, sync: str, did: Mapping[str, int]) -> None:
    """Record what became of entries of the inbox."""
    for name, count in did.items():
        if count:
            recorder.count(sync, _PULLED[name], count)
