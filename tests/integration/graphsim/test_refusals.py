"""What is not modelled is refused in Graph's words: every route, with each wrong method, option and property."""

from typing import Any

import pytest

from graphsim.http.routes import ROUTES

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS")
OPTIONS = ("select", "expand", "filter", "orderby", "top", "search", "skiptoken", "token")
GRANTEE = {"application": {"id": "app-9"}}
OPERATIONS = [(route, method) for route, operations in ROUTES.items() for method in operations]


@pytest.fixture
def address(desk: Any) -> Any:
    """The address of a route, with a living thing in the place of each `*`."""
    desk.make_list()
    orders = f"/sites/{desk.site.id}/lists/{desk.lists['Orders']}"
    desk.add(orders, Amount=1)
    grant = {"roles": ["read"], "grantedToIdentities": [{"application": {"id": "app-9"}}]}
    names = {
        "sites": desk.site.id,
        "lists": desk.lists["Orders"],
        "items": "1",
        "columns": "Amount",
        "versions": "1.0",
        "applications": desk.app.object_id,
        "subscriptions": "00000000-0000-4000-8000-000000000000",
    }

    def to_address(route: str) -> str:
        parts = route.split("/")
        for n in range(1, len(parts), 2):
            if parts[n] == "*":
                owner = parts[n - 1]
                if owner == "permissions":
                    above = to_address("/".join(parts[:n]))
                    parts[n] = desk.call("POST", above, grant).body["id"]
                else:
                    parts[n] = names[owner]
        return "/" + "/".join(parts)

    return to_address


@pytest.mark.parametrize("route", ROUTES)
def test_each_wrong_method_is_refused(desk: Any, address: Any, route: str) -> None:
    for method in METHODS:
        if method in ROUTES[route]:
            continue
        reply = desk.call(method, address(route), {} if method != "GET" else None)
        assert reply.status == 405, (method, reply.body)
        assert reply.body["error"]["message"] == "Specified HTTP method is not allowed for the request target."
        assert set(reply.headers["Allow"].split(", ")) == set(ROUTES[route])


@pytest.mark.parametrize(("route", "method"), OPERATIONS)
def test_an_unknown_option_is_refused(desk: Any, address: Any, route: str, method: str) -> None:
    for option in ("$nonsense=1", "$count=true", "$skip=3", "nonsense=1", "$format=json"):
        reply = desk.call(method, f"{address(route)}?{option}")
        assert reply.status == 400, (option, reply.body)
        assert "not supported" in reply.body["error"]["message"]


@pytest.mark.parametrize(("route", "method"), OPERATIONS)
def test_a_misspelt_option_and_one_of_another_route_are_refused(
    desk: Any, address: Any, route: str, method: str
) -> None:
    options = ROUTES[route][method].options
    for name in OPTIONS:
        misspelt = name[:-2] + name[-1] + name[-2]
        wrong = [misspelt] if name in options else [name, misspelt]
        for option in wrong:
            reply = desk.call(method, f"{address(route)}?${option}=1")
            assert reply.status == 400, (option, reply.body)


@pytest.mark.parametrize("route", [route for route in ROUTES if "GET" in ROUTES[route]])
def test_an_unknown_name_in_select_and_expand_is_refused(desk: Any, address: Any, route: str) -> None:
    options = ROUTES[route]["GET"].options
    for option in {"select", "expand"} & options:
        reply = desk.call("GET", f"{address(route)}?${option}=nonsense")
        assert reply.status == 400, (option, reply.body)
        assert "nonsense" in reply.body["error"]["message"]


