"""Items of a list: read, list, create, change, delete.

In: calls below `/sites/{s}/lists/{l}/items`, with the list already found. Out: replies. Rules: an eTag given in
`If-Match` is checked before anything is written; a POST is not idempotent; a query by a column without index needs the
`Prefer` header and fails on a list over the threshold; links are opaque.
"""

import base64
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from graphsim.http import errors
from graphsim.http.odata import QueryOptions, read_options, to_query
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.lists.filters import Filter, parse_filter
from graphsim.lists.list_store import ListItem, SimList, to_index_key
from graphsim.lists.representations import check_selected, fields_json, full_item, items_context, system_fields
from graphsim.lists.values import ValueRules, to_changes
from graphsim.tenant import Tenant

_ALWAYS_INDEXED = frozenset({"id", "ID"})
_PREFER = "honornonindexedqueriesmayfailrandomly", "honornonindexedquerieswarningmayfailrandomly"


def find_item(lst: SimList, item_id: str) -> ListItem:
    """The living item of an id; GraphError 404 otherwise."""
    item = lst.get(item_id)
    if item is None:
        raise errors.item_missing()
    return item


def get_item(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem) -> ApiReply:
    """GET of one item, with its fields when they are expanded."""
    options = read_options(call.query)
    check_selected(lst, options.fields or (), tenant.switches.lookup_limit)
    body = full_item(call.base, lst, item, options.fields, tenant.references.label, alone=True)
    return ApiReply(200, _selected(body, options))


def get_fields(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem) -> ApiReply:
    """GET of an item's fieldValueSet."""
    options = read_options(call.query)
    check_selected(lst, options.select, tenant.switches.lookup_limit)
    return ApiReply(200, _entity_fields(tenant, call, lst, item, options.select))


def _entity_fields(
    tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem, select: tuple[str, ...] = ()
) -> JsonObject:
    context = f"{items_context(call.base, lst)}('{item.id}')/fields/$entity"
    return {"@odata.context": context, **fields_json(lst, item, select, tenant.references.label)}


def _selected(body: JsonObject, options: QueryOptions) -> JsonObject:
    if not options.select:
        return body
    keep = {*options.select, "fields"}
    return {k: v for k, v in body.items() if k in keep or "@" in k}


def list_items(tenant: Tenant, call: ApiCall, lst: SimList) -> ApiReply:
    """GET of the collection: one page."""
    page = collection_page(tenant, call, lst, call.query)
    return ApiReply(200, page)


def collection_page(tenant: Tenant, call: ApiCall, lst: SimList, query: Mapping[str, str]) -> JsonObject:
    """A page of items, and the link to the next; one item more than the page is looked for, to know there is one."""
    options = read_options(query)
    check_selected(lst, options.fields or (), tenant.switches.lookup_limit)
    size = options.page_size(tenant.switches.page_size, tenant.switches.page_cap)
    after = _read_skip(query.get("skiptoken"))
    if options.order_by:
        found = list(islice(_ordered(tenant, call, lst, options), after, after + size + 1))
        next_skip = after + size
    else:
        found = list(islice(_matching(tenant, call, lst, options, after), size + 1))
        next_skip = found[size - 1].id if len(found) > size else 0
    value = [
        _selected(full_item(call.base, lst, item, options.fields, tenant.references.label), options)
        for item in found[:size]
    ]
    suffix = "" if options.fields is None else "(fields())"
    page: JsonObject = {"@odata.context": items_context(call.base, lst) + suffix, "value": value}
    if len(found) > size:
        keep = ("expand", "select", "filter", "orderby", "top")
        link_query = to_query(query, keep, _skiptoken=_to_skip(next_skip))
        page["@odata.nextLink"] = f"{call.base}/sites/{lst.site_id}/lists/{lst.id}/items?{link_query}"
    return page


def _to_skip(number: int) -> str:
    return base64.urlsafe_b64encode(f"Paged=TRUE&p_ID={number}".encode()).decode().rstrip("=")


def _read_skip(text: str | None) -> int:
    if text is None:
        return 0
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        return int(decoded.removeprefix("Paged=TRUE&p_ID="))
    except ValueError:
        raise errors.invalid("The skip token is not valid", "invalidQueryOption") from None


def judged_values(item: ListItem) -> JsonObject:
    """What a filter sees: numbers as numbers, and the system's fields."""
    values = item.values()
    return {**values, **system_fields(item, values), "id": item.id, "ID": item.id}


def _matching(tenant: Tenant, call: ApiCall, lst: SimList, options: QueryOptions, after: int) -> Iterable[ListItem]:
    if options.filter is None:
        return lst.live_items(after)
    wanted = parse_filter(options.filter)
    _check_indexed(tenant, call, lst, wanted.fields)
    return (item for item in _candidates(lst, wanted, after) if wanted.test(judged_values(item)))


def _candidates(lst: SimList, wanted: Filter, after: int) -> Iterable[ListItem]:
    """Through an index when one equality of the filter has one."""
    for name, value in wanted.equals:
        if name in _ALWAYS_INDEXED:
            item = lst.get(str(value))
            return [item] if item is not None and item.id > after else []
        if name in lst.indexes and isinstance(value, str) and _is_text(lst, name):
            ids = lst.indexes[name].find(value)
            return [item for i in ids if i > after and (item := lst.rows[i - 1]) is not None]
    return lst.live_items(after)


def _is_text(lst: SimList, name: str) -> bool:
    column = lst.names.get(name)
    return column is not None and column.facet in {"text", "choice"}


