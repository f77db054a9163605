"""What replaces what in the inbox; what waits, what is set aside, and a person's word about it."""

from datetime import UTC, datetime

import pytest

from rowtide.deciding.records import ItemId
from state import inbox
from tests.integration.state.inboxes import LIST, Inbox


@pytest.mark.parametrize(
    ("first", "second", "told", "replaced"),
    [
        ({"version": 2}, {"version": 3}, True, True),
        ({"version": 3}, {"version": 2}, True, False),
        ({"version": 2}, {"version": 2}, True, False),
        ({"version": 2}, {"deleted": True}, True, True),
        ({"deleted": True}, {"version": 2}, True, True),
        ({"deleted": True}, {"deleted": True}, True, False),
        ({"version": 2}, {"version": 3}, False, True),
        # A look may be older than what was told.
        ({"deleted": True}, {"version": 9}, False, False),
        ({"version": 2}, {"deleted": True}, False, False),
    ],
)
def test_what_replaces_what(
    first: dict[str, object], second: dict[str, object], told: bool, replaced: bool, entries: Inbox
) -> None:
    assert entries.put(**first) == 1  # type: ignore[arg-type]
    entries.conn.execute("UPDATE rowtide.inbox SET state = 'parked', code = 'x', attempts = 3, lease_token = 't'")
    assert entries.put(told=told, **second) == replaced  # type: ignore[arg-type]
    entry = entries.waiting()
    assert entry["revision"] == (2 if replaced else 1)
    assert (entry["state"], entry["code"], entry["attempts"]) == (
        ("waiting", None, 0) if replaced else ("parked", "x", 3)
    )
    assert entry["lease_token"] == "t"
    assert entry["deleted"] == bool((second if replaced else first).get("deleted"))


def test_the_same_version_says_who_edited_it(entries: Inbox) -> None:
    entries.put(told=False)
    at = datetime(2026, 11, 29, tzinfo=UTC)
    assert entries.put(editor_name="Ada", editor_email="ada@contoso.com", modified_at=at, round=4) == 0
    entry = entries.waiting()
    assert (entry["editor_name"], entry["modified_at"], entry["round"], entry["revision"]) == ("Ada", at, 4, 1)


def test_counts_by_sync(entries: Inbox) -> None:
    for item_id in ("1", "2", "3", "4"):
        entries.put(item_id)
    entries.take(most=1)
    entries.conn.execute("UPDATE rowtide.inbox SET state = 'parked' WHERE item_id = '2'")
    entries.conn.execute("UPDATE rowtide.inbox SET state = 'conflict' WHERE item_id = '3'")
    entries.conn.execute(
        "UPDATE rowtide.inbox SET sentence = 'locked', due_at = now() + interval '1 minute' WHERE item_id = '4'"
    )
    counts = inbox.waiting(entries.conn)["orders"]
    assert (counts.waiting, counts.in_flight, counts.parked, counts.conflicts) == (2, 1, 1, 1)
    assert (counts.postponed, counts.why, counts.oldest is not None) == (1, "locked", True)


def test_due_are_syncs_with_an_entry_that_could_be_taken(entries: Inbox) -> None:
    assert inbox.due(entries.conn, ["orders", "customers"]) == set()
    entries.put()
    assert inbox.due(entries.conn, ["orders", "customers"]) == {"orders"}
    entries.take()
    assert inbox.due(entries.conn, ["orders"]) == set()


def test_parked_entries_are_tried_again_or_given_up(entries: Inbox) -> None:
    for item_id in ("1", "2", "3"):
        entries.put(item_id)
    entries.conn.execute("UPDATE rowtide.inbox SET state = 'parked', code = 'x', sentence = 'y', attempts = 2")
    assert [one.item_id for one in inbox.parked(entries.conn, "orders")] == ["1", "2", "3"]
    assert inbox.parked(entries.conn, "customers") == []
    assert inbox.retry_parked(entries.conn, "orders", [(LIST, ItemId("1"))]) == 1
    assert (entries.waiting("1")["state"], entries.waiting("1")["attempts"]) == ("waiting", 0)
    assert inbox.discard_parked(entries.conn, "orders", [(LIST, ItemId("1")), (LIST, ItemId("2"))]) == 1
    assert entries.entry("2") is None
    assert inbox.retry_parked(entries.conn, "orders") == 1