@pytest.mark.parametrize("option", ["select", "expand", "filter", "orderby"])
def test_the_words_for_what_a_list_item_lacks_are_recorded_ones(desk: Any, option: str) -> None:
    orders = desk.make_list()
    given = {"filter": "Tittle eq 'x'"}.get(option, "Tittle")
    _, code, message = desk.error("GET", f"{orders}/items?${option}={given}")
    assert code == "BadRequest"
    assert "Could not find a property named 'Tittle' on type 'microsoft.graph.listItem'." in message


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("$expand=fields(select=Amount", "unbalanced"),
        ("$expand=fields(sellect=Amount)", "is not valid in a $select or $expand expression"),
        ("$expand=fields($select=Amuont)", "Amuont"),
        ("$expand=contentType", "is not a navigation property"),
        ("$filter=Amount eq 1", "Could not find a property named 'Amount'"),
        ("$filter=fields/Amuont eq 1", "Amuont"),
        ("$filter=contains(fields/Title,'x')", "unknown function"),
        ("$filter=fields/Title like 'x'", "no operator"),
        ("$filter=fields/Title eq New", "Could not find a property named 'New'"),
        ("$filter=fields/Amount eq 1_000", "Could not find a property named '1_000'"),
        ("$filter=fields/Amount eq nan", "Could not find a property named 'nan'"),
        ("$filter=id gt --5", "Could not find a property named '--5'"),
        ("$orderby=fields/Amuont", "Amuont"),
        ("$top=0", "Invalid value"),
        ("$top=x", "Invalid value"),
        ("$skip=5", "Only URLs returned by the API can be used to page"),
        ("$top=1&$top=2", "more than once"),
        ("$top=%D9%A3", "Invalid value"),
        ("$$top=1", "is not supported"),
        ("$filter=", "cannot be empty"),
        ("$orderby=%20", "cannot be empty"),
        ("$top=", "cannot be empty"),
        ("$expand=fields($select=Title;$select=Amount)", "is not valid in a $select or $expand expression"),
        ("$filter=id eq '--5'", "'--5' is no id"),
        ("$filter=id gt 1.5", "'1.5' is no id"),
        ("$filter=createdDateTime gt 'tomorrow'", "'tomorrow' is no date"),
        ("$filter=fields/Modified lt 5", "'5' is no date"),
        ("$filter=fields/Modified lt 0001-01-01T00:00:00%2B14:00", "is no date"),
        ("$expand=" + ",".join(["fields"] * 20_000), "maxQueryStringLength"),
    ],
)
def test_a_query_that_cannot_be_carried_out_is_refused(desk: Any, query: str, part: str) -> None:
    orders = desk.make_list()
    reply = desk.call("GET", f"{orders}/items?{query}")
    assert reply.status == 400
    assert part in reply.body["error"]["message"]


def test_delta_takes_no_filter(desk: Any) -> None:
    orders = desk.make_list()
    status, _, message = desk.error("GET", orders + "/items/delta?$filter=fields/Amount eq 1")
    assert (status, "$filter" in message) == (400, True)


@pytest.mark.parametrize(
    "path", ["/nonsense", "/sites/root/drive", "/sites/root/lists/Orders/contentTypes", "/users", "/applications"]
)
def test_a_path_that_is_not_modelled_is_refused(desk: Any, path: str) -> None:
    desk.make_list()
    reply = desk.call("GET", path.replace("root", desk.site.id))
    assert (reply.status, reply.body["error"]["code"]) == (400, "BadRequest")
    assert path.split("/")[-1] in reply.body["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/lists", {"displayName": "X", "hiden": True}),
        ("POST", "/lists", {"displayName": "X", "list": {"tmplate": "genericList"}}),
        ("POST", "/lists", {"displayName": "X", "list": {"template": "events"}}),
        ("POST", "/lists", {"name": "X"}),
        ("PATCH", "/lists/Orders", {"displyName": "Y"}),
        ("POST", "/lists/Orders/columns", {"name": "X", "text": {}, "indxed": True}),
        ("POST", "/lists/Orders/columns", {"name": "X", "text": {"maxLenght": 3}}),
        ("POST", "/lists/Orders/columns", {"name": "X", "text": {}, "isSealed": True}),
        ("POST", "/lists/Orders/columns", {"name": "X", "text": {}, "validation": {"formula": "=TRUE"}}),
        ("POST", "/lists/Orders/columns", {"name": "X", "text": {}, "defaultValue": {"formula": "=TODAY()"}}),
        ("PATCH", "/lists/Orders/columns/Amount", {"indxed": True}),
        ("POST", "/lists/Orders/items", {"feilds": {"Amount": 1}}),
        ("POST", "/lists/Orders/items", {"fields": {"Amuont": 1}}),
        ("POST", "/lists/Orders/items", {"fields": {}, "contentType": {"id": "0x0120"}}),
        ("PATCH", "/lists/Orders/items/1", {"feilds": {"Amount": 2}}),
        ("PATCH", "/lists/Orders/items/1/fields", {"Amuont": 2}),
        ("POST", "/permissions", {"roles": ["read"], "grantedToo": {}}),
        ("POST", "/permissions", {"roles": [["read"]], "grantedToIdentities": [GRANTEE]}),
        ("POST", "/permissions", {"roles": ["read"], "grantedToIdentities": [GRANTEE, GRANTEE]}),
        ("POST", "/permissions", {"roles": ["read"], "grantedToIdentities": [GRANTEE], "grantedTo": GRANTEE}),
        ("POST", "/permissions", {"roles": ["read"], "grantedToIdentities": [{**GRANTEE, "user": {"id": "u"}}]}),
        ("POST", "/lists", {"displayName": "X", "columns": {}}),
        ("POST", "/lists", {"displayName": "X", "columns": 5}),
        ("POST", "/lists", {"displayName": "X", "description": 5}),
        ("POST", "/lists", {"displayName": "X", "list": []}),
        ("POST", "/lists/Orders/items/1/versions/1.0/restoreVersion", {"version": "1.0"}),
    ],
)
def test_an_unknown_property_refuses_the_whole_write(desk: Any, method: str, path: str, body: Any) -> None:
    orders = desk.make_list()
    desk.add(orders, Amount=1)
    address = f"/sites/{desk.site.id}{path}"
    status, code, _ = desk.error(method, address, body)
    assert (status, code) == (400, "invalidRequest")
    assert desk.get(orders + "/items/1?expand=fields")["fields"]["Amount"] == 1
    assert [lst.display_name for lst in desk.tenant.lists.by_id.values()] == ["Orders"]


