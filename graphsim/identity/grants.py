"""Grants of Sites.Selected and Lists.SelectedOperations.Selected: who may use one site, or one list.

In: calls on `.../permissions` of a site or list. Out: replies. Rule: only an app with full control may grant (reference
section 6).
"""

from graphsim.http import errors
from graphsim.http.request import Call, JsonObject, Reply
from graphsim.identity.permissions import FULL, GRANT_LEVEL, Grant
from graphsim.tenant import World


def dispatch(world: World, call: Call, scope: str, rest: list[str]) -> Reply:
    site_id = scope if scope in world.sites else None
    world.permissions.check(call.app, FULL, site_id, None if site_id else scope)
    if not rest:
        if call.method == "GET":
            found = [_show(grant) for grant in world.permissions.of_scope(scope)]
            return Reply(200, {"@odata.context": f"{call.base}/$metadata#permissions", "value": found})
        if call.method == "POST":
            return _grant(world, call, scope)
    elif len(rest) == 1:
        grant = world.permissions.grants.get(rest[0])
        if grant is None or grant.scope != scope:
            raise errors.not_found("The specified permission was not found")
        return _one(world, call, grant)
    raise errors.GraphError(405, "notAllowed", f"The method {call.method} is not allowed here")


def _one(world: World, call: Call, grant: Grant) -> Reply:
    if call.method == "DELETE":
        del world.permissions.grants[grant.id]
        world.journal.record("grant", grant.id, None)
        return Reply(204)
    if call.method == "PATCH":
        grant.roles = _read_roles(call.object_body())
        _save(world, grant)
    return Reply(200, _show(grant))


def _grant(world: World, call: Call, scope: str) -> Reply:
    given = call.object_body()
    who = given.get("grantedToIdentities") or given.get("grantedToIdentitiesV2") or [given.get("grantedTo")]
    app = (who[0] or {}).get("application") if isinstance(who, list) and isinstance(who[0], dict) else None
    if not isinstance(app, dict) or not isinstance(app.get("id"), str):
        raise errors.invalid("grantedToIdentities must name an application with its id")
    grant = Grant(world.new_id(), scope, app["id"], str(app.get("displayName") or app["id"]), _read_roles(given))
    world.permissions.grants[grant.id] = grant
    _save(world, grant)
    return Reply(201, _show(grant))


def _save(world: World, grant: Grant) -> None:
    value = {name: getattr(grant, name) for name in Grant.__slots__}
    world.journal.record("grant", grant.id, value)


def _read_roles(given: JsonObject) -> list[str]:
    roles = given.get("roles")
    if not isinstance(roles, list) or not roles or any(role not in GRANT_LEVEL for role in roles):
        raise errors.invalid("roles must be among " + ", ".join(GRANT_LEVEL))
    return [str(role) for role in roles]


def _show(grant: Grant) -> JsonObject:
    identity = {"application": {"id": grant.client_id, "displayName": grant.app_name}}
    return {
        "id": grant.id,
        "roles": grant.roles,
        "grantedToIdentities": [identity],
        "grantedToIdentitiesV2": [identity],
    }
