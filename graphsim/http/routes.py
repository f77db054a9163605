"""Which handler answers a path below `/v1.0`.

In: a `Call`. Out: the `Reply` of its handler, or GraphError. Rules: names of resources are read as Graph reads them
(ids in any case, titles, encoded commas); the caller's permission is checked before the handler sees the call.
"""

from graphsim.http import errors
from graphsim.http.request import Call, Reply
from graphsim.identity import applications_api, grants
from graphsim.identity.permissions import MANAGE, READ, WRITE
from graphsim.lists import delta, items, schema, versions
from graphsim.lists.list_store import SimList
from graphsim.lists.representations import site_json
from graphsim.lists.sites import Site
from graphsim.tenant import World
from graphsim.webhooks import subscriptions_api


def dispatch(world: World, call: Call) -> Reply:
    segments = call.segments
    head = segments[0] if segments else ""
    if head == "sites":
        return _sites(world, call, segments)
    if head == "subscriptions":
        return subscriptions_api.dispatch(world, call, segments[1:])
    if head.startswith("applications"):
        return applications_api.dispatch(world, call, segments)
    raise _no_segment(head)


def _no_segment(name: str) -> errors.GraphError:
    return errors.GraphError(400, "BadRequest", f"Resource not found for the segment '{name}'.")


def _no_method(call: Call) -> errors.GraphError:
    return errors.GraphError(405, "notAllowed", f"The method {call.method} is not allowed here")


def _sites(world: World, call: Call, segments: list[str]) -> Reply:
    if len(segments) == 1:
        return _search_sites(world, call)
    site, rest = _find_site(world, segments)
    if len(rest) >= 2 and rest[0] == "lists":
        lst = world.find_list(site, rest[1])
        return _list(world, call, site, lst, rest[2:])
    if not rest:
        world.permissions.check(call.app, READ, site.id)
        return Reply(200, site_json(call.base, site))
    if rest == ["lists"]:
        return _lists(world, call, site)
    if rest[0] == "permissions":
        return grants.dispatch(world, call, site.id, rest[1:])
    raise _no_segment(rest[0])


def _search_sites(world: World, call: Call) -> Reply:
    text = call.query.get("search", "").strip("*").casefold()
    found = [s for s in world.sites.values() if text in s.web_url.casefold()]
    found = [s for s in found if world.permissions.level(call.app, s.id, None) >= READ]
    context = f"{call.base}/$metadata#sites"
    return Reply(200, {"@odata.context": context, "value": [site_json(call.base, s) for s in found]})


def _find_site(world: World, segments: list[str]) -> tuple[Site, list[str]]:
    """`sites/{id}/...`, or `sites/{host}:/{path}` with `:/...` going on after the path.

    msgraph-sdk encodes `by_site_id("host:/path")` as one segment (`host%3A%2Fpath`): it goes on without a colon.
    """
    host, colon, named = segments[1].partition(":/")
    if colon:
        return _by_path(world, host, named.removesuffix(":").split("/")), segments[2:]
    if not segments[1].endswith(":"):
        return world.find_site(segments[1]), segments[2:]
    path: list[str] = []
    for n, part in enumerate(segments[2:], start=2):
        path.append(part.removesuffix(":"))
        if part.endswith(":"):
            return _by_path(world, segments[1][:-1], path), segments[n + 1 :]
    return _by_path(world, segments[1][:-1], path), []


def _by_path(world: World, host: str, path: list[str]) -> Site:
    return world.find_site_by_path(host, "/" + "/".join(path) if path else "")


def _lists(world: World, call: Call, site: Site) -> Reply:
    if call.method == "GET":
        world.permissions.check(call.app, READ, site.id)
        return schema.list_lists(world, call, site)
    if call.method == "POST":
        world.permissions.check(call.app, MANAGE, site.id)
        return schema.create_list(world, call, site)
    raise _no_method(call)


def _list(world: World, call: Call, site: Site, lst: SimList, rest: list[str]) -> Reply:
    if rest and rest[0] == "items":
        world.permissions.check(call.app, READ if call.method == "GET" else WRITE, site.id, lst.id)
        return _items(world, call, lst, rest[1:])
    if rest and rest[0] == "columns":
        world.permissions.check(call.app, READ if call.method == "GET" else MANAGE, site.id, lst.id)
        return _columns(world, call, lst, rest[1:])
    if rest and rest[0] == "permissions":
        return grants.dispatch(world, call, lst.id, rest[1:])
    if rest == ["subscriptions"] and call.method == "GET":
        return subscriptions_api.list_subscriptions(world, call, lst.id)
    if rest:
        raise _no_segment(rest[0])
    world.permissions.check(call.app, READ if call.method == "GET" else MANAGE, site.id, lst.id)
    if call.method == "GET":
        return schema.get_list(world, call, lst)
    if call.method == "PATCH":
        return schema.change_list(world, call, lst)
    if call.method == "DELETE":
        return schema.delete_list(world, lst)
    raise _no_method(call)


def _columns(world: World, call: Call, lst: SimList, rest: list[str]) -> Reply:
    if not rest:
        if call.method == "GET":
            return schema.list_columns(call, lst)
        if call.method == "POST":
            return schema.create_column(world, call, lst)
        raise _no_method(call)
    column = schema.find_column(lst, rest[0])
    if call.method == "GET":
        return Reply(200, column.to_json())
    if call.method == "PATCH":
        return schema.change_column(world, call, lst, column)
    if call.method == "DELETE":
        return schema.delete_column(world, lst, column)
    raise _no_method(call)


def _items(world: World, call: Call, lst: SimList, rest: list[str]) -> Reply:
    if not rest:
        if call.method == "GET":
            return items.list_items(world, call, lst)
        if call.method == "POST":
            return items.create_item(world, call, lst)
        raise _no_method(call)
    form = delta.CALL_FORM.fullmatch(rest[0])
    if form is not None and len(rest) == 1 and call.method == "GET":
        return delta.get_delta(world, call, lst, form.group(1))
    item = items.find_item(lst, rest[0])
    if rest[1:] == ["fields"]:
        if call.method == "PATCH":
            return items.change_fields(world, call, lst, item)
        if call.method == "GET":
            return items.get_fields(world, call, lst, item)
        raise _no_method(call)
    if len(rest) > 1:
        return versions.dispatch(world, call, lst, item, rest[1:])
    if call.method == "GET":
        return items.get_item(world, call, lst, item)
    if call.method == "PATCH":
        return items.change_item(world, call, lst, item)
    if call.method == "DELETE":
        return items.delete_item(world, call, lst, item)
    raise _no_method(call)
