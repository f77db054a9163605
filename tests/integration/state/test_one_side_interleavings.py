"""Two connections at one pair: a claim beside a take, an end beside a claim, and processes that die in between."""

import signal
import threading
from typing import Any

import pytest

from rowtide.change import Fields
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.one_side import RowTurn
from rowtide.deciding.outcomes import HandOver, Release
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import ETag, ItemId
from state import applying, database, failpoints, outbox
from state.outbox import one_side
from tests.integration.forks import preload, run_forked
from tests.integration.state.inboxes import LIST, Inbox, pair_of, taken, wrote

preload(__name__)


def applied(lease: applying.Lease, lsn: int = 500) -> Recorded:
    """The entry's fields are agreed; the source's WAL ended at ``lsn`` after the commit."""
    return Recorded(taken(lease), lease.key, pair_of(lease), wrote(lease), lsn)


@pytest.fixture
def changed(records: Any, entries: Inbox, make_pair: Any, make_change: Any) -> Any:
    """Row 1 was changed, and its item 7 was edited."""
    records.know("1", make_pair())
    records.stage(make_change("1", lsn=200))
    entries.put()
    return records


def test_a_claim_passes_over_a_row_of_which_an_entry_is_being_taken(changed: Any, entries: Inbox) -> None:
    with database.connect(changed.dsn) as other:
        with other.transaction():
            assert len(Inbox(other).take()) == 1
            assert changed.claim() == []
            assert changed.waiting("1")["reason"] is None
        entries.make_due()
        assert changed.claim() == []
        assert changed.waiting("1")["reason"] == "an edit of its item is applied first"


def test_a_take_waits_for_a_claim_and_then_leaves_the_entry(records: Any, make_pair: Any, make_change: Any) -> None:
    """The edit comes when the row is claimed already, and the claim has not committed."""
    entries = Inbox(records.conn).open()
    records.know("1", make_pair())
    records.stage(make_change("1", lsn=200))
    took: list[applying.Lease] = []
    with database.connect(records.dsn) as other, database.connect(records.dsn) as watcher:
        taking = threading.Thread(target=lambda: took.extend(Inbox(other).take()))
        state = "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = %s"
        with records.conn.transaction():
            assert len(records.claim()) == 1
            Inbox(watcher).put()
            taking.start()
            while watcher.execute(state, [other.info.backend_pid]).fetchone() != ("active", "Lock"):
                assert taking.is_alive()
        taking.join(20)
    assert took == []
    assert (entries.waiting()["lease_token"], entries.waiting()["attempts"]) == (None, 0)


def test_an_edit_applied_after_the_cursor_was_read_holds_the_row(changed: Any, entries: Inbox) -> None:
    """Whatever capture staged since may lack what was applied: only the cursor that was read first counts."""
    cursors = one_side.read_cursors(changed.conn, ["orders"])
    lease = entries.take_one()
    applying.record_end(changed.conn, lease, applied(lease, 500))
    entries.set_cursor(600)
    row = one_side.LockedRow("orders", "1", uncertain=False, is_read=False)
    assert one_side.judge(changed.conn, cursors, [row]) == {("orders", "1"): RowTurn.BEHIND}
    later = one_side.read_cursors(changed.conn, ["orders"])
    assert one_side.judge(changed.conn, later, [row]) == {("orders", "1"): RowTurn.GO}


def test_two_appliers_take_no_entry_twice(records: Any, entries: Inbox) -> None:
    for number in range(10):
        entries.put(str(number))
    with database.connect(records.dsn) as other:
        with other.transaction():
            first = Inbox(other).take(most=4)
            second = entries.take()
        items = [lease.shown.item_id for lease in [*first, *second]]
    assert (len(first), len(second), len(set(items))) == (4, 6, 10)


def apply_all(dsn: str) -> None:
    """Take and record every due entry."""
    with database.connect(dsn) as connection:
        for lease in Inbox(connection).take(owner="p0/dead"):
            applying.record_end(connection, lease, applied(lease))


