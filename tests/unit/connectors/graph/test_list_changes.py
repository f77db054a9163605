"""Pages of a list's changes: items as Graph gave them, who changed them, and what comes in place of a page."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from connectors.graph.client import NoAnswer, Reply
from connectors.graph.list_changes import to_changes
from connectors.graph.list_items import NoPage, TooLarge, TooOld
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphRefused, GraphUnavailable
from rowtide.list_changes import ChangesPage

LINK = "https://graph/delta?token=1"
ANNA = {"user": {"displayName": "Anna", "email": "anna@contoso.com", "id": "u"}}
APP = {"application": {"id": "APP", "displayName": "Rowtide"}, "user": {"displayName": "SharePoint App"}}


def answer(status: int, body: Any, link: str | None = LINK) -> ChangesPage | NoPage:
    return to_changes(Reply(status, {}, orjson.dumps(body), "t"), "list", link, {"Title", "Amount"}, "app")


def read(*value: dict[str, Any]) -> ChangesPage:
    page = answer(200, {"value": value, "@odata.deltaLink": LINK})
    assert isinstance(page, ChangesPage)
    return page


def entry(item_id: str, version: int = 1, **fields: Any) -> dict[str, Any]:
    return {"id": item_id, "eTag": f'"g,{version}"', "fields": fields, "lastModifiedBy": ANNA}


def test_fields_are_kept_as_they_came_and_no_others() -> None:
    page = read(entry("1", Title=" a ", Amount=1.50, Color="red", RowtideKey="orders:1", Edit="", id="1"))
    [item] = page.items
    assert item.fields == {"Title": " a ", "Amount": 1.5, "RowtideKey": "orders:1"}
    assert (item.item_key, item.etag) == ("orders:1", '"g,1"')


def test_who_changed_an_item_and_when() -> None:
    [item] = read({**entry("1"), "createdBy": APP, "lastModifiedDateTime": "2026-11-29T15:00:00Z"}).items
    assert (item.editor_name, item.editor_email, item.by_app, item.made_by_app) == (
        "Anna", "anna@contoso.com", False, True,
    )  # fmt: skip
    assert item.modified_at == datetime(2026, 11, 29, 15, tzinfo=UTC)
    [item] = read({**entry("1"), "lastModifiedBy": APP}).items
    assert (item.editor_name, item.editor_email, item.by_app, item.made_by_app) == ("Rowtide", None, True, False)


@pytest.mark.parametrize("odd", [None, "Anna", {}, {"user": None}, {"user": {"displayName": 7}}, {"device": {}}])
def test_an_editor_of_another_shape_is_nobody(odd: object) -> None:
    [item] = read({**entry("1"), "lastModifiedBy": odd, "lastModifiedDateTime": odd}).items
    assert (item.editor_name, item.editor_email, item.by_app, item.modified_at) == (None, None, False, None)


def test_the_last_state_of_an_item_counts() -> None:
    gone = {"id": 1, "deleted": {"state": "deleted"}}
    assert read(entry("1"), gone).deleted == ["1"]
    alive = read(gone, entry("1", 3))
    assert (alive.deleted, [one.etag for one in alive.items]) == ([], ['"g,3"'])


def test_only_changes_of_others_are_news() -> None:
    assert not read().shows_others
    assert not read({**entry("1"), "lastModifiedBy": APP}).shows_others
    assert read(entry("1")).shows_others
    assert read({"id": "1", "deleted": {}}).shows_others


@pytest.mark.parametrize("value", [{"id": "1", "fields": {}}, {"id": "1", "eTag": '"g,1"'}, {"eTag": '"g,1"'}, "1"])
def test_a_page_with_an_item_that_cannot_be_told_apart_is_none(value: Any) -> None:
    assert isinstance(answer(200, {"value": [value], "@odata.deltaLink": LINK}), GraphUnavailable)


def test_a_character_that_no_record_can_hold_does_not_hold_up_the_list() -> None:
    nested = [{"LookupId": 1, "LookupValue": "x\0"}, "y\0"]
    [item] = read(entry("1", Title="a\0b", RowtideKey="k\0", Amount=nested)).items
    assert (item.fields["Title"], item.item_key) == ("a\ufffdb", "k\ufffd")
    assert item.fields["Amount"] == [{"LookupId": 1, "LookupValue": "x\ufffd"}, "y\ufffd"]


def gone(inner_name: str, code: str) -> dict[str, Any]:
    return {"error": {"code": "resyncRequired", "message": "m", inner_name: {"code": code}}}


@pytest.mark.parametrize(
    ("body", "upload"),
    [
        (gone("innerError", "resyncChangesApplyDifferences"), False),
        (gone("innerError", "resyncChangesUploadDifferences"), True),
        (gone("innererror", "resyncUploadDifferences"), True),
        ({"error": {"code": "resyncRequired"}}, False),
        ({"error": "gone"}, False),
        (None, False),
    ],
)
def test_a_list_is_read_from_its_beginning(body: Any, upload: bool) -> None:
    assert answer(410, body) == TooOld(upload)


def test_a_link_that_graph_does_not_know_any_more_is_too_old() -> None:
    """The beginning of a list is none: there nothing would be won by asking again."""
    body = {"error": {"code": "invalidRequest", "message": "The provided delta token is not valid"}}
    assert answer(400, body) == TooOld()
    assert isinstance(answer(400, body, link=None), GraphRefused)


@pytest.mark.parametrize(("status", "kind"), [(404, GraphRefused), (403, GraphRefused), (503, GraphUnavailable)])
def test_a_refusal_deletes_nothing(status: int, kind: type[object]) -> None:
    assert isinstance(answer(status, {"error": {"code": "c", "message": "m"}}), kind)


def test_a_page_that_is_too_large() -> None:
    refused = graph_errors.GRAPH_ANSWER_TOO_LARGE(megabytes=16)
    assert to_changes(NoAnswer(refused), "list", LINK, set(), "app") == TooLarge(refused)
