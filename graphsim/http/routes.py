"""The routes of the API: which handler answers which method of which path, and which query options it takes.

In: an `ApiCall`. Out: the `ApiReply` of its handler, or GraphError. Rules: one table names all that is modelled, and
what is not in it (a path, a method, an option) is refused before a handler sees the call; names of resources are read
as Graph reads them (ids in any case, titles, encoded commas); the caller's permission is checked here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from graphsim.http import errors
from graphsim.http.odata import check_options
from graphsim.http.request import ApiCall, ApiReply
from graphsim.identity import applications_api, grants
from graphsim.identity.permissions import MANAGE, READ, WRITE
from graphsim.lists import delta, items, queries, schema, schema_queries, site_queries, versions
from graphsim.lists.list_store import SimList
from graphsim.lists.sites import Site
from graphsim.tenant import Tenant
from graphsim.webhooks import subscriptions_api


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: the site and list it goes through, and the path parts behind them."""

    site: Site | None
    lst: SimList | None
    parts: tuple[str, ...]

    def need_site(self) -> Site:
        """The site, for routes that lead through one."""
        assert self.site is not None
        return self.site

    def need_list(self) -> SimList:
        """The list, for routes that lead through one."""
        assert self.lst is not None
        return self.lst

    def scope(self) -> str:
        """The id that a permission on the list, or else on the site, is granted for."""
        return self.lst.id if self.lst is not None else self.need_site().id


