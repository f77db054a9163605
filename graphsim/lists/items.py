"""Items of a list: read, list, create, change, delete.

In: calls below `/sites/{s}/lists/{l}/items`, with the list already found. Out: replies. Rules: an eTag given in
`If-Match` is checked before anything is written; a POST is not idempotent; a property that is not modelled refuses the
whole write.
"""

from graphsim.http import errors
from graphsim.http.odata import read_options, split_names
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.lists.entity_types import LIST_ITEM
from graphsim.lists.list_store import ListItem, SimList
from graphsim.lists.queries import collection_page
from graphsim.lists.representations import CONTENT_TYPE, check_selected, fields_json, full_item, items_context
from graphsim.lists.values import ValueRules, to_changes, to_default
from graphsim.tenant import Tenant


def find_item(lst: SimList, item_id: str) -> ListItem:
    """The living item of an id; GraphError 404 otherwise."""
    item = lst.get(item_id)
    if item is None:
        raise errors.item_missing()
    return item


def get_item(tenant: Tenant, call: ApiCall, lst: SimList, item_id: str) -> ApiReply:
    """GET of one item, with its fields when they are expanded."""
    item = find_item(lst, item_id)
    options = read_options(call.query, LIST_ITEM)
    check_selected(lst, options.fields or (), tenant.switches)
    body = full_item(call.base, lst, item, options.fields, tenant.references.label, alone=True)
    return ApiReply(200, options.selected(body))


def get_fields(tenant: Tenant, call: ApiCall, lst: SimList, item_id: str) -> ApiReply:
    """GET of an item's fieldValueSet."""
    item = find_item(lst, item_id)
    select = split_names(call.query.get("select", ""))
    check_selected(lst, select, tenant.switches)
    return ApiReply(200, _entity_fields(tenant, call, lst, item, select))


def _entity_fields(
    tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem, select: tuple[str, ...] = ()
) -> JsonObject:
    context = f"{items_context(call.base, lst)}('{item.id}')/fields/$entity"
    return {"@odata.context": context, **fields_json(lst, item, select, tenant.references.label)}


def list_items(tenant: Tenant, call: ApiCall, lst: SimList) -> ApiReply:
    """GET of the collection: one page."""
    page = collection_page(tenant, call, lst, call.query)
    return ApiReply(200, page)


def create_item(tenant: Tenant, call: ApiCall, lst: SimList) -> ApiReply:
    """POST: a new item with the next id; the answer always carries its fields."""
    fields = _read_fields(call.object_body())
    values = to_changes(lst.names, fields, ValueRules(tenant.switches, tenant.references.exists))
    values = {k: v for k, v in values.items() if v is not None}
    for name, default in lst.defaults.items():
        if name not in values and name not in fields and default.get("value") is not None:
            given = to_default(lst.names[name], str(default["value"]), tenant.switches)
            values.update({} if given is None else {name: given})
    if lst.unique:
        lst.check_unique(values, 0, tenant.switches)
    item = lst.insert(values, call.app.principal, tenant.now())
    tenant.record_write(lst, item, "creates")
    body = full_item(call.base, lst, item, (), tenant.references.label, alone=True)
    if tenant.switches.post_date_echo == "wrong":
        _spoil_dates(lst, body["fields"])
    return ApiReply(201, body)


def _spoil_dates(lst: SimList, fields: JsonObject) -> None:
    """The echo of a date-only value may be a day off (#microsoft-graph-docs/13168)."""
    for column in lst.columns.values():
        value = fields.get(column.name)
        if column.facet == "dateTime" and column.settings["format"] == "dateOnly" and isinstance(value, str):
            day = max(1, int(value[8:10]) - 1)
            fields[column.name] = f"{value[:8]}{day:02d}{value[10:]}"


def change_fields(tenant: Tenant, call: ApiCall, lst: SimList, item_id: str) -> ApiReply:
    """PATCH .../fields answers with the fieldValueSet, not the item (docs21)."""
    item = find_item(lst, item_id)
    _change(tenant, call, lst, item, call.object_body())
    body = _entity_fields(tenant, call, lst, item)
    if not tenant.switches.patch_etag:
        del body["@odata.etag"]
    return ApiReply(200, body)


def _read_fields(given: JsonObject) -> JsonObject:
    """The fields of an item that a client sends; every list has the content type Item only."""
    errors.check_properties(given, {"fields", "contentType"}, "listItem")
    content_type = given.get("contentType")
    if content_type is not None and content_type not in ({"id": "0x01"}, CONTENT_TYPE, {"id": CONTENT_TYPE["id"]}):
        raise errors.invalid("The content type is not one of this list")
    fields = given.get("fields")
    if not isinstance(fields, dict | None):
        raise errors.invalid("'fields' must be an object")
    return fields or {}


def change_item(tenant: Tenant, call: ApiCall, lst: SimList, item_id: str) -> ApiReply:
    """PATCH of the item itself; the answer is the whole item."""
    item = find_item(lst, item_id)
    fields = _read_fields(call.object_body())
    _change(tenant, call, lst, item, fields)
    return ApiReply(200, full_item(call.base, lst, item, (), tenant.references.label, alone=True))


def _change(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem, fields: JsonObject) -> None:
    check_etag(tenant, call, lst.etag(item))
    changes = to_changes(lst.names, fields, ValueRules(tenant.switches, tenant.references.exists))
    if lst.unique:
        lst.check_unique(changes, item.id, tenant.switches)
    lst.update(item, changes, call.app.principal, tenant.now(), tenant.switches.version_limit)
    tenant.record_write(lst, item, "updates")


def delete_item(tenant: Tenant, call: ApiCall, lst: SimList, item_id: str) -> ApiReply:
    """DELETE: the item goes to the recycle bin."""
    item = find_item(lst, item_id)
    check_etag(tenant, call, lst.etag(item))
    lst.remove(item, call.app.principal, tenant.now())
    tenant.record_write(lst, item, "deletes")
    return ApiReply(204)


def check_etag(tenant: Tenant, call: ApiCall, current: str) -> None:
    """`If-Match` on PATCH and DELETE (docs21): the current eTag, or `*`."""
    given = call.headers.get("if-match")
    if given is None or given.strip() == "*":
        return
    given, current = given.strip().removeprefix("W/"), current.removeprefix("W/")
    if not (given.startswith('"') and given.endswith('"') and len(given) > 2):
        raise errors.invalid("The eTag is malformed", "malformedEntityTag")
    if given.lower() != current.lower():
        switches = tenant.switches
        raise errors.GraphError(
            int(switches.etag_status),
            switches.etag_code,
            "The resource has changed since the caller last read it; usually an eTag mismatch",
            inner="entityTagDoesNotMatch",
        )
