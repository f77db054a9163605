"""A claim in flight: what is known of the row so far, and the step that is being taken.

In: what rowtide.deciding.push, rowtide.deciding.wanted and rowtide.deciding.leftovers conclude. Out: `InFlight` claims,
releases and parked rows. Rule: a record never changes; a step carries what it was decided on, so that its answer needs
no assumption.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rowtide.deciding.answers import Answer, Found, Item, Missing, Rejected
from rowtide.deciding.commands import Command, CreateItem, DeleteItem, LookAtItem, LookForKey, MoveItem, UpdateItem
from rowtide.deciding.conflicts import DeletesForward, Policy
from rowtide.deciding.observation import FieldMapping, Observation
from rowtide.deciding.outcomes import ParkRow, Release, Settle
from rowtide.deciding.records import (
    ETag,
    Held,
    LeftItem,
    Leftover,
    ListId,
    NoItem,
    Work,
    WrongKey,
    is_same_item,
)
from rowtide.errors import RowError
from rowtide.keys import ROWTIDE_KEY, rowtide_key
from rowtide.lists import NOTHING_HELD, HeldColumns


@dataclass(frozen=True, slots=True)
class Rules:
    """By what rows of one sync are decided.

    ``two_ways``: what a person did is handed over. ``patience``: how long
    after its claim an attempt may still arrive. ``held``: by list what of it cannot be written.
    """

    mapping: FieldMapping
    mapping_version: int
    patience: timedelta
    deletes: DeletesForward = "propagate"
    policy: Policy = "postgres_wins"
    two_ways: bool = False
    held: Mapping[str, HeldColumns] = field(default_factory=dict)

    def takes_items(self, list_id: ListId) -> bool:
        """Whether the list takes new items: its RowtideKey is looked up and unique."""
        return not self.held or self.held.get(list_id, NOTHING_HELD).key is None

    def writes_key(self, list_id: ListId) -> bool:
        """Whether the list's RowtideKey can be written."""
        return not self.held or ROWTIDE_KEY not in self.held.get(list_id, NOTHING_HELD).fields


# --- steps: a command and what it is for --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Post:
    """Make the row's own item."""

    command: CreateItem | MoveItem


@dataclass(frozen=True, slots=True)
class Patch:
    """Change the row's own item."""

    command: UpdateItem
    held: Held


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the row's own item."""

    command: DeleteItem
    held: Held


@dataclass(frozen=True, slots=True)
class Look:
    """What became of the row's own item?"""

    command: LookAtItem
    held: Held


@dataclass(frozen=True, slots=True)
class Search:
    """Did a POST of ours make an item in the list the row belongs to?"""

    command: LookForKey


@dataclass(frozen=True, slots=True)
class Verify:
    """Which version did our write leave?"""

    command: LookAtItem
    held: Held


@dataclass(frozen=True, slots=True)
class RemoveLeft:
    """Remove a leftover."""

    command: DeleteItem
    left: LeftItem


@dataclass(frozen=True, slots=True)
class LookAtLeft:
    """Which version does a leftover have?"""

    command: LookAtItem
    left: LeftItem


@dataclass(frozen=True, slots=True)
class SearchLost:
    """Did a lost POST make an item in a list the row has left?"""

    command: LookForKey


@dataclass(frozen=True, slots=True)
class FreeKey:
    """Empty our RowtideKey in an item that is not ours."""

    command: UpdateItem
    wrong: WrongKey


@dataclass(frozen=True, slots=True)
class LookAtKey:
    """Does that item still carry our RowtideKey, and in which version?"""

    command: LookAtItem
    wrong: WrongKey


Step = Post | Patch | Remove | Look | Search | Verify | RemoveLeft | LookAtLeft | SearchLost | FreeKey | LookAtKey


def of_asked_item(step: Step, answer: Answer) -> Answer:
    """The answer to a look: where a restore took the item away and its number was given again, the item is gone."""
    etag = _etag_of_looked_at(step)
    if not isinstance(answer, Found) or etag is None:
        return answer
    return Missing() if any(not is_same_item(item.etag, etag) for item in answer.items) else answer


