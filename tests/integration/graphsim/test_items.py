"""Items over the API: shapes, field kinds, eTags, errors, filters, paging, versions."""

import re
from typing import Any

import pytest

INVALID_TEXT = "Invalid text value. A text field contains invalid data. Please check the value and try again."
ALL_KINDS: list[dict[str, Any]] = [
    {"name": "Note", "text": {"allowMultipleLines": True}},
    {"name": "Rich", "text": {"allowMultipleLines": True, "textType": "richText"}},
    {"name": "Price", "currency": {"locale": "en-us"}},
    {"name": "Paid", "boolean": {}},
    {"name": "At", "dateTime": {}},
    {"name": "Day", "dateTime": {"format": "dateOnly"}},
    {"name": "Status", "choice": {"choices": ["open", "done"]}},
    {"name": "Tags", "choice": {"choices": ["a", "b", "c"], "displayAs": "checkBoxes"}},
    {"name": "Owner", "personOrGroup": {}},
    {"name": "Team", "personOrGroup": {"allowMultipleSelection": True}},
    {"name": "Link", "hyperlinkOrPicture": {}},
    {"name": "Sum", "calculated": {"formula": "=1"}},
]


@pytest.fixture
def orders(desk: Any) -> str:
    address: str = desk.make_list("Orders", ALL_KINDS)
    return address


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"Title": "x"}, {"Title": "x", "LinkTitle": "x"}),
        ({"Title": ""}, {"Title": None}),
        ({"Amount": 1.1 + 2.2}, {"Amount": 3.3}),
        ({"Amount": 2**60}, {"Amount": 1.15292150460685e18}),
        ({"Amount": 5}, {"Amount": 5}),
        ({"Note": "a\nb"}, {"Note": "a\nb"}),
        ({"Rich": "<b>x</b>"}, {"Rich": '<div class="ExternalClass"><b>x</b></div>'}),
        ({"Paid": False}, {"Paid": False}),
        ({"At": "2026-03-01T12:00:00.987+02:00"}, {"At": "2026-03-01T10:00:00Z"}),
        ({"At": "2026-03-01T12:00:00.1234567Z"}, {"At": "2026-03-01T12:00:00Z"}),
        ({"Day": "2026-03-01"}, {"Day": "2026-03-01T00:00:00Z"}),
        ({"Status": "open"}, {"Status": "open"}),
        (
            {"Tags@odata.type": "Collection(Edm.String)", "Tags": ["b", "a"]},
            {"Tags": ["b", "a"], "Tags@odata.type": "Collection(Edm.String)"},
        ),
        ({"OwnerLookupId": "1"}, {"OwnerLookupId": "1"}),
        (
            {"TeamLookupId@odata.type": "Collection(Edm.Int32)", "TeamLookupId": [1, 2]},
            {"TeamLookupId": [1, 2], "TeamLookupId@odata.type": "Collection(Edm.Int32)"},
        ),
        # What has a wrong shape is dropped without a word (#microsoft-graph-docs/1965).
        ({"Owner": "Pat"}, {"Owner": None, "OwnerLookupId": None}),
        ({"OwnerLookupId": "99"}, {"OwnerLookupId": None}),
        ({"OwnerLookupId": {"id": 1}}, {"OwnerLookupId": None}),
        ({"TeamLookupId": [1]}, {"TeamLookupId": None}),
        ({"@odata.type": "#microsoft.graph.fieldValueSet", "Title": "y"}, {"Title": "y"}),
    ],
)
def test_a_value_is_kept_in_its_wire_form(desk: Any, orders: str, fields: dict[str, Any], kept: dict[str, Any]) -> None:
    made = desk.add(orders, **fields)
    shown = desk.get(f"{orders}/items/{made['id']}?$expand=fields")["fields"]
    assert {name: shown.get(name) for name in kept} == kept


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"Nope": 1}, 400, "Field 'Nope' is not recognized"),
        ({"title": "x"}, 400, "Field 'title' is not recognized"),
        ({"Modified": "2026-01-01T00:00:00Z"}, 400, "Field 'Modified' is read-only"),
        ({"id": "4"}, 400, "Field 'id' is read-only"),
        ({"Title": 5}, 400, "Field 'Title' has an invalid value: expected a string"),
        ({"Title": "x" * 256}, 400, INVALID_TEXT),
        ({"Amount": "5"}, 400, "Field 'Amount' has an invalid value: expected a number"),
        ({"Amount": True}, 400, "Field 'Amount' has an invalid value: expected a number"),
        ({"Paid": "true"}, 400, "Field 'Paid' has an invalid value: expected true or false"),
        ({"At": "yesterday"}, 400, "Field 'At' has an invalid value: expected an ISO 8601 date and time"),
        ({"Status": "lost"}, 400, "Field 'Status' has no choice 'lost'"),
        ({"Tags": ["a"]}, 400, "Field 'Tags' needs the annotation 'Tags@odata.type': 'Collection(Edm.String)'"),
        ({"Sum": 3}, 400, "Field 'Sum' is of a type that cannot be written"),
        ({"Link": {"Url": "https://x.example"}}, 400, "Invalid request"),
        ({"OwnerLookupId": 1}, 500, "General exception while processing"),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    desk: Any, orders: str, fields: dict[str, Any], status: int, message: str
) -> None:
    assert desk.error("POST", orders + "/items", {"fields": fields})[::2] == (status, message)
    made = desk.add(orders, Title="kept")
    assert desk.error("PATCH", f"{orders}/items/{made['id']}/fields", fields)[::2] == (status, message)
    assert desk.get(f"{orders}/items/{made['id']}?$expand=fields")["eTag"] == made["eTag"]


