"""Values at the edges of what SharePoint holds, and what becomes of them with their column."""

from typing import Any

import pytest

COLUMNS: list[dict[str, Any]] = [
    {"name": "Note", "text": {"allowMultipleLines": True}},
    {"name": "At", "dateTime": {}},
    {"name": "Day", "dateTime": {"format": "dateOnly"}},
    {"name": "Free", "choice": {"choices": ["a"], "allowTextEntry": True}},
    {"name": "Many", "choice": {"choices": ["a"], "allowTextEntry": True, "displayAs": "checkBoxes"}},
]


@pytest.fixture
def orders(desk: Any) -> str:
    address: str = desk.make_list("Orders", COLUMNS)
    return address


@pytest.mark.parametrize(
    "fields",
    [
        {"At": "1899-12-31T23:59:59Z"},
        {"At": "1899-12-31T23:59:59+01:00"},
        {"At": "1900-01-01T00:00:00+14:00"},
        {"At": "8900-12-31T23:59:59-01:00"},
        {"At": "0001-01-01T00:00:00+14:00"},
        {"At": "9999-12-31T23:59:59-14:00"},
        {"At": "8901-01-01T00:00:00Z"},
        {"At": "9999-12-31T23:59:59Z"},
        {"Day": "8901-01-01"},
        {"Title": "a\x00b"},
        {"Title": "a\x0bb"},
        {"Title": "a\ufffeb"},
        {"Note": "a\x1fb"},
        {"Free": "a\x07"},
        {"Free": "two\nlines"},
        {"Free": "x" * 256},
        {"Many": ["a", "b\x07"], "Many@odata.type": "Collection(Edm.String)"},
        {"Many": ["x" * 256], "Many@odata.type": "Collection(Edm.String)"},
        {"Many": ["a"], "Many@odata.type": {"type": "Collection(Edm.String)"}},
        {"Title": "two\nlines"},
        {"Title": "two\rlines"},
        {"Title": "x" * 256},
        {"Title": "😀" * 128},
        {"Note": "x" * 64_000},
        {"Note": "😀" * 32_000},
        {"Amount": 10**400},
    ],
)
def test_a_value_that_sharepoint_does_not_hold_is_refused(desk: Any, orders: str, fields: dict[str, Any]) -> None:
    desk.add(orders, Title="before")
    for method, url, body in (
        ("POST", orders + "/items", {"fields": fields}),
        ("PATCH", orders + "/items/1/fields", fields),
    ):
        assert desk.error(method, url, body)[:2] == (400, "invalidRequest")
    [item] = desk.get(orders + "/items?expand=fields")["value"]
    assert item["eTag"].endswith(',1"')


@pytest.mark.parametrize(
    "fields",
    [
        {"At": "1900-01-01T00:00:00Z"},
        {"At": "8900-12-31T23:59:59Z"},
        {"Free": "no\u00a0break"},
        {"Free": "全角\u3000空白"},
        {"Free": "👨\u200d👩\u200d👧"},
        {"Title": "x" * 255},
        {"Title": "😀" * 127 + "x"},
        {"Title": "a\tb"},
        {"Note": "two\nlines\ttab"},
        {"Note": "x" * 63_999},
    ],
)
def test_a_value_at_the_edge_is_held(desk: Any, orders: str, fields: dict[str, Any]) -> None:
    made = desk.add(orders, **fields)
    assert {name: made["fields"][name] for name in fields} == fields


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ("1899-12-31T23:30:00-01:00", "1900-01-01T00:30:00Z"),
        ("8901-01-01T00:30:00+01:00", "8900-12-31T23:30:00Z"),
        ("2026-05-05T10:00:00.123456789Z", "2026-05-05T10:00:00Z"),
    ],
)
def test_the_range_of_dates_is_that_of_utc(desk: Any, orders: str, given: str, held: str) -> None:
    assert desk.add(orders, At=given)["fields"]["At"] == held