def _etag_of_looked_at(step: Step) -> ETag | None:
    match step:
        case Look(_, held) | Verify(_, held):
            return held.item.etag
        case LookAtLeft(_, left):
            return left.etag
        case LookAtKey(_, wrong):
            return wrong.etag
        case _:
            return None


# --- a claim ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a claimed row so far."""

    work: Work
    pair: NoItem | Held
    looked: bool  # the pair's item was looked at, or needs no look
    learned: bool = False  # `pair` says more than the ledger does
    searched: frozenset[ListId] = frozenset()  # lists that showed no item with our key in this claim
    rejected: Rejected | None = None  # a POST's answer that a search has to explain
    pending_until: datetime | None = None
    writes: int = 0
    foreign_edit: bool = False
    commands: int = 0


@dataclass(frozen=True, slots=True)
class InFlight:
    """A claim in flight: what is known, and the step whose command is carried out now."""

    known: Known
    step: Step

    @property
    def work(self) -> Work:
        """The claimed row."""
        return self.known.work

    @property
    def command(self) -> Command:
        """The request to carry out."""
        return self.step.command


Ended = Settle | ParkRow | Release


def ask(known: Known, step: Step) -> InFlight:
    """The claim with ``step`` as its next request."""
    return InFlight(replace(known, commands=known.commands + 1), step)


def look(known: Known, held: Held) -> InFlight:
    """The claim with a look at the row's own item as its next request."""
    return ask(known, Look(LookAtItem(held.item.list_id, held.item.item_id), held))


def wrote(known: Known, pair: NoItem | Held) -> Known:
    """What is known once a write of ours is done: no earlier attempt can change the item any more."""
    return replace(known, pair=pair, learned=True, pending_until=None, writes=known.writes + 1)


def with_observation(known: Known, observation: Observation) -> Known:
    """What is known once the row's item was looked at."""
    return replace(
        known, pair=observation.pair, looked=True, learned=True, pending_until=observation.pending_until
    )  # fmt: skip


def with_leftovers(known: Known, leftovers: tuple[Leftover, ...]) -> Known:
    """What is known, with other leftovers."""
    return replace(known, pair=replace(known.pair, leftovers=leftovers), learned=True)


def own_items(work: Work, items: Sequence[Item]) -> list[Item]:
    """Items with exactly our RowtideKey, oldest first; SharePoint's own comparison ignores case and blanks."""
    mine = rowtide_key(work.desired.sync, work.desired.key)
    return sorted((item for item in items if item.row_key == mine), key=lambda item: (len(item.item_id), item.item_id))


# --- how a claim ends without being settled -----------------------------------------------------------------------

MISFIT_AFTER_S = 30.0
"""A row is tried again this long after the first answer that does not fit its request."""


def release(known: Known, after_s: float, reason: str, unknown: bool = False, grows: bool = False) -> Release:
    """Hands the row back, with what was learnt on the way."""
    pair = known.pair if known.learned else None
    return Release(known.work, after_s, unknown, reason=reason, pair=pair, grows=grows)


def release_misfit(known: Known, step: Step) -> Release:
    """Hands the row back after an answer that does not fit its request: a write may have happened all the same."""
    return release(known, MISFIT_AFTER_S, "Graph's answer does not fit the request", is_write(step), grows=True)


def park(known: Known, why: RowError) -> ParkRow:
    """Sets the row aside, with what was learnt on the way."""
    return ParkRow(known.work, why.code, why.sentence, pair=known.pair if known.learned else None)


def is_write(step: Step) -> bool:
    """Whether the step's command changes a list."""
    return not isinstance(step.command, LookAtItem | LookForKey)


def patience_s(until: datetime, patience: timedelta, now: datetime) -> float:
    """Seconds until the next look: growing intervals, and one last look once no attempt can arrive any more."""
    left_s = (until - now).total_seconds()
    waited_s = patience.total_seconds() - left_s
    return max(0.2, min(max(waited_s, 0.5), left_s, 15.0))
