"""Counts of what a process has done since its last beat, by sync.

In: what steps and outputs have done. Out: the counts of a second, as `state.progress` adds them up. Rule: any thread
counts, one thread takes.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connectors import metrics
from rowtide.deciding.outcomes import Counts, Outcome, ParkRow, Settle
from rowtide.pacing import WRITE_RU
from state import progress
from state.outbox import StageCounts


@dataclass(slots=True)
class Tally:
    """Counts of one sync since the last beat."""

    changes: int = 0
    delivered: int = 0
    writes: int = 0
    suppressed: int = 0
    foreign_edits: int = 0
    parked: int = 0
    ru_used: int = 0
    latencies_ms: list[float] = field(default_factory=list)


class Tallies:
    """The counts of all syncs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[str, Tally] = defaultdict(Tally)

    def normalized(self, changes: Mapping[str, int]) -> None:
        """Changes of each sync as they came from the WAL."""
        with self._lock:
            for sync, count in changes.items():
                self._tallies[sync].changes += count

    def staged(self, counts: StageCounts) -> None:
        """What staging absorbed."""
        metrics.MERGED.inc(counts.merged)
        metrics.DROPPED.inc(counts.dropped)

    def settled(self, outcomes: Sequence[Outcome], counts: Counts, now: datetime) -> None:
        """Rows that were settled."""
        metrics.STALE.inc(counts.stale)
        with self._lock:
            for outcome in outcomes:
                desired = outcome.work.desired
                tally = self._tallies[desired.sync]
                if isinstance(outcome, Settle):
                    tally.delivered += not outcome.again
                    tally.writes += outcome.writes
                    tally.ru_used += WRITE_RU * outcome.writes  # looks are counted by graph, not by sync
                    tally.suppressed += not outcome.writes
                    tally.foreign_edits += outcome.foreign_edit
                    tally.latencies_ms.append((now - desired.committed_at) / timedelta(milliseconds=1))
                elif isinstance(outcome, ParkRow):
                    tally.parked += 1

    def take(self) -> list[progress.Delta]:
        """The counts since the last call."""
        with self._lock:
            tallies, self._tallies = self._tallies, defaultdict(Tally)
        return [
            progress.Delta(
                sync,
                changes=tally.changes,
                delivered=tally.delivered,
                writes=tally.writes,
                suppressed=tally.suppressed,
                foreign_edits=tally.foreign_edits,
                ru_used=tally.ru_used,
                latencies_ms=tuple(tally.latencies_ms),
            )
            for sync, tally in tallies.items()
        ]
