"""What is forgotten of a row that was edited in SharePoint: entries of its items, its conflicts, and nothing else."""

from typing import Any

import pytest

from rowtide.deciding.records import ItemId, LeftItem, ListId
from rowtide.keys import rowtide_key
from state import forgetting


def put(records: Any, item_id: str, state: str = "parked", **columns: Any) -> None:
    """An entry of list-eu."""
    named = {"list_id": "list-eu", "item_id": item_id, "sync": "orders", "version": 2, "state": state} | columns
    marks = ", ".join(["%s"] * len(named))
    records.conn.execute(f"INSERT INTO rowtide.inbox ({', '.join(named)}) VALUES ({marks})", list(named.values()))


def entries(records: Any) -> set[str]:
    """Items with an entry."""
    return {one for (one,) in records.conn.execute("SELECT item_id FROM rowtide.inbox")}


@pytest.fixture
def known(records: Any, make_pair: Any) -> Any:
    """Pair 1 has item 7 and left item 8 behind; each of 7 to 10 has a parked entry, 11 is of another row."""
    records.know("1", make_pair(leftovers=(LeftItem(ListId("list-eu"), ItemId("8")),)))
    put(records, "7")
    put(records, "8")
    put(records, "9", key="1")
    put(records, "10", item_key=rowtide_key("orders", "1"))
    put(records, "11", key="2", state="waiting")
    for key in ("1", "2"):
        records.conn.execute(
            "INSERT INTO rowtide.conflict (sync, key, list_id, item_id, version, kind, policy, state)"
            " VALUES ('orders', %s, 'list-eu', %s, 1, 'update_differing', 'postgres_wins', 'closed')",
            [key, key],
        )
    return records


def test_entries_and_conflicts_of_a_row_go_with_its_values(known: Any) -> None:
    with known.conn.transaction():
        row = forgetting.lock_row(known.conn, "orders", "1")
        forgetting.forget_values(known.conn, "orders", "1", False)
    assert row.has_values
    assert not row.standing.is_edited
    assert not row.standing.busy
    assert entries(known) == {"11"}
    assert list(known.conn.execute("SELECT key FROM rowtide.conflict")) == [("2",)]


def test_an_entry_that_waits_or_is_being_applied_is_seen(known: Any) -> None:
    known.conn.execute("UPDATE rowtide.inbox SET lease_until = now() + interval '1 minute' WHERE item_id = '8'")
    known.conn.execute("UPDATE rowtide.inbox SET state = 'waiting' WHERE item_id = '9'")
    row = forgetting.lock_row(known.conn, "orders", "1")
    assert row.standing.busy
    assert row.standing.is_edited
    assert not forgetting.lock_row(known.conn, "customers", "1").standing.is_edited


def test_a_purge_counts_and_takes_the_inbox(known: Any) -> None:
    known.conn.execute("UPDATE rowtide.inbox SET lease_until = now() + interval '1 minute' WHERE item_id = '8'")
    counts = forgetting.lock_sync(known.conn, "orders", True)
    assert (counts.waiting, counts.leased) == (5, 1)
    gone = forgetting.purge(known.conn, "orders")
    assert (gone["inbox"], gone["conflict"]) == (5, 2)
    assert entries(known) == set()
