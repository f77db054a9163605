"""What another policy would have done with the conflicts that were recorded.

In: recorded conflicts, a policy. Out: a `Simulation`. Called by `rowtide conflicts simulate`. Rules: the policy stands
for that of the sync and of all columns; what depends on when both sides were changed uses the times that were recorded,
and without them PostgreSQL wins, as it does while syncs run.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rowtide.deciding.conflicts import Times, TwoWayPolicy, Winner, who_wins


@dataclass(frozen=True, slots=True)
class PastConflict:
    """A conflict as it was decided: by field, or of the row as a whole (no fields)."""

    id: int
    winner: Winner
    fields: Mapping[str, Winner]
    postgres_at: datetime | None = None
    sharepoint_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Simulation:
    """``wins``: by winner how many values (or whole rows) would have been its; ``other``: ids of the conflicts of which
    any would have been another's than it was; ``by_field``: how many of these, by field.
    """

    conflicts: int
    wins: Mapping[Winner, int]
    other: tuple[int, ...]
    by_field: Mapping[str, int]


_ROW = ""
"""Stands for the row as a whole where fields are named."""


def simulate(recorded: Iterable[PastConflict], policy: TwoWayPolicy) -> Simulation:
    """What ``policy`` would have done."""
    count = 0
    wins: Counter[Winner] = Counter()
    by_field: Counter[str] = Counter()
    other = []
    for one in recorded:
        count += 1
        decided = one.fields or {_ROW: one.winner}
        now = who_wins(policy, Times(one.postgres_at, one.sharepoint_at))
        wins[now] += len(decided)
        changed = [name for name, before in decided.items() if before is not now]
        by_field.update(name for name in changed if name != _ROW)
        if changed:
            other.append(one.id)
    return Simulation(count, wins, tuple(other), by_field)