def test_date_only_is_the_midnight_of_the_site(make_desk: Any) -> None:
    desk = make_desk(site_time_zone="America/New_York", post_date_echo="wrong")
    orders = desk.make_list("Orders", ALL_KINDS)
    winter, summer = desk.add(orders, Day="2026-01-10"), desk.add(orders, Day="2026-07-10T12:00:00Z")
    assert winter["fields"]["Day"] == "2026-01-09T05:00:00Z"
    assert desk.get(f"{orders}/items/{winter['id']}/fields")["Day"] == "2026-01-10T05:00:00Z"
    assert desk.get(f"{orders}/items/{summer['id']}/fields")["Day"] == "2026-07-10T04:00:00Z"


def test_null_clears_and_the_rest_stays(desk: Any, orders: str) -> None:
    made = desk.add(orders, Title="a", Amount=3)
    reply = desk.call("PATCH", f"{orders}/items/{made['id']}/fields", {"Amount": None})
    assert reply.status == 200
    assert "Amount" not in reply.body
    assert reply.body["Title"] == "a"
    assert reply.body["@odata.etag"] == made["eTag"].replace(",1", ",2")


def test_the_value_of_a_unique_column_is_taken_in_any_case_and_with_blanks(desk: Any, orders: str) -> None:
    desk.add(orders, RowtideKey="Straße 1")
    status, code, message = desk.error("POST", orders + "/items", {"fields": {"RowtideKey": "  STRASSE 1 "}})
    assert (status, code) == (400, "invalidRequest")
    assert message == "One or more fields with unique constraints already has the provided value."
    desk.tenant.switches.unique_wording = "named"
    _, _, message = desk.error("POST", orders + "/items", {"fields": {"RowtideKey": "straße 1"}})
    assert "duplicate value" in message
    other = desk.add(orders, RowtideKey="other")
    assert desk.error("PATCH", f"{orders}/items/{other['id']}/fields", {"RowtideKey": "straße 1"})[0] == 400
    assert desk.call("PATCH", f"{orders}/items/1/fields", {"RowtideKey": "STRASSE 1"}).status == 200
    desk.call("DELETE", f"{orders}/items/1")
    desk.add(orders, RowtideKey="straße 1")


