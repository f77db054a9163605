"""One side at a time, on the real records: which claimed rows of a two-way sync go, and what is committed of others."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rowtide.deciding.outcomes import HandOver, Release
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import ItemId, LeftItem, ListId, LostPost
from state import applying, outbox
from tests.integration.state.inboxes import LIST, Inbox, pair_of, taken, wrote


@pytest.fixture
def changed(records: Any, entries: Inbox, make_pair: Any, make_change: Any) -> Any:
    """Row 1 has item 7 and has left item 8; a change of it waits."""
    records.know("1", make_pair(leftovers=(LeftItem(LIST, ItemId("8")),)))
    records.stage(make_change("1", lsn=200))
    return records


@pytest.mark.parametrize(
    "entry",
    [{"item_id": "7"}, {"item_id": "8"}, {"item_id": "9", "item_key": "orders:1"}, {"item_id": "7", "deleted": True}],
)
def test_a_row_waits_while_an_edit_of_any_of_its_items_does(
    entry: dict[str, Any], changed: Any, entries: Inbox
) -> None:
    entries.put(**entry)
    assert changed.claim() == []
    row = changed.waiting("1")
    assert (row["lease_token"], row["lease_owner"], row["lease_until"], row["sent"]) == (None, None, None, [])
    assert row["reason"] == "an edit of its item is applied first"
    assert row["due_at"] > row["staged_at"]


def test_other_rows_go(changed: Any, entries: Inbox, make_change: Any) -> None:
    changed.stage(make_change("2", lsn=300), make_change("10", lsn=300))
    entries.put()
    entries.put("55", item_key="orders:3")
    assert {work.desired.key for work in changed.claim()} == {"2", "10"}
    assert changed.waiting("2")["sent"] != []


def test_a_row_that_was_set_aside_with_its_edit_holds_up_nobody(changed: Any, entries: Inbox) -> None:
    entries.put()
    entries.conn.execute("UPDATE rowtide.inbox SET state = 'parked'")
    assert changed.claim() == []
    assert changed.waiting("1")["reason"] == "an edit of its item was set aside"


def test_an_uncertain_row_is_only_looked_at(changed: Any, entries: Inbox) -> None:
    first = changed.claim_one()
    outbox.settle(changed.conn, [Release(first, 0.0, unknown=True)])
    entries.put()
    work = changed.claim_one()
    assert work.only_look
    assert [one.token for one in work.desired.sent] == [first.desired.token]
    # Nothing is sent by this claim: should it die, there is no more to explain than before.
    assert [one["token"] for one in changed.waiting("1")["sent"]] == [first.desired.token]
    assert changed.waiting("1")["lease_token"] == work.desired.token
    assert entries.take() == []

    # Its attempts are explained, and there is nothing to hand over: the edit that waits goes first.
    outbox.settle(changed.conn, [HandOver(work, None, None)])
    assert changed.waiting("1")["sent"] == []
    assert changed.claim() == []
    entries.make_due()
    assert len(entries.take()) == 1


def test_a_lost_post_is_looked_for_before_an_edit_is_applied(
    records: Any, entries: Inbox, make_pair: Any, make_change: Any
) -> None:
    """An item that it made would be taken for a person's copy of the row's own."""
    until = datetime.now(UTC) + timedelta(minutes=2)
    records.know("1", make_pair(leftovers=(LostPost(ListId("another"), until),)))
    records.stage(make_change("1", lsn=200))
    entries.put("55", list_id="another", item_key="orders:1", by_app=True)
    assert entries.take() == []
    assert records.claim_one().only_look


def test_a_row_waits_until_capture_has_passed_what_was_applied(changed: Any, entries: Inbox) -> None:
    entries.put()
    lease = entries.take_one()
    end = applying_end(lease, 500)
    assert applying.record_end(changed.conn, lease, end)
    assert changed.claim() == []
    assert changed.waiting("1")["reason"].startswith("capture is not yet")
    entries.set_cursor(499)
    entries.make_due()
    assert changed.claim() == []
    entries.set_cursor(500)
    entries.make_due()
    assert len(changed.claim()) == 1


def applying_end(lease: applying.Lease, lsn: int) -> Recorded:
    """The entry was applied, and the WAL ended there."""
    return Recorded(taken(lease), lease.key, pair_of(lease), wrote(lease), lsn)


def test_an_edit_applied_in_an_older_era_has_its_row_read(changed: Any, entries: Inbox, make_change: Any) -> None:
    entries.put()
    lease = entries.take_one()
    applying.record_end(changed.conn, lease, applying_end(lease, 500))
    changed.open_era(2)
    entries.make_due()
    assert changed.claim() == []
    assert changed.waiting("1")["reason"].startswith("it is looked whether the source has lost")
    entries.confirm()
    entries.make_due()
    assert changed.claim() == []
    assert (changed.waiting("1")["op"], changed.waiting("1")["fields"]) == ("r", None)

    # As the reader of the source does.
    read = changed.claim_one()
    assert read.desired.op == "r"
    fields = {"Title": "as it is"}
    row = replace(read.desired, op="u", target="Orders EU", fields=fields)
    outbox.complete(changed.conn, [replace(read, desired=row)])
    assert [work.desired.fields for work in changed.claim()] == [fields]

    # A change of the new era may have been committed before the edit was applied.
    changed.set("1", "lease_token = NULL, lease_until = NULL, lease_owner = NULL, sent = '[]'")
    changed.stage(make_change("1", lsn=300), era=2)
    assert changed.claim() == []
    assert changed.waiting("1")["op"] == "r"


def test_what_was_read_before_an_edit_was_applied_is_read_again(changed: Any, entries: Inbox) -> None:
    changed.set("1", "read_revision = revision")
    entries.put()
    lease = entries.take_one()
    applying.record_end(changed.conn, lease, applying_end(lease, 500))
    changed.open_era(2)
    entries.confirm()
    assert changed.claim() == []
    assert changed.waiting("1")["op"] == "r"


def test_a_push_only_sync_takes_no_heed_of_an_inbox(records: Any, make_pair: Any, make_change: Any) -> None:
    records.know("1", make_pair())
    records.stage(make_change("1", lsn=200))
    Inbox(records.conn).put()
    assert len(records.claim()) == 1
