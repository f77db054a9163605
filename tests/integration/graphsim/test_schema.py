"""Sites, lists and columns: finding them, making them, names, limits, parallel schema changes."""

from typing import Any

import pytest

from graphsim.lists.columns import to_internal_name


def test_a_site_is_found_by_id_host_and_path(desk: Any) -> None:
    site = desk.get("/sites/contoso.sharepoint.com:/sites/ops")
    assert site["id"] == desk.site.id
    host, collection, web = site["id"].split(",")
    assert desk.get(f"/sites/{host}%2C{collection.upper()}%2C{web}")["id"] == site["id"]
    assert desk.get("/sites/contoso.sharepoint.com:/sites/ops:/lists")["value"] == []
    assert desk.get("/sites/contoso.sharepoint.com%3A%2Fsites%2Fops/lists")["value"] == []
    assert desk.error("GET", "/sites/contoso.sharepoint.com:/sites/none")[:2] == (404, "itemNotFound")
    assert len(desk.get("/sites?search=ops")["value"]) == 1


def test_a_list_is_found_by_id_and_title_and_shows_what_is_expanded(desk: Any) -> None:
    address = desk.make_list("Big Orders")
    desk.add(address, Title="x")
    by_title = desk.get(f"/sites/{desk.site.id}/lists/big%20orders?$expand=columns,items(expand=fields)")
    assert by_title["id"] == desk.lists["Big Orders"]
    assert by_title["items"][0]["fields"]["Title"] == "x"
    assert {"Title", "RowtideKey", "Modified", "Author"} <= {c["name"] for c in by_title["columns"]}
    assert [x["displayName"] for x in desk.get(f"/sites/{desk.site.id}/lists")["value"]] == ["Big Orders"]
    found = desk.get(f"/sites/{desk.site.id}/lists?$filter=displayName eq 'Big Orders'")["value"]
    assert len(found) == 1
    assert desk.error("GET", f"/sites/{desk.site.id}/lists/None")[:2] == (404, "itemNotFound")


def test_a_list_is_made_renamed_and_deleted(desk: Any) -> None:
    address = desk.make_list("Orders")
    lists = f"/sites/{desk.site.id}/lists"
    assert desk.error("POST", lists, {"displayName": "ORDERS"})[:2] == (409, "nameAlreadyExists")
    assert desk.error("POST", lists, {"displayName": ""})[0] == 400
    assert desk.error("POST", lists, {"displayName": "D", "list": {"template": "documentLibrary"}})[0] == 400
    assert desk.call("PATCH", address, {"displayName": "Sales"}).body["displayName"] == "Sales"
    assert desk.call("GET", lists + "/Sales").status == 200
    assert desk.call("GET", lists + "/Orders").status == 404
    assert desk.call("DELETE", address).status == 204
    assert desk.error("GET", address + "/items")[:2] == (404, "itemNotFound")
    desk.make_list("Sales")


@pytest.mark.parametrize(
    ("given", "facet", "kind"),
    [
        ({"text": {}}, "text", "text"),
        ({"text": {"allowMultipleLines": True}}, "text", "note"),
        ({"number": {"decimalPlaces": "two", "minimum": 1, "maximum": 9}}, "number", "number"),
        ({"currency": {"locale": "de-de"}}, "currency", "currency"),
        ({"boolean": {}}, "boolean", "boolean"),
        ({"dateTime": {"format": "dateOnly"}}, "dateTime", "dateTime"),
        ({"choice": {"choices": ["a"]}}, "choice", "choice"),
        ({"choice": {"choices": ["a"], "displayAs": "checkBoxes"}}, "choice", "multichoice"),
        ({"personOrGroup": {"allowMultipleSelection": True}}, "personOrGroup", "user"),
        ({"hyperlinkOrPicture": {"isPicture": False}}, "hyperlinkOrPicture", "url"),
        ({"calculated": {"formula": "=[Amount]*2"}}, "calculated", "calculated"),
    ],
)
def test_columns_of_every_kind(desk: Any, given: dict[str, Any], facet: str, kind: str) -> None:
    address = desk.make_list()
    made = desk.call("POST", address + "/columns", {"name": "Extra", **given})
    assert made.status == 201
    assert given[facet].items() <= made.body[facet].items()
    column = desk.tenant.lists.by_id[desk.lists["Orders"]].columns[made.body["id"]]
    assert column.type() == kind
    assert desk.get(f"{address}/columns/{made.body['id']}") == made.body
    assert desk.call("DELETE", f"{address}/columns/{made.body['id']}").status == 204
    assert "Extra" not in {c["name"] for c in desk.get(address + "/columns")["value"]}


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"name": "Extra"}, 400),
        ({"text": {}}, 400),
        ({"name": "Extra", "text": {}, "number": {}}, 400),
        ({"name": "Extra", "text": {"maxLength": 999}}, 400),
        ({"name": "Extra", "text": {"nope": 1}}, 400),
        ({"name": "Extra", "number": {"decimalPlaces": "six"}}, 400),
        ({"name": "Extra", "nope": {}, "text": {}}, 400),
        ({"name": "Extra", "text": {}, "enforceUniqueValues": True}, 400),
        ({"name": "Extra", "boolean": {}, "indexed": True, "enforceUniqueValues": True}, 400),
        ({"name": "Extra", "text": {"allowMultipleLines": True}, "indexed": True}, 400),
        ({"name": "Extra", "lookup": {"listId": "none", "columnName": "Title"}}, 400),
        ({"name": "amount", "text": {}}, 409),
        ({"name": "Title", "text": {}}, 409),
    ],
)
def test_columns_that_cannot_be(desk: Any, given: dict[str, Any], status: int) -> None:
    address = desk.make_list()
    assert desk.error("POST", address + "/columns", given)[0] == status


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("Amount", "Amount"),
        ("Order no", "Order_x0020_no"),
        ("1st", "_x0031_st"),
        ("a" * 40, "a" * 32),
        ("Größe", "Größe"),
        ("50%", "_x0035_0_x0025_"),
    ],
)
def test_internal_names_are_encoded_and_cut(asked: str, name: str) -> None:
    assert to_internal_name(asked) == name


