"""Which handler answers a path below `/v1.0`.

In: an `ApiCall`. Out: the `ApiReply` of its handler, or GraphError. Rules: names of resources are read as Graph reads
them (ids in any case, titles, encoded commas); the caller's permission is checked before the handler sees the call.
"""

from graphsim.http import errors
from graphsim.http.request import ApiCall, ApiReply
from graphsim.identity import applications_api, grants
from graphsim.identity.permissions import MANAGE, READ, WRITE
from graphsim.lists import delta, items, schema, versions
from graphsim.lists.list_store import SimList
from graphsim.lists.representations import site_json
from graphsim.lists.sites import Site
from graphsim.tenant import Tenant
from graphsim.webhooks import subscriptions_api


def dispatch(tenant: Tenant, call: ApiCall) -> ApiReply:
    """Hands the call to the handler of its path; GraphError 400 for a path that is not modelled."""
    segments = call.segments
    head = segments[0] if segments else ""
    if head == "sites":
        return _sites(tenant, call, segments)
    if head == "subscriptions":
        return subscriptions_api.dispatch(tenant, call, segments[1:])
    if head.startswith("applications"):
        return applications_api.dispatch(tenant, call, segments)
    raise _no_segment(head)


def _no_segment(name: str) -> errors.GraphError:
    return errors.GraphError(400, "BadRequest", f"Resource not found for the segment '{name}'.")


def _no_method(call: ApiCall) -> errors.GraphError:
    return errors.GraphError(405, "notAllowed", f"The method {call.method} is not allowed here")


def _sites(tenant: Tenant, call: ApiCall, segments: list[str]) -> ApiReply:
    if len(segments) == 1:
        return _search_sites(tenant, call)
    site, rest = _find_site(tenant, segments)
    if len(rest) >= 2 and rest[0] == "lists":
        lst = tenant.lists.find(site, rest[1])
        return _list(tenant, call, site, lst, rest[2:])
    if not rest:
        tenant.permissions.check(call.app, READ, site.id)
        return ApiReply(200, site_json(call.base, site))
    if rest == ["lists"]:
        return _lists(tenant, call, site)
    if rest[0] == "permissions":
        return grants.dispatch(tenant, call, site.id, rest[1:])
    raise _no_segment(rest[0])


def _search_sites(tenant: Tenant, call: ApiCall) -> ApiReply:
    text = call.query.get("search", "").strip("*").casefold()
    found = [s for s in tenant.sites.by_id.values() if text in s.web_url.casefold()]
    found = [s for s in found if tenant.permissions.level(call.app, s.id, None) >= READ]
    context = f"{call.base}/$metadata#sites"
    return ApiReply(200, {"@odata.context": context, "value": [site_json(call.base, s) for s in found]})


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


def _lists(tenant: Tenant, call: ApiCall, site: Site) -> ApiReply:
    if call.method == "GET":
        tenant.permissions.check(call.app, READ, site.id)
        return schema.list_lists(tenant, call, site)
    if call.method == "POST":
        tenant.permissions.check(call.app, MANAGE, site.id)
        return schema.create_list(tenant, call, site)
    raise _no_method(call)


def _list(tenant: Tenant, call: ApiCall, site: Site, lst: SimList, rest: list[str]) -> ApiReply:
    if rest and rest[0] == "items":
        tenant.permissions.check(call.app, READ if call.method == "GET" else WRITE, site.id, lst.id)
        return _items(tenant, call, lst, rest[1:])
    if rest and rest[0] == "columns":
        tenant.permissions.check(call.app, READ if call.method == "GET" else MANAGE, site.id, lst.id)
        return _columns(tenant, call, lst, rest[1:])
    if rest and rest[0] == "permissions":
        return grants.dispatch(tenant, call, lst.id, rest[1:])
    if rest == ["subscriptions"] and call.method == "GET":
        return subscriptions_api.list_subscriptions(tenant, call, lst.id)
    if rest:
        raise _no_segment(rest[0])
    tenant.permissions.check(call.app, READ if call.method == "GET" else MANAGE, site.id, lst.id)
    if call.method == "GET":
        return schema.get_list(tenant, call, lst)
    if call.method == "PATCH":
        return schema.change_list(tenant, call, lst)
    if call.method == "DELETE":
        return schema.delete_list(tenant, lst)
    raise _no_method(call)


def _columns(tenant: Tenant, call: ApiCall, lst: SimList, rest: list[str]) -> ApiReply:
    if not rest:
        if call.method == "GET":
            return schema.list_columns(call, lst)
        if call.method == "POST":
            return schema.create_column(tenant, call, lst)
        raise _no_method(call)
    column = schema.find_column(lst, rest[0])
    if call.method == "GET":
        return ApiReply(200, column.to_json())
    if call.method == "PATCH":
        return schema.change_column(tenant, call, lst, column)
    if call.method == "DELETE":
        return schema.delete_column(tenant, lst, column)
    raise _no_method(call)


def _items(tenant: Tenant, call: ApiCall, lst: SimList, rest: list[str]) -> ApiReply:
    if not rest:
        if call.method == "GET":
            return items.list_items(tenant, call, lst)
        if call.method == "POST":
            return items.create_item(tenant, call, lst)
        raise _no_method(call)
    form = delta.CALL_FORM.fullmatch(rest[0])
    if form is not None and len(rest) == 1 and call.method == "GET":
        return delta.get_delta(tenant, call, lst, form.group(1))
    item = items.find_item(lst, rest[0])
    if rest[1:] == ["fields"]:
        if call.method == "PATCH":
            return items.change_fields(tenant, call, lst, item)
        if call.method == "GET":
            return items.get_fields(tenant, call, lst, item)
        raise _no_method(call)
    if len(rest) > 1:
        return versions.dispatch(tenant, call, lst, item, rest[1:])
    if call.method == "GET":
        return items.get_item(tenant, call, lst, item)
    if call.method == "PATCH":
        return items.change_item(tenant, call, lst, item)
    if call.method == "DELETE":
        return items.delete_item(tenant, call, lst, item)
    raise _no_method(call)
