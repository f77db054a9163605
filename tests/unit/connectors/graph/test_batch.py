"""Commands to a batch and its answers back, without IO."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from connectors.graph import batch
from connectors.graph.batch import Address, ListRefused, Member, Reading, Throttled, Unauthorized
from rowtide.change import Fields
from rowtide.deciding.answers import Changed, Deleted, Found, Item, Missing, NotApplied, Rejected, Unknown, Written
from rowtide.deciding.commands import Command, CreateItem, DeleteItem, LookAtItem, LookForKey, MoveItem, UpdateItem
from rowtide.deciding.records import ETag, ItemId, LeftItem, ListId


class Mapped:
    def wire_fields(self, fields: Fields) -> Fields:
        return fields

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        return {"Title": value if isinstance(value := wire.get("Title"), str) else None}

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        return {} if desired == base else desired


HERE = Address("host,s,w", "orders", "1")
LIST, ITEM_ID = ListId("L"), ItemId("7")
THREE, FOUR = ETag('"g,3"'), ETag('"g,4"')
CREATE = CreateItem(LIST, {"Title": "t"})
UPDATE = UpdateItem(LIST, ITEM_ID, THREE, {"Title": "t"})
DELETE = DeleteItem(LIST, ITEM_ID, THREE)
LOOK = LookAtItem(LIST, ITEM_ID)
SEARCH = LookForKey(LIST)


def read(command: Command, status: int, body: Any = None, **headers: str) -> Reading:
    return batch.to_reading(command, Member(status, headers, body), Mapped(), "APP")


def error(code: str, message: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def test_members() -> None:
    move = MoveItem(LIST, {"Title": "t", "Notes": None}, LeftItem(ListId("M"), ItemId("1")))
    commands: list[Command] = [move, UPDATE, DELETE, LOOK, SEARCH]
    made = [batch.to_member(n, c, HERE, Mapped()) for n, c in enumerate(commands)]
    items = "/sites/host,s,w/lists/L/items"
    assert [(one["method"], one["url"]) for one in made] == [
        ("POST", items),
        ("PATCH", f"{items}/7/fields"),
        ("DELETE", f"{items}/7"),
        ("GET", f"{items}/7?$expand=fields"),
        ("GET", f"{items}?$expand=fields&$filter=fields/RowtideKey%20eq%20'orders%3A1'"),
    ]
    assert made[0]["body"] == {"fields": {"Title": "t", "RowtideKey": "orders:1"}}
    assert made[1]["headers"]["If-Match"] == made[2]["headers"]["If-Match"] == '"g,3"'
    assert all("Content-Type" in one["headers"] for one in made if "body" in one)
    assert orjson.loads(batch.to_body(made))["requests"][1]["id"] == "1"


ITEM = {"id": "7", "eTag": '"g,4"', "fields": {"Title": "t", "RowtideKey": "orders:1"}}
SEEN = Item(ITEM_ID, FOUR, {"Title": "t"}, False, "orders:1")
BY_APP = {**ITEM, "lastModifiedBy": {"application": {"id": "app"}}}


@pytest.mark.parametrize(
    ("command", "status", "body", "expected"),
    [
        (CREATE, 201, ITEM, Written(ITEM_ID, FOUR)),
        (CREATE, 201, {"id": "7"}, Written(ITEM_ID, None)),
        (CREATE, 201, {"fields": {}}, Unknown("Graph's answer names no item")),
        (CREATE, 201, None, Unknown("Graph's answer cannot be read")),
        (UPDATE, 200, {"@odata.etag": '"g,4"', "Title": "t"}, Written(ITEM_ID, FOUR, {"Title": "t"})),
        (UPDATE, 200, {"Title": "t"}, Written(ITEM_ID, None, {"Title": "t"})),
        (DELETE, 204, None, Deleted()),
        (LOOK, 200, BY_APP, Found((Item(ITEM_ID, FOUR, {"Title": "t"}, True, "orders:1"),))),
        (LOOK, 200, {"id": "7"}, Unknown("Graph's answer cannot be read")),
        (SEARCH, 200, {"value": [ITEM]}, Found((SEEN,))),
        (SEARCH, 200, {"value": []}, Found(())),
        (SEARCH, 200, {"value": [], "@odata.nextLink": "more"}, Unknown("Graph's answer cannot be read")),
        (SEARCH, 200, {}, Unknown("Graph's answer cannot be read")),
        (UPDATE, 404, error("itemNotFound"), Missing()),
        (DELETE, 404, error("itemNotFound"), Missing()),
        (LOOK, 404, error("itemNotFound"), Missing()),
        (UPDATE, 412, error("resourceModified"), Changed()),
        (DELETE, 412, None, Changed()),
        (UPDATE, 409, error("resourceModified"), Changed()),
        (
            UPDATE,
            423,
            error("resourceLocked"),
            NotApplied(1.0, "SharePoint has locked the item (resourceLocked)", True),
        ),
        (CREATE, 409, error("resourceModified"), NotApplied(1.0, "Graph answered 409 resourceModified", of_row=True)),
        (CREATE, 503, error("serviceNotAvailable"), Unknown("Graph answered 503 serviceNotAvailable")),
        (CREATE, 504, None, Unknown("Graph answered 504")),
        (CREATE, 424, None, Unknown("Graph answered 424")),
        (CREATE, 302, None, Unknown("Graph answered 302")),
        (UPDATE, 401, error("InvalidAuthenticationToken"), Unauthorized()),
        (UPDATE, 400, error("invalidRequest", "no"), Rejected(400, "invalidRequest", "no")),
        (CREATE, 409, error("nameAlreadyExists", "x"), Rejected(409, "nameAlreadyExists", "x", duplicate=True)),
        (CREATE, 400, error("invalidRequest", "duplicate"), Rejected(400, "invalidRequest", "duplicate", True)),
        (UPDATE, 400, error("invalidRequest", "'t' is bad"), Rejected(400, "invalidRequest", "'t' is bad")),
    ],
)
def test_readings(command: Command, status: int, body: Any, expected: Reading) -> None:
    assert read(command, status, body) == expected


@pytest.mark.parametrize("command", [CREATE, UPDATE, DELETE, LOOK, SEARCH])
@pytest.mark.parametrize("status", [403, 507])
def test_what_blames_the_list(command: Command, status: int) -> None:
    assert read(command, status, error("code", "sentence")) == ListRefused(status, "code", "sentence")


@pytest.mark.parametrize(("command", "status"), [(CREATE, 404), (SEARCH, 404), (SEARCH, 400), (SEARCH, 422)])
def test_a_list_that_cannot_be_asked(command: Command, status: int) -> None:
    assert isinstance(read(command, status, error("code")), ListRefused)


def test_no_value_of_the_row_is_in_a_sentence() -> None:
    command = CreateItem(LIST, {"Title": "secret", "Amount": 5})
    reading = read(command, 400, error("invalidRequest", "The value 'secret' of field 'Title' is bad"))
    assert isinstance(reading, Rejected)
    assert reading.sentence == "The value '…' of field 'Title' is bad"


def test_throttled_until_the_later_of_both() -> None:
    assert read(CREATE, 429, None) == Throttled(None)
    assert read(CREATE, 429, None, **{"retry-after": "3", "ratelimit-reset": "11"}) == Throttled(11.0)
    assert read(CREATE, 429, None, **{"retry-after": "Wed, 21 Oct"}) == Throttled(None)


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (429, b"{}", Throttled(7.0)),
        (401, b"", Unauthorized()),
        (503, b"<html>", Unknown("Graph answered 503", of_row=False)),
        (200, b'{"respons', Unknown("Graph's answer cannot be read", of_row=False)),
        (200, b"", Unknown("Graph's answer cannot be read", of_row=False)),
        (400, orjson.dumps(error("BadRequest", "no")), Rejected(400, "BadRequest", "no")),
        (400, b"a proxy", NotApplied(60.0, "Graph answered 400 to a batch")),
        (404, orjson.dumps(error("itemNotFound")), NotApplied(60.0, "Graph answered 404 itemNotFound to a batch")),
    ],
)
def test_envelopes(status: int, content: bytes, expected: Reading) -> None:
    assert batch.to_envelope(status, {"retry-after": "7"}, content) == expected


def test_members_are_read_whatever_the_outer_status_is() -> None:
    content = orjson.dumps({"responses": [{"id": "1", "status": 204, "headers": {"X": "1"}}, {"id": "0"}, 3]})
    for status in (200, 424):
        assert batch.to_envelope(status, {}, content) == {"1": Member(204, {"x": "1"}, None)}