def _ordered(tenant: Tenant, call: ApiCall, lst: SimList, options: QueryOptions) -> list[ListItem]:
    _check_indexed(tenant, call, lst, {name for name, _ in options.order_by})
    found = list(_matching(tenant, call, lst, options, 0))
    for name, descending in reversed(options.order_by):
        held = {item.id: judged_values(item).get(name) for item in found}
        found.sort(key=lambda item: _sort_key(held[item.id]), reverse=descending)
    return found


def _sort_key(value: Any) -> tuple[int, Any]:
    """Empty first, then numbers, then text without case."""
    if value is None:
        return (0, 0)
    return (1, value) if isinstance(value, int | float) else (2, str(to_index_key(value)))


def _check_indexed(tenant: Tenant, call: ApiCall, lst: SimList, names: Iterable[str]) -> None:
    for name in sorted(names):
        column = lst.names.get(name)
        if column is None and name not in _ALWAYS_INDEXED:
            raise errors.invalid(f"Invalid filter clause: the field '{name}' does not exist", "invalidQueryOption")
        if name in _ALWAYS_INDEXED or (column is not None and column.indexed):
            continue
        if not any(wish in call.headers.get("prefer", "").lower() for wish in _PREFER):
            raise errors.not_indexed(name)
        if lst.live > tenant.switches.threshold:
            raise errors.too_large()


def create_item(tenant: Tenant, call: ApiCall, lst: SimList) -> ApiReply:
    """POST: a new item with the next id; the answer always carries its fields."""
    given = call.object_body()
    fields = given.get("fields")
    if fields is None:
        fields = {}
    if not isinstance(fields, dict):
        raise errors.invalid("'fields' must be an object")
    if set(given) - {"fields", "contentType", "id", "name", "description"} - {k for k in given if "@" in k}:
        raise errors.invalid("The request body holds properties that cannot be written")
    values = to_changes(lst.names, fields, ValueRules(tenant.switches, tenant.references.exists))
    values = {k: v for k, v in values.items() if v is not None}
    for name, default in lst.defaults.items():
        if name not in values and name not in fields and default.get("value") is not None:
            values[name] = _default_value(lst, name, str(default["value"]))
    if lst.unique:
        lst.check_unique(values, 0, tenant.switches.unique_error)
    item = lst.insert(values, call.app.principal, tenant.now())
    tenant.record_write(lst, item, "creates")
    body = full_item(call.base, lst, item, (), tenant.references.label, alone=True)
    if tenant.switches.post_date_echo == "wrong":
        _spoil_dates(lst, body["fields"])
    return ApiReply(201, body)


def _default_value(lst: SimList, name: str, text: str) -> Any:
    facet = lst.names[name].facet
    if facet in {"number", "currency"}:
        return float(text) if not text.lstrip("-").isdecimal() else int(text)
    return text.lower() in {"1", "true"} if facet == "boolean" else text


def _spoil_dates(lst: SimList, fields: JsonObject) -> None:
    """The echo of a date-only value may be a day off (#microsoft-graph-docs/13168)."""
    for column in lst.columns.values():
        value = fields.get(column.name)
        if column.facet == "dateTime" and column.settings["format"] == "dateOnly" and isinstance(value, str):
            day = max(1, int(value[8:10]) - 1)
            fields[column.name] = f"{value[:8]}{day:02d}{value[10:]}"


def change_fields(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem) -> ApiReply:
    """PATCH .../fields answers with the fieldValueSet, not the item (docs21)."""
    _change(tenant, call, lst, item, call.object_body())
    body = _entity_fields(tenant, call, lst, item)
    if not tenant.switches.patch_etag:
        del body["@odata.etag"]
    return ApiReply(200, body)


def change_item(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem) -> ApiReply:
    """PATCH of the item itself; the answer is the whole item."""
    given = call.object_body()
    fields = given.get("fields", {})
    if not isinstance(fields, dict):
        raise errors.invalid("'fields' must be an object")
    _change(tenant, call, lst, item, fields)
    return ApiReply(200, full_item(call.base, lst, item, (), tenant.references.label, alone=True))


def _change(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem, fields: JsonObject) -> None:
    check_etag(tenant, call, lst.etag(item))
    changes = to_changes(lst.names, fields, ValueRules(tenant.switches, tenant.references.exists))
    if lst.unique:
        lst.check_unique(changes, item.id, tenant.switches.unique_error)
    lst.update(item, changes, call.app.principal, tenant.now(), tenant.switches.version_limit)
    tenant.record_write(lst, item, "updates")


def delete_item(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem) -> ApiReply:
    """DELETE: the item goes to the recycle bin."""
    check_etag(tenant, call, lst.etag(item))
    lst.remove(item, call.app.principal, tenant.now())
    tenant.record_write(lst, item, "deletes")
    return ApiReply(204)


def check_etag(tenant: Tenant, call: ApiCall, current: str) -> None:
    """`If-Match` on PATCH and DELETE (docs21): the current eTag, or `*`."""
    given = call.headers.get("if-match")
    if given is None or given.strip() == "*":
        return
    given = given.strip().removeprefix("W/")
    if not (given.startswith('"') and given.endswith('"') and len(given) > 2):
        raise errors.invalid("The eTag is malformed", "malformedEntityTag")
    if given.lower() != current:
        switches = tenant.switches
        raise errors.GraphError(
            int(switches.etag_status),
            switches.etag_code,
            "The resource has changed since the caller last read it; usually an eTag mismatch",
            inner="entityTagDoesNotMatch",
        )
