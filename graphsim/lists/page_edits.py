"""A person's hand in a list: what somebody does in SharePoint's own pages, past the API.

In: `{list, item_id?, fields?, user, delete?, touch?}`. Out: the item as it is then. Rules: values are judged as those
of the API are; the editor is the named person; an edit costs no quota.
"""

from typing import Any

import orjson

from graphsim.control_views import show_row
from graphsim.http.errors import GraphError, item_missing
from graphsim.lists.list_store import RECYCLED, SimList
from graphsim.lists.principals import Principal
from graphsim.lists.values import Rules, to_changes
from graphsim.tenant import World


def edit(world: World, body: Any) -> bytes:
    """Creates without `item_id`, deletes with `delete`, bumps the eTag alone with `touch`, else changes `fields`."""
    lst = world.any_list(str(body["list"]), body.get("site"))
    person = world.person(str(body.get("user") or "Pat Person"))
    if body.get("item_id") is None:
        return _create(world, lst, person, body.get("fields") or {})
    item = lst.get(str(body["item_id"]))
    if item is None:
        raise item_missing()
    if body.get("if_version") is not None and int(body["if_version"]) != item.version:
        raise GraphError(412, "resourceModified", "somebody else has changed this item meanwhile")
    if body.get("delete"):
        lst.remove(item, person, world.now())
        world.written(lst, item, "deletes")
    elif body.get("touch"):
        lst.touch(item, person, world.now())
        world.written(lst, item, "updates")
    else:
        changes = to_changes(lst.names, body.get("fields") or {}, Rules(world.switches, world.has_target))
        lst.check_unique(changes, item.id, world.switches.unique_error)
        lst.update(item, changes, person, world.now(), world.switches.version_limit)
        world.written(lst, item, "updates")
    return orjson.dumps(show_row(lst, item))


def _create(world: World, lst: SimList, person: Principal, fields: dict[str, Any]) -> bytes:
    values = to_changes(lst.names, fields, Rules(world.switches, world.has_target))
    values = {k: v for k, v in values.items() if v is not None}
    lst.check_unique(values, 0, world.switches.unique_error)
    item = lst.insert(values, person, world.now())
    world.written(lst, item, "creates")
    return orjson.dumps(show_row(lst, item))


def recycle(world: World, body: Any) -> bytes:
    """`{"list", "item_id", "action": "restore" | "purge", "user"}`: the recycle bin."""
    lst = world.any_list(str(body["list"]), body.get("site"))
    item = lst.row(str(body["item_id"]))
    if item is None or item.state != RECYCLED:
        raise item_missing()
    if body.get("action", "restore") == "purge":
        lst.purge(item)
        world.journal.item(lst, item, world.now())
    else:
        lst.check_unique(item.values(), item.id, world.switches.unique_error)
        lst.restore(item, world.person(str(body.get("user") or "Pat Person")), world.now())
        world.written(lst, item, "updates")

    return orjson.dumps(show_row(lst, item))
