"""What an item, as it was seen, says about its row."""

from dataclasses import replace
from typing import Any

import pytest

from rowtide.deciding.answers import Item
from rowtide.deciding.records import Held, NoItem
from rowtide.enumeration import Compared, Differs, Equal, Kind, Moving, Verdict, judge
from rowtide.keys import ROWTIDE_KEY
from tests.unit.rowtide.deciding.rows import RULES, g, h, held, item

PAIR = held()
SEEN = Compared("1", PAIR, item(3), "orders:1", moved=False, young=False)


def said(**changes: Any) -> Verdict:
    return judge(replace(SEEN, **changes), RULES.mapping)


def kind(verdict: Verdict) -> Kind | None:
    return verdict.finding.kind if isinstance(verdict, Differs) else None


def test_an_item_that_holds_the_base_is_equal() -> None:
    assert said() == Equal(None)


def test_a_version_is_taken_where_only_it_moved() -> None:
    verdict = said(item=item(5))
    assert isinstance(verdict, Equal)
    assert verdict.pair is not None
    assert verdict.pair.item.etag == g(5)


def test_what_sharepoint_keeps_otherwise_is_no_edit() -> None:
    kept = held(kept={"a": "one"})
    assert said(pair=kept, item=item(3, a="one")) == Equal(None)


def test_an_edit_becomes_the_base_and_names_its_fields() -> None:
    verdict = said(item=item(5, b="theirs"))
    assert isinstance(verdict, Differs)
    assert (verdict.finding.kind, verdict.finding.fields) == (Kind.EDITED, ("b",))
    assert isinstance(verdict.pair, Held)
    assert (verdict.pair.item.base, verdict.pair.item.etag) == ({"a": "1", "b": "theirs"}, g(5))


@pytest.mark.parametrize("key", [None, "orders:2", "ORDERS:1"])
def test_a_lost_key_is_an_edit_of_a_field_of_the_base(key: str | None) -> None:
    verdict = said(item=replace(item(5), row_key=key))
    assert isinstance(verdict, Differs)
    assert (verdict.finding.kind, verdict.finding.fields) == (Kind.EDITED, (ROWTIDE_KEY,))
    assert isinstance(verdict.pair, Held)
    assert verdict.pair.item.base[ROWTIDE_KEY] == key


def test_a_missing_item_is_one_that_the_row_has_no_more() -> None:
    verdict = said(item=None)
    assert isinstance(verdict, Differs)
    assert verdict.finding.kind is Kind.MISSING
    assert verdict.pair == NoItem(PAIR.as_of, PAIR.item)


def test_only_an_enumeration_lowers_a_version() -> None:
    verdict = said(item=item(1))
    assert isinstance(verdict, Differs)
    assert verdict.finding.kind is Kind.OLDER
    assert isinstance(verdict.pair, Held)
    assert verdict.pair.item.etag == g(1)


@pytest.mark.parametrize("seen", [None, item(1)])
def test_graph_may_show_for_a_moment_what_was(seen: Any) -> None:
    assert said(item=seen, young=True) == Moving()
    assert kind(said(item=item(5, b="theirs"), young=True)) is Kind.EDITED


def test_nothing_is_said_of_a_pair_that_was_settled_since() -> None:
    assert said(item=None, moved=True) == Moving()
    assert said(item=item(5, b="theirs"), moved=True) == Moving()


@pytest.mark.parametrize("seen", [item(1), item(9, a="theirs")])
def test_another_item_with_the_number_is_not_the_rows(seen: Item) -> None:
    """A restore took the row's own away, and its number was given again."""
    other = replace(seen, etag=h(1), row_key=None)
    verdict = said(item=other)
    assert isinstance(verdict, Differs)
    assert verdict.finding.kind is Kind.MISSING
    assert verdict.pair == NoItem(PAIR.as_of, PAIR.item)
    assert said(item=other, young=True) == Moving()
