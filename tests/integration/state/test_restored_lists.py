"""A list that was restored to earlier asks for one deep pass, however often it is met."""

from typing import Any

from rowtide.deciding.outcomes import Settle
from rowtide.deciding.records import ItemId
from rowtide.lists import KnownList, ListState
from state import lists
from state.reconcile import restored

BEGUN = "UPDATE rowtide.reconcile SET state = 'running', deep = false, enumerates = true, started_at = now()"


def asked(records: Any) -> Any:
    """How many passes of the sync were asked for, and whether the next one is to be deep."""
    return records.conn.execute("SELECT asked, deep FROM rowtide.reconcile WHERE sync = 'orders'").fetchone()


def test_rows_whose_items_are_older_ask_once(records: Any, make_change: Any) -> None:
    conn = records.conn
    records.stage(make_change("1"), make_change("2"))
    records.set("1", "state = 'parked', reason_code = 'value_too_long'")
    assert restored.ask_for_older(conn) == []
    records.set("2", "state = 'parked', reason_code = 'item_older_than_known'")
    assert restored.ask_for_older(conn) == ["orders"]
    assert restored.ask_for_older(conn) == []
    conn.execute(BEGUN)
    assert restored.ask_for_older(conn) == []
    conn.execute("UPDATE rowtide.reconcile SET state = 'done'")
    assert restored.ask_for_older(conn) == []
    assert asked(records) == (1, False)
    records.set("2", "due_at = now() + interval '1 s'")  # it was tried again, and is older again
    assert restored.ask_for_older(conn) == ["orders"]
    assert asked(records) == (2, True)


def test_a_pass_that_does_not_read_the_lists_does_not_count(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"))
    records.set("1", "state = 'parked', reason_code = 'item_older_than_known'")
    assert restored.ask_for_older(records.conn) == ["orders"]
    records.conn.execute(BEGUN.replace("enumerates = true", "enumerates = false"))
    assert restored.ask_for_older(records.conn) == ["orders"]


def test_a_list_that_was_away_asks_once_when_it_is_back(records: Any) -> None:
    conn = records.conn
    lists.take_over(conn, [KnownList("a", "site", "orders", ("default",), "A", ListState.APPLIED)], {"orders"}, ())
    assert restored.note_back(conn, "orders", "a") is None
    assert restored.note_missing(conn, "a")
    assert not restored.note_missing(conn, "a")
    assert restored.note_back(conn, "orders", "a") is not None
    assert restored.note_back(conn, "orders", "a") is None
    assert asked(records) == (1, True)


def test_a_new_item_with_a_known_id_takes_it_from_the_row_that_had_it(
    records: Any, make_change: Any, make_pair: Any
) -> None:
    conn = records.conn
    records.know("old", make_pair(item_id=ItemId("7")))
    records.stage(make_change("new", lsn=200))
    work = records.claim_one()
    made = Settle(work, make_pair(lsn=200, item_id=ItemId("7")), writes=1)
    assert restored.settle_reused_ids(conn, [made]).by_sync["orders"].delivered == 1
    assert [records.ledger(key)["state"] for key in ("old", "new")] == ["tombstone", "live"]
    assert (records.ledger("old")["base"], records.ledger("old")["kept"]) == ({}, {})
    assert records.row("new") is None
    assert asked(records) == (1, True)


def test_an_item_that_is_nobodys_asks_for_nothing(records: Any, make_change: Any, make_pair: Any) -> None:
    records.know("old", make_pair(item_id=ItemId("7")))
    records.stage(make_change("new", lsn=200))
    made = Settle(records.claim_one(), make_pair(lsn=200, item_id=ItemId("8")), writes=1)
    restored.settle_reused_ids(records.conn, [made])
    assert records.ledger("old")["state"] == "live"
    assert asked(records) is None
