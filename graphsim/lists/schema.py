"""Lists and their columns: create, change, delete.

In: calls below `/sites/{s}/lists`, with site and list already found. Out: replies. Rules: a name or title is taken
once, in any case; schema changes of one list must come one after the other, or end in "Save Conflict" (#pnpjs/2646); an
index cannot be made once the list is over the threshold.
"""

from typing import Any
from urllib.parse import quote

from graphsim.http import errors
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.lists import columns, values
from graphsim.lists.characters import check_characters
from graphsim.lists.columns import ColumnDefinition
from graphsim.lists.list_store import SimList
from graphsim.lists.schema_queries import find_column, get_list
from graphsim.lists.sites import Site
from graphsim.tenant import Tenant

_SYSTEM = (
    ("Title", "text", "Title", False),
    ("ContentType", "text", "Content Type", True),
    ("Modified", "dateTime", "Modified", True),
    ("Created", "dateTime", "Created", True),
    ("Author", "personOrGroup", "Created By", True),
    ("Editor", "personOrGroup", "Modified By", True),
    ("AppAuthor", "lookup", "App Created By", True),
    ("AppEditor", "lookup", "App Modified By", True),
    ("_UIVersionString", "text", "Version", True),
    ("Attachments", "boolean", "Attachments", True),
    ("Edit", "text", "Edit", True),
    ("LinkTitle", "text", "Title", True),
    ("LinkTitleNoMenu", "text", "Title", True),
    ("ItemChildCount", "text", "Item Child Count", True),
    ("FolderChildCount", "text", "Folder Child Count", True),
    ("_ComplianceFlags", "text", "Label setting", True),
    ("_ComplianceTag", "text", "Retention label", True),
    ("_ComplianceTagWrittenTime", "text", "Retention label Applied", True),
    ("_ComplianceTagUserId", "text", "Label applied by", True),
    ("ID", "number", "ID", True),
    ("id", "number", "ID", True),
)


def _system_columns(tenant: Tenant) -> dict[str, ColumnDefinition]:
    out = {}
    for name, facet, display, read_only in _SYSTEM:
        column = columns.make_column(tenant.new_id(), {"name": "X", "displayName": display, facet: {}})
        column.name, column.read_only, column.is_system = name, read_only, True
        column.group = "Custom Columns" if name == "Title" else "_Hidden"
        column.derive()
        out[column.id] = column
    return out


def create_list(tenant: Tenant, call: ApiCall, site: Site) -> ApiReply:
    """POST: a new list with SharePoint's own columns and those asked for."""
    given = call.object_body()
    if given.get("name") is not None:
        # Recorded in #onedrive-api-docs/645.
        raise errors.invalid(
            "Cannot define a 'name' for a list as it is assigned by the server. Instead, provide 'displayName'"
        )
    errors.check_properties(given, {"name", "displayName", "description", "columns", "list"}, "list")
    title = _title_of(given)
    if tenant.lists.holder_of(site.id, title) is not None:
        raise errors.name_taken("A list with that name")
    _check_facet({} if given.get("list") is None else given["list"])
    now = int(tenant.now())
    name = "".join(c for c in title if c.isalnum() or c in " _-") or "List"
    lst = SimList(
        id=tenant.new_id(),
        site_id=site.id,
        name=name,
        display_name=title,
        description=_description_of(given),
        created=now,
        modified=now,
        author=call.app.principal,
        web_url=f"{site.web_url}/Lists/{quote(name)}",
        columns=_system_columns(tenant),
        switches=tenant.switches,
    )
    for column in _columns_of(given):
        _add_column(tenant, lst, column)
    lst.reindex()
    tenant.lists.add(lst)
    tenant.journal.list(lst)
    return ApiReply(201, get_list(tenant, call, lst).body)


def _columns_of(given: JsonObject) -> list[Any]:
    columns = given.get("columns")
    if not isinstance(columns, list | None):
        raise errors.invalid("'columns' must be a list")
    return columns or []


def _title_of(given: JsonObject) -> str:
    title = given.get("displayName")
    if not isinstance(title, str) or not title.strip() or len(title) > 255:
        raise errors.invalid("A list needs a displayName of at most 255 characters")
    check_characters("Property 'displayName'", title)
    return title


def _description_of(given: JsonObject) -> str:
    description = given.get("description")
    if not isinstance(description, str | None):
        raise errors.invalid("Property 'description' must be a string")
    check_characters("Property 'description'", description or "")
    return description or ""


def _check_facet(facet: Any) -> None:
    errors.check_properties(facet, {"template", "contentTypesEnabled", "hidden"}, "listInfo")
    if facet.get("template", "genericList") != "genericList":
        raise errors.invalid(f"Lists of template '{facet['template']}' are not supported")
    if facet.get("contentTypesEnabled") or facet.get("hidden"):
        raise errors.invalid("Lists with content types and hidden lists are not supported")


def change_list(tenant: Tenant, call: ApiCall, lst: SimList) -> ApiReply:
    """PATCH: another title or description."""
    given = call.object_body()
    errors.check_properties(given, {"displayName", "description"}, "list")
    if given.get("displayName") is not None:
        title = _title_of(given)
        holder = tenant.lists.holder_of(lst.site_id, title)
        if holder is not None and holder is not lst:
            raise errors.name_taken("A list with that name")
        tenant.lists.remove(lst)
        lst.display_name = title
        tenant.lists.add(lst)
    if "description" in given:
        lst.description = _description_of(given)
    lst.modified = int(tenant.now())
    tenant.journal.list(lst)
    return get_list(tenant, call, lst)


