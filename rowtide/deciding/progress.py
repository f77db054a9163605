"""A claim under way: its rules, how far it is, and the small steps it takes.

In: what rowtide.deciding.push and rowtide.deciding.leftovers conclude. Out: `Progress`es, releases and parked rows.
Rule: a record never changes; what is known so far is in it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from rowtide.deciding.answers import Answer, Found, Item, Rejected
from rowtide.deciding.commands import Command
from rowtide.deciding.conflicts import Deletes
from rowtide.deciding.observation import FieldMapping, Observation
from rowtide.deciding.outcomes import ParkRow, Release, Settle
from rowtide.deciding.records import Leftover, Pair, Work
from rowtide.errors import RowError
from rowtide.keys import rowtide_key

UNKNOWN_AFTER_S = 1.0
"""An attempt with an unknown end is looked at this soon."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How rows of one sync are decided; ``patience``: how long after its claim an attempt may still arrive."""

    mapping: FieldMapping
    mapping_version: int
    patience: timedelta
    deletes: Deletes = "propagate"


class Step(Enum):
    """What the command under way is for."""

    WRITE = "the row's own item"
    LOOK = "what became of the pair's item"
    SEARCH = "whether our own POST made an item"
    VERIFY = "the version our write left"
    CLEAN = "a leftover"


@dataclass(frozen=True, slots=True)
class Progress:
    """A claim under way: the command to carry out now, and what is known so far."""

    work: Work
    command: Command
    step: Step
    pair: Pair
    looked: bool = False  # the pair's item was looked at, or needs no look
    learned: bool = False  # `pair` says more than the ledger does
    searched: frozenset[str] = frozenset()  # lists that showed no item with our key in this claim
    rejected: Rejected | None = None  # a POST's answer that a search has to explain
    pending_until: datetime | None = None
    writes: int = 0
    foreign_edit: bool = False
    commands: int = 1


Ended = Settle | ParkRow | Release


def command(progress: Progress, command: Command, step: Step) -> Progress:
    """On to the next request."""
    return replace(progress, command=command, step=step, commands=progress.commands + 1)


def wrote(progress: Progress, pair: Pair) -> Progress:
    """A write of ours is done: whatever was sent before it can do nothing any more."""
    return replace(progress, pair=pair, learned=True, pending_until=None, writes=progress.writes + 1)


def with_observation(progress: Progress, seen: Observation) -> Progress:
    """The row's item was looked at."""
    return replace(
        progress, pair=seen.pair, looked=True, learned=True, pending_until=seen.pending_until,
        foreign_edit=progress.foreign_edit or seen.foreign,
    )  # fmt: skip


def with_leftovers(progress: Progress, leftovers: tuple[Leftover, ...]) -> Progress:
    """More or fewer items are left behind."""
    return replace(progress, pair=replace(progress.pair, leftovers=leftovers), learned=True)


def own_items(progress: Progress, answer: Answer) -> list[Item]:
    """Items with exactly our RowtideKey, oldest first; SharePoint's own comparison ignores case and blanks."""
    if not isinstance(answer, Found):
        return []
    desired = progress.work.desired
    mine = rowtide_key(desired.sync, desired.key)
    return sorted(
        (item for item in answer.items if item.row_key == mine), key=lambda item: (len(item.item_id), item.item_id)
    )


def release(progress: Progress, after_s: float, reason: str, unknown: bool = False) -> Release:
    """Hands the row back, with what was learnt on the way."""
    pair = progress.pair if progress.learned else None
    return Release(progress.work, after_s, unknown, reason=reason, pair=pair)


def park(progress: Progress, why: RowError) -> ParkRow:
    """Sets the row aside, with what was learnt on the way."""
    return ParkRow(progress.work, why.code, why.sentence, pair=progress.pair if progress.learned else None)


def patience_s(until: datetime, patience: timedelta, now: datetime) -> float:
    """When to look again: at growing intervals, and once it is too late for anything to arrive."""
    left_s = (until - now).total_seconds()
    waited_s = patience.total_seconds() - left_s
    return max(0.2, min(max(waited_s, 0.5), left_s, 15.0))