def test_if_match_holds_back_a_write_over_a_newer_version(desk: Any, orders: str) -> None:
    made = desk.add(orders, Title="a")
    address = f"{orders}/items/{made['id']}"
    old = made["eTag"]
    new = desk.call("PATCH", address + "/fields", {"Title": "b"}, if_match=old).body["@odata.etag"]
    for method, url, body in [("PATCH", address + "/fields", {"Title": "c"}), ("DELETE", address, None)]:
        reply = desk.call(method, url, body, if_match=old)
        assert reply.status == 412
        assert reply.body["error"]["innerError"]["code"] == "entityTagDoesNotMatch"
    assert desk.error("PATCH", address + "/fields", {"Title": "c"}, if_match="7")[0] == 400
    assert desk.call("PATCH", address + "/fields", {"Title": "d"}, if_match="*").status == 200
    assert desk.call("DELETE", address, if_match=new).status == 412
    assert desk.call("DELETE", address, if_match=new.replace(",2", ",3").upper()).status == 204
    assert desk.error("DELETE", address)[:2] == (404, "itemNotFound")


def test_fields_come_only_when_expanded_and_as_selected(desk: Any, orders: str) -> None:
    desk.add(orders, Title="a", Amount=3, OwnerLookupId="1")
    assert "fields" not in desk.get(orders + "/items")["value"][0]
    page = desk.get(orders + "/items?%24expand=fields(%24select%3DTitle,Owner)")
    assert {k for k in page["value"][0]["fields"] if "@" not in k} == {"Title", "Owner"}
    assert page["value"][0]["fields"]["Owner"] == "System Account"


def test_more_than_twelve_lookups_cannot_be_selected(desk: Any) -> None:
    people = [{"name": f"P{n}", "personOrGroup": {}} for n in range(13)]
    orders = desk.make_list("Orders", people)
    names = [f"P{n}" for n in range(13)]
    assert desk.call("GET", f"{orders}/items?$expand=fields($select={','.join(names[:12])})").status == 200
    assert desk.error("GET", f"{orders}/items?$expand=fields($select={','.join(names)})")[0] == 400


def test_a_filter_needs_an_index_or_the_header_and_a_small_list(make_desk: Any) -> None:
    desk = make_desk(threshold=3)
    orders = desk.make_list()
    for n in range(3):
        desk.add(orders, RowtideKey=f"k{n}", Title=f"t{n}")
    prefer = "HonorNonIndexedQueriesWarningMayFailRandomly"
    found = desk.get(f"{orders}/items?$filter=fields/RowtideKey eq 'K1 '&$expand=fields")
    assert [item["fields"]["Title"] for item in found["value"]] == ["t1"]
    status, _, message = desk.error("GET", f"{orders}/items?$filter=fields/Title eq 't1'")
    assert status == 400
    assert message.startswith("Field 'Title' cannot be referenced in filter or orderby as it is not indexed.")
    assert len(desk.get(f"{orders}/items?$filter=fields/Title eq 't1'", prefer=prefer)["value"]) == 1
    desk.add(orders, RowtideKey="k3")
    reply = desk.call("GET", f"{orders}/items?$filter=fields/Title eq 't1'", prefer=prefer)
    assert (reply.status, reply.body["error"]["innerError"]["code"]) == (422, "tooManyResources")
    assert len(desk.get(f"{orders}/items?$filter=fields/RowtideKey eq 'k1'")["value"]) == 1


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("fields/Amount gt 1", ["c", "d"]),
        ("fields/Amount ge 1 and fields/Amount lt 3", ["b", "c"]),
        ("fields/Title eq 'a' or fields/Title eq 'D'", ["a", "d"]),
        ("not (fields/Title eq 'a')", ["b", "c", "d"]),
        ("fields/Title ne 'a'", ["b", "c", "d"]),
        ("startswith(fields/Title,'B')", ["b"]),
        ("fields/Paid eq true", ["d"]),
        ("fields/Paid eq 1", ["d"]),
        ("fields/Status eq null", ["b", "c", "d"]),
        ("fields/Title eq 'o''clock'", []),
        ("id eq 2", ["b"]),
        ("fields/Created ge '2020-01-01T00:00:00Z'", ["a", "b", "c", "d"]),
    ],
)
def test_filters(desk: Any, orders: str, text: str, titles: list[str]) -> None:
    desk.add(orders, Title="a", Amount=0, Status="open")
    desk.add(orders, Title="b", Amount=1)
    desk.add(orders, Title="c", Amount=2)
    desk.add(orders, Title="d", Amount=3, Paid=True)
    prefer = "HonorNonIndexedQueriesWarningMayFailRandomly"
    page = desk.get(f"{orders}/items?$expand=fields&$filter={text}", prefer=prefer)
    assert [item["fields"]["Title"] for item in page["value"]] == titles