def delete_list(tenant: Tenant, lst: SimList) -> ApiReply:
    """DELETE: the list is gone with its items; nothing brings it back."""
    tenant.lists.delete(lst)
    tenant.journal.list_gone(lst)
    return ApiReply(204)


def create_column(tenant: Tenant, call: ApiCall, lst: SimList) -> ApiReply:
    """POST: one more column; the list stays busy for `schema-ms`."""
    _begin_schema_change(tenant, lst)
    column = _add_column(tenant, lst, call.object_body())
    return _end_schema_change(tenant, lst, ApiReply(201, column.to_json()))


def change_column(tenant: Tenant, call: ApiCall, lst: SimList, name: str) -> ApiReply:
    """PATCH of a column, judged as a whole before anything of it is kept."""
    column = find_column(lst, name)
    _begin_schema_change(tenant, lst)
    if column.is_system and column.read_only:
        raise errors.invalid(f"Column '{column.name}' cannot be changed")
    trial = ColumnDefinition(**{name: getattr(column, name) for name in ColumnDefinition.__slots__})
    trial.settings = dict(column.settings)
    columns.change_column(trial, call.object_body())
    _check_default(tenant, trial)
    if trial.facet == "lookup":
        _check_lookup(tenant, lst, trial)
    _check_new_index(tenant, lst, trial, was_indexed=column.indexed)
    if trial.unique and not column.unique:
        _check_no_duplicates(lst, trial)
    lst.columns[column.id] = trial
    return _end_schema_change(tenant, lst, ApiReply(200, trial.to_json()))


def delete_column(tenant: Tenant, lst: SimList, name: str) -> ApiReply:
    """DELETE of a column that is not SharePoint's own; its values go with it."""
    column = find_column(lst, name)
    _begin_schema_change(tenant, lst)
    if column.is_system:
        raise errors.invalid(f"Column '{column.name}' cannot be deleted")
    lst.codec.retire(lst.columns.pop(column.id))
    return _end_schema_change(tenant, lst, ApiReply(204))


def _begin_schema_change(tenant: Tenant, lst: SimList) -> None:
    if lst.id in tenant.schema_busy:
        raise errors.save_conflict()


def _end_schema_change(tenant: Tenant, lst: SimList, reply: ApiReply) -> ApiReply:
    """The change is made; the list stays busy until the answer has gone out."""
    lst.modified = int(tenant.now())
    lst.reindex()
    tenant.journal.list(lst)
    tenant.schema_busy.add(lst.id)
    reply.unlock = lst.id
    reply.hold_s = tenant.switches.schema_ms / 1000
    return reply


def _add_column(tenant: Tenant, lst: SimList, given: Any) -> ColumnDefinition:
    if not isinstance(given, dict):
        raise errors.invalid("A column must be an object")
    column = columns.make_column(tenant.new_id(), given)
    taken = {c.name.casefold(): c for c in lst.columns.values() if c.name != "id"}
    holder = taken.get(column.name.casefold())
    if holder is not None and not (holder.is_system and holder.read_only):
        raise errors.name_taken(f"A column named '{column.name}'")
    if holder is not None:
        _rename_beside_system(column, set(taken))
    if column.facet == "lookup":
        _check_lookup(tenant, lst, column)
    _check_default(tenant, column)
    _check_new_index(tenant, lst, column, was_indexed=False)
    lst.codec.admit(column)
    lst.columns[column.id] = column
    return column


def _rename_beside_system(column: ColumnDefinition, taken: set[str]) -> None:
    """SharePoint gives a column named as one of its own a digit: the documentation's `Author` becomes `Author0`."""
    column.name = next(name for n in range(100) if (name := f"{column.name}{n}").casefold() not in taken)
    column.derive()


def _check_lookup(tenant: Tenant, lst: SimList, column: ColumnDefinition) -> None:
    target = tenant.lists.by_id.get(str(column.settings.get("listId") or "").lower())
    if target is None or target.site_id != lst.site_id:
        raise errors.invalid("A lookup column needs the listId of a list in the same site")
    name = column.settings.get("columnName") or "Title"
    if name not in {c.name for c in target.columns.values()}:
        raise errors.invalid(f"The list a lookup points to has no column '{name}'")


def _check_default(tenant: Tenant, column: ColumnDefinition) -> None:
    """A default that no item could hold is refused with the column that names it."""
    if column.default and column.default.get("value") is not None:
        values.to_default(column, str(column.default["value"]), tenant.switches)


def _check_new_index(tenant: Tenant, lst: SimList, column: ColumnDefinition, *, was_indexed: bool) -> None:
    if not column.indexed or was_indexed:
        return
    if sum(c.indexed for c in lst.columns.values()) >= tenant.switches.index_limit:
        raise errors.invalid(f"A list has at most {tenant.switches.index_limit} indexed columns")
    if lst.live > tenant.switches.threshold:
        raise errors.too_large()


def _check_no_duplicates(lst: SimList, column: ColumnDefinition) -> None:
    """By the index, where there is one; a column that gets its index only now is of a short list."""
    index = lst.indexes.get(column.stored_name)
    if index is None:
        index = lst.build_index(column.stored_name)
    if index.has_shared():
        raise errors.invalid(f"Column '{column.name}' holds duplicate values")
