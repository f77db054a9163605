"""The published and recorded examples hold: shapes a client was written against, as the sources show them."""

from typing import Any

# An item recorded from a real tenant by an open-source connector's fixture.
RECORDED_ITEM = {
    "@odata.etag",
    "createdDateTime",
    "eTag",
    "id",
    "lastModifiedDateTime",
    "webUrl",
    "createdBy",
    "lastModifiedBy",
    "parentReference",
    "contentType",
    "fields@odata.context",
    "fields",
}
RECORDED_FIELDS = {
    "@odata.etag",
    "id",
    "Title",
    "LinkTitle",
    "ContentType",
    "Modified",
    "Created",
    "AuthorLookupId",
    "EditorLookupId",
    "_UIVersionString",
    "Attachments",
    "Edit",
    "LinkTitleNoMenu",
    "ItemChildCount",
    "FolderChildCount",
    "_ComplianceFlags",
    "_ComplianceTag",
    "_ComplianceTagWrittenTime",
    "_ComplianceTagUserId",
}


def test_an_item_has_what_a_recorded_one_has(running: Any) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("Recorded")
    simulator.order("edit", {"list": "Recorded", "fields": {"Title": "Hello world"}, "user": "Ann Person"})
    item = simulator.client.get(orders + "/items?$expand=fields").json()["value"][0]
    assert set(item) == RECORDED_ITEM
    assert set(item["fields"]) == RECORDED_FIELDS
    assert set(item["createdBy"]["user"]) == {"email", "id", "displayName"}
    assert set(item["parentReference"]) == {"id", "siteId"}
    assert item["fields"]["@odata.etag"] == item["eTag"] == item["@odata.etag"]
    assert item["webUrl"].endswith("/1_.000")
    site = simulator.client.get("/sites/contoso.sharepoint.com:/sites/demo").json()
    assert f"sites('{site['id'].replace(',', '%2C')}')/lists('" in item["fields@odata.context"]


def test_the_documented_creation_of_a_list(desk: Any) -> None:
    """Its column `Author` is beside SharePoint's own of that name, which so becomes `Author0`."""
    columns = [{"name": "Author", "text": {}}, {"name": "PageCount", "number": {}}]
    given = {"displayName": "Books", "columns": columns, "list": {"template": "genericList"}}
    made = desk.call("POST", f"/sites/{desk.site.id}/lists", given)
    assert (made.status, made.body["displayName"], made.body["list"]["template"]) == (201, "Books", "genericList")
    names = {c["name"]: c for c in desk.get(f"/sites/{desk.site.id}/lists/Books/columns")["value"]}
    assert names["Author0"]["text"]["maxLength"] == 255
    assert names["Author"]["readOnly"] is True


def test_the_documented_life_of_an_item(desk: Any) -> None:
    columns = [{"name": "Color", "text": {}}, {"name": "Weight", "number": {}}]
    widgets = desk.make_list("Widgets", columns)
    made = desk.call("POST", widgets + "/items", {"fields": {"Title": "Widget", "Color": "Purple", "Weight": 32}})
    assert made.status == 201
    patched = desk.call("PATCH", f"{widgets}/items/{made.body['id']}/fields", {"Color": "Fuchsia", "Weight": 934})
    assert patched.status == 200
    assert {k: patched.body[k] for k in ("Title", "Color", "Weight")} == {
        "Title": "Widget",
        "Color": "Fuchsia",
        "Weight": 934,
    }
    assert desk.call("DELETE", f"{widgets}/items/{made.body['id']}").status == 204


def test_the_documented_deleted_entry(desk: Any) -> None:
    orders = desk.make_list()
    link = desk.get(orders + "/items/delta?token=latest")["@odata.deltaLink"]
    desk.add(orders, Title="x")
    desk.call("DELETE", orders + "/items/1")
    (entry,) = desk.get(link)["value"]
    assert set(entry) == {"id", "parentReference", "contentType", "deleted"}
    assert entry["deleted"] == {"state": "deleted"}


def test_the_recorded_throttled_answer(make_desk: Any) -> None:
    desk = make_desk(tier="1000", window_s=0.06)
    orders = f"/sites/{desk.site.id}/lists"
    reply = desk.call("GET", orders)
    assert reply.status == 429
    error = reply.body["error"]
    assert (error["code"], error["message"]) == ("activityLimitReached", "The request has been throttled")
    assert error["innerError"]["code"] == "throttledRequest"
    assert {"date", "request-id", "client-request-id"} <= set(error["innerError"])
    assert reply.headers["Retry-After"]


def test_a_batch_of_four_megabytes_and_no_more(running: Any) -> None:
    simulator = running.sign_in()
    member = {"id": "1", "method": "POST", "url": "/x", "headers": {"Content-Type": "application/json"}}
    for size, status in ((3_900_000, 200), (4_300_000, 413)):
        answer = simulator.client.post("/$batch", json={"requests": [{**member, "body": {"a": "x" * size}}]})
        assert answer.status_code == status