def test_texts_of_a_list_and_of_its_columns_have_no_control_characters(desk: Any, orders: str) -> None:
    lists, columns = f"/sites/{desk.site.id}/lists", orders + "/columns"
    for method, url, body in (
        ("POST", lists, {"displayName": "a\x07b"}),
        ("POST", lists, {"displayName": "X", "description": "a\x07b"}),
        ("POST", lists, {"displayName": "X", "columns": [{"name": "a\x07b", "text": {}}]}),
        ("PATCH", orders, {"displayName": "a\x07b"}),
        ("POST", columns, {"name": "N", "displayName": "a\x07b", "text": {}}),
        ("POST", columns, {"name": "N", "description": "a\x07b", "text": {}}),
        ("POST", columns, {"name": "N", "choice": {"choices": ["a\x07b"]}}),
        ("PATCH", columns + "/Free", {"choice": {"choices": ["a\x07b"]}}),
    ):
        assert desk.error(method, url, body)[:2] == (400, "invalidRequest"), body
    shown = desk.get(f"{lists}?$expand=columns")
    assert "\x07" not in str(shown)
    assert [one["displayName"] for one in shown["value"]] == ["Orders"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("fields/At eq '2026-05-05T10:00:00.000Z'", ["2"]),
        ("fields/At eq 2026-05-05T10:00:00Z", ["2"]),
        ("fields/At eq '2026-05-05T12:00:00+02:00'", ["2"]),
        ("fields/At gt '2026-05-05T10:00:00.000Z'", ["3"]),
        ("fields/At le 2026-05-05T10:00:00.000Z", ["1", "2"]),
        ("fields/At lt '2026-05-05'", ["1"]),
        ("fields/At eq null", ["4"]),
        ("fields/Day eq '2026-05-04T22:00:00Z'", ["1"]),
        ("fields/Day eq '2026-05-05'", ["1"]),
        ("createdDateTime ge '2020-01-01T00:00:00.000Z' and createdDateTime le 2030-01-01", ["1", "2", "3", "4"]),
    ],
)
def test_a_filter_reads_dates_as_values_do(make_desk: Any, query: str, ids: list[str]) -> None:
    desk = make_desk(site_time_zone="Europe/Berlin")
    orders = desk.make_list("Orders", COLUMNS)
    days = ["2026-05-04T10:00:00Z", "2026-05-05T10:00:00Z", "2026-05-05T10:00:01Z"]
    for n, at in enumerate(days):
        desk.add(orders, At=at, **({} if n else {"Day": "2026-05-05"}))
    desk.add(orders)
    prefer = "HonorNonIndexedQueriesWarningMayFailRandomly"
    plain = [
        one["id"] for one in desk.get(f"{orders}/items?$filter={query.replace('+', '%2B')}", prefer=prefer)["value"]
    ]
    assert plain == ids
    for name in ("At", "Day"):
        assert desk.call("PATCH", f"{orders}/columns/{name}", {"indexed": True}).status == 200
    found = desk.get(f"{orders}/items?$filter={query.replace('+', '%2B')}", prefer=prefer)["value"]
    assert [one["id"] for one in found] == ids


def test_a_line_break_in_one_line_may_be_held(make_desk: Any) -> None:
    desk = make_desk(line_breaks="keep")
    assert desk.add(desk.make_list(), Title="two\nlines")["fields"]["Title"] == "two\nlines"


@pytest.mark.parametrize(
    ("facet", "value"),
    [
        ("number", "abc"),
        ("number", ""),
        ("number", "1,5"),
        ("currency", "1 EUR"),
        ("boolean", "maybe"),
        ("dateTime", "tomorrow"),
        ("number", 5),
    ],
)
def test_a_default_must_be_of_the_columns_type(desk: Any, orders: str, facet: str, value: Any) -> None:
    column = {"name": "D", facet: {}, "defaultValue": {"value": value}}
    assert desk.error("POST", orders + "/columns", column)[0] == 400
    assert desk.add(orders, Title="works")["fields"]["Title"] == "works"


@pytest.mark.parametrize(
    ("facet", "value"),
    [
        ({"number": {"minimum": 1, "maximum": 5}}, "6"),
        ({"number": {}}, "1e999"),
        ({"dateTime": {}}, "9999-99-99"),
        ({"dateTime": {}}, "1899-12-31"),
        ({"text": {}}, "x" * 256),
        ({"text": {}}, "two\nlines"),
        ({"text": {"allowMultipleLines": True}}, "a\x0bb"),
        ({"choice": {"choices": ["a"]}}, "b"),
        ({"choice": {"choices": ["a"], "displayAs": "checkBoxes"}}, "b"),
        ({"personOrGroup": {}}, "somebody"),
    ],
)
def test_a_default_that_no_item_could_hold_is_refused(desk: Any, orders: str, facet: Any, value: str) -> None:
    column = {"name": "D", **facet, "defaultValue": {"value": value}}
    assert desk.error("POST", orders + "/columns", column)[:2] == (400, "invalidRequest")


