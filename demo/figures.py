"""Where the demo stands, in figures: from the state database, the simulator and the workload's own count.

In: the state database, the simulator, a `WorkloadTally`. Out: `Figures` since the last `mark`. Rule: what went over the
wire (writes, resource units, refusals) is the simulator's count, not ours; everything else is what `status` shows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from control.operations import status_snapshot
from control.operations.diagnosis import reason_of
from control.operations.status_snapshot import StatusSnapshot
from demo.live_view import Figures, PeopleFigures, SyncFigures
from demo.shop.people import PeopleTally
from demo.shop.workload import WorkloadTally
from demo.simulator import SimulatorControl
from state import conflicts, progress
from state.database import Link

NOBODY: Final = PeopleTally()
"""Before anybody edits in SharePoint."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts that only grow, since everything was started."""

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
    """Everything as it was at one moment."""

    totals: Totals
    snapshot: StatusSnapshot
    at: datetime
    conflicts: Mapping[str, tuple[int, int]]
    """Of each sync, how many are open, and how many there were."""

    @property
    def waiting(self) -> int:
        """Rows that wait or are in flight."""
        return sum(one.waiting for one in self.snapshot.waiting.values())

    @property
    def loading(self) -> bool:
        """Whether the first pass over some sync is not done yet."""
        records = self.snapshot.reconciles
        return any(name not in records or records[name].state != "done" for name in self.snapshot.catalog.syncs)

    def streaming(self, pid: int) -> bool:
        """Whether the process says that it reads every source."""
        beats = [process for process in self.snapshot.processes if process.pid == pid]
        sources = [source for beat in beats for source in (beat.health.get("source") or {}).values()]
        return bool(sources) and all(source["connected"] for source in sources)


class Meter:
    """Reads figures; `mark` begins a new count."""

    def __init__(self, state_dsn: str, simulator: SimulatorControl) -> None:
        self._link = Link(state_dsn, "rowtide demo")
        self._simulator = simulator
        self._mark = Totals()

    def close(self) -> None:
        """Close the connection to the state database."""
        self._link.close()

    def mark(self) -> None:
        """Count from here."""
        self._mark = self.read().totals

    def read(self) -> Reading:
        """Read everything now."""
        snapshot = self._link.run(lambda connection: status_snapshot.read(connection, {}))
        found = self._link.run(conflicts.counts)
        return Reading(_totals(snapshot, self._simulator.fetch_stats()), snapshot, snapshot.now, found)

    def figures(
        self, reading: Reading, phase: str, share: float, tally: WorkloadTally, people: PeopleTally = NOBODY
    ) -> Figures:
        """The figures since the mark."""
        now, then, waits = reading.totals, self._mark, reading.snapshot.waiting.values()
        changes, delivered = now.changes - then.changes, now.delivered - then.delivered
        suppressed, parked = now.suppressed - then.suppressed, sum(one.parked for one in waits)
        latency = _since(now.latency, then.latency)
        return Figures(
            phase=phase,
            share=share,
            committed=tally.rows,
            changes=changes,
            delivered=delivered,
            waiting=reading.waiting,
            in_flight=sum(one.in_flight for one in waits),
            parked=parked,
            writes=now.writes - then.writes,
            coalesced=max(0, changes - delivered - reading.waiting - parked),
            suppressed=suppressed,
            p50_ms=progress.percentile_ms(latency, 0.50),
            p95_ms=progress.percentile_ms(latency, 0.95),
            p99_ms=progress.percentile_ms(latency, 0.99),
            ru_used=now.ru_used - then.ru_used,
            ru_per_minute=_quota(reading.snapshot),
            throttled=now.throttled - then.throttled,
            acts=dict(tally.acts),
            people=_people(people, reading.conflicts),
            syncs={name: _sync(reading, then, name) for name in reading.snapshot.catalog.syncs},
        )


def _totals(snapshot: StatusSnapshot, stats: Any) -> Totals:
    did = snapshot.progress.values()
    buckets = [0] * progress.BUCKETS
    for one in did:
        for bucket, count in enumerate(one.latency):
            buckets[bucket] += count
    return Totals(
        changes=sum(one.changes for one in did),
        delivered=sum(one.delivered for one in did),
        suppressed=sum(one.suppressed for one in did),
        foreign_edits=sum(one.foreign_edits for one in did),
        latency=tuple(buckets),
        writes=sum(stats[what]["total"] for what in ("creates", "updates", "deletes")),
        ru_used=stats["ru"]["used"],
        throttled=stats["throttled"],
        delivered_by={name: one.delivered for name, one in snapshot.progress.items()},
    )


def _people(tally: PeopleTally, found: Mapping[str, tuple[int, int]]) -> PeopleFigures:
    seconds = sorted(tally.seconds)
    waiting = sum(opened for opened, _ in found.values())
    return PeopleFigures(
        made=tally.made,
        arrived=tally.arrived,
        p50_s=seconds[len(seconds) // 2] if seconds else None,
        p95_s=seconds[math.ceil(0.95 * len(seconds)) - 1] if seconds else None,
        decided=sum(recorded for _, recorded in found.values()) - waiting,
        waiting=waiting,
    )


def _since(now: tuple[int, ...], then: tuple[int, ...]) -> list[int]:
    return [max(0, count - (then[bucket] if then else 0)) for bucket, count in enumerate(now)]


def _quota(snapshot: StatusSnapshot) -> float | None:
    [graph] = snapshot.catalog.definition.graph
    return status_snapshot.ru_per_minute(snapshot, graph)


def _sync(reading: Reading, then: Totals, name: str) -> SyncFigures:
    waits = reading.snapshot.waiting.get(name)
    return SyncFigures(
        waiting=0 if waits is None else waits.waiting,
        delivered=reading.totals.delivered_by.get(name, 0) - then.delivered_by.get(name, 0),
        reason=reason_of(status_snapshot.facts_of(reading.snapshot, name)).sentence,
    )
