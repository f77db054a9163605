"""Lists and columns over the API: read, filter, page.

In: GET calls on `/lists`, `/lists/{list}`, `/columns` and `/columns/{column}`. Out: replies. Rule: a filter or an order
names properties of the entity itself; the links of pages carry the number of entities passed.
"""

import base64
from collections.abc import Iterable
from datetime import UTC
from typing import Any

from graphsim.http import errors
from graphsim.http.odata import EntityType, check_options, read_options, to_query
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.lists.columns import ColumnDefinition
from graphsim.lists.entity_types import COLUMN, LIST
from graphsim.lists.filters import bad_filter, parse_filter, read_date
from graphsim.lists.list_store import SimList
from graphsim.lists.queries import collection_page
from graphsim.lists.representations import list_json
from graphsim.lists.sites import Site
from graphsim.lists.value_index import to_index_key
from graphsim.tenant import Tenant

_LIST_PATHS = frozenset(
    {"id", "name", "displayName", "description", "webUrl", "createdDateTime", "lastModifiedDateTime"}
    | {"list/template", "list/hidden"}
)
_DATE_PATHS = frozenset({"createdDateTime", "lastModifiedDateTime"})
_LIST_FILTERS = frozenset({"displayName"})
_COLUMN_PATHS = frozenset(
    {"id", "name", "displayName", "description", "columnGroup", "hidden", "readOnly", "required", "indexed"}
    | {"enforceUniqueValues"}
)
_KEEP = ("expand", "select", "filter", "orderby", "top")


def list_lists(tenant: Tenant, call: ApiCall, site: Site) -> ApiReply:
    """GET of a site's lists, by title."""
    found = sorted(tenant.lists.of_site(site), key=lambda lst: lst.display_name.casefold())
    filters = _LIST_FILTERS if tenant.switches.list_filter == "displayName" else _LIST_PATHS
    address = f"sites/{site.id}/lists"
    chosen, link = _choose(call, [list_json(lst) for lst in found], LIST, _LIST_PATHS, address, filters)
    by_id = {lst.id: lst for lst in found}
    value = [_show_list(tenant, call, by_id[entity["id"]]) for entity in chosen]
    return ApiReply(200, {"@odata.context": f"{call.base}/$metadata#sites('{site.id}')/lists", "value": value, **link})


def get_list(tenant: Tenant, call: ApiCall, lst: SimList) -> ApiReply:
    """GET of one list."""
    body = {"@odata.context": f"{call.base}/$metadata#sites('{lst.site_id}')/lists/$entity"}
    return ApiReply(200, {**body, **_show_list(tenant, call, lst)})


def _show_list(tenant: Tenant, call: ApiCall, lst: SimList) -> JsonObject:
    """A list with what the call selects and expands."""
    options = read_options(call.query, LIST)
    out = options.selected(list_json(lst))
    for name, nested in options.expand.items():
        if name == "columns":
            inner = read_options(nested, COLUMN)
            out["columns"] = [inner.selected(column.to_json()) for column in _columns(lst)]
        else:
            page = collection_page(tenant, call, lst, nested)
            out["items"] = page["value"]
            if "@odata.nextLink" in page:
                out["items@odata.nextLink"] = page["@odata.nextLink"]
    return out


def list_columns(call: ApiCall, lst: SimList) -> ApiReply:
    """GET of a list's columns, SharePoint's own included."""
    options = read_options(call.query, COLUMN)
    path = f"sites/{lst.site_id}/lists/{lst.id}/columns"
    chosen, link = _choose(call, [column.to_json() for column in _columns(lst)], COLUMN, _COLUMN_PATHS, path)
    context = f"{call.base}/$metadata#sites('{lst.site_id}')/lists('{lst.id}')/columns"
    return ApiReply(200, {"@odata.context": context, "value": [options.selected(one) for one in chosen], **link})


def get_column(call: ApiCall, lst: SimList, name: str) -> ApiReply:
    """GET of one column."""
    return ApiReply(200, read_options(call.query, COLUMN).selected(find_column(lst, name).to_json()))


def find_column(lst: SimList, text: str) -> ColumnDefinition:
    """The column of an id or an internal name; GraphError 404 otherwise."""
    column = lst.columns.get(text.lower()) or next((c for c in lst.columns.values() if c.name == text), None)
    if column is None:
        raise errors.not_found("The specified column was not found")
    return column


def _columns(lst: SimList) -> Iterable[ColumnDefinition]:
    return (column for column in lst.columns.values() if column.name != "id")


def _choose(
    call: ApiCall,
    entities: list[JsonObject],
    entity: EntityType,
    paths: frozenset[str],
    address: str,
    filters: frozenset[str] | None = None,
) -> tuple[list[JsonObject], dict[str, str]]:
    """The entities of one page, filtered and ordered, and the link to the next, if there is one.

    `paths` are there to be named; `filters` are those of them that a filter may name, if not all.
    """
    check_options(call.query, (*_KEEP, "skiptoken"))
    options = read_options(call.query, entity)

    def resolve(path: str) -> str:
        if path not in paths:
            raise bad_filter(f"Could not find a property named '{path}' on type 'microsoft.graph.{entity.name}'.")
        return path

    if options.filter is not None:
        wanted = parse_filter(options.filter, resolve, _read_literal)
        if filters is not None and not wanted.fields <= filters:
            raise errors.unsupported_filter()
        entities = [one for one in entities if wanted.test(_flat(one))]
    for path, descending in reversed(options.order_by):
        name = resolve(path)
        entities.sort(key=lambda one, name=name: to_index_key(_flat(one)[name]), reverse=descending)  # type: ignore[misc]
    skip = _read_skip(call.query.get("skiptoken"))
    end = len(entities) if options.top is None else skip + options.top
    if end >= len(entities):
        return entities[skip:], {}
    token = base64.urlsafe_b64encode(str(end).encode()).decode().rstrip("=")
    return entities[skip:end], {
        "@odata.nextLink": f"{call.base}/{address}?{to_query(call.query, _KEEP, _skiptoken=token)}"
    }


def _read_literal(path: str, literal: Any) -> Any:
    return read_date(literal, UTC) if path in _DATE_PATHS else literal


def _flat(entity: JsonObject) -> dict[str, Any]:
    nested = entity.get("list")
    return {**entity, **({f"list/{name}": value for name, value in nested.items()} if isinstance(nested, dict) else {})}


def _read_skip(text: str | None) -> int:
    if text is None:
        return 0
    try:
        return max(0, int(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()))
    except ValueError:
        raise errors.invalid("The skip token is not valid", "invalidQueryOption") from None
