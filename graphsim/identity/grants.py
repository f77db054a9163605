"""Grants of Sites.Selected and Lists.SelectedOperations.Selected: who may use one site, or one list.

In: calls on `.../permissions` of a site or list. Out: replies. Rule: only an app with full control may grant
(docs/facts.md section 6).
"""

from graphsim.http import errors
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.identity.permissions import FULL, GRANT_LEVEL, PermissionGrant
from graphsim.tenant import Tenant


def dispatch(tenant: Tenant, call: ApiCall, scope: str, rest: list[str]) -> ApiReply:
    """Lists, creates, changes or removes the grants on one site or list."""
    site_id = scope if scope in tenant.sites.by_id else None
    tenant.permissions.check(call.app, FULL, site_id, None if site_id else scope)
    if not rest:
        if call.method == "GET":
            found = [_show(grant) for grant in tenant.permissions.of_scope(scope)]
            return ApiReply(200, {"@odata.context": f"{call.base}/$metadata#permissions", "value": found})
        if call.method == "POST":
            return _grant(tenant, call, scope)
    elif len(rest) == 1:
        grant = tenant.permissions.grants.get(rest[0])
        if grant is None or grant.scope != scope:
            raise errors.not_found("The specified permission was not found")
        return _one(tenant, call, grant)
    raise errors.GraphError(405, "notAllowed", f"The method {call.method} is not allowed here")


def _one(tenant: Tenant, call: ApiCall, grant: PermissionGrant) -> ApiReply:
    if call.method == "DELETE":
        del tenant.permissions.grants[grant.id]
        tenant.journal.record("grant", grant.id, None)
        return ApiReply(204)
    if call.method == "PATCH":
        grant.roles = _read_roles(call.object_body())
        _save(tenant, grant)
    return ApiReply(200, _show(grant))


def _grant(tenant: Tenant, call: ApiCall, scope: str) -> ApiReply:
    given = call.object_body()
    who = given.get("grantedToIdentities") or given.get("grantedToIdentitiesV2") or [given.get("grantedTo")]
    app = (who[0] or {}).get("application") if isinstance(who, list) and isinstance(who[0], dict) else None
    if not isinstance(app, dict) or not isinstance(app.get("id"), str):
        raise errors.invalid("grantedToIdentities must name an application with its id")
    grant = PermissionGrant(
        tenant.new_id(), scope, app["id"], str(app.get("displayName") or app["id"]), _read_roles(given)
    )
    tenant.permissions.grants[grant.id] = grant
    _save(tenant, grant)
    return ApiReply(201, _show(grant))


def _save(tenant: Tenant, grant: PermissionGrant) -> None:
    value = {name: getattr(grant, name) for name in PermissionGrant.__slots__}
    tenant.journal.record("grant", grant.id, value)


def _read_roles(given: JsonObject) -> list[str]:
    roles = given.get("roles")
    if not isinstance(roles, list) or not roles or any(role not in GRANT_LEVEL for role in roles):
        raise errors.invalid("roles must be among " + ", ".join(GRANT_LEVEL))
    return [str(role) for role in roles]


def _show(grant: PermissionGrant) -> JsonObject:
    identity = {"application": {"id": grant.client_id, "displayName": grant.app_name}}
    return {
        "id": grant.id,
        "roles": grant.roles,
        "grantedToIdentities": [identity],
        "grantedToIdentitiesV2": [identity],
    }
