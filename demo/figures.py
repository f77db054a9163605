"""Where the demo stands, in figures: from the state database, the simulator and the workload's own count.

In: addresses, a `Tally`. Out: `Figures` since the last `mark`. Rule: what went over the wire (writes, resource units,
refusals) is the simulator's count, not ours; everything else is what `status` shows.
"""

import statistics
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from control.operations import status_snapshot
from control.operations.diagnosis import reason_of
from control.operations.status_snapshot import StatusSnapshot
from demo.comparison import fetch
from demo.live_view import Figures, SyncFigures
from demo.shop.workload import Tally
from state import progress
from state.database import Link


@dataclass(frozen=True, slots=True)
class Counts:
    """Everything that only grows."""

    changes: int = 0
    delivered: int = 0
    suppressed: int = 0
    foreign_edits: int = 0
    latency: tuple[int, ...] = ()
    writes: int = 0
    ru_used: float = 0.0
    throttled: int = 0
    delivered_by: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at everything."""

    counts: Counts
    seen: StatusSnapshot
    at: datetime

    @property
    def waiting(self) -> int:
        """Rows that wait or are under way."""
        return sum(one.waiting for one in self.seen.waiting.values())

    @property
    def loading(self) -> bool:
        """Whether some sync has not ended its first pass."""
        records = self.seen.reconciles
        return any(name not in records or records[name].state != "done" for name in self.seen.catalog.syncs)

    def streaming(self, pid: int) -> bool:
        """Whether the process says that it reads every source."""
        beats = [process for process in self.seen.processes if process.pid == pid]
        sources = [source for beat in beats for source in (beat.health.get("source") or {}).values()]
        return bool(sources) and all(source["connected"] for source in sources)


class Meter:
    """Reads figures; ``mark`` begins a new count."""

    def __init__(self, state_dsn: str, control_url: str) -> None:
        self._link = Link(state_dsn, "rowtide demo")
        self._stats = f"{control_url}/stats?keys=0"
        self._mark = Counts()
        self._coalesced: deque[int] = deque(maxlen=9)

    def close(self) -> None:
        """Let go of the state database."""
        self._link.close()

    def mark(self) -> None:
        """Count from here."""
        self._mark = self.read().counts
        self._coalesced.clear()

    def read(self) -> Reading:
        """Look now."""
        seen = self._link.run(lambda connection: status_snapshot.read(connection, {}))
        return Reading(_counts(seen, fetch(self._stats)), seen, seen.now)

    def figures(self, reading: Reading, phase: str, share: float, tally: Tally) -> Figures:
        """The figures since the mark."""
        now, then, waits = reading.counts, self._mark, reading.seen.waiting.values()
        changes, delivered = now.changes - then.changes, now.delivered - then.delivered
        suppressed, parked = now.suppressed - then.suppressed, sum(one.parked for one in waits)
        latency = _since(now.latency, then.latency)
        return Figures(
            phase=phase,
            share=share,
            committed=tally.rows,
            delivered=delivered,
            waiting=reading.waiting,
            in_flight=sum(one.in_flight for one in waits),
            parked=parked,
            writes=now.writes - then.writes,
            coalesced=self._steady(changes - delivered - reading.waiting - parked, last=not reading.waiting),
            suppressed=suppressed,
            p50_ms=progress.percentile_ms(latency, 0.50),
            p95_ms=progress.percentile_ms(latency, 0.95),
            p99_ms=progress.percentile_ms(latency, 0.99),
            ru_used=now.ru_used - then.ru_used,
            ru_per_minute=_quota(reading.seen),
            throttled=now.throttled - then.throttled,
            acts=dict(tally.acts),
            syncs={name: _sync(reading, then, name) for name in reading.seen.catalog.syncs},
        )

    def _steady(self, coalesced: int, last: bool) -> int:
        """Every change waits, was delivered, or was overtaken: a difference of counts, some of which are a second old.

        So while rows wait the middle of the last looks is told; when none does, the counts are right.
        """
        self._coalesced.append(max(0, coalesced))
        return self._coalesced[-1] if last else int(statistics.median(self._coalesced))


def _counts(seen: StatusSnapshot, stats: Any) -> Counts:
    did = seen.progress.values()
    buckets = [0] * progress.BUCKETS
    for one in did:
        for bucket, count in enumerate(one.latency):
            buckets[bucket] += count
    return Counts(
        changes=sum(one.changes for one in did),
        delivered=sum(one.delivered for one in did),
        suppressed=sum(one.suppressed for one in did),
        foreign_edits=sum(one.foreign_edits for one in did),
        latency=tuple(buckets),
        writes=sum(stats[what]["total"] for what in ("creates", "updates", "deletes")),
        ru_used=stats["ru"]["used"],
        throttled=stats["throttled"],
        delivered_by={name: one.delivered for name, one in seen.progress.items()},
    )


def _since(now: tuple[int, ...], then: tuple[int, ...]) -> list[int]:
    return [max(0, count - (then[bucket] if then else 0)) for bucket, count in enumerate(now)]


def _quota(seen: StatusSnapshot) -> float | None:
    [graph] = seen.catalog.definition.graph
    return status_snapshot.ru_per_minute(seen, graph)


def _sync(reading: Reading, then: Counts, name: str) -> SyncFigures:
    waits = reading.seen.waiting.get(name)
    return SyncFigures(
        waiting=0 if waits is None else waits.waiting,
        delivered=reading.counts.delivered_by.get(name, 0) - then.delivered_by.get(name, 0),
        reason=reason_of(status_snapshot.facts_of(reading.seen, name)).sentence,
    )
