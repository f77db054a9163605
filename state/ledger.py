"""What is known of each synced pair: reads of table ``ledger``.

In: a sync and row keys. Out: `Pair`s, counts, pages of keys. Rule: only settle (state.outbox) and apply write it;
positions and versions never fall.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, assert_never

from psycopg.rows import args_row

from rowtide.change import Fields
from rowtide.deciding.records import (
    Arriving,
    AsOf,
    ETag,
    Held,
    ItemId,
    LeftItem,
    Leftover,
    ListId,
    LostPost,
    NoItem,
    Pair,
    PairedItem,
    Standing,
    WrongKey,
    version_of,
)
from rowtide.position import Position
from state.database import Connection

COLUMNS = """l.sync, l.key, l.state, l.list_id, l.item_id, l.etag, l.base, l.kept, l.era, l.lsn, l.ordinal, l.xid,
       l.mapping_version, l.leftovers"""

ITEM_INDEX = "ledger_item_idx"
"""The unique index by which an item belongs to one row."""


class Stored(NamedTuple):
    """A row of `COLUMNS`, in their order. A named tuple, because a claim reads one for each of its rows."""

    sync: str
    key: str
    state: str
    list_id: ListId | None
    item_id: ItemId | None
    etag: ETag | None
    base: Fields
    kept: Fields
    era: int
    lsn: int
    ordinal: int
    xid: int
    mapping_version: int
    leftovers: Sequence[Mapping[str, Any]]


def to_pair(stored: Stored) -> Pair:
    """The pair of a ledger row. A row that names no item is a pair without one, whatever its state."""
    as_of = AsOf(Position(stored.era, stored.lsn, stored.ordinal), stored.xid, stored.mapping_version)
    leftovers = tuple(map(_to_leftover, stored.leftovers))
    item = _to_item(stored)
    match stored.state:
        case "live" | "ignored" | "kept" if item is not None:
            return Held(as_of, item, Standing(stored.state), leftovers)
        case "arriving" if item is not None:
            return Arriving(as_of, item, leftovers)
        case "ignored":
            return NoItem(as_of, None, leftovers, ignored=True)
        case _:
            return NoItem(as_of, item, leftovers)


def _to_item(stored: Stored) -> PairedItem | None:
    if stored.list_id is None or stored.item_id is None:
        return None
    return PairedItem(stored.list_id, stored.item_id, stored.etag, stored.base, stored.kept)


def to_stored(sync: str, key: str, pair: Pair) -> dict[str, Any]:
    """The ledger row of a pair, by column."""
    as_of, item, state = pair.as_of, _item_of(pair), _state_of(pair)
    named: dict[str, Any] = {"list_id": None, "item_id": None, "etag": None, "version": 0, "base": {}, "kept": {}}
    if item is not None:
        named |= {
            "list_id": item.list_id, "item_id": item.item_id, "etag": item.etag, "version": version_of(item.etag),
        }  # fmt: skip
        if not isinstance(pair, NoItem):  # what a deleted row held is not kept
            named |= {"base": item.base, "kept": item.kept}
    return named | {
        "sync": sync, "key": key, "state": state, "era": as_of.position.era, "lsn": as_of.position.lsn,
        "ordinal": as_of.position.ordinal, "xid": as_of.xid, "mapping_version": as_of.mapping_version,
        "leftovers": [_from_leftover(one) for one in pair.leftovers],
    }  # fmt: skip


def _item_of(pair: Pair) -> PairedItem | None:
    """The pair's item; a tombstone keeps the one the key had, a row that is left without one does not."""
    if isinstance(pair, NoItem):
        return None if pair.ignored else pair.last
    return pair.item


def _state_of(pair: Pair) -> str:
    match pair:
        case NoItem(ignored=ignored):
            return Standing.IGNORED.value if ignored else "tombstone"
        case Held(standing=standing):
            return standing.value
        case Arriving():
            return "arriving"
        case _:
            assert_never(pair)


