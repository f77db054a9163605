"""The version history of an item: list, read, restore.

In: calls below `/items/{id}/versions`. Out: replies, newest version first. Rule: ids are "1.0", "2.0", ...; restoring
makes a new version with the old values (docs21).
"""

from graphsim.http import errors
from graphsim.http.odata import read_options
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.lists.list_store import ListItem, SimList, Version
from graphsim.lists.representations import items_context, version_json
from graphsim.tenant import Tenant


def dispatch(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem, rest: list[str]) -> ApiReply:
    """Answers a call below `/versions`: list, read, restore."""
    if rest[0] != "versions":
        raise errors.GraphError(400, "BadRequest", f"Resource not found for the segment '{rest[0]}'.")
    if len(rest) == 1 and call.method == "GET":
        context = f"{items_context(call.base, lst)}('{item.id}')/versions"
        return ApiReply(200, {"@odata.context": context, "value": [_show(call, v) for v in all_versions(item)]})
    version = next((v for v in all_versions(item) if f"{v.ui}.0" == rest[1]), None) if len(rest) > 1 else None
    if version is None:
        raise errors.not_found("The specified version was not found")
    if len(rest) == 2 and call.method == "GET":
        return ApiReply(200, _show(call, version))
    if rest[2:] in (["restoreVersion"], ["microsoft.graph.restoreVersion"]) and call.method == "POST":
        return _restore(tenant, call, lst, item, version)
    if rest[2:] == ["fields"] and call.method == "GET":
        return ApiReply(200, _values(version))
    raise errors.GraphError(405, "notAllowed", f"The method {call.method} is not allowed here")


def all_versions(item: ListItem) -> list[Version]:
    """The item's versions, the present one first."""
    current = Version(item.ui, item.editor, item.modified, item.fields)
    return [current, *reversed(item.history or [])]


def _values(version: Version) -> JsonObject:
    copy = ListItem(0, version.editor, version.modified, version.fields)
    return copy.values()


def _show(call: ApiCall, version: Version) -> JsonObject:
    return version_json(version, _values(version) if read_options(call.query).fields is not None else None)


def _restore(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem, version: Version) -> ApiReply:
    wanted = _values(version)
    changes = {**dict.fromkeys(item.values()), **wanted}
    lst.check_unique(changes, item.id, tenant.switches.unique_error)
    lst.update(item, changes, call.app.principal, tenant.now(), tenant.switches.version_limit)
    tenant.record_write(lst, item, "updates")
    return ApiReply(204)
