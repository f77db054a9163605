"""Whether anything was lost, doubled or invented by a sync of two ways: table, lists, records and lineage compared.

In: a ground whose people have gone and whose processes run, the lineage. Out: findings, empty when all is as it should
be. Rule: what should be in the lists is said here a second time; nothing of the product decides.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.e2e.crash.both.lineage import Lineage
from tests.e2e.crash.both.people import FIELDS
from tests.e2e.crash.ground import Ground
from tests.e2e.stack import wait_until
from tests.e2e.two_ways import ask_again

PATIENCE_S = 150.0
TITLES = {"a": "Wares A", "b": "Wares B"}
OTHER = "Wares Other"
Said = dict[str, Any]
WAITING = (
    "SELECT (SELECT count(*) FROM rowtide.outbox) + (SELECT count(*) FROM rowtide.inbox)"
    " + (SELECT count(*) FROM rowtide.ledger WHERE leftovers <> '[]' OR state = 'arriving')"
)


def judge(ground: Ground, lineage: Lineage, patience_s: float = PATIENCE_S) -> list[str]:
    """Wait until nothing waits and both sides are equal, then look at what became of every value.

    Of values that are still on their way nothing can be said: then the difference is the only finding.
    """
    if not _becomes_equal(ground, patience_s):
        unequal = differences(ground)[:5]
        of_rows = [_records(ground, one.partition(":")[2].partition(":")[0]) for one in unequal]
        values = [_told(lineage, one) for one in sorted(lineage.over) if any(f"'{one}'" in said for said in unequal)]
        told = f"{'; '.join(of_rows)}; {'; '.join(values)}"
        return [f"not equal in the end: {unequal}, waiting: {waiting(ground)}; {told}"]
    values = [*_doubled(ground, lineage), *_invented(ground, lineage), *_lost(ground, lineage)]
    return [*_quiet(ground), *values]


def _becomes_equal(ground: Ground, patience_s: float) -> bool:
    """Whether both sides become equal; it may take as long as ever fewer wait, because edits cost quota."""
    left: tuple[Any, ...] | None = None
    while True:
        with contextlib.suppress(AssertionError):
            wait_until(lambda: _is_calm(ground) and not differences(ground), "both sides are equal", patience_s)
            return True
        now = ground.stack.state(WAITING)[0]
        if left is not None and now >= left:
            return False
        left = now


def _is_calm(ground: Ground) -> bool:
    """Whether nothing waits; what only a person can say, somebody says who looks at the inbox."""
    if ground.stack.state("SELECT 1 FROM rowtide.inbox WHERE state = 'parked' AND inferred"):
        ground.stack.command("parked", "retry", "wares", "--all", check=False)
    return ground.stack.state(WAITING) == [(0,)]


def waiting(ground: Ground) -> list[tuple[Any, ...]]:
    """What still waits, in either direction."""
    outbox = "SELECT key, op, state, due_at::text, reason, lease_owner, sent::text FROM rowtide.outbox LIMIT 5"
    inbox = "SELECT key, item_id, state, code, due_at::text, lease_owner, sentence FROM rowtide.inbox LIMIT 5"
    return [*ground.stack.state(outbox), *ground.stack.state(inbox)]


def rows(ground: Ground) -> dict[str, Said]:
    """The rows, by key."""
    found = ground.stack.sql("SELECT id::text, title, note, shard FROM wares")
    return {key: {"title": title, "note": note, "shard": shard} for key, title, note, shard in found}


def items(ground: Ground) -> list[Said]:
    """The items that are there."""
    return [one for one in ground.simulator.items() if not one["deleted"]]


def differences(ground: Ground) -> list[str]:
    """Where table and lists are not the same."""
    wanted = {
        f"wares:{key}": (TITLES.get(row["shard"], OTHER), row["title"], row["note"])
        for key, row in rows(ground).items()
    }
    found: dict[str, list[tuple[Any, ...]]] = {}
    for item in items(ground):
        fields = item["fields"]
        key = str(fields.get("RowtideKey") or f"item {item['id']} of {item['list']}")
        found.setdefault(key, []).append((item["list"], *(fields.get(name) for name in FIELDS.values())))
    keys = sorted(wanted.keys() | found.keys())
    return [
        f"{key}: items {found.get(key)}, row {wanted.get(key)}"
        for key in keys
        if found.get(key) != ([wanted[key]] if key in wanted else None)
    ]


def _quiet(ground: Ground) -> Iterator[str]:
    """A further cycle of both directions writes nothing."""
    before = _writes(ground)
    ask_again(ground.stack, 2)
    after = _writes(ground)
    if after[0] != before[0]:
        yield f"a quiet cycle wrote to the lists: {before[0]} became {after[0]}"
    touched = sorted(key for key in before[1].keys() | after[1].keys() if before[1].get(key) != after[1].get(key))
    yield from (f"a quiet cycle wrote row {key}; {_records(ground, key)}" for key in touched)


def _writes(ground: Ground) -> tuple[int, dict[str, str]]:
    """How much was written to the lists, and which transaction wrote each row: statistics come seconds later."""
    return ground.simulator.writes(), dict(ground.stack.sql("SELECT id::text, xmin::text FROM wares"))


def _doubled(ground: Ground, lineage: Lineage) -> Iterator[str]:
    """Every value was written once: two rows that hold it were made of one item."""
    held = Counter((name, row[name]) for row in rows(ground).values() for name in FIELDS if row[name] is not None)
    for (name, value), count in held.items():
        if count > 1:
            yield f"{count} rows hold {name} {_trace(ground, lineage, value)}"
    keys = Counter(item["fields"].get("RowtideKey") for item in items(ground))
    yield from (f"{count} items with key {key}" for key, count in keys.items() if count > 1)


def _invented(ground: Ground, lineage: Lineage) -> Iterator[str]:
    """Conflicts between values of which one was seen by whoever wrote the other."""
    query = "SELECT kind, key, list_id, item_id, version::int, fields FROM rowtide.conflict ORDER BY id"
    for kind, key, list_id, item_id, version, fields in ground.stack.state(query):
        why = lineage.note_conflict(kind, str(key), (list_id, item_id), version, fields)
        if why:
            told = "; ".join(_told(lineage, one) for one in sorted(lineage.of_row.get(str(key), ())))
            edits = lineage.of_item.get((list_id, item_id), {})
            yield (
                f"invented conflict {kind} of {key}, item {item_id} version {version}: {why};"
                f" edits of the item: {edits}; values of the row: {told}; {_records(ground, str(key))}"
            )


def _trace(ground: Ground, lineage: Lineage, value: str) -> str:
    """Where a value was written, over what, what was written over it, and what is on record of its row by now."""
    where = lineage.origin.get(value, "")
    key = where.partition("wares:")[2].partition(",")[0] or where.rpartition(" ")[2]
    after = sorted(one for one, over in lineage.over.items() if value in over)
    row = rows(ground).get(key)
    now = [_told(lineage, one) for one in (row or {}).values() if one in lineage.over]
    return (
        f"{_told(lineage, value)}, overwritten by {after}; its row: {row}, of which {'; '.join(now) or 'nothing'};"
        f" {_records(ground, key)}"
    )


def _told(lineage: Lineage, value: str) -> str:
    return f"{value} of {lineage.origin.get(value, 'nobody')} was written over {sorted(lineage.over[value])}"


def _records(ground: Ground, key: str) -> str:
    """What is on record of a row, in the state database and in the source."""
    conflicts = (
        "SELECT kind, item_id, version::int, winner, fields::text FROM rowtide.conflict WHERE key = %s ORDER BY id"
    )
    pair = "SELECT state, item_id, etag, base::text, era, lsn, xid, pulled::text, applied_era FROM rowtide.ledger"
    applied = "SELECT * FROM rowtide_pull.applied WHERE key = %s"
    return (
        f"conflicts: {ground.stack.state(conflicts, key)}; ledger: {ground.stack.state(f'{pair} WHERE key = %s', key)};"
        f" applied: {ground.stack.sql(applied, key)}"
    )


def _lost(ground: Ground, lineage: Lineage) -> Iterator[str]:
    held = {key: {name: row[name] for name in FIELDS} for key, row in rows(ground).items()}
    yield from (f"lost: {_trace(ground, lineage, value)}" for value in sorted(lineage.lost(held.values())))
    for one in lineage.deletions_lost(held):
        side = "item" if one in lineage.items_gone.get(one.of, []) else "row"
        told = f"blurred: {one.blurred}, act {one.at}, row made at {lineage.births.get(one.of)}"
        yield (
            f"lost: deletion {one.name} of {side} {one.of}, which said {sorted(lineage.over[one.name])} ({told});"
            f" values of the row: {sorted(lineage.of_row.get(one.of, []))}; it says {rows(ground)[one.of]};"
            f" {_records(ground, one.of)}"
        )
