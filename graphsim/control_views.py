"""The read-only answers of the control side: items, lists, a table for the page, switches.

In: the query of a `/_sim` request. Out: JSON, as bytes where it may be large, as portions where it may be very large.
Rules: what has up to twenty thousand parts is the state of one moment; more than that is told portion by portion, while
others have their turn, because a million items at once would stop everybody for ten seconds. Nothing is changed.
"""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

import orjson

from graphsim.clock import to_text
from graphsim.lists.list_store import LIVE, PENDING, RECYCLED, ListItem, SimList
from graphsim.tenant import Tenant

# A search looks at this many items, because it must not stop everybody else.
_SEARCHED = 20_000
# Answers of more parts than this are portions.
_AT_ONCE = 20_000
_PORTION = 200


def show_row(lst: SimList, item: ListItem) -> dict[str, Any]:
    """One item as the control side shows it: with its list, both dates, both names, and whether an app wrote last."""
    return {
        "id": str(item.id),
        "list": lst.display_name,
        "list_id": lst.id,
        "version": item.version,
        "eTag": lst.etag(item),
        "deleted": item.state not in (LIVE, PENDING),
        "createdDateTime": to_text(item.created),
        "lastModifiedDateTime": to_text(item.modified),
        "createdBy": item.author.name,
        "lastModifiedBy": item.editor.name,
        "lastModifiedByApp": item.editor.kind == "app",
        "fields": lst.values(item) if lst.retired else orjson.Fragment(item.fields),
    }


def items(tenant: Tenant, query: dict[str, str]) -> bytes | Iterator[bytes]:
    """`?site=&list=`, `?all=1`; with `deleted=1` also the recycle bin."""
    if query.get("all") == "1":
        chosen = list(tenant.lists.by_id.values())
    else:
        chosen = [tenant.lists.find_anywhere(query["list"], query.get("site"))]
    with_deleted = query.get("deleted") == "1"
    rows = (
        show_row(lst, item)
        for lst in chosen
        for item in lst.rows
        if item is not None and (item.state in (LIVE, PENDING) or (with_deleted and item.state == RECYCLED))
    )
    portions = _in_portions(b'{"items":[', (orjson.dumps(row) for row in rows), b"]}")
    return b"".join(portions) if sum(len(lst.rows) for lst in chosen) <= _AT_ONCE else portions


def stats(tenant: Tenant, query: dict[str, str]) -> bytes | Iterator[bytes]:
    """Every counter and quota window; without `keys=0` also the POSTs of each key."""
    counters = {**tenant.stats.report(), "ru": tenant.throttle.report(), "now": tenant.now()}
    if query.get("keys", "1") == "0":
        return orjson.dumps(counters)
    # The names are those of this moment; their counters are read as they are told.
    names = list(tenant.stats.posts)
    entries = (orjson.dumps({name: tenant.stats.posts_of(name)})[1:-1] for name in names)
    head = orjson.dumps(counters)[:-1] + b',"posts_by_key":{'
    portions = _in_portions(head, entries, b"}}")
    return b"".join(portions) if len(names) <= _AT_ONCE else portions


def _in_portions(head: bytes, entries: Iterator[bytes], tail: bytes) -> Iterator[bytes]:
    """The parts of a JSON text, several entries at a time."""
    yield head
    if first := b",".join(islice(entries, _PORTION)):
        yield first
    while portion := b",".join(islice(entries, _PORTION)):
        yield b"," + portion
    yield tail


def lists(tenant: Tenant) -> Any:
    """All lists with their columns, item counts and the position of their last change."""
    return {
        "lists": [
            {
                "id": lst.id,
                "displayName": lst.display_name,
                "site": tenant.sites.to_text(lst.site_id),
                "site_id": lst.site_id,
                "items": lst.live,
                "position": lst.log.position,
                "columns": [c.to_json() for c in lst.columns.values() if not c.is_system or c.name == "Title"],
            }
            for lst in tenant.lists.by_id.values()
        ]
    }


def table(tenant: Tenant, query: dict[str, str]) -> bytes:
    """Rows for the page, last changed first: `?list=&top=&find=&order=`; `position` tells whether to draw anew."""
    lst = tenant.lists.find_anywhere(query["list"])
    top = min(int(query.get("top", "100")), 1000)
    wanted = query.get("find", "").casefold()
    rows: list[dict[str, Any]] = []
    for item in islice(_in_order(lst, query.get("order", "changed")), _SEARCHED):
        if item.state != LIVE:
            continue
        labels = _labels(tenant, lst, item)
        if not wanted or _holds(lst, item, labels, wanted):
            rows.append({**show_row(lst, item), "labels": labels})
            if len(rows) == top:
                break
    return orjson.dumps({"position": lst.log.position, "items": lst.live, "now": tenant.now(), "rows": rows})


def _holds(lst: SimList, item: ListItem, labels: dict[str, dict[str, str | None]], wanted: str) -> bool:
    """Whether a value of the item, or the text of a person or lookup, holds the text, in any case."""
    if any(wanted in str(label).casefold() for texts in labels.values() for label in texts.values()):
        return True
    # Most items hold it nowhere, which their JSON tells unread: letters and digits stand there as they are.
    if wanted.isalnum() and wanted not in item.fields.decode().casefold():
        return False
    parts = (part for value in lst.values(item).values() for part in (value if isinstance(value, list) else [value]))
    return any(wanted in str(part).casefold() for part in parts)


def _in_order(lst: SimList, order: str) -> Iterator[ListItem]:
    if order == "id":
        return lst.live_items()
    return (item for n in lst.log.newest() if (item := lst.rows[n - 1]) is not None)


def _labels(tenant: Tenant, lst: SimList, item: ListItem) -> dict[str, dict[str, str | None]]:
    """The texts of an item's lookups and persons, by field and number."""
    references = [column for column in lst.columns.values() if column.lookup_name and not column.is_system]
    if not references:
        return {}
    values, out = lst.values(item), {}
    for column in references:
        held = values.get(column.lookup_name)
        numbers = held if isinstance(held, list) else [] if held is None else [held]
        out[column.lookup_name] = {str(n): tenant.references.label(column, int(n)) for n in numbers}
    return out


def people(tenant: Tenant) -> Any:
    """The persons of the user information list, for choosing one."""
    known = tenant.people.by_number.values()
    return {"people": [{"id": one.number, "name": one.name} for one in known if one.kind == "person"]}


def switches(tenant: Tenant) -> Any:
    """Every switch with its value in force, under the name the command line uses."""
    return {name.replace("_", "-"): value for name, value in asdict(tenant.switches).items()}
