"""Rows and items that were there before: what is alike, what belongs together, what both agree on."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rowtide.change import Fields, JsonValue
from rowtide.deciding.records import ETag, ItemId, ListId
from rowtide.keys import ROWTIDE_KEY
from rowtide.matching import Group, ItemPlace, Likeness, UnkeyedItem, join, likeness, match
from tests.unit.rowtide.deciding.rows import Mapped


def place(number: int) -> ItemPlace:
    """An item of the one list."""
    return ItemPlace(ListId("here"), ItemId(str(number)))


@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        (["ada@x"], ["ada@x"], True),
        ([" ada@x "], ["ada@x"], True),  # a list trims
        (["a\r\nb"], ["a\nb"], True),
        ([1], [1.0], True),
        ([0.1 + 0.2], [0.3], True),  # a list keeps 15 digits
        ([True], ["True"], True),
        (["ada@x"], ["Ada@x"], False),
        (["a", "b"], ["b", "a"], False),
        (["a,b", "c"], ["a", "b,c"], False),
    ],
)
def test_what_is_alike(left: list[JsonValue], right: list[JsonValue], alike: bool) -> None:
    assert (likeness(left) == likeness(right)) is alike


@pytest.mark.parametrize("values", [[None], [""], ["  "], ["a", None]])
def test_what_lacks_a_value_is_like_nothing(values: list[JsonValue]) -> None:
    assert likeness(values) is None


def test_one_row_and_one_item_make_a_pair_and_nothing_is_guessed() -> None:
    rows = {b"one": ["1"], b"rows": ["2", "3"], b"items": ["4"], b"alone": ["5"]}
    items = {b"one": [place(1)], b"rows": [place(2)], b"items": [place(4), place(3)], b"strange": [place(5)]}
    found = match(rows, items)
    assert found.pairs == {"1": place(1)}
    assert found.groups == [Group(("2", "3"), (place(2),)), Group(("4",), (place(3), place(4)))]


_LIKENESSES = some.sampled_from([b"a", b"b", b"c", b"d"])


@given(some.dictionaries(some.text(max_size=2), _LIKENESSES), some.dictionaries(some.integers(0, 9), _LIKENESSES))
def test_nobody_has_two_partners_and_what_is_ambiguous_has_none(
    rows: dict[str, Likeness], items: dict[int, Likeness]
) -> None:
    by_row = {like: [key for key, one in rows.items() if one == like] for like in rows.values()}
    by_item = {like: [place(number) for number, one in items.items() if one == like] for like in items.values()}
    found = match(by_row, by_item)
    assert max(Counter(found.pairs.values()).values(), default=1) == 1
    apart = {key for group in found.groups for key in group.keys}
    assert apart.isdisjoint(found.pairs)
    assert {place for group in found.groups for place in group.items}.isdisjoint(found.pairs.values())
    for key, at in found.pairs.items():
        assert rows[key] == items[int(at.item_id)]


# --- what both agree on ---------------------------------------------------------------------------------------------


def joined(row: Fields | None, item: Fields, two_ways: bool, push_only: frozenset[str] = frozenset()) -> Any:
    """The pair of a row and an item with these fields."""
    return join(row, UnkeyedItem(place(1), ETag('"a,3"'), item), two_ways, push_only, Mapped())


@pytest.mark.parametrize("two_ways", [False, True])
def test_what_both_say_alike_is_agreed_and_only_the_key_is_to_be_written(two_ways: bool) -> None:
    found = joined({"a": 1, "b": " x "}, {"a": 1, "b": "x"}, two_ways)
    assert not found.by_policy
    assert found.item.base == {"a": 1, "b": " x ", ROWTIDE_KEY: None}
    assert found.item.kept == {"b": "x"}
    assert found.item.etag == '"a,3"'


def test_in_a_sync_that_only_pushes_the_items_value_is_the_base_so_that_the_rows_is_written() -> None:
    found = joined({"a": 1, "b": 2}, {"a": 5, "b": None}, two_ways=False)
    assert (found.by_policy, found.item.base) == (False, {"a": 5, "b": None, ROWTIDE_KEY: None})


@pytest.mark.parametrize("item", [{"a": 5, "b": 2}, {"a": 1, "b": 2, "c": 3}])
def test_in_a_sync_of_two_ways_the_policy_decides_where_the_item_says_something_else(item: Fields) -> None:
    found = joined({"a": 1, "b": 2, "c": None}, {"c": None, **item}, two_ways=True)
    assert (found.by_policy, found.item.base) == (True, {})


def test_an_empty_field_of_the_item_takes_the_rows_value_without_a_word() -> None:
    found = joined({"a": 1, "b": 2}, {"a": 1, "b": None}, two_ways=True)
    assert (found.by_policy, found.item.base["b"]) == (False, None)


def test_a_field_that_goes_one_way_is_none_of_the_policys() -> None:
    found = joined({"a": 1, "id": 7}, {"a": 1, "id": 9}, True, frozenset({"id"}))
    assert (found.by_policy, found.item.base["id"]) == (False, 9)


def test_a_row_that_cannot_be_carried_keeps_its_item_as_it_is() -> None:
    found = joined(None, {"a": 5}, two_ways=True)
    assert (found.by_policy, found.item.base) == (False, {"a": 5, ROWTIDE_KEY: None})