def test_a_column_changes_but_its_name_and_type_do_not(desk: Any) -> None:
    address = desk.make_list("Orders", [{"name": "Status", "choice": {"choices": ["a"]}}])
    column = next(c for c in desk.get(address + "/columns")["value"] if c["name"] == "Status")
    url = f"{address}/columns/{column['id']}"
    changed = desk.call("PATCH", url, {"displayName": "State", "choice": {"choices": ["a", "b"]}, "indexed": True}).body
    assert (changed["displayName"], changed["choice"]["choices"], changed["indexed"]) == ("State", ["a", "b"], True)
    assert desk.error("PATCH", url, {"name": "Other"})[0] == 400
    assert desk.error("PATCH", url, {"text": {}})[0] == 400
    desk.add(address, Status="b")
    assert len(desk.get(f"{address}/items?$filter=fields/Status eq 'B'")["value"]) == 1


def test_uniqueness_and_indexes_cannot_come_too_late(make_desk: Any) -> None:
    desk = make_desk(threshold=1, **{"index-limit": 2})
    address = desk.make_list("Orders", [{"name": "A", "text": {}}, {"name": "B", "text": {}, "indexed": True}])
    ids = {c["name"]: c["id"] for c in desk.get(address + "/columns")["value"]}
    desk.add(address, B="x")
    assert desk.error("PATCH", f"{address}/columns/{ids['A']}", {"indexed": True})[2].endswith("2 indexed columns")
    desk.add(address, B=" X")
    desk.tenant.switches.index_limit = 20
    assert desk.error("PATCH", f"{address}/columns/{ids['A']}", {"indexed": True})[0] == 422
    assert desk.error("PATCH", f"{address}/columns/{ids['B']}", {"enforceUniqueValues": True})[0] == 400


def test_system_columns_stay(desk: Any) -> None:
    address = desk.make_list()
    modified = next(c for c in desk.get(address + "/columns")["value"] if c["name"] == "Modified")
    assert modified["readOnly"] is True
    assert desk.error("DELETE", f"{address}/columns/{modified['id']}")[0] == 400
    assert desk.error("PATCH", f"{address}/columns/{modified['id']}", {"indexed": True})[0] == 400


def test_parallel_schema_changes_of_a_list_conflict(desk: Any) -> None:
    address = desk.make_list()
    other = desk.make_list("Other")
    headers = {"Content-Type": "application/json"}
    requests = [
        {
            "id": str(n),
            "method": "POST",
            "url": a + "/columns",
            "headers": headers,
            "body": {"name": f"C{n}", "text": {}},
        }
        for n, a in enumerate([address, address, other])
    ]
    answers = desk.batch_answers(requests)
    assert sorted(answers[n]["status"] for n in "01") == [201, 409]
    assert answers["2"]["status"] == 201
    requests[1]["dependsOn"] = ["0"]
    requests[0]["body"]["name"], requests[1]["body"]["name"] = "D0", "D1"
    assert {a["status"] for a in desk.batch_answers(requests[:2]).values()} == {201}


def test_paths_that_do_not_exist(desk: Any) -> None:
    address = desk.make_list()
    assert desk.error("GET", "/nothing")[0] == 400
    assert desk.error("GET", address + "/nothing")[0] == 400
    assert desk.error("PUT", address + "/items")[0] == 405
    assert desk.error("POST", address + "/items", [1])[0] == 400
    assert desk.error("POST", address + "/items", {"fields": [1]})[0] == 400
    assert desk.error("POST", address + "/items", {"name2": 1})[0] == 400
