"""What is to be said of one row and its item: where they differ, which side is ahead, what would be done.

In: the row and the item as just read, the pair of the ledger, what waits. Out: the change of each field, and the one
sentence to read first. Called by control.operations.explain. Rule: what waits for a person is said before what waits by
itself, and that before what the values say; a side that was not read is never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from rowtide.change import Fields
from rowtide.deciding import sides
from rowtide.deciding.answers import Item
from rowtide.deciding.apply import Row, RowAbsent, RowOutside, RowThere, RowUnmapped
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.records import Arriving, Held, ListId, NoItem, Pair, Standing, last_item
from rowtide.deciding.sides import NO_BASE, Base, FieldChange
from rowtide.error_catalogue import row_verdicts as verdicts
from rowtide.error_catalogue.entries import Said
from rowtide.keys import ROWTIDE_KEY


@dataclass(frozen=True, slots=True)
class Unread:
    """A side that could not be asked, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class ItemThere:
    """The item, in its list."""

    list_id: ListId
    item: Item


@dataclass(frozen=True, slots=True)
class ItemNotThere:
    """No item: ``was``, there was one."""

    was: bool


RowSide = Row | Unread
ItemSide = ItemThere | ItemNotThere | Unread


@dataclass(frozen=True, slots=True)
class RowThatWaits:
    """The row's entry of the outbox. ``fields`` None: the row is read before anything is decided, or it is deleted."""

    op: str
    fields: Fields | None
    parked: bool
    leased: bool
    unanswered: bool
    why: str | None


@dataclass(frozen=True, slots=True)
class EditThatWaits:
    """An entry of the inbox."""

    version: int
    deleted: bool
    parked: bool
    why: str | None


@dataclass(frozen=True, slots=True)
class OpenConflict:
    """A conflict that waits for a person; ``fields``: those it is about, none where it is about the whole row."""

    id: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowFacts:
    """Everything that is said of one row; ``row_key``: the RowtideKey that its item should have."""

    sync: str
    key: str
    row_key: str
    two_ways: bool
    row: RowSide
    item: ItemSide
    pair: Pair | None
    waits: RowThatWaits | None
    edits: Sequence[EditThatWaits]
    conflicts: Sequence[OpenConflict]


def is_known(facts: RowFacts) -> bool:
    """Whether there is, or was, anything of that key, as far as could be read."""
    nowhere = isinstance(facts.row, RowAbsent) and isinstance(facts.item, ItemNotThere) and facts.pair is None
    return not nowhere or facts.waits is not None or bool(facts.edits or facts.conflicts)


def base_of(pair: Pair | None) -> Base:
    """What was last agreed of the pair's item."""
    item = None if isinstance(pair, NoItem) else last_item(pair)
    return NO_BASE if item is None else Base(item.base, item.kept)


def changes(facts: RowFacts, mapping: FieldMapping) -> Mapping[str, FieldChange]:
    """What happened to each field since it was last agreed; empty unless both sides are there and were read."""
    if not isinstance(facts.row, RowThere) or not isinstance(facts.item, ItemThere):
        return {}
    return sides.changes(base_of(facts.pair), facts.row.fields, facts.item.item.fields, mapping)


def verdict_of(facts: RowFacts, found: Mapping[str, FieldChange], mapping: FieldMapping) -> Said:
    """The sentence to read first. ``found``: `changes` of the facts."""
    return _person(facts) or _waiting(facts, mapping) or _at_rest(facts, found)


# --- what waits -----------------------------------------------------------------------------------------------------


def _person(facts: RowFacts) -> Said | None:
    if facts.conflicts:
        one = facts.conflicts[0]
        return verdicts.CONFLICT_OPEN(what=_names(one.fields) or "the row", id=one.id)
    if facts.waits is not None and facts.waits.parked:
        return verdicts.ROW_PARKED(why=facts.waits.why, sync=facts.sync, key=facts.key)
    parked = next((one for one in facts.edits if one.parked), None)
    return None if parked is None else verdicts.EDIT_PARKED(why=parked.why, sync=facts.sync, key=facts.key)


def _waiting(facts: RowFacts, mapping: FieldMapping) -> Said | None:
    row = facts.waits
    if row is not None and row.leased:
        return verdicts.IN_FLIGHT(what=_would_be(facts, row, mapping))
    if row is not None and row.unanswered:
        return verdicts.UNANSWERED()
    if facts.edits:
        one = facts.edits[-1]
        return verdicts.DELETION_WAITS() if one.deleted else verdicts.EDIT_WAITS(version=one.version)
    return None if row is None else verdicts.ROW_WAITS(what=_would_be(facts, row, mapping))