@pytest.mark.parametrize("text", ["fields/Title", "fields/Title eq", "fields/Title like 'x'", "(fields/Title eq 'x'"])
def test_a_filter_that_cannot_be_read_is_refused(desk: Any, orders: str, text: str) -> None:
    assert desk.error("GET", f"{orders}/items?$filter={text}")[0] == 400


def test_pages_follow_each_other_and_end(desk: Any, orders: str) -> None:
    for n in range(7):
        desk.add(orders, RowtideKey=f"k{n}")
    url, seen = f"{orders}/items?$top=3&$expand=fields($select=RowtideKey)", []
    pages = 0
    while url:
        page = desk.get(url)
        pages += 1
        seen += [item["fields"]["RowtideKey"] for item in page["value"]]
        url = page.get("@odata.nextLink")
    assert seen == [f"k{n}" for n in range(7)]
    assert pages == 3
    ordered = desk.get(f"{orders}/items?$orderby=fields/RowtideKey desc&$top=2&$expand=fields")
    assert [item["fields"]["RowtideKey"] for item in ordered["value"]] == ["k6", "k5"]
    rest = desk.get(ordered["@odata.nextLink"])
    assert rest["value"][0]["fields"]["RowtideKey"] == "k4"
    assert desk.error("GET", f"{orders}/items?$skiptoken=zzz")[0] == 400
    assert desk.error("GET", f"{orders}/items?$top=0")[0] == 400


def test_versions_newest_first_and_restore_makes_a_new_one(desk: Any, orders: str) -> None:
    desk.add(orders, Title="one", Amount=1)
    desk.call("PATCH", orders + "/items/1/fields", {"Title": "two", "Amount": None, "Paid": True})
    desk.call("PATCH", orders + "/items/1/fields", {"Title": "three"})
    versions = desk.get(orders + "/items/1/versions?$expand=fields")["value"]
    assert [(v["id"], v["fields"]["Title"]) for v in versions] == [("3.0", "three"), ("2.0", "two"), ("1.0", "one")]
    assert desk.call("POST", orders + "/items/1/versions/1.0/restoreVersion").status == 204
    shown = desk.get(orders + "/items/1?$expand=fields")
    assert shown["eTag"].endswith(',4"')
    assert (shown["fields"]["Title"], shown["fields"]["Amount"], shown["fields"].get("Paid")) == ("one", 1, None)
    assert desk.error("GET", orders + "/items/1/versions/9.0")[0] == 404


def test_versions_are_kept_up_to_the_limit(make_desk: Any) -> None:
    desk = make_desk(version_limit=3)
    orders = desk.make_list()
    desk.add(orders, Title="0")
    for n in range(1, 6):
        desk.call("PATCH", orders + "/items/1/fields", {"Title": str(n)})
    assert [v["id"] for v in desk.get(orders + "/items/1/versions")["value"]] == ["6.0", "5.0", "4.0"]


def test_lookups_read_as_ids_and_as_text_when_selected(desk: Any) -> None:
    desk.make_list("Customers")
    customers = desk.lists["Customers"]
    desk.add(f"/sites/{desk.site.id}/lists/{customers}", Title="Ann")
    column = {"name": "Customer", "lookup": {"listId": customers, "columnName": "Title"}}
    many = {"name": "Also", "lookup": {"listId": customers, "columnName": "Title", "allowMultipleValues": True}}
    orders = desk.make_list("Orders", [column, many])
    fields = {"CustomerLookupId": "1", "AlsoLookupId@odata.type": "Collection(Edm.Int32)", "AlsoLookupId": [1]}
    desk.add(orders, **fields)
    assert "Customer" not in desk.get(orders + "/items/1/fields")
    selected = desk.get(orders + "/items/1?$expand=fields($select=Customer,CustomerLookupId,Also)")["fields"]
    assert (selected["Customer"], selected["CustomerLookupId"]) == ("Ann", "1")
    assert selected["Also"] == [{"LookupId": 1, "LookupValue": "Ann"}]