Handler = Callable[[Tenant, ApiCall, Target], ApiReply]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a route: its handler, the level it needs on site or list (0: the handler checks), its options."""

    handler: Handler
    level: int = 0
    options: frozenset[str] = frozenset()


def _options(*names: str) -> frozenset[str]:
    return frozenset(names)


_ENTITY, _COLLECTION = _options("select", "expand"), _options("select", "top", "filter", "skiptoken")
_PERMISSIONS: dict[str, dict[str, Operation]] = {
    "permissions": {
        "GET": Operation(lambda t, c, x: grants.list_grants(t, c, x.scope())),
        "POST": Operation(lambda t, c, x: grants.create_grant(t, c, x.scope())),
    },
    "permissions/*": {
        "GET": Operation(lambda t, c, x: grants.get_grant(t, c, x.scope(), x.parts[-1])),
        "PATCH": Operation(lambda t, c, x: grants.change_grant(t, c, x.scope(), x.parts[-1])),
        "DELETE": Operation(lambda t, c, x: grants.remove_grant(t, c, x.scope(), x.parts[-1])),
    },
}
# Paths, with `*` for names. `Target.parts` is what stands behind the site or, if the path has one, behind the list.
ROUTES: dict[str, dict[str, Operation]] = {
    "sites": {
        "GET": Operation(lambda t, c, _: site_queries.search_sites(t, c), 0, _options("search", "select", "top"))
    },
    "sites/*": {"GET": Operation(lambda _, c, x: site_queries.get_site(c, x.need_site()), READ, _options("select"))},
    "sites/*/lists": {
        "GET": Operation(
            lambda t, c, x: schema_queries.list_lists(t, c, x.need_site()),
            READ,
            _COLLECTION | _options("expand", "orderby"),
        ),
        "POST": Operation(lambda t, c, x: schema.create_list(t, c, x.need_site()), MANAGE),
    },
    "sites/*/lists/*": {
        "GET": Operation(lambda t, c, x: schema_queries.get_list(t, c, x.need_list()), READ, _ENTITY),
        "PATCH": Operation(lambda t, c, x: schema.change_list(t, c, x.need_list()), MANAGE),
        "DELETE": Operation(lambda t, _, x: schema.delete_list(t, x.need_list()), MANAGE),
    },
    "sites/*/lists/*/columns": {
        "GET": Operation(lambda _, c, x: schema_queries.list_columns(c, x.need_list()), READ, _COLLECTION),
        "POST": Operation(lambda t, c, x: schema.create_column(t, c, x.need_list()), MANAGE),
    },
    "sites/*/lists/*/columns/*": {
        "GET": Operation(
            lambda _, c, x: schema_queries.get_column(c, x.need_list(), x.parts[-1]), READ, _options("select")
        ),
        "PATCH": Operation(lambda t, c, x: schema.change_column(t, c, x.need_list(), x.parts[-1]), MANAGE),
        "DELETE": Operation(lambda t, _, x: schema.delete_column(t, x.need_list(), x.parts[-1]), MANAGE),
    },
    "sites/*/lists/*/items": {
        "GET": Operation(lambda t, c, x: items.list_items(t, c, x.need_list()), READ, queries.COLLECTION_OPTIONS),
        "POST": Operation(lambda t, c, x: items.create_item(t, c, x.need_list()), WRITE),
    },
    "sites/*/lists/*/items/delta": {
        "GET": Operation(lambda t, c, x: delta.get_delta(t, c, x.need_list(), x.parts[-1]), READ, delta.OPTIONS),
    },
    "sites/*/lists/*/items/*": {
        "GET": Operation(lambda t, c, x: items.get_item(t, c, x.need_list(), x.parts[1]), READ, _ENTITY),
        "PATCH": Operation(lambda t, c, x: items.change_item(t, c, x.need_list(), x.parts[1]), WRITE),
        "DELETE": Operation(lambda t, c, x: items.delete_item(t, c, x.need_list(), x.parts[1]), WRITE),
    },
    "sites/*/lists/*/items/*/fields": {
        "GET": Operation(lambda t, c, x: items.get_fields(t, c, x.need_list(), x.parts[1]), READ, _options("select")),
        "PATCH": Operation(lambda t, c, x: items.change_fields(t, c, x.need_list(), x.parts[1]), WRITE),
    },
    "sites/*/lists/*/items/*/versions": {
        "GET": Operation(lambda _, c, x: versions.list_versions(c, x.need_list(), x.parts[1]), READ, _ENTITY),
    },
    "sites/*/lists/*/items/*/versions/*": {
        "GET": Operation(lambda _, c, x: versions.get_version(c, x.need_list(), x.parts[1], x.parts[3]), READ, _ENTITY),
    },
    "sites/*/lists/*/items/*/versions/*/fields": {
        "GET": Operation(lambda _t, _c, x: versions.get_fields(x.need_list(), x.parts[1], x.parts[3]), READ),
    },
    "sites/*/lists/*/items/*/versions/*/restoreVersion": {
        "POST": Operation(lambda t, c, x: versions.restore(t, c, x.need_list(), x.parts[1], x.parts[3]), WRITE),
    },
    "sites/*/lists/*/subscriptions": {
        "GET": Operation(lambda t, c, x: subscriptions_api.list_subscriptions(t, c, x.need_list().id)),
    },
    **{f"{scope}/{tail}": made for scope in ("sites/*", "sites/*/lists/*") for tail, made in _PERMISSIONS.items()},
    "subscriptions": {
        "GET": Operation(lambda t, c, _: subscriptions_api.list_subscriptions(t, c, None)),
        "POST": Operation(lambda t, c, _: subscriptions_api.create(t, c)),
    },
    "subscriptions/*": {
        "GET": Operation(lambda t, c, x: subscriptions_api.get(t, c, x.parts[1])),
        "PATCH": Operation(lambda t, c, x: subscriptions_api.change(t, c, x.parts[1])),
        "DELETE": Operation(lambda t, c, x: subscriptions_api.delete(t, c, x.parts[1])),
    },
    "subscriptions/*/reauthorize": {
        "POST": Operation(lambda t, c, x: subscriptions_api.reauthorize(t, c, x.parts[1])),
    },
    "applications/*": {"GET": Operation(lambda t, c, x: applications_api.get(t, c, x.parts[1]))},
    **{
        f"applications/*/{name}": {
            "POST": Operation(lambda t, c, x: applications_api.act(t, c, x.parts[1], x.parts[2]))
        }
        for name in applications_api.ACTIONS
    },
}


def dispatch(tenant: Tenant, call: ApiCall) -> ApiReply:
    """Hands the call to the handler of its path and method; GraphError for what is not modelled."""
    route, target = _find_route(tenant, call.segments)
    operation = ROUTES[route].get(call.method)
    if operation is None:
        code = "notAllowed" if route.startswith("sites") else "Request_BadRequest"
        raise errors.wrong_method(ROUTES[route], code)
    if call.query:
        check_options(call.query, operation.options)
    if operation.level:
        list_id = None if target.lst is None else target.lst.id
        tenant.permissions.check(call.app, operation.level, target.need_site().id, list_id)
    return operation.handler(tenant, call, target)


def _find_route(tenant: Tenant, segments: list[str]) -> tuple[str, Target]:
    head = segments[0] if segments else ""
    if head == "sites" and len(segments) > 1:
        return _find_site_route(tenant, segments)
    if head.startswith("applications("):
        segments = applications_api.to_segments(segments)
    names = [part.removeprefix("microsoft.graph.") for part in segments]
    route = "/".join(part if n % 2 == 0 else "*" for n, part in enumerate(names))
    if route not in ROUTES:
        raise errors.no_segment(head if len(segments) < 3 else segments[2])
    return route, Target(None, None, tuple(names))


def _find_site_route(tenant: Tenant, segments: list[str]) -> tuple[str, Target]:
    """The part of a route behind the site depends on its length alone: names stand at every other place."""
    site, rest = _find_site(tenant, segments)
    lst = None
    prefix = "sites/*"
    if len(rest) >= 2 and rest[0] == "lists":
        lst, rest = tenant.lists.find(site, rest[1]), rest[2:]
        prefix = "sites/*/lists/*"
    if len(rest) == 2 and rest[0] == "items" and delta.CALL_FORM.fullmatch(rest[1]):
        return prefix + "/items/delta", Target(site, lst, tuple(rest))
    parts = [part if n % 2 == 0 else "*" for n, part in enumerate(rest)]
    if parts and len(parts) % 2:
        parts[-1] = parts[-1].removeprefix("microsoft.graph.")
    route = "/".join([prefix, *parts])
    if route not in ROUTES:
        unknown = next(
            (p for n, p in enumerate(rest) if n % 2 == 0 and not _is_known(prefix, parts[: n + 1])), rest[-1]
        )
        raise errors.no_segment(unknown)
    return route, Target(site, lst, tuple(rest))


def _is_known(prefix: str, parts: list[str]) -> bool:
    path = "/".join([prefix, *parts])
    return any(route == path or route.startswith(path + "/") for route in ROUTES)


def _find_site(tenant: Tenant, segments: list[str]) -> tuple[Site, list[str]]:
    """`sites/{id}/...`, or `sites/{host}:/{path}` with `:/...` going on after the path.

    msgraph-sdk encodes `by_site_id("host:/path")` as one segment (`host%3A%2Fpath`): it goes on without a colon.
    """
    host, colon, named = segments[1].partition(":/")
    if colon:
        return _by_path(tenant, host, named.removesuffix(":").split("/")), segments[2:]
    if not segments[1].endswith(":"):
        return tenant.sites.find(segments[1]), segments[2:]
    path: list[str] = []
    for n, part in enumerate(segments[2:], start=2):
        path.append(part.removesuffix(":"))
        if part.endswith(":"):
            return _by_path(tenant, segments[1][:-1], path), segments[n + 1 :]
    return _by_path(tenant, segments[1][:-1], path), []


def _by_path(tenant: Tenant, host: str, path: list[str]) -> Site:
    return tenant.sites.find_by_path(host, "/" + "/".join(path) if path else "")
