"""What an app may do: its roles over all sites, or grants on one site or one list.

In: grants (`POST /sites/{id}/permissions`, `.../lists/{id}/permissions`) and the app's roles. Out: a level. Rule: an
app with Sites.Selected sees nothing without a grant: 403 accessDenied.
"""

from dataclasses import dataclass

from graphsim.http.errors import denied
from graphsim.identity.app_registrations import App

READ, WRITE, MANAGE, FULL = 1, 2, 3, 4
ROLE_LEVEL = {
    "Sites.Read.All": READ,
    "Sites.ReadWrite.All": WRITE,
    "Sites.Manage.All": MANAGE,
    "Sites.FullControl.All": FULL,
}
GRANT_LEVEL = {"read": READ, "write": WRITE, "manage": MANAGE, "fullcontrol": FULL, "owner": FULL}
SELECTED_SITE = "Sites.Selected"
SELECTED_LIST = "Lists.SelectedOperations.Selected"
APPLICATION_WRITERS = frozenset({"Application.ReadWrite.OwnedBy", "Application.ReadWrite.All"})
KNOWN_ROLES = APPLICATION_WRITERS | {*ROLE_LEVEL, SELECTED_SITE, SELECTED_LIST}


@dataclass(slots=True)
class PermissionGrant:
    """`scope` is a site id or a list id."""

    id: str
    scope: str
    client_id: str
    app_name: str
    roles: list[str]


class Permissions:
    """All grants of the tenant, and the judgement of what they allow."""

    def __init__(self) -> None:
        self.grants: dict[str, PermissionGrant] = {}

    def level(self, app: App, site_id: str | None, list_id: str | None) -> int:
        """The highest level an app's roles and grants give it on a site or list; 0 when there is none."""
        roles = app.roles
        if "Sites.FullControl.All" in roles:
            return FULL
        level = max((ROLE_LEVEL.get(role, 0) for role in roles), default=0)
        for grant in self.grants.values():
            if grant.client_id != app.client_id:
                continue
            by_site = grant.scope == site_id and SELECTED_SITE in roles
            if by_site or (grant.scope == list_id and SELECTED_LIST in roles):
                level = max(level, *(GRANT_LEVEL[role] for role in grant.roles))
        return level

    def check(self, app: App, needed: int, site_id: str | None, list_id: str | None = None) -> None:
        """Returns when the app has the level needed; GraphError 403 otherwise."""
        if self.level(app, site_id, list_id) < needed:
            raise denied()

    def of_scope(self, scope: str) -> list[PermissionGrant]:
        """The grants on one site or list."""
        return [grant for grant in self.grants.values() if grant.scope == scope]
