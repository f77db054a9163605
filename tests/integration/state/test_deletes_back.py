"""Which deletions of items wait for a person, and what goes with a sync that ceases to go both ways."""

from rowtide.deciding.records import ItemId
from state import deletes_back, inbox, one_way
from tests.integration.state.inboxes import LIST, Inbox, shown

ITEM = ItemId("7")


def known(entries: Inbox, item_id: ItemId = ITEM) -> deletes_back.DeletionBack:
    return deletes_back.read(entries.conn, "orders", LIST, item_id)


def test_a_deletion_that_was_told_counts_with_those_that_wait(entries: Inbox) -> None:
    entries.put("7", deleted=True)
    entries.put("8", deleted=True)
    entries.put("9")
    assert known(entries) == deletes_back.DeletionBack(inferred=False, approved=False, deletes=2, pairs=0)


def test_a_retry_is_a_persons_word_for_what_is_parked_then(entries: Inbox) -> None:
    entries.put("7", deleted=True)
    entries.conn.execute("UPDATE rowtide.inbox SET state = 'parked', inferred = true")
    assert known(entries).inferred
    assert inbox.retry_parked(entries.conn, "orders") == 1
    assert known(entries).approved
    entries.put("7", version=9)
    entries.put("7", deleted=True)
    assert not known(entries).approved, "it is another deletion by now"


def test_an_entry_that_is_gone_is_not_let_through(entries: Inbox) -> None:
    assert known(entries) == deletes_back.DeletionBack(inferred=True, approved=False, deletes=0, pairs=0)


def test_what_goes_with_the_way_back(entries: Inbox) -> None:
    inbox.put(entries.conn, "orders", [shown()])
    assert not one_way.forget(entries.conn, ["others"])
    assert entries.entry() is not None
    assert one_way.forget(entries.conn, ["orders"])
    assert entries.entry() is None
    assert entries.conn.execute("SELECT count(*) FROM rowtide.list_cursor").fetchall() == [(0,)]
    assert not one_way.forget(entries.conn, ["orders"])


def pair(entries: Inbox, key: str, item_id: str) -> None:
    entries.conn.execute(
        """
        INSERT INTO rowtide.ledger (sync, key, list_id, item_id, etag, version, mapping_version, era, lsn, ordinal, xid,
                                    state)
        VALUES ('orders', %s, %s, %s, '"g,2"', 2, 1, 1, 1, 0, 1, 'live')
        """,
        [key, LIST, item_id],
    )


def test_an_item_that_a_pass_misses_is_noted_as_inferred(entries: Inbox) -> None:
    pair(entries, "1", "7")
    assert deletes_back.infer(entries.conn, "orders", ["1", "2"]) == 1
    assert known(entries).inferred
    assert known(entries).pairs == 1