def test_a_change_that_leaves_the_default_outside_is_refused(desk: Any, orders: str) -> None:
    column = {"name": "D", "number": {}, "defaultValue": {"value": "9"}}
    assert desk.call("POST", orders + "/columns", column).status == 201
    assert desk.error("PATCH", orders + "/columns/D", {"number": {"maximum": 5}})[0] == 400
    assert desk.call("PATCH", orders + "/columns/D", {"number": {"maximum": 9}}).status == 200


@pytest.mark.parametrize(
    ("facet", "value", "held"),
    [
        ({"number": {}}, "1.5", 1.5),
        ({"number": {}}, "1" * 300, 1.11111111111111e299),
        ({"currency": {}}, "-2", -2),
        ({"boolean": {}}, "1", True),
        ({"dateTime": {}}, "2027-01-01", "2027-01-01T00:00:00Z"),
        ({"text": {}}, "a", "a"),
        ({"choice": {"choices": ["a"]}}, "a", "a"),
        ({"choice": {"choices": ["a"], "displayAs": "checkBoxes"}}, "a", ["a"]),
    ],
)
def test_a_good_default_is_given_to_new_items(desk: Any, orders: str, facet: Any, value: str, held: Any) -> None:
    column = {"name": "D", **facet, "defaultValue": {"value": value}}
    assert desk.call("POST", orders + "/columns", column).status == 201
    assert desk.add(orders)["fields"]["D"] == held


def test_a_lookup_is_not_moved_to_a_list_that_does_not_exist(desk: Any, orders: str) -> None:
    column = {"name": "Link", "lookup": {"listId": desk.lists["Orders"], "columnName": "Title"}}
    assert desk.call("POST", orders + "/columns", column).status == 201
    assert desk.error("PATCH", orders + "/columns/Link", {"lookup": {"listId": "none"}})[0] == 400
    assert desk.error("PATCH", orders + "/columns/Link", {"lookup": {"columnName": "None"}})[0] == 400


@pytest.mark.parametrize("setting", [{"minimum": "x"}, {"maximum": True}, {"decimalPlaces": 5}])
def test_a_setting_of_the_wrong_type_is_refused(desk: Any, orders: str, setting: dict[str, Any]) -> None:
    assert desk.error("POST", orders + "/columns", {"name": "N", "number": setting})[0] == 400


def test_a_deleted_column_takes_its_values_along(desk: Any, orders: str) -> None:
    column = {"name": "Colour", "text": {}, "indexed": True}
    for generation in range(3):
        assert desk.call("POST", orders + "/columns", column).status == 201
        shown = desk.get(orders + "/items?expand=fields")["value"]
        assert all("Colour" not in item["fields"] for item in shown)
        assert desk.get(orders + "/items?$filter=fields/Colour eq 'red'")["value"] == []
        desk.add(orders, Colour="red")
        assert len(desk.get(orders + "/items?$filter=fields/Colour eq 'red'")["value"]) == 1
        desk.call("PATCH", f"{orders}/items/{generation + 1}/fields", {"Colour": "blue"})
        assert desk.call("DELETE", orders + "/columns/Colour").status == 204
    assert desk.call("POST", orders + "/columns", column).status == 201
    for item in desk.get(orders + "/items?expand=fields")["value"]:
        versions = desk.get(f"{orders}/items/{item['id']}/versions?expand=fields")["value"]
        assert all("Colour" not in version["fields"] for version in versions)
    assert desk.get(orders + "/items/delta?$expand=fields($select=Colour)")["value"][0]["fields"].keys() <= {
        "@odata.etag"
    }


def test_a_re_created_column_survives_a_restart(simulators: Any, tmp_path: Any) -> None:
    data = ("--tier", "off", "--data", str(tmp_path / "state.db"), "--switch", "schema-ms=0")
    first = simulators(*data).sign_in()
    orders = first.make_list()
    for value in ("old", "new"):
        assert first.client.post(orders + "/columns", json={"name": "Colour", "text": {}}).status_code == 201
        first.client.post(orders + "/items", json={"fields": {"Colour": value}})
        if value == "old":
            assert first.client.delete(orders + "/columns/Colour").status_code == 204
    assert first.stop() == 0
    second = simulators(*data).sign_in()
    shown = second.client.get(orders + "/items?$expand=fields").json()["value"]
    assert [item["fields"].get("Colour") for item in shown] == [None, "new"]


