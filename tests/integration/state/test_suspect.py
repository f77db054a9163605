"""A list that was restored, on the real records: what waits until it was read, and of what a person has to decide."""

from datetime import datetime
from typing import Any

from state import suspect
from state.inbox import Place
from tests.integration.state.inboxes import LIST, Inbox, shown


def now(records: Any) -> datetime:
    [(found,)] = records.conn.execute("SELECT clock_timestamp()").fetchall()
    return found  # type: ignore[no-any-return]


def test_a_restored_list_is_noted_once(records: Any, entries: Inbox) -> None:
    assert suspect.lists(records.conn, "orders") == frozenset()
    assert suspect.note_restored(records.conn, "orders", LIST)
    assert not suspect.note_restored(records.conn, "orders", LIST)
    assert suspect.lists(records.conn, "orders") == {LIST}
    cursor = 'SELECT incarnation, link, "full" FROM rowtide.list_cursor'
    assert records.conn.execute(cursor).fetchone() == (1, None, True)
    asked = "SELECT asked, deep, why FROM rowtide.reconcile WHERE sync = 'orders'"
    assert records.conn.execute(asked).fetchone() == (1, True, suspect.WHY)
    assert not suspect.note_restored(records.conn, "orders", "another")


def test_nothing_is_sent_or_applied_until_a_later_pass_has_ended(
    records: Any, entries: Inbox, make_pair: Any, make_change: Any
) -> None:
    records.know("1", make_pair())
    records.stage(make_change("1", lsn=200), make_change("2", lsn=200, ordinal=1))
    entries.put()
    before = now(records)
    suspect.note_restored(records.conn, "orders", LIST)
    assert entries.take() == []
    assert records.claim() == []
    assert records.waiting("2")["reason"].startswith("a list was restored")
    suspect.end(records.conn, "orders", before)
    suspect.end(records.conn, "orders", None)
    assert entries.take() == []
    suspect.end(records.conn, "orders", now(records))
    entries.make_due()
    assert [one.desired.key for one in records.claim()] == ["2"]
    assert not entries.take_one().suspect


def test_a_person_is_asked_whatever_the_entry_was(records: Any, entries: Inbox, make_pair: Any) -> None:
    records.know("1", make_pair())
    entries.put("8", version=3)
    entries.put("9", deleted=True)
    entries.conn.execute("UPDATE rowtide.inbox SET state = 'conflict' WHERE item_id = '8'")
    suspect.doubt(records.conn, "orders", [shown("7", 3), shown("8", 3), shown("9", 3)])
    assert {one.shown.item_id: one.suspect for one in entries.take()} == {"7": True, "8": True, "9": False}


def test_a_newer_entry_of_the_item_is_as_doubtful(records: Any, entries: Inbox) -> None:
    suspect.doubt(records.conn, "orders", [shown("7", 3)])
    entries.put("7", version=4)
    assert entries.take_one().suspect


def test_whose_an_item_was_is_forgotten(records: Any, entries: Inbox) -> None:
    entries.put("7")
    entries.conn.execute("UPDATE rowtide.inbox SET key = '1'")
    place: Place = (LIST, shown("7").item_id)
    suspect.forget_owners(records.conn, [place])
    assert entries.waiting("7")["key"] is None
