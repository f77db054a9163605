"""Whether anything was lost or doubled: the tables, the lists and the records of a world, compared.

In: a calm `World` whose processes run. Out: findings, empty when all is as it should be. Rule: what should be in the
lists is computed by the shop's own mapping; nothing of the product decides here.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from rowtide.keys import rowtide_key
from tests.e2e.crash import shop
from tests.e2e.crash.definition import IDS
from tests.e2e.crash.world import World
from tests.e2e.stack import wait_until

PATIENCE_S = 90.0


def judge(world: World, patience_s: float = PATIENCE_S) -> list[str]:
    """Wait until nothing waits and all is equal, then look at items, ledger, counts and quota."""
    findings = []
    try:
        wait_until(lambda: _is_calm(world) and not differences(world), "source and lists are equal", patience_s)
    except AssertionError:
        findings.append(f"not equal in the end: {differences(world)[:5]}, waiting: {waiting(world)[:3]}")
    return [
        *findings,
        *world.findings,
        *_doubles(world),
        *_ledger(world),
        *_counts(world),
        *_quota(world),
        *_strangers(world),
    ]


def _is_calm(world: World) -> bool:
    world.let_go()
    return is_quiet(world)


def waiting(world: World) -> list[tuple[Any, ...]]:
    """What the outbox still holds."""
    columns = "sync, key, op, state, due_at::text, reason, lease_owner, lease_until::text, now()::text"
    return world.stack.state(f"SELECT {columns} FROM rowtide.outbox LIMIT 10")


def is_quiet(world: World) -> bool:
    """Whether nothing waits for delivery and no item is left behind."""
    left = "SELECT count(*) FROM rowtide.ledger WHERE leftovers <> '[]'"
    rows = "SELECT count(*) FROM rowtide.outbox WHERE state = 'waiting'"
    return world.stack.state(rows) == world.stack.state(left) == [(0,)]


def items(world: World) -> list[dict[str, Any]]:
    """The items of all lists but those of others."""
    nobodys = {(item["list_id"], item["id"]) for item in of_nobody(world)}
    found = (item for item in world.simulator.items() if not item["deleted"])
    return [item for item in found if (item["list_id"], item["id"]) not in nobodys | world.strangers.keys()]


def of_nobody(world: World) -> list[dict[str, Any]]:
    """Items of ours that lost their keys before they were on record: nothing says whose they are (docs/limits.md).

    An item is not on record while the answer to its POST is lost, or since the records were restored.
    """
    if not world.keys_lost:
        return []
    pairs = set(world.stack.state("SELECT list_id, item_id FROM rowtide.ledger WHERE state = 'live'"))
    keyless = (item for item in world.simulator.items() if not item["deleted"] and not item["fields"].get("RowtideKey"))
    return [
        item
        for item in keyless
        if item["list_id"] in world.keys_lost
        and (item["list_id"], item["id"]) not in pairs
        and not item["createdBy"].endswith(" Person")
    ]


def describe(world: World, ids: Sequence[str]) -> str:
    """Some of what differs, what waits, and what the records say of items that they have or have lost."""
    try:
        pairs = set(world.stack.state("SELECT list_id, item_id FROM rowtide.ledger WHERE state = 'live'"))
        there = (one for one in items(world) if _sync_of(world, one) in ids)
        loose = [one for one in there if (one["list_id"], one["id"]) not in pairs]
        found = differences(world, ids)[:5]
        keys = [str(one["fields"].get("RowtideKey")).partition(":")[2] for one in loose]
        keys += [key for one in found for key in re.findall(r"'(\d[^']*)'\)", one)]
        said = world.stack.state("SELECT to_jsonb(l) FROM rowtide.ledger l WHERE key = ANY (%s)", keys)
        return f"{found}, waiting: {waiting(world)[:3]}, loose: {loose[:3]}, ledger: {said}"
    except psycopg.Error as error:
        return str(error)


def is_unequal(world: World, id_: str) -> bool:
    """Whether table and lists of a sync differ; of a table that is not there now nothing can be said."""
    try:
        return bool(differences(world, [id_]))
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return True


def differences(world: World, ids: Sequence[str] = IDS) -> list[str]:
    """What is in the lists of these syncs and should not be, and the other way round."""
    wanted: shop.Expected = {}
    with psycopg.connect(world.stack.source_dsn, autocommit=True) as connection:
        for id_ in ids:
            wanted |= shop.expected(connection, id_, world.definition.list_of)
    keys = {rowtide_key(sync, key): (sync, key) for sync, key in wanted}
    found: dict[tuple[str, str] | str, list[dict[str, Any]]] = {}
    for item in items(world):
        key = item["fields"].get("RowtideKey")
        if _sync_of(world, item) in ids:
            found.setdefault(keys.get(key, str(item["fields"])), []).append(item)
    extra = [f"extra item {key}" for key in found if key not in wanted]
    return [*extra, *(said for key, row in wanted.items() for said in _of_row(key, row, found.get(key, [])))]


def _sync_of(world: World, item: dict[str, Any]) -> str:
    """The sync that an item is of: by its key, or by its list where a person has taken the key away."""
    if item["fields"].get("RowtideKey"):
        return str(item["fields"]["RowtideKey"]).partition(":")[0]
    by_title = {title: target.partition("/")[0] for target, title in world.definition.shown.items()}
    return by_title.get(item["list"], IDS[0])


def _of_row(key: tuple[str, str], wanted: tuple[str, dict[str, Any]], items: list[dict[str, Any]]) -> Iterator[str]:
    title, fields = wanted
    if len(items) != 1:
        yield f"{key}: {len(items)} items"
    elif items[0]["list"] != title:
        yield f"{key}: in {items[0]['list']}, not {title}"
    else:
        have = items[0]["fields"]
        for name, value in fields.items():
            if not _same(have.get(name), value):
                yield f"{key}.{name}: {have.get(name)!r:.40}, not {value!r:.40}"


def _same(have: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return isinstance(have, str) and have.rstrip() == wanted.rstrip()
    if wanted is None:
        return have in (None, "")
    return bool(have == wanted)


def _doubles(world: World) -> Iterator[str]:
    there = Counter(item["fields"].get("RowtideKey") for item in items(world))
    yield from (f"{count} items with key {key}" for key, count in there.items() if count > 1)
    if world.acted:
        return  # people delete items and lists too: the sums below say nothing
    stats = world.simulator.stats()
    created = sum(one["created"] for one in stats["posts_by_key"].values())
    deleted = stats["deletes"]["total"]
    if created - deleted != sum(there.values()):
        yield f"{created} items created, {deleted} deleted, {sum(there.values())} there"


def _ledger(world: World) -> Iterator[str]:
    pairs = set(world.stack.state("SELECT list_id, item_id FROM rowtide.ledger WHERE state = 'live'"))
    there = {(item["list_id"], item["id"]) for item in items(world)}
    yield from (f"ledger pair {pair} has no item" for pair in sorted(pairs - there)[:5])
    yield from (f"item {item} has no ledger pair" for item in sorted(there - pairs)[:5])


def _counts(world: World) -> Iterator[str]:
    """Each pair was delivered once at least, and no write was counted that Graph did not see."""
    if world.restored:
        return
    short = world.stack.state(
        "SELECT l.sync, count(*), coalesce(max(p.delivered), 0) FROM rowtide.ledger l"
        " LEFT JOIN rowtide.progress p USING (sync) GROUP BY l.sync HAVING count(*) > coalesce(max(p.delivered), 0)"
    )
    yield from (f"{sync}: {pairs} pairs, {did} counted as delivered" for sync, pairs, did in short)
    [(writes, suppressed, delivered)] = world.stack.state(
        "SELECT coalesce(sum(writes), 0), coalesce(sum(suppressed), 0), coalesce(sum(delivered), 0)"
        "  FROM rowtide.progress"
    )
    seen = world.simulator.writes()
    if writes > seen or suppressed > delivered:
        yield f"{writes} writes counted, {suppressed} of {delivered} rows without one; Graph saw {seen} writes"


def _quota(world: World) -> Iterator[str]:
    if world.acted:
        return  # `apply` and the lists' owners spend of it too, and this window is two seconds long
    ru = world.simulator.stats()["ru"]
    if ru["limit_per_window"] and ru["max_in_window"] > ru["limit_per_window"]:
        yield f"budget exceeded: {ru['max_in_window']} of {ru['limit_per_window']} RU in a window"


def _strangers(world: World) -> Iterator[str]:
    there = {(item["list_id"], item["id"]): item for item in world.simulator.items() if not item["deleted"]}
    for place, fields in world.strangers.items():
        item = there.get(place)
        if item is None or {name: item["fields"].get(name) for name in fields} != fields:
            yield f"the item {place} of somebody else is not as it was: {item}"