def _to_leftover(stored: Mapping[str, Any]) -> Leftover:
    list_id, item_id, until = ListId(stored["list_id"]), stored["item_id"], stored.get("until")
    if stored.get("wrong_key"):
        return WrongKey(list_id, ItemId(item_id), ETag(stored["etag"]))
    moment = None if until is None else datetime.fromisoformat(until)
    if item_id is not None:
        return LeftItem(list_id, ItemId(item_id), stored.get("etag"), moment, stored.get("base"), stored.get("kept"))
    assert moment is not None, "a lost POST is stored with the end of its time"
    return LostPost(list_id, moment)


def _from_leftover(leftover: Leftover) -> dict[str, Any]:
    match leftover:
        case LeftItem(list_id, item_id, etag, until, base, kept):
            moment = None if until is None else until.isoformat()
            stored = {"list_id": list_id, "item_id": item_id, "until": moment, "etag": etag}
            return stored if base is None else {**stored, "base": base, "kept": kept}
        case LostPost(list_id, until):
            return {"list_id": list_id, "item_id": None, "until": until.isoformat(), "etag": None}
        case WrongKey(list_id, item_id, etag):
            return {"list_id": list_id, "item_id": item_id, "until": None, "etag": etag, "wrong_key": True}
        case _:
            assert_never(leftover)


def read(conn: Connection, sync: str, keys: Sequence[str]) -> dict[str, Pair]:
    """The known pairs of these keys."""
    return _read(conn, sync, keys, COLUMNS)


def read_places(conn: Connection, sync: str, keys: Sequence[str]) -> dict[str, Pair]:
    """The same without the values last agreed: for many keys, only to see which items are theirs."""
    return _read(conn, sync, keys, COLUMNS.replace("l.base, l.kept", "'{}'::jsonb, '{}'::jsonb"))


def _read(conn: Connection, sync: str, keys: Sequence[str], columns: str) -> dict[str, Pair]:
    query = f"SELECT {columns} FROM rowtide.ledger l WHERE l.sync = %s AND l.key = ANY (%s)"
    with conn.cursor(row_factory=args_row(Stored)) as cursor:
        return {row.key: to_pair(row) for row in cursor.execute(query, [sync, list(keys)])}


def live_count(conn: Connection, sync: str) -> int:
    """How many pairs have an item now."""
    query = "SELECT count(*) FROM rowtide.ledger WHERE sync = %s AND state = 'live'"
    [(count,)] = conn.execute(query, [sync]).fetchall()
    return int(count)


_PRUNE = """
DELETE FROM rowtide.ledger l
 WHERE l.sync = %(sync)s AND l.state = 'tombstone' AND l.updated_at < now() - %(older_than)s
   AND l.leftovers = '[]'::jsonb
   AND (l.era < %(era)s OR (l.era = %(era)s AND l.lsn < %(confirmed_lsn)s AND l.xid < %(xmin)s))
   AND NOT EXISTS (SELECT FROM rowtide.outbox o WHERE o.sync = l.sync AND o.key = l.key)
   AND (%(key)s::text IS NULL OR l.key = %(key)s)
"""


def prune_tombstones(
    conn: Connection,
    sync: str,
    era: int,
    confirmed_lsn: int,
    xmin: int,
    older_than: timedelta,
    key: str | None = None,
) -> int:
    """Forget tombstones whose rows nothing can bring back any more, or only that of ``key``; the number of them.

    ``confirmed_lsn`` of the slot's ``era``: no replay reaches below it (a commit right at it would be sent again).
    ``xmin``: the source's oldest running transaction, or a running reconcile's if that is older: no snapshot misses
    the delete.
    """
    parameters = {"sync": sync, "era": era, "confirmed_lsn": confirmed_lsn, "xmin": xmin, "older_than": older_than}
    parameters["key"] = key
    return conn.execute(_PRUNE, parameters).rowcount
