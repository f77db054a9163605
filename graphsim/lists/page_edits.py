"""Edits by a person: what somebody does in SharePoint's own pages, outside of the API.

In: `{list, item_id?, fields?, user, delete?, touch?}`. Out: the item as it is then. Rules: values are judged like those
of the API; the editor is the named person; an edit costs no quota.
"""

from typing import Any

import orjson

from graphsim.control_views import show_row
from graphsim.http.errors import GraphError, item_missing
from graphsim.lists.list_store import LIVE, PENDING, RECYCLED, SimList
from graphsim.lists.principals import Principal
from graphsim.lists.values import ValueRules, to_changes
from graphsim.tenant import Tenant


def edit(tenant: Tenant, body: Any) -> bytes:
    """Creates without `item_id`, deletes with `delete`, bumps the eTag alone with `touch`, else changes `fields`."""
    lst = tenant.lists.find_anywhere(str(body["list"]), body.get("site"))
    person = tenant.person(str(body.get("user") or "Pat Person"))
    if body.get("item_id") is None:
        return _create(tenant, lst, person, body.get("fields") or {})
    item = lst.get(str(body["item_id"]))
    if item is None:
        raise item_missing()
    if body.get("if_version") is not None and int(body["if_version"]) != item.version:
        raise GraphError(412, "resourceModified", "somebody else has changed this item meanwhile")
    if body.get("delete"):
        lst.remove(item, person, tenant.now())
        tenant.record_write(lst, item, "deletes")
    elif body.get("touch"):
        lst.touch(item, tenant.now())
        tenant.record_write(lst, item, "updates")
    else:
        changes = to_changes(lst.names, body.get("fields") or {}, ValueRules(tenant.switches, tenant.references.exists))
        lst.check_unique(changes, item.id, tenant.switches)
        lst.update(item, changes, person, tenant.now(), tenant.switches.version_limit)
        tenant.record_write(lst, item, "updates")
    return orjson.dumps(show_row(lst, item))


def _create(tenant: Tenant, lst: SimList, person: Principal, fields: dict[str, Any]) -> bytes:
    values = to_changes(lst.names, fields, ValueRules(tenant.switches, tenant.references.exists))
    values = {k: v for k, v in values.items() if v is not None}
    lst.check_unique(values, 0, tenant.switches)
    item = lst.insert(values, person, tenant.now())
    tenant.record_write(lst, item, "creates")
    return orjson.dumps(show_row(lst, item))


def recycle(tenant: Tenant, body: Any) -> bytes:
    """`{"list", "item_id", "action": "restore" | "purge", "user"}`: the recycle bin."""
    lst = tenant.lists.find_anywhere(str(body["list"]), body.get("site"))
    item = lst.row(str(body["item_id"]))
    if item is None or item.state != RECYCLED:
        raise item_missing()
    action = body.get("action", "restore")
    if action not in {"restore", "purge"}:
        raise ValueError(f"an item of the recycle bin is restored or purged; there is no action '{action}'")
    if action == "purge":
        lst.purge(item)
        tenant.journal.item(lst, item, tenant.now())
    else:
        lst.check_unique(lst.values(item), item.id, tenant.switches)
        lst.restore(item, tenant.person(str(body.get("user") or "Pat Person")), tenant.now())
        tenant.record_write(lst, item, "updates")
    return orjson.dumps(show_row(lst, item))


def approval(tenant: Tenant, body: Any) -> bytes:
    """`{"list", "item_id", "action": "withhold" | "approve", "user"}`: an item that waits for its approval."""
    lst = tenant.lists.find_anywhere(str(body["list"]), body.get("site"))
    item, action = lst.row(str(body["item_id"])), body["action"]
    if action not in {"withhold", "approve"}:
        raise ValueError(f"an item is withheld or approved; there is no action '{action}'")
    if item is None or item.state != (LIVE if action == "withhold" else PENDING):
        raise item_missing()
    if action == "withhold":
        # Applications do not see it, and nobody is told; its values stay unique.
        item.state = PENDING
        tenant.journal.item(lst, item, tenant.now())
    else:
        item.state = LIVE
        lst.touch(item, tenant.now(), tenant.person(str(body.get("user") or "Pat Person")))
        tenant.record_write(lst, item, "updates")
    return orjson.dumps(show_row(lst, item))
