"""The JSON of Graph's answers: sites, lists, items and their fields (docs/facts.md section 1, one recorded item).

In: `SimList`, `ListItem`, the link base of the call. Out: dictionaries for the answer, JSON for the items of a page.
Rules: empty columns are absent; lookups and persons show their id, their text only when selected; collections carry
their `@odata.type`; everything holds against the JSON Schema of the published CSDL.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson

from graphsim.clock import to_text
from graphsim.http.errors import invalid, unknown_field
from graphsim.lists.columns import ColumnDefinition
from graphsim.lists.list_store import ListItem, SimList, Version
from graphsim.lists.principals import Principal
from graphsim.lists.sites import Site
from graphsim.switches import Switches

CONTENT_TYPE = {"id": "0x0100B239ACAA35349546A923BB0F799FAD6E00C2E8F4A1B3D75E4EBC5D0F7A9B1C2D3E", "name": "Item"}
_EMPTY = {"_ComplianceFlags": "", "_ComplianceTag": "", "_ComplianceTagWrittenTime": "", "_ComplianceTagUserId": ""}
Label = Callable[[ColumnDefinition, int], Any]


@lru_cache(maxsize=4096)
def _context_root(base: str, site_id: str, list_id: str) -> str:
    return f"{base}/$metadata#sites('{quote(site_id, safe='')}')/lists('{list_id}')/items"


def items_context(base: str, lst: SimList) -> str:
    """The `@odata.context` of a list's items."""
    return _context_root(base, lst.site_id, lst.id)


def site_json(base: str, site: Site) -> dict[str, Any]:
    """A site as Graph answers it."""
    out: dict[str, Any] = {
        "@odata.context": f"{base}/$metadata#sites/$entity",
        "createdDateTime": to_text(site.created),
        "id": site.id,
        "lastModifiedDateTime": to_text(site.created),
        "name": site.name,
        "displayName": site.name,
        "webUrl": site.web_url,
        "siteCollection": {"hostname": site.host},
    }
    if site.is_root:
        out["root"] = {}
    return out


def identity_of(lst: SimList, principal: Principal) -> dict[str, Any]:
    """Who wrote, as answers show it."""
    hides_app = principal.kind == "app" and lst.switches.app_identity == "absent"
    return {"user": principal.identity_set["user"]} if hides_app else principal.identity_set


def list_json(lst: SimList) -> dict[str, Any]:
    """A list as Graph answers it, without what is expanded."""
    return {
        "@odata.etag": f'"{lst.id},{len(lst.columns)}"',
        "createdDateTime": to_text(lst.created),
        "description": lst.description,
        "eTag": f'"{lst.id},{len(lst.columns)}"',
        "id": lst.id,
        "lastModifiedDateTime": to_text(lst.modified),
        "name": lst.name,
        "webUrl": lst.web_url,
        "displayName": lst.display_name,
        "createdBy": identity_of(lst, lst.author),
        "parentReference": {"siteId": lst.site_id},
        "list": {"contentTypesEnabled": False, "hidden": False, "template": lst.template},
    }


def item_json(lst: SimList, item: ListItem) -> dict[str, Any]:
    """An item as Graph answers it, without its fields."""
    etag = lst.etag(item)
    return {
        "@odata.etag": etag,
        "createdDateTime": to_text(item.created),
        "eTag": etag,
        "id": str(item.id),
        "lastModifiedDateTime": to_text(item.modified),
        "webUrl": f"{lst.web_url}/{item.id}_.000",
        "createdBy": identity_of(lst, item.author),
        "lastModifiedBy": identity_of(lst, item.editor),
        "parentReference": {"id": lst.id, "siteId": lst.site_id},
        "contentType": CONTENT_TYPE,
    }


def full_item(
    base: str, lst: SimList, item: ListItem, fields: tuple[str, ...] | None, label: Label, *, alone: bool = False
) -> dict[str, Any]:
    """An item, with its fields when they are expanded; `alone` puts the context of an entity first."""
    out = item_json(lst, item)
    root = items_context(base, lst)
    if alone:
        out = {"@odata.context": root + "/$entity", **out}
    if fields is not None:
        out["fields@odata.context"] = f"{root}('{item.id}')/fields/$entity"
        out["fields"] = fields_json(lst, item, fields, label, out["eTag"])
    return out


