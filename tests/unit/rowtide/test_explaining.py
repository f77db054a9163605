"""The verdict on one row: what waits comes before what the values say, and nothing is guessed of a side not read."""

from dataclasses import replace
from typing import Any

import pytest

from rowtide import explaining
from rowtide.change import JsonValue
from rowtide.deciding.answers import Item
from rowtide.deciding.apply import RowAbsent, RowOutside, RowThere, RowUnmapped
from rowtide.deciding.records import Arriving, AsOf, ETag, Held, ItemId, ListId, NoItem, PairedItem, Standing
from rowtide.deciding.sides import FieldChange
from rowtide.explaining import EditThatWaits, ItemNotThere, ItemThere, OpenConflict, RowFacts, RowThatWaits, Unread
from rowtide.position import Position
from tests.unit.rowtide.deciding.rows import Mapped

HERE, ELSEWHERE = ListId("here"), ListId("elsewhere")
KEY = "tasks:7"


def pair(**base: JsonValue) -> Held:
    """A live pair that agreed on ``base``."""
    as_of = AsOf(Position(1, 0, 0), 0, 1)
    return Held(as_of, PairedItem(HERE, ItemId("3"), ETag('"a,2"'), base, {}))


def row(**fields: JsonValue) -> RowThere:
    return RowThere(HERE, fields)


def item(key: str | None = KEY, **fields: JsonValue) -> ItemThere:
    return ItemThere(HERE, Item(ItemId("3"), ETag('"a,2"'), fields, False, key))


REST = RowFacts("tasks", "7", KEY, True, row(a=1), item(a=1), pair(a=1), None, (), ())
WAITS = RowThatWaits("u", {"a": 2}, parked=False, leased=False, unanswered=False, why=None)
TOMBSTONE = NoItem(pair().as_of, pair().item)
EDIT = EditThatWaits(5, deleted=False, parked=False, why=None)


def verdict(**changed: Any) -> tuple[str, str]:
    """Code and sentence for a row at rest with these facts changed."""
    facts = replace(REST, **changed)
    said = explaining.verdict_of(facts, explaining.changes(facts, Mapped()), Mapped())
    return said.code, said.sentence


@pytest.mark.parametrize(
    ("changed", "code", "named"),
    [
        ({}, "in_sync", ""),
        # Nothing waits: the values tell.
        ({"row": row(a=2)}, "row_ahead", "a change of a"),
        ({"item": item(a=2)}, "item_ahead", "in a"),
        ({"item": item(a=2), "two_ways": False}, "item_edited", "in a"),
        ({"item": item(key=None, a=1), "two_ways": False}, "item_edited", "RowtideKey"),
        ({"row": row(a=2), "item": item(a=3)}, "both_ahead", "a to different values"),
        ({"row": row(a=2), "item": item(a=2)}, "in_sync", ""),
        ({"row": RowThere(ELSEWHERE, {"a": 1})}, "row_ahead", "another list"),
        ({"row": RowAbsent()}, "row_ahead", "the deletion"),
        ({"row": RowOutside()}, "row_ahead", "the deletion"),
        ({"row": RowAbsent(), "pair": replace(pair(), standing=Standing.IGNORED)}, "item_stays", "`deletes`"),
        ({"row": RowAbsent(), "pair": replace(pair(), standing=Standing.KEPT)}, "item_stays", "a person"),
        ({"row": RowUnmapped("too_long", "Title is too long")}, "unmapped", "Title is too long"),
        ({"item": ItemNotThere(True)}, "item_gone", ""),
        ({"item": ItemNotThere(True), "two_ways": False}, "item_missing", ""),
        ({"item": ItemNotThere(True), "pair": TOMBSTONE}, "row_ahead", "a new item"),
        ({"item": ItemNotThere(True), "pair": replace(TOMBSTONE, ignored=True)}, "row_stays", ""),
        ({"item": ItemNotThere(False), "pair": None}, "row_ahead", "a new item"),
        ({"row": RowAbsent(), "pair": Arriving(pair().as_of, pair().item)}, "arriving", ""),
        ({"row": RowAbsent(), "item": ItemNotThere(True), "pair": TOMBSTONE}, "both_gone", ""),
        ({"row": RowOutside(), "item": ItemNotThere(False), "pair": None}, "outside", ""),
        # A side that was not read.
        ({"row": Unread("away")}, "not_known", ""),
        ({"item": Unread("away"), "row": row(a=2)}, "not_known", ""),
        # Something waits, and says more than the values.
        ({"waits": WAITS, "row": row(a=2)}, "row_waits", "a change of a"),
        ({"waits": WAITS}, "row_waits", "needs no write"),
        ({"waits": WAITS, "row": RowThere(ELSEWHERE, {"a": 1})}, "row_waits", "another list"),
        ({"waits": WAITS, "row": RowAbsent()}, "row_waits", "the deletion"),
        ({"waits": replace(WAITS, op="d", fields=None)}, "row_waits", "the deletion"),
        ({"waits": WAITS, "row": Unread("away")}, "row_waits", "a change of a"),
        ({"waits": replace(WAITS, op="r", fields=None), "row": Unread("away")}, "row_waits", "a change of the row"),
        ({"waits": WAITS, "pair": None, "item": ItemNotThere(False)}, "row_waits", "a new item"),
        ({"waits": replace(WAITS, leased=True), "row": row(a=2)}, "in_flight", "a change of a"),
        ({"waits": replace(WAITS, unanswered=True)}, "unanswered", ""),
        ({"edits": [EDIT], "waits": WAITS}, "edit_waits", "version 5"),
        ({"edits": [replace(EDIT, deleted=True)]}, "deletion_waits", ""),
        # What waits for a person says most.
        ({"waits": replace(WAITS, parked=True, why="it is too long"), "edits": [EDIT]}, "row_parked", "too long"),
        ({"edits": [replace(EDIT, parked=True, why="few")], "waits": WAITS}, "edit_parked", "few"),
        ({"conflicts": [OpenConflict(9, ("a", "b"))], "edits": [EDIT]}, "conflict_open", "a, b, and conflict 9"),
        ({"conflicts": [OpenConflict(9, ())]}, "conflict_open", "the row, and conflict 9"),
    ],
)  # fmt: skip
def test_the_verdict(changed: dict[str, Any], code: str, named: str) -> None:
    found, sentence = verdict(**changed)
    assert (found, named in sentence) == (code, True), sentence


def test_each_side_is_compared_with_its_own_value_of_the_base() -> None:
    kept = replace(pair(a=" x "), item=replace(pair(a=" x ").item, kept={"a": "x"}))
    facts = replace(REST, pair=kept, row=row(a=" x "), item=item(a="x"))
    assert explaining.changes(facts, Mapped()) == {"a": FieldChange.NONE}


def test_nothing_is_compared_of_a_side_that_is_not_there() -> None:
    assert explaining.changes(replace(REST, row=Unread("away")), Mapped()) == {}


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({}, False),
        ({"row": Unread("away")}, True),
        ({"item": item()}, True),
        ({"pair": TOMBSTONE}, True),
        ({"waits": WAITS}, True),
        ({"edits": [EDIT]}, True),
    ],
)
def test_a_key_is_unknown_only_if_both_sides_were_read(changed: dict[str, Any], known: bool) -> None:
    nothing = replace(REST, row=RowAbsent(), item=ItemNotThere(False), pair=None)
    assert explaining.is_known(replace(nothing, **changed)) is known
