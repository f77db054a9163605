"""The version history of an item: list, read, restore.

In: calls below `/items/{id}/versions`. Out: replies, newest version first. Rule: ids are "1.0", "2.0", ...; restoring
makes a new version with the old values (docs21).
"""

from graphsim.http import errors
from graphsim.http.odata import QueryOptions, read_options
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.lists.entity_types import VERSION
from graphsim.lists.items import find_item
from graphsim.lists.list_store import ListItem, SimList, Version
from graphsim.lists.representations import items_context, version_json
from graphsim.tenant import Tenant


def list_versions(call: ApiCall, lst: SimList, item_id: str) -> ApiReply:
    """GET of an item's versions, the present one first."""
    item, options = find_item(lst, item_id), read_options(call.query, VERSION)
    context = f"{items_context(call.base, lst)}('{item.id}')/versions"
    value = [options.selected(_show(lst, version, options)) for version in all_versions(item)]
    return ApiReply(200, {"@odata.context": context, "value": value})


def get_version(call: ApiCall, lst: SimList, item_id: str, version_id: str) -> ApiReply:
    """GET of one version."""
    options = read_options(call.query, VERSION)
    return ApiReply(200, options.selected(_show(lst, _find(lst, item_id, version_id), options)))


def get_fields(lst: SimList, item_id: str, version_id: str) -> ApiReply:
    """GET of the fields of one version."""
    return ApiReply(200, lst.codec.decode(_find(lst, item_id, version_id).fields))


def restore(tenant: Tenant, call: ApiCall, lst: SimList, item_id: str, version_id: str) -> ApiReply:
    """POST: a new version with the values of an old one."""
    item, version = find_item(lst, item_id), _find(lst, item_id, version_id)
    errors.check_parameters(call.body, (), "restoreVersion")
    changes = {**dict.fromkeys(lst.values(item)), **lst.codec.decode(version.fields)}
    lst.check_unique(changes, item.id, tenant.switches)
    lst.update(item, changes, call.app.principal, tenant.now(), tenant.switches.version_limit)
    tenant.record_write(lst, item, "updates")
    return ApiReply(204)


def _find(lst: SimList, item_id: str, version_id: str) -> Version:
    item = find_item(lst, item_id)
    found = next((version for version in all_versions(item) if f"{version.ui}.0" == version_id), None)
    if found is None:
        raise errors.not_found("The specified version was not found")
    return found


def all_versions(item: ListItem) -> list[Version]:
    """The item's versions, the present one first."""
    current = Version(item.ui, item.editor, item.modified, item.fields)
    return [current, *reversed(item.history or [])]


def _show(lst: SimList, version: Version, options: QueryOptions) -> JsonObject:
    if options.fields is None:
        return version_json(lst, version, None)
    values = lst.codec.decode(version.fields)
    if options.fields:
        values = {name: value for name, value in values.items() if name in options.fields}
    return version_json(lst, version, values)