# --- long lists -----------------------------------------------------------------------------------------------------


@pytest.fixture
def long_list(make_desk: Any) -> Any:
    """A desk with a list that is longer than its threshold; `Group` has two items a value, `Half` half of the list."""
    desk = make_desk(threshold=10)
    extra = [{"name": "Group", "text": {}, "indexed": True}, {"name": "Half", "number": {}, "indexed": True}]
    desk.address = desk.make_list("Orders", extra)
    for n in range(30):
        group = {} if n < 3 else {"Group": f"g{n // 2:02d}"}
        desk.add(desk.address, RowtideKey=f"k{n:02d}", Half=n % 2, **group)
    return desk


def _ids(desk: Any, query: str) -> list[int]:
    """The ids of all pages of a query, in order."""
    found, link = [], f"{desk.address}/items?{query}"
    while link:
        page = desk.get(link)
        found += [int(item["id"]) for item in page["value"]]
        link = page.get("@odata.nextLink")
    return found


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("fields/Group eq 'G05'", [11, 12]),
        ("fields/Group eq 'g05' and fields/Half eq 1", [12]),
        ("fields/Group eq null", [1, 2, 3]),
        ("fields/Group gt 'g12'", [27, 28, 29, 30]),
        ("fields/Group ge 'g13' and fields/Group lt 'g14'", [27, 28]),
        ("fields/RowtideKey le 'k02'", [1, 2, 3]),
        ("startswith(fields/RowtideKey,'K1')", list(range(11, 21))),
        ("id gt 25", [26, 27, 28, 29, 30]),
        ("fields/id le 2", [1, 2]),
    ],
)
def test_one_index_serves_a_filter_of_a_long_list(long_list: Any, query: str, ids: list[int]) -> None:
    assert _ids(long_list, f"$filter={query}&$top=4") == ids


@pytest.mark.parametrize(
    "query",
    [
        "fields/Half eq 1",
        "fields/Half eq 1 and fields/Group eq 'g05'",
        "fields/Half gt 0",
        "fields/Group ne 'g05'",
        "fields/Group eq 'g05' or fields/Group eq 'g06'",
        "not (fields/Group eq 'g05')",
        "startswith(fields/RowtideKey,'k')",
        "id gt 2",
    ],
)
def test_a_filter_whose_index_matches_too_many_is_refused(long_list: Any, query: str) -> None:
    reply = long_list.call("GET", f"{long_list.address}/items?$filter={query}")
    assert (reply.status, reply.body["error"]["innerError"]["code"]) == (422, "tooManyResources")


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        ("fields/RowtideKey desc", list(range(30, 0, -1))),
        ("fields/Half", list(range(1, 30, 2)) + list(range(2, 31, 2))),
        ("fields/Group", list(range(1, 31))),
        ("fields/Group desc", [n for pair in range(29, 4, -2) for n in (pair, pair + 1)] + [4, 1, 2, 3]),
        ("id", list(range(1, 31))),
    ],
)
def test_a_long_list_is_ordered_by_an_index(long_list: Any, order: str, ids: list[int]) -> None:
    assert _ids(long_list, f"$orderby={order}&$top=7") == ids


def test_a_long_list_is_not_ordered_by_two_fields(long_list: Any) -> None:
    reply = long_list.call("GET", f"{long_list.address}/items?$orderby=fields/Half,fields/Group")
    assert reply.status == 422


def test_each_page_may_be_ordered_by_itself(long_list: Any) -> None:
    long_list.tenant.switches.orderby_paging = "page"
    assert _ids(long_list, "$orderby=fields/RowtideKey desc&$top=10")[:11] == [*range(10, 0, -1), 20]


def test_a_filter_may_lag(make_desk: Any) -> None:
    desk = make_desk(filter_lag_s=30)
    orders = desk.make_list()
    desk.add(orders, RowtideKey="k")
    query = orders + "/items?$filter=fields/RowtideKey eq 'k'"
    assert desk.get(query)["value"] == []
    assert len(desk.get(orders + "/items")["value"]) == 1
    desk.time += 31
    assert len(desk.get(query)["value"]) == 1