def to_fragment(entity: dict[str, Any]) -> orjson.Fragment:
    """An entity as JSON, for a page: 5,000 items with their fields are 8 MB of it, and 80 MB of dictionaries.

    Copied, because the serializer's own result holds on to its kilobytes of buffer.
    """
    return orjson.Fragment(bytes(memoryview(orjson.dumps(entity))))


def fields_json(
    lst: SimList, item: ListItem, select: tuple[str, ...], label: Label, etag: str | None = None
) -> dict[str, Any]:
    """The fieldValueSet of an item: everything, or what was selected."""
    values = lst.values(item)
    etag = etag or lst.etag(item)
    if select:
        everything = {**system_fields(item, values), **values, **_annotations(lst, values)}
        out = {"@odata.etag": etag}
        for name in select:
            _copy_selected(out, lst, everything, name, label)
        return out
    return {
        "@odata.etag": etag,
        "id": str(item.id),
        **values,
        **_annotations(lst, values),
        **system_fields(item, values),
    }


def _annotations(lst: SimList, values: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        if type(value) is list:
            column = lst.names.get(name)
            is_text = column is not None and column.facet == "choice"
            out[name + "@odata.type"] = "Collection(Edm.String)" if is_text else "Collection(Edm.Int32)"
    return out


def _copy_selected(out: dict[str, Any], lst: SimList, everything: dict[str, Any], name: str, label: Label) -> None:
    column = lst.names.get(name)
    if column is not None and column.lookup_name and name == column.name:
        value = everything.get(column.lookup_name)
        if isinstance(value, list):
            # Collections come with their type; which one these objects have is a guess.
            out[name + "@odata.type"] = "Collection(microsoft.graph.Json)"
            out[name] = [{"LookupId": v, "LookupValue": label(column, v)} for v in value]
        elif value is not None:
            out[name] = label(column, int(value))
        return
    if name in everything:
        out[name] = everything[name]
        if name + "@odata.type" in everything:
            out[name + "@odata.type"] = everything[name + "@odata.type"]


def check_selected(lst: SimList, select: Iterable[str], switches: Switches) -> None:
    """Refuses fields that the list lacks, and more than twelve lookups; persons count as such (fieldvalueset)."""
    count = 0
    for name in select:
        column = lst.names.get(name)
        if column is None and name not in {"id", "ID"} and switches.unknown_select == "reject":
            raise unknown_field(name)
        count += column is not None and bool(column.lookup_name)
    if count > switches.lookup_limit:
        limit = switches.lookup_limit
        raise invalid(f"The query cannot be completed because it selects more than {limit} lookup fields")


def system_fields(item: ListItem, values: dict[str, Any]) -> dict[str, Any]:
    """The fields that SharePoint itself keeps of every item."""
    out: dict[str, Any] = {
        "id": str(item.id),
        "ContentType": "Item",
        "Modified": to_text(item.modified),
        "Created": to_text(item.created),
        "AuthorLookupId": str(item.author.number),
        "EditorLookupId": str(item.editor.number),
    }
    if item.author.kind == "app":
        out["AppAuthorLookupId"] = str(item.author.number)
    if item.editor.kind == "app":
        out["AppEditorLookupId"] = str(item.editor.number)
    out["_UIVersionString"] = f"{item.ui}.0"
    out["Attachments"] = False
    out["Edit"] = ""
    title = values.get("Title")
    if title is not None:
        out["LinkTitle"] = title
        out["LinkTitleNoMenu"] = title
    out["ItemChildCount"] = "0"
    out["FolderChildCount"] = "0"
    out.update(_EMPTY)
    return out


def deleted_json(lst: SimList, item: ListItem, *, as_int: bool) -> dict[str, Any]:
    """A deleted entry of delta: no fields and no eTag (contrib listitem-delta)."""
    return {
        "id": item.id if as_int else str(item.id),
        "parentReference": {"siteId": lst.site_id},
        "contentType": CONTENT_TYPE,
        "deleted": {"state": "deleted"},
    }


def version_json(lst: SimList, version: Version, fields: dict[str, Any] | None) -> dict[str, Any]:
    """An earlier version as Graph answers it."""
    out: dict[str, Any] = {
        "id": f"{version.ui}.0",
        "lastModifiedDateTime": to_text(version.modified),
        "lastModifiedBy": identity_of(lst, version.editor),
    }
    if fields is not None:
        out["fields"] = fields
    return out