def test_a_text_column_of_the_same_name_with_id_breaks_a_person_column(desk: Any) -> None:
    orders = desk.make_list("Orders", [{"name": "Employee", "personOrGroup": {}}, {"name": "EmployeeId", "text": {}}])
    assert desk.error("POST", orders + "/items", {"fields": {"EmployeeLookupId": "1"}})[0] == 500


def test_ids_are_never_used_again(desk: Any, orders: str) -> None:
    desk.add(orders, Title="a")
    desk.call("DELETE", orders + "/items/1")
    assert desk.add(orders, Title="b")["id"] == "2"
    assert desk.error("GET", orders + "/items/1")[:2] == (404, "itemNotFound")
    assert desk.error("GET", orders + "/items/x")[:2] == (404, "itemNotFound")


def test_default_values_come_with_the_creation(desk: Any) -> None:
    columns = [{"name": "Level", "number": {}, "defaultValue": {"value": "3"}}]
    orders = desk.make_list("Orders", columns)
    assert desk.add(orders, Title="a")["fields"]["Level"] == 3
    assert "Level" not in desk.add(orders, Title="b", Level=None)["fields"]


@pytest.mark.parametrize(
    ("switches", "fields", "expected"),
    [
        ({"unknown-field": "ignore"}, {"Nope": 1}, 201),
        ({"empty-text": "kept"}, {"Title": ""}, 201),
        ({"choice-check": "off"}, {"Status": "lost"}, 201),
        ({"lookup-int": "accept"}, {"OwnerLookupId": 1}, 201),
        ({"lookup-missing": "reject"}, {"OwnerLookupId": "99"}, 400),
        ({"hyperlink-write": "accept"}, {"Link": {"Url": "https://x.example"}}, 201),
        ({"unique-error": "409"}, {"RowtideKey": "taken"}, 409),
    ],
)
def test_switches_of_what_only_a_tenant_can_tell(
    make_desk: Any, switches: dict[str, Any], fields: dict[str, Any], expected: int
) -> None:
    desk = make_desk(**switches)
    orders = desk.make_list("Orders", ALL_KINDS)
    desk.add(orders, RowtideKey="taken")
    assert desk.call("POST", orders + "/items", {"fields": fields}).status == expected


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("lower", r'"[0-9a-f-]{36},1"'),
        ("upper", r'"[0-9A-F-]{36},1"'),
        ("braces", r'"\{[0-9A-F-]{36}\},1"'),
        ("weak", r'W/"[0-9a-f-]{36},1"'),
    ],
)
def test_an_etag_has_one_of_four_forms(make_desk: Any, form: str, pattern: str) -> None:
    desk = make_desk(etag_form=form)
    orders = desk.make_list()
    made = desk.add(orders, Amount=1)
    assert re.fullmatch(pattern, made["eTag"])
    assert made["fields"]["@odata.etag"] == made["eTag"]
    changed = desk.call("PATCH", orders + "/items/1/fields", {"Amount": 2}, if_match=made["eTag"])
    assert changed.status == 200
    assert desk.call("PATCH", orders + "/items/1/fields", {"Amount": 3}, if_match=made["eTag"]).status == 412


def test_the_application_that_wrote_may_be_absent(make_desk: Any) -> None:
    desk = make_desk()
    assert set(desk.add(desk.make_list())["lastModifiedBy"]) == {"application", "user"}
    desk = make_desk(app_identity="absent")
    orders = desk.make_list()
    made = desk.add(orders)
    assert made["lastModifiedBy"] == made["createdBy"] == {"user": {"displayName": "SharePoint App"}}
    assert desk.get(orders + "/items/1/versions")["value"][0]["lastModifiedBy"] == made["createdBy"]
