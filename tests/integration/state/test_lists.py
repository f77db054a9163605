"""Lists that no target names any more are kept as long as something of ours may be in them."""

from dataclasses import replace
from typing import Any

from psycopg.types.json import Jsonb

from rowtide.lists import HeldColumns, KnownList, LeftList, ListState
from state import lists


def known(list_id: str, sync: str = "orders") -> KnownList:
    return KnownList(list_id, "site", sync, ("map:A", "default"), f"List {list_id}", ListState.APPLIED)


def put(records: Any, key: str, **columns: Any) -> None:
    """A ledger row of the sync orders."""
    row = {"state": "live", "list_id": None, "item_id": None, "leftovers": []} | columns
    records.conn.execute(
        "INSERT INTO rowtide.ledger (sync, key, list_id, item_id, mapping_version, era, lsn, ordinal, xid, state,"
        " leftovers) VALUES ('orders', %s, %s, %s, 1, 1, 1, 0, 1, %s, %s)",
        [key, row["list_id"], row["item_id"], row["state"], Jsonb(row["leftovers"])],
    )


def test_a_list_is_left_until_nothing_names_it(records: Any) -> None:
    conn = records.conn
    every = [known(name) for name in ("pairs", "left", "lost", "sent", "empty", "deleted", "tombstones")]
    assert lists.take_over(conn, every, {"orders"}, ()) == {}
    assert lists.read(conn) == sorted(every, key=lambda one: one.id)
    put(records, "1", list_id="pairs", item_id="1")
    put(
        records,
        "2",
        list_id="stays",
        item_id="2",
        leftovers=[{"list_id": "left", "item_id": "9", "until": None, "etag": None}],
    )
    put(
        records,
        "3",
        list_id="stays",
        item_id="3",
        leftovers=[{"list_id": "lost", "item_id": None, "until": "2026-01-01T00:00:00+00:00"}],
    )
    put(records, "4", list_id="deleted", item_id="4")
    put(records, "5", list_id="tombstones", item_id="5", state="tombstone")
    stage_sent(records, "sent")
    stays = known("stays")
    found = lists.take_over(conn, [stays], {"orders"}, {"deleted", "empty"})
    assert sorted(found["orders"], key=lambda one: one.id) == [
        LeftList("deleted", "site", gone=True),
        *(LeftList(name, "site", gone=False) for name in ("left", "lost", "pairs", "sent")),
    ]
    conn.execute("DELETE FROM rowtide.ledger")
    conn.execute("DELETE FROM rowtide.outbox")
    assert lists.take_over(conn, [stays], {"orders"}, ()) == {}
    assert lists.read(conn) == [stays]


def test_what_cannot_be_written_is_recorded_with_the_list(records: Any) -> None:
    one = replace(known("a"), columns={"Amount": "c1"}, kinds={"Amount": "number"})
    held = HeldColumns({"Amount": "is a boolean column"})
    lists.take_over(records.conn, [one], {"orders"}, (), {"a": held})
    assert lists.read(records.conn) == [one]
    assert lists.read_held(records.conn) == {"a": held}
    lists.take_over(records.conn, [one], {"orders"}, (), {})
    assert lists.read_held(records.conn) == {}


def test_the_lists_of_a_retired_sync_stay_its_own(records: Any) -> None:
    lists.take_over(records.conn, [known("a", "old"), known("b")], {"old", "orders"}, ())
    assert lists.take_over(records.conn, [known("b")], {"orders"}, ()) == {}
    assert [(one.id, one.sync) for one in lists.read(records.conn)] == [("a", "old"), ("b", "orders")]


def stage_sent(records: Any, list_id: str) -> None:
    """An attempt of unknown end in that list."""
    records.conn.execute(
        "INSERT INTO rowtide.outbox (sync, key, op, mapping_version, era, lsn, ordinal, xid, committed_at, priority,"
        " sent) VALUES ('orders', '6', 'u', 1, 1, 1, 0, 1, now(), 1, %s)",
        [Jsonb([{"token": "t", "op": "u", "fields": {}, "list_id": list_id, "at": "2026-01-01T00:00:00+00:00"}])],
    )