@pytest.mark.parametrize(
    ("failpoint", "leased", "recorded"),
    [
        (failpoints.TAKE_AFTER_LEASE, True, False),
        (failpoints.ENTRY_BEFORE_COMMIT, True, False),
        (failpoints.ENTRY_AFTER_COMMIT, False, True),
    ],
)
def test_killed_while_applying(failpoint: str, leased: bool, recorded: bool, changed: Any, entries: Inbox) -> None:
    assert run_forked(apply_all, changed.dsn, trap=f"{failpoint}=kill") == -signal.SIGKILL
    assert (entries.entry() is not None) == leased
    assert (changed.ledger("1")["applied_lsn"] == 500) == recorded
    # Until it is known that the applier is dead, neither side goes.
    assert entries.take() == []
    assert changed.claim() == []
    assert outbox.void_leases_of_others(changed.conn, "p0", None) == leased
    for lease in entries.take():
        applying.record_end(changed.conn, lease, applied(lease))
    assert (changed.ledger("1")["version"], entries.entry()) == (2, None)
    entries.set_cursor(500)
    entries.make_due()
    assert len(changed.claim()) == 1


# --- what push meets is handed over -------------------------------------------------------------------------------


def handed(work: Any, version: int = 5, deleted: bool = False) -> HandOver:
    """A person's edit that push has met, or the item's end."""
    etag = None if deleted else ETag(f'"g,{version}"')
    fields: Fields = {} if deleted else {"Title": "typed"}
    entry = InboxEntry(
        LIST, ItemId("7"), 0 if deleted else version, etag, deleted, fields, "orders:1", False, None, None
    )
    return HandOver(work, entry, None)


@pytest.fixture
def claimed(records: Any, entries: Inbox, make_pair: Any, make_change: Any) -> Any:
    """Row 1 has item 7, was changed, and an attempt of it is not explained; it is claimed again."""
    records.know("1", make_pair())
    records.stage(make_change("1", lsn=200))
    outbox.settle(records.conn, [Release(records.claim_one(), 0.0, unknown=True)])
    return records


@pytest.mark.parametrize("deleted", [False, True])
def test_what_push_meets_is_in_the_inbox_when_its_row_is_free(deleted: bool, claimed: Any, entries: Inbox) -> None:
    counts = outbox.settle(claimed.conn, [handed(claimed.claim_one(), deleted=deleted)])
    assert counts.by_sync["orders"].foreign_edits == 1
    assert (claimed.waiting("1")["sent"], claimed.waiting("1")["lease_token"]) == ([], None)
    assert entries.waiting()["deleted"] == deleted
    # The edit goes first.
    assert claimed.claim() == []
    lease = entries.take_one()
    assert (lease.key, lease.shown.editor_name) == ("1", None)


def test_a_hand_over_whose_lease_is_lost_puts_nothing_into_the_inbox(claimed: Any, entries: Inbox) -> None:
    work = claimed.claim(lease_s=0.0)[0]
    claimed.claim_one()
    assert outbox.settle(claimed.conn, [handed(work)]).stale == 1
    assert entries.entry() is None


def test_a_hand_over_does_not_undo_what_the_list_has_told_since(claimed: Any, entries: Inbox) -> None:
    work = claimed.claim_one()
    entries.put(version=6, editor_name="Ada")
    outbox.settle(claimed.conn, [handed(work)])
    assert (entries.waiting()["version"], entries.waiting()["editor_name"]) == (6, "Ada")


def test_a_hand_over_beside_a_take_of_the_same_item(claimed: Any, entries: Inbox) -> None:
    """Both lock the entry first, so that neither has what the other waits for."""
    work = claimed.claim_one()
    entries.put(version=4)
    with database.connect(claimed.dsn) as other, database.connect(claimed.dsn) as watcher:
        handing = threading.Thread(target=lambda: outbox.settle(other, [handed(work)]))
        state = "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = %s"
        with claimed.conn.transaction():
            assert entries.take() == []
            handing.start()
            while watcher.execute(state, [other.info.backend_pid]).fetchone() != ("active", "Lock"):
                assert handing.is_alive()
        handing.join(20)
    entries.make_due()
    assert entries.take_one().shown.version == 5


def hand_over_all(dsn: str) -> None:
    """Hand every due row over."""
    with database.connect(dsn) as connection:
        request = outbox.ClaimRequest(outbox.survey(connection, ["orders"]), "p0/dead", "dead", 120, {})
        outbox.settle(connection, [handed(work) for work in outbox.claim(connection, request).works])


@pytest.mark.parametrize(
    ("failpoint", "there"), [(failpoints.SETTLE_BEFORE_COMMIT, False), (failpoints.SETTLE_AFTER_COMMIT, True)]
)
def test_killed_while_handing_over(failpoint: str, there: bool, claimed: Any, entries: Inbox) -> None:
    assert run_forked(hand_over_all, claimed.dsn, trap=f"{failpoint}=kill") == -signal.SIGKILL
    assert (entries.entry() is not None) == there
    assert (claimed.waiting("1")["sent"] == []) == there