def test_an_unknown_property_of_a_subscription_and_of_a_credential_is_refused(desk: Any) -> None:
    resource = f"sites/{desk.site.id}/lists/{desk.make_list().rpartition('/')[2]}"
    asked = {"changeType": "updated", "notificationUrl": "http://127.0.0.1:1/", "resource": resource}
    assert desk.error("POST", "/subscriptions", {**asked, "clientSate": "x"})[0] == 400
    assert desk.error("POST", "/subscriptions", {**asked, "includeResourceData": True})[0] == 400
    app = f"/applications/{desk.app.object_id}"
    assert desk.error("POST", app + "/addPassword", {"pasword": {}})[0] == 400
    assert desk.error("POST", app + "/addPassword", {"passwordCredential": [5]})[0] == 400
    assert desk.error("POST", app + "/addPassword", {"passwordCredential": {"endDate": "2027-01-01"}})[0] == 400


@pytest.mark.parametrize(
    "name", ["other.sharepoint.com", "other.sharepoint.com:/sites/ops", "other.sharepoint.com,1,2"]
)
def test_a_host_of_another_tenant_is_refused(desk: Any, name: str) -> None:
    reply = desk.call("GET", f"/sites/{name}")
    assert (reply.status, reply.body["error"]["code"]) == (400, "invalidRequest")
    assert reply.body["error"]["message"] == "Invalid hostname for this tenancy"
    assert desk.call("GET", "/sites/contoso.sharepoint.com:/sites/none").status == 404


def test_an_address_below_another_version_is_refused(running: Any) -> None:
    for path in ("/beta/sites/root", "/v2.0/sites/root", "/sites/root/lists"):
        for method in ("GET", "POST", "DELETE"):
            answer = running.client.request(method, running.ready["ui_url"].rstrip("/") + path)
            assert answer.status_code == 400, path
            assert (answer.json()["error"]["code"], answer.json()["error"]["message"]) == (
                "BadRequest",
                "Invalid version.",
            )
    signed_in = running.sign_in().client
    for path in ("", "/"):
        answer = signed_in.get(running.ready["base_url"] + path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


def test_a_batch_takes_no_other_method_option_or_property(running: Any) -> None:
    client = running.sign_in().client
    body = {"requests": [{"id": "1", "method": "GET", "url": "/sites/root"}]}
    assert client.post("/$batch", json=body).status_code == 200
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = client.request(method, "/$batch", json=body)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST"), method
    assert client.post("/$batch?$skip=3", json=body).status_code == 400
    answer = client.post("/$batch", json={**body, "atomicity": True})
    assert (answer.status_code, "'atomicity'" in answer.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/items?all=1&delted=1", None),
        ("GET", "/lists?site=x", None),
        ("POST", "/edit", {"list": "Orders", "feilds": {"Amount": 1}}),
        ("POST", "/recycle", {"list": "Orders", "item_id": "1", "action": "restor"}),
        ("POST", "/tokens", {"revok": True}),
        ("POST", "/switches", {"notify-loss": 2}),
        ("POST", "/switches", {"page-size": 0}),
        ("POST", "/switches", {"page-cap": 0.5}),
        ("POST", "/switches", {"threshold": "inf"}),
        ("POST", "/switches", {"index-limit": 1e300}),
        ("POST", "/clock", {"advance_s": "nan"}),
        ("POST", "/clock", {"advance_s": "inf"}),
        ("POST", "/clock", {"advance_s": -1}),
        ("POST", "/latency", {"latency_ms": "inf"}),
    ],
)
def test_the_control_side_refuses_names_that_it_does_not_read(running: Any, method: str, path: str, body: Any) -> None:
    running.sign_in()
    if not any(one["displayName"] == "Orders" for one in running.control.get("/lists").json()["lists"]):
        orders = running.make_list("Orders")
        running.client.post(orders + "/items", json={"fields": {}})
        running.client.delete(orders + "/items/1")
    answer = running.control.request(method, path, json=body)
    assert answer.status_code == 400, answer.text


