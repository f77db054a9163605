"""Grants of Sites.Selected and Lists.SelectedOperations.Selected: who may use one site, or one list.

In: calls on `.../permissions` of a site or list. Out: replies. Rule: only an app with full control may grant
(docs/facts.md section 6).
"""

from collections.abc import Mapping
from typing import Any

from graphsim.http import errors
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.identity.permissions import FULL, GRANT_LEVEL, PermissionGrant
from graphsim.tenant import Tenant

_IDENTITIES = ("grantedToIdentities", "grantedToIdentitiesV2", "grantedTo", "grantedToV2")


def list_grants(tenant: Tenant, call: ApiCall, scope: str) -> ApiReply:
    """GET of the grants on a site or list."""
    _check_full(tenant, call, scope)
    found = [_show(grant) for grant in tenant.permissions.of_scope(scope)]
    return ApiReply(200, {"@odata.context": f"{call.base}/$metadata#permissions", "value": found})


def create_grant(tenant: Tenant, call: ApiCall, scope: str) -> ApiReply:
    """POST: a new grant for one application."""
    _check_full(tenant, call, scope)
    given = call.object_body()
    errors.check_properties(given, {"roles", *_IDENTITIES}, "permission")
    app = _read_application(given)
    roles = _read_roles(given)
    grant = PermissionGrant(tenant.new_id(), scope, app["id"], str(app.get("displayName") or app["id"]), roles)
    tenant.permissions.grants[grant.id] = grant
    _save(tenant, grant)
    return ApiReply(201, _show(grant))


def get_grant(tenant: Tenant, call: ApiCall, scope: str, grant_id: str) -> ApiReply:
    """GET of one grant."""
    return ApiReply(200, _show(_find(tenant, call, scope, grant_id)))


def change_grant(tenant: Tenant, call: ApiCall, scope: str, grant_id: str) -> ApiReply:
    """PATCH: other roles."""
    grant, given = _find(tenant, call, scope, grant_id), call.object_body()
    errors.check_properties(given, {"roles"}, "permission")
    grant.roles = _read_roles(given)
    _save(tenant, grant)
    return ApiReply(200, _show(grant))


def remove_grant(tenant: Tenant, call: ApiCall, scope: str, grant_id: str) -> ApiReply:
    """DELETE: the grant ends at once."""
    grant = _find(tenant, call, scope, grant_id)
    del tenant.permissions.grants[grant.id]
    tenant.journal.record("grant", grant.id, None)
    return ApiReply(204)


def _check_full(tenant: Tenant, call: ApiCall, scope: str) -> None:
    site_id = scope if scope in tenant.sites.by_id else None
    tenant.permissions.check(call.app, FULL, site_id, None if site_id else scope)


def _find(tenant: Tenant, call: ApiCall, scope: str, grant_id: str) -> PermissionGrant:
    _check_full(tenant, call, scope)
    grant = tenant.permissions.grants.get(grant_id)
    if grant is None or grant.scope != scope:
        raise errors.not_found("The specified permission was not found")
    return grant


def _save(tenant: Tenant, grant: PermissionGrant) -> None:
    value = {name: getattr(grant, name) for name in PermissionGrant.__slots__}
    tenant.journal.record("grant", grant.id, value)


def _read_application(given: JsonObject) -> Mapping[str, Any]:
    """The one application that a grant names; a second one, or a user, would be ignored and is refused."""
    named = [given[name] for name in _IDENTITIES if given.get(name)]
    identities = named[0] if len(named) == 1 and isinstance(named[0], list) else named
    if len(identities) != 1:
        raise errors.invalid("A grant must name one application, in grantedToIdentities")
    identity = errors.check_properties(identities[0], {"application"}, "identitySet")
    app = errors.check_properties(identity.get("application"), {"id", "displayName"}, "identity")
    if not isinstance(app.get("id"), str):
        raise errors.invalid("grantedToIdentities must name an application with its id")
    return app


def _read_roles(given: JsonObject) -> list[str]:
    roles = given.get("roles")
    if (
        not isinstance(roles, list)
        or not roles
        or any(not isinstance(role, str) or role not in GRANT_LEVEL for role in roles)
    ):
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
