"""Pages of a list's delta: what each answer says, without IO."""

from typing import Any

import orjson
import pytest

from connectors.graph.batch import Throttled, Unauthorized
from connectors.graph.client import NoAnswer, Reply
from connectors.graph.list_items import PageReading, TooLarge, TooOld, first_link, to_page, units_of
from rowtide.enumeration import ItemsPage
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphRefused, GraphUnavailable
from tests.unit.connectors.graph.test_batch import Mapped

NEXT, DELTA = {"@odata.nextLink": "https://graph/next"}, {"@odata.deltaLink": "https://graph/delta"}
APP = {"application": {"id": "app"}}


def read(value: list[Any], **links: str) -> PageReading:
    return answer(200, {"value": value, **links})


def answer(status: int, body: Any, **headers: str) -> PageReading:
    return to_page(Reply(status, headers, orjson.dumps(body), "t"), "list", Mapped(), "APP")


def entry(item_id: str, version: int, title: str = "t", **more: Any) -> dict[str, Any]:
    fields = {"Title": title, "RowtideKey": f"orders:{item_id}"}
    return {"id": item_id, "eTag": f'"g,{version}"', "fields": fields, **more}


def test_a_page_goes_on_or_ends_its_round() -> None:
    page = read([entry("1", 2, createdBy=APP), entry("2", 1)], **NEXT)
    assert isinstance(page, ItemsPage)
    assert [(one.item.item_id, one.item.row_key, one.made_by_app) for one in page.items] == [
        ("1", "orders:1", True), ("2", "orders:2", False),
    ]  # fmt: skip
    assert (page.link, page.is_last, page.deleted) == ("https://graph/next", False, [])
    last = read([], **DELTA)
    assert isinstance(last, ItemsPage)
    assert (last.link, last.is_last) == ("https://graph/delta", True)


def test_the_last_state_of_an_item_counts_whatever_came_before_it() -> None:
    page = read(
        [entry("1", 1), entry("1", 2, "newer"), entry("2", 1), {"id": 2, "deleted": {"state": "deleted"}}], **NEXT
    )
    assert isinstance(page, ItemsPage)
    assert [(one.item.item_id, one.item.fields["Title"]) for one in page.items] == [("1", "newer")]
    assert page.deleted == ["2"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (410, TooOld),
        (429, Throttled),
        (401, Unauthorized),
        (503, GraphUnavailable),
        (404, GraphRefused),
        (200, GraphUnavailable),
    ],
)
def test_an_answer_without_a_page(status: int, kind: type[object]) -> None:
    assert isinstance(answer(status, {"error": {"code": "c", "message": "m"}}), kind)


def test_a_page_that_is_too_large_is_told_from_one_that_did_not_come() -> None:
    refused = graph_errors.GRAPH_ANSWER_TOO_LARGE(megabytes=16)
    assert to_page(NoAnswer(refused), "list", Mapped(), "APP") == TooLarge(refused)
    assert "$top=12&" in first_link("host,s,w", "list", 12)


def test_an_entry_that_cannot_be_read_makes_no_page() -> None:
    """Left out it would count as missing."""
    assert isinstance(read([entry("1", 1), {"id": "2"}], **DELTA), GraphUnavailable)


def test_the_first_round_costs_two_units_a_page_and_later_ones_one() -> None:
    link = first_link("host,s,w", "list")
    assert "$top=200" in link
    assert [units_of(None, 0), units_of(link, 0), units_of(link, 1)] == [2, 2, 1]