def _would_be(facts: RowFacts, row: RowThatWaits, mapping: FieldMapping) -> str:
    """What the waiting row asks for, as far as row and records tell it."""
    match row.op, facts.row:
        case "d", _:
            return "the deletion of the item"
        case _, RowThere(list_id, fields):
            return _to_write(facts, list_id, fields, mapping)
        case _, RowAbsent() | RowOutside():
            return "the deletion of the item"
        case _:
            return "a change of the row" if row.fields is None else _to_write(facts, None, row.fields, mapping)


def _to_write(facts: RowFacts, list_id: ListId | None, fields: Fields, mapping: FieldMapping) -> str:
    item = None if isinstance(facts.pair, NoItem) else last_item(facts.pair)
    if item is None:
        return "a new item"
    if list_id is not None and list_id != item.list_id:
        return "a move to another list"
    differing = mapping.differing(fields, item.base, item.kept)
    if ROWTIDE_KEY in item.base and item.base[ROWTIDE_KEY] != facts.row_key:
        differing = {**differing, ROWTIDE_KEY: facts.row_key}
    return f"a change of {_names(differing)}" if differing else "a look at the row, which needs no write"


# --- what the values say --------------------------------------------------------------------------------------------


def _at_rest(facts: RowFacts, found: Mapping[str, FieldChange]) -> Said:
    match facts.row, facts.item:
        case (Unread(), _) | (_, Unread()):
            return verdicts.NOT_KNOWN()
        case RowThere(list_id, _), ItemThere() as shown:
            return _both_there(facts, list_id, shown, found)
        case RowThere(), ItemNotThere(was):
            return _without_item(facts, was)
        case RowUnmapped(_, sentence), _:
            return verdicts.UNMAPPED(why=sentence)
        case _, ItemThere():
            return _without_row(facts)
        case RowOutside(), ItemNotThere():
            return verdicts.OUTSIDE()
        case RowAbsent(), ItemNotThere():
            return verdicts.BOTH_GONE()
        case _:
            raise AssertionError("each side is one of these")


def _both_there(facts: RowFacts, list_id: ListId | None, shown: ItemThere, found: Mapping[str, FieldChange]) -> Said:
    if isinstance(facts.pair, Arriving):
        return verdicts.ARRIVING()
    if not isinstance(facts.pair, Held):  # an item with the row's key that is not on record
        return verdicts.ROW_AHEAD(what="the item on record", sync=facts.sync)
    by_change: dict[FieldChange, list[str]] = {}
    for name, change in found.items():
        by_change.setdefault(change, []).append(name)
    by_item = by_change.get(FieldChange.ITEM, [])
    if shown.item.row_key != facts.row_key:
        by_item = [*by_item, ROWTIDE_KEY]
    if differing := by_change.get(FieldChange.DIFFERING):
        return verdicts.BOTH_AHEAD(what=_names(differing), sync=facts.sync)
    if by_item:
        what = _names(by_item)
        return verdicts.ITEM_AHEAD(what=what) if facts.two_ways else verdicts.ITEM_EDITED(what=what, sync=facts.sync)
    if by_row := by_change.get(FieldChange.ROW):
        return verdicts.ROW_AHEAD(what=f"a change of {_names(by_row)}", sync=facts.sync)
    if list_id is not None and list_id != shown.list_id:
        return verdicts.ROW_AHEAD(what="a move to another list", sync=facts.sync)
    return verdicts.IN_SYNC()


def _without_item(facts: RowFacts, was: bool) -> Said:
    match facts.pair:
        case NoItem(ignored=True):
            return verdicts.ROW_STAYS()
        case Held() if was:
            return verdicts.ITEM_GONE() if facts.two_ways else verdicts.ITEM_MISSING(sync=facts.sync)
        case Held() | Arriving() | NoItem() | None:
            return verdicts.ROW_AHEAD(what="a new item", sync=facts.sync)
        case _:
            assert_never(facts.pair)


def _without_row(facts: RowFacts) -> Said:
    match facts.pair:
        case Arriving():
            return verdicts.ARRIVING()
        case Held(standing=Standing.IGNORED):
            return verdicts.ITEM_STAYS(why="`deletes` says so")
        case Held(standing=Standing.KEPT):
            return verdicts.ITEM_STAYS(why="a person said so")
        case Held() | NoItem() | None:
            return verdicts.ROW_AHEAD(what="the deletion of the item", sync=facts.sync)
        case _:
            assert_never(facts.pair)


def _names(fields: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(sorted(fields))