def test_a_role_that_does_not_exist_is_refused(simulators: Any) -> None:
    with pytest.raises(AssertionError, match=r"there is no role 'Sites.ReadWriteAll'"):
        simulators("--roles", "app-1=Sites.Selected,Sites.ReadWriteAll")


def test_a_member_of_a_batch_with_an_unknown_key_is_refused(desk: Any) -> None:
    member = {"id": "1", "method": "GET", "url": f"/sites/{desk.site.id}"}
    assert desk.batch_answers([{**member, "depends_on": ["0"]}])["1"]["status"] == 200
    with pytest.raises(Exception, match="methd"):
        desk.batch([{**member, "methd": "GET"}])


@pytest.mark.parametrize(
    ("scope", "number"),
    [
        ("https://graph.microsoft.com/Sites.Read.All", 1002012),
        ("https://graph.microsoft.com/.default offline_access", 70011),
        ("https://contoso.sharepoint.com/.default", 500011),
        ("http://127.0.0.1/.default", 500011),
        ("https://graph.microsoft.com.example/.default", 500011),
    ],
)
def test_a_token_for_anything_but_graph_is_refused(running: Any, scope: str, number: int) -> None:
    form = {"client_id": "app-1", "client_secret": "s3cret", "grant_type": "client_credentials", "scope": scope}
    answer = running.authority("/any/oauth2/v2.0/token", form)
    assert (answer.status_code, answer.json()["error_codes"]) == (400, [number])


def test_a_token_for_graph_by_its_application_id_is_given(running: Any) -> None:
    form = {"client_id": "app-1", "client_secret": "s3cret", "grant_type": "client_credentials"}
    scope = "00000003-0000-0000-c000-000000000000/.default"
    assert running.authority("/any/oauth2/v2.0/token", {**form, "scope": scope}).status_code == 200


# --- what works instead ---------------------------------------------------------------------------------------------


def test_lists_are_filtered_by_their_title_only(desk: Any) -> None:
    desk.make_list()
    lists = f"/sites/{desk.site.id}/lists"
    assert [one["displayName"] for one in desk.get(f"{lists}?$filter=displayName eq 'Orders'")["value"]] == ["Orders"]
    for wanted in ("list/template eq 'genericList'", "name eq 'Orders'", "displayName eq 'x' or list/hidden eq false"):
        status, code, message = desk.error("GET", f"{lists}?$filter={wanted}")
        assert (status, code, message) == (400, "invalidRequest", "The provided filter statement is not supported")


def test_lists_are_selected_filtered_and_paged(make_desk: Any) -> None:
    desk = make_desk(list_filter="any")
    for title in ("Alpha", "Beta", "Gamma"):
        desk.make_list(title)
    lists = f"/sites/{desk.site.id}/lists"
    found = desk.get(f"{lists}?$select=id,displayName&$filter=startswith(displayName,'b') or list/template eq 'x'")
    assert [set(one) - {"@odata.etag"} for one in found["value"]] == [{"id", "displayName"}]
    assert found["value"][0]["displayName"] == "Beta"
    first = desk.get(f"{lists}?$top=2&$orderby=displayName desc")
    second = desk.get(first["@odata.nextLink"])
    assert [one["displayName"] for one in first["value"] + second["value"]] == ["Gamma", "Beta", "Alpha"]
    assert "@odata.nextLink" not in second


def test_columns_are_selected_filtered_and_paged(desk: Any) -> None:
    orders = desk.make_list()
    found = desk.get(f"{orders}/columns?$select=name,indexed&$filter=indexed eq true and name ne 'x'")
    assert found["value"] == [{"name": "RowtideKey", "indexed": True}]
    names, link = [], f"{orders}/columns?$top=5"
    while link:
        page = desk.get(link)
        assert len(page["value"]) <= 5
        names += [one["name"] for one in page["value"]]
        link = page.get("@odata.nextLink")
    assert names == [one["name"] for one in desk.get(f"{orders}/columns")["value"]]
    one = desk.get(f"{orders}/columns/Amount?$select=displayName,number")
    assert set(one) == {"displayName", "number"}
    expanded = desk.get(f"{orders}?expand=columns($select=name)&$select=id")
    assert {"name": "Amount"} in expanded["columns"]
    assert "displayName" not in expanded


def test_sites_are_selected(desk: Any) -> None:
    one = desk.get(f"/sites/{desk.site.id}?$select=id,webUrl")
    assert set(one) == {"@odata.context", "id", "webUrl"}
    found = desk.get("/sites?search=*&$select=name&$top=1")["value"]
    assert [set(one) - {"@odata.context"} for one in found] == [{"name"}]
