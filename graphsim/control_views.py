"""What the control side shows: all items of a list, the lists, a table for the page, the switches.

In: the query of a `/_sim` request. Out: JSON, as bytes where it may be large. Rule: a hundred thousand items are shown
within a second or two; nothing is changed.
"""

from dataclasses import asdict
from itertools import islice
from typing import Any

import orjson

from graphsim.clock import to_text
from graphsim.lists.list_store import LIVE, RECYCLED, Item, SimList
from graphsim.tenant import World


def show_row(lst: SimList, item: Item) -> dict[str, Any]:
    return {
        "id": str(item.id),
        "list": lst.display_name,
        "list_id": lst.id,
        "version": item.version,
        "eTag": lst.etag(item),
        "deleted": item.state != LIVE,
        "createdDateTime": to_text(item.created),
        "lastModifiedDateTime": to_text(item.modified),
        "createdBy": item.author.name,
        "lastModifiedBy": item.editor.name,
        "lastModifiedByApp": item.editor.kind == "app",
        "fields": orjson.Fragment(item.fields),
    }


def items(world: World, query: dict[str, str]) -> bytes:
    """`?site=&list=`, `?all=1`; with `deleted=1` also the recycle bin."""
    if query.get("all") == "1":
        chosen = list(world.lists.values())
    else:
        chosen = [world.any_list(query["list"], query.get("site"))]
    with_deleted = query.get("deleted") == "1"
    rows = (
        show_row(lst, item)
        for lst in chosen
        for item in lst.rows
        if item is not None and (item.state == LIVE or (with_deleted and item.state == RECYCLED))
    )
    # In portions, because a million rows as dictionaries would take gigabytes for a moment.
    portions = []
    while portion := list(islice(rows, 2000)):
        portions.append(orjson.dumps(portion)[1:-1])
    return b'{"items":[' + b",".join(portions) + b"]}"


def lists(world: World) -> Any:
    return {
        "lists": [
            {
                "id": lst.id,
                "displayName": lst.display_name,
                "site": world.site_key(lst.site_id),
                "site_id": lst.site_id,
                "items": lst.live,
                "position": lst.log.position,
                "columns": [c.to_json() for c in lst.columns.values() if not c.is_system or c.name == "Title"],
            }
            for lst in world.lists.values()
        ]
    }


def table(world: World, query: dict[str, str]) -> bytes:
    """The newest changes first: `?list=&top=&find=`; `position` tells the page whether to draw anew."""
    lst = world.any_list(query["list"])
    top = min(int(query.get("top", "100")), 1000)
    wanted = query.get("find", "").casefold().encode()
    rows: list[dict[str, Any]] = []
    for item in reversed(lst.rows) if query.get("order") != "id" else lst.rows:
        if item is not None and item.state == LIVE and (not wanted or wanted in item.fields.lower()):
            rows.append(show_row(lst, item))
            if len(rows) == top:
                break
    return orjson.dumps({"position": lst.log.position, "items": lst.live, "rows": rows})


def switches(world: World) -> Any:
    return {name.replace("_", "-"): value for name, value in asdict(world.switches).items()}
