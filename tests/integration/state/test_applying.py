"""Entries are taken and end on the real records: whose they are, who has to wait, what is written."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rowtide.deciding.conflicts import Choice, Conflict, ConflictRecord, Values, Winner
from rowtide.deciding.pull_steps import Drop, GoTo, HoldOpen, Later, ParkEntry, WaitForCapture
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import Arriving, ETag, Held, ItemId, LeftItem, ListId, NoItem, PairedItem
from rowtide.keys import rowtide_key
from state import applying, conflicts, holds, outbox
from state.pulled import from_document
from tests.integration.state.inboxes import LIST, Inbox, pair_of, taken, wrote


def recorded(lease: applying.Lease, **other: Any) -> Recorded:
    """The entry was applied: its fields are agreed."""
    made = {"pair": pair_of(lease), "pulled": wrote(lease), "applied_lsn": 500}
    return Recorded(taken(lease), lease.key, **{**made, **other})


def differing(winner: Winner, version: int = 2, kind: Conflict = Conflict.UPDATE_DIFFERING) -> ConflictRecord:
    """Title was changed on both sides."""
    values = {"Title": Values("a", "pg", "sp", winner)}
    return ConflictRecord(kind, LIST, ItemId("7"), version, "manual", winner, values)


# --- whose they are -----------------------------------------------------------------------------------------------


def test_by_the_item_by_what_was_left_and_by_the_key(records: Any, entries: Inbox, make_pair: Any) -> None:
    records.know("own", make_pair())
    records.know("left", make_pair(item_id="20", leftovers=(LeftItem(LIST, ItemId("8")),)))
    records.know("Groß", make_pair(item_id="21"))
    records.stage(*[])
    for item_id, key in [("7", None), ("8", None), ("9", "own"), ("10", "Groß"), ("11", None), ("12", "5")]:
        entries.put(item_id, item_key=None if key is None else rowtide_key("orders", key))
    entries.put("13", item_key="customers:5")
    entries.put("14", item_key="orders:#" + "a" * 52)
    keys = {lease.shown.item_id: lease.key for lease in entries.take()}
    # Item 9 is of the row that item 7 has an entry of: one of a row at a time.
    assert keys == {"7": "own", "8": "left", "10": "Groß", "11": None, "12": "5", "13": None, "14": None}
    assert entries.waiting("9")["lease_token"] is None


def test_a_take_says_what_is_known(records: Any, entries: Inbox, make_pair: Any, make_change: Any) -> None:
    records.know("1", make_pair())
    records.stage(make_change("1", lsn=200))
    entries.put(item_key="orders:1")
    entries.put("99", item_key="orders:1")
    lease = entries.take(most=1)[0]
    assert isinstance(lease.pair, Held)
    assert lease.waiting is not None
    assert (lease.key, lease.waiting.op, lease.waiting.busy, lease.twin, lease.era) == ("1", "u", False, True, 1)
    assert taken(lease).token == lease.token


def test_a_rekeyed_row_says_its_new_key(records: Any, entries: Inbox, make_pair: Any, make_change: Any) -> None:
    records.know("1", make_pair())
    records.stage(make_change("1", "d", lsn=200, ordinal=4), make_change("2", lsn=200, ordinal=4))
    entries.put()
    lease = entries.take_one()
    assert lease.waiting is not None
    assert lease.waiting.rekeyed_to == "2"
    assert applying.record_end(records.conn, lease, GoTo(taken(lease), "2"))
    assert entries.take_one().key == "2"


def test_rows_that_a_reconcile_found_in_a_new_era_are_no_rekeyed_ones(
    records: Any, entries: Inbox, make_pair: Any, make_change: Any
) -> None:
    records.know("1", make_pair())
    records.stage(make_change("1", "d", lsn=200, ordinal=4), make_change("2", lsn=200, ordinal=5))
    records.conn.execute("UPDATE rowtide.outbox SET (era, lsn, ordinal, xid) = (2, 0, 0, 0)")
    entries.put()
    lease = entries.take_one()
    assert lease.waiting is not None
    assert (lease.waiting.op, lease.waiting.rekeyed_to) == ("d", None)


def test_a_deletion_knows_that_another_item_has_its_row_s_key(records: Any, entries: Inbox, make_pair: Any) -> None:
    """A person has moved the item: whichever of the two was told first."""
    records.know("1", make_pair())
    entries.put(deleted=True)
    lease = entries.take_one()
    assert (lease.key, lease.shown.item_key, lease.twin) == ("1", None, False)
    applying.record_end(entries.conn, lease, Later(taken(lease), 0.0, "wait"))
    entries.put("99", list_id="list-us", item_key="orders:1")
    [lease] = [one for one in entries.take() if one.shown.item_id == "7"] or [entries.take_one()]
    assert lease.twin
    applying.record_end(entries.conn, lease, Later(taken(lease), 0.0, "wait"))


def test_it_is_known_that_an_entry_of_an_item_that_the_row_has_others_wait(
    records: Any, entries: Inbox, make_pair: Any
) -> None:
    records.know("1", make_pair(leftovers=(LeftItem(LIST, ItemId("8")), LeftItem(LIST, ItemId("9")))))
    entries.put()
    assert entries.take_one().others_wait == frozenset()
    entries.conn.execute("UPDATE rowtide.inbox SET lease_until = NULL, lease_token = NULL")
    entries.put("8")
    leases = {lease.shown.item_id: lease for lease in entries.take()}
    assert leases[ItemId("7")].others_wait == {(LIST, "8")}


def test_it_is_known_that_an_entry_of_an_item_with_the_row_s_key_waits(
    records: Any, entries: Inbox, make_pair: Any
) -> None:
    records.know("1", make_pair())
    entries.put("99", list_id="list-us", item_key="orders:1")
    entries.conn.execute("UPDATE rowtide.inbox SET state = 'parked'")
    entries.put()
    lease = entries.take_one()
    assert (lease.twin, lease.others_wait) == (True, frozenset())
    later = "UPDATE rowtide.inbox SET state = 'waiting', due_at = now() + interval '1 hour' WHERE item_id = '99'"
    entries.conn.execute(later)
    entries.conn.execute("UPDATE rowtide.inbox SET lease_until = NULL, lease_token = NULL")
    assert entries.take_one().others_wait == {("list-us", "99")}


def test_a_round_of_each_list_counts_where_there_are_others(entries: Inbox) -> None:
    """Of its own list, too: an item may have been moved there and back."""
    entries.conn.execute("INSERT INTO rowtide.list_cursor (list_id, sync) VALUES ('list-us', 'orders')")
    entries.put(deleted=True)
    lease = entries.take_one()
    assert not lease.rounds_ended
    applying.record_end(entries.conn, lease, Later(taken(lease), 0.0, "wait"))
    for began, ended, counts in (
        ("- interval '1 hour'", "", False),
        ("", "- interval '1 second'", False),
        ("", "", True),
    ):
        for list_id in ("list-us", "list-eu"):
            entries.conn.execute("UPDATE rowtide.list_cursor SET round_began_at = now(), round_ended_at = now()")
            entries.conn.execute(
                f"UPDATE rowtide.list_cursor SET round_began_at = now() {began}, round_ended_at = now() {ended}"
                f" WHERE list_id = '{list_id}'".encode()
            )
            lease = entries.take_one()
            assert lease.rounds_ended is counts, "a round counts that has begun since, and ended"
            applying.record_end(entries.conn, lease, Later(taken(lease), 0.0, "wait"))


def test_a_sync_of_one_list_waits_for_no_round(entries: Inbox) -> None:
    entries.put(deleted=True)
    assert entries.take_one().rounds_ended


# --- who has to wait ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["leased", "uncertain", "uncertain and parked"])
def test_an_entry_waits_while_its_row_is_on_its_way(
    state: str, records: Any, entries: Inbox, make_pair: Any, make_change: Any
) -> None:
    records.know("1", make_pair())
    records.stage(make_change("1", lsn=200))
    records.claim_one()
    if state != "leased":
        records.set("1", "lease_token = NULL, lease_owner = NULL, lease_until = NULL")
    if state == "uncertain and parked":
        records.set("1", "state = 'parked', reason_code = 'x'")
    entries.put()
    assert entries.take() == []
    assert entries.waiting()["due_at"] > records.conn.execute("SELECT now()").fetchone()[0]
    # A parked row with an attempt that nobody has explained is looked at.
    assert records.waiting("1")["state"] == "waiting"
    if state != "leased":
        assert records.claim_one().desired.uncertain


def test_a_row_parked_by_the_loop_breaker_stays_parked(
    records: Any, entries: Inbox, make_pair: Any, make_change: Any
) -> None:
    records.know("1", make_pair())
    records.stage(make_change("1", lsn=200))
    records.claim_one()
    records.set("1", "lease_token = NULL, lease_owner = NULL, lease_until = NULL, state = 'parked', hold = true")
    entries.put()
    assert entries.take() == []
    assert records.waiting("1")["state"] == "parked"


def test_nothing_of_a_held_sync_is_taken(entries: Inbox) -> None:
    entries.put()
    holds.place(entries.conn, "sync", "orders", "person", "paused", "test", "me")
    assert entries.take() == []


def test_leases_of_a_dead_process_are_void(entries: Inbox) -> None:
    entries.put()
    assert len(entries.take(owner="p0/a")) == 1
    assert entries.take() == []
    assert outbox.void_leases_of_others(entries.conn, "p0", "p0/b") == 1
    assert len(entries.take(owner="p0/b", lease_s=0.0)) == 1
    entries.conn.execute("SELECT pg_sleep(0)")
    assert len(entries.take(owner="p1/a")) == 1


# --- what is written ----------------------------------------------------------------------------------------------


def test_an_applied_entry_is_recorded(records: Any, entries: Inbox, make_pair: Any) -> None:
    records.know("1", make_pair())
    entries.put()
    lease = entries.take_one()
    assert applying.record_end(records.conn, lease, recorded(lease))
    row = records.ledger("1")
    assert (row["version"], row["base"], row["xid"], row["lsn"]) == (2, {"Title": "v2"}, 900, 100)
    assert (row["applied_era"], row["applied_lsn"]) == (1, 500)
    assert from_document(row["pulled"]) == wrote(lease)
    assert row["pulled_era"] == 1
    assert entries.entry() is None


def test_a_newer_entry_stays_and_is_due(records: Any, entries: Inbox, make_pair: Any) -> None:
    records.know("1", make_pair())
    entries.put()
    lease = entries.take_one()
    entries.put(version=3)
    assert applying.record_end(records.conn, lease, recorded(lease))
    assert records.ledger("1")["version"] == 2
    assert entries.take_one().shown.version == 3


@pytest.mark.parametrize("end", [ParkEntry, Later])
def test_an_end_of_an_older_entry_sets_no_newer_one_aside(end: Any, entries: Inbox) -> None:
    entries.put()
    lease = entries.take_one()
    entries.put(version=3)
    assert applying.record_end(entries.conn, lease, end(taken(lease), 9.0 if end is Later else "code", "sentence"))
    assert (entries.waiting()["state"], entries.waiting()["code"]) == ("waiting", None)
    assert entries.take_one().shown.version == 3


def test_a_lost_lease_writes_nothing(records: Any, entries: Inbox, make_pair: Any) -> None:
    """An applier that was stopped goes on when another one has its entry."""
    records.know("1", make_pair())
    entries.put()
    [stopped] = entries.take(lease_s=0.0)
    other = entries.take_one()
    assert not applying.record_end(records.conn, stopped, recorded(stopped))
    assert records.ledger("1")["version"] == 1
    assert entries.waiting()["lease_token"] == other.token
    assert applying.record_end(records.conn, other, recorded(other))


def test_what_was_decided_on_a_pair_that_moved_is_decided_anew(records: Any, entries: Inbox, make_pair: Any) -> None:
    records.know("1", make_pair())
    entries.put()
    lease = entries.take_one()
    records.conn.execute("UPDATE rowtide.ledger SET etag = '\"g,4\"', version = 4, updated_at = now()")
    assert not applying.record_end(records.conn, lease, recorded(lease))
    assert (records.ledger("1")["version"], records.ledger("1")["applied_lsn"]) == (4, None)
    assert entries.take_one().key == "1"


def test_a_waiting_row_goes_on_when_the_entry_is_gone(
    records: Any, entries: Inbox, make_pair: Any, make_change: Any
) -> None:
    records.know("1", make_pair())
    records.stage(make_change("1", lsn=200))
    entries.put()
    assert records.claim() == []
    lease = entries.take_one()
    applying.record_end(records.conn, lease, recorded(lease, applied_lsn=None))
    assert [work.desired.key for work in records.claim()] == ["1"]


def test_a_row_that_differs_is_read_unless_one_waits(records: Any, entries: Inbox, make_pair: Any) -> None:
    records.know("1", make_pair())
    entries.put()
    lease = entries.take_one()
    applying.record_end(records.conn, lease, recorded(lease, reread=True))
    row = records.waiting("1")
    assert (row["op"], row["lsn"], row["era"]) == ("r", 100, 1)


def test_a_row_that_was_written_in_an_earlier_era_is_read(records: Any, entries: Inbox, make_pair: Any) -> None:
    """The pass of the new era may have come while the pair was not there yet."""
    records.know("1", make_pair())
    entries.put()
    lease = entries.take_one()
    records.conn.execute("UPDATE rowtide.sync SET era = era + 1")
    applying.record_end(records.conn, lease, recorded(lease))
    assert records.waiting("1")["op"] == "r"


def test_what_says_nothing_new_goes(records: Any, entries: Inbox, make_pair: Any) -> None:
    records.know("1", make_pair())
    entries.put(version=1)
    lease = entries.take_one()
    assert applying.record_end(records.conn, lease, Drop(taken(lease)))
    assert entries.entry() is None


def test_waits_grow(entries: Inbox) -> None:
    entries.put()
    waits = []
    for _ in range(3):
        lease = entries.take_one()
        applying.record_end(entries.conn, lease, Later(taken(lease), 10.0, "locked", grows=True))
        query = "SELECT due_at - clock_timestamp() FROM rowtide.inbox"
        [(wait,)] = entries.conn.execute(query).fetchall()
        waits.append(round(wait / timedelta(seconds=10)))
        assert entries.take() == []
        entries.make_due()
    assert waits == [1, 2, 4]
    assert entries.waiting()["sentence"] == "locked"


def test_an_absent_row_is_judged_when_capture_has_passed(entries: Inbox) -> None:
    entries.put()
    lease = entries.take_one()
    assert not lease.absent_passed
    applying.record_end(entries.conn, lease, WaitForCapture(taken(lease)), absent_lsn=700)
    entries.make_due()
    lease = entries.take_one()
    assert not lease.absent_passed
    applying.record_end(entries.conn, lease, Later(taken(lease), 0.0, ""))
    entries.set_cursor(700)
    assert entries.take_one().absent_passed


# --- keys are reserved --------------------------------------------------------------------------------------------

NEW = PairedItem(LIST, ItemId("7"), ETag('"g,2"'), {}, {})


def test_a_new_item_has_its_key_before_push_sees_the_row(records: Any, entries: Inbox, make_change: Any) -> None:
    entries.put()
    lease = entries.take_one()
    known = applying.reserve(records.conn, lease, "5", NEW, 1)
    assert known is not None
    assert isinstance(known.pair, Arriving)
    assert known.key == "5"
    records.stage(make_change("5", lsn=200))
    assert records.claim() == []
    assert applying.record_end(records.conn, known, recorded(known))
    assert records.ledger("5")["state"] == "live"


def test_a_key_that_has_an_item_is_not_reserved(records: Any, entries: Inbox, make_pair: Any) -> None:
    records.know("5", make_pair(item_id="8"))
    entries.put()
    known = applying.reserve(records.conn, entries.take_one(), "5", NEW, 1)
    assert known is not None
    assert isinstance(known.pair, Held)
    assert records.ledger("5")["item_id"] == "8"


def test_a_key_on_its_way_is_not_reserved(records: Any, entries: Inbox, make_change: Any) -> None:
    records.stage(make_change("5", lsn=200))
    records.claim_one()
    entries.put()
    assert applying.reserve(records.conn, entries.take_one(), "5", NEW, 1) is None
    assert records.ledger("5") is None


@pytest.mark.parametrize("before", ["nothing", "tombstone"])
@pytest.mark.parametrize("committed", [True, False])
def test_a_reserved_key_of_a_parked_entry_is_free_unless_its_row_is_there(
    before: str, committed: bool, records: Any, entries: Inbox, make_pair: Any
) -> None:
    if before == "tombstone":
        pair = make_pair()
        records.know("5", NoItem(pair.as_of, replace(pair.item, item_id=ItemId("3"))))
    entries.put()
    known = applying.reserve(records.conn, entries.take_one(), "5", NEW, 1)
    assert known is not None
    assert applying.record_end(records.conn, known, ParkEntry(taken(known), "code", "sentence"), committed=committed)
    found = records.ledger("5")
    state = None if found is None else found["state"]
    assert state == ("arriving" if committed else None if before == "nothing" else "tombstone")
    assert entries.waiting()["state"] == "parked"


# --- conflicts ----------------------------------------------------------------------------------------------------


def test_a_conflict_is_recorded_once_for_each_version(records: Any, entries: Inbox, make_pair: Any) -> None:
    records.know("1", make_pair())
    for _ in range(2):  # the second time after a crash between the source's commit and this
        entries.put(editor_name="Ada")
        lease = entries.take_one()
        applying.record_end(records.conn, lease, recorded(lease, conflicts=(differing(Winner.POSTGRES),)))
    [one] = conflicts.find(records.conn, conflicts.ConflictFilter("orders"))
    assert (one.key, one.kind, one.winner, one.state, one.editor_name) == (
        "1", "update_differing", "postgres", "closed", "Ada",
    )  # fmt: skip
    assert one.fields["Title"] == {"base": "a", "postgres": "pg", "sharepoint": "sp", "winner": "postgres"}


def test_another_conflict_at_the_same_version_is_recorded_too(records: Any, entries: Inbox, make_pair: Any) -> None:
    """An edit that a failover has lost is applied again, and may meet another value of the row."""
    records.know("1", make_pair())
    first = differing(Winner.POSTGRES)
    other = replace(first, fields={"Title": replace(first.fields["Title"], postgres="pg2")})
    for met in (first, other, first, other):
        entries.put()
        lease = entries.take_one()
        applying.record_end(records.conn, lease, recorded(lease, conflicts=(met,)))
    found = conflicts.find(records.conn, conflicts.ConflictFilter("orders"))
    assert [one.fields["Title"]["postgres"] for one in found] == ["pg2", "pg"]


def open_conflict(records: Any, entries: Inbox, make_pair: Any) -> conflicts.StoredConflict:
    """A conflict of row 1 that waits for a person."""
    records.know("1", make_pair())
    entries.put()
    lease = entries.take_one()
    applying.record_end(records.conn, lease, HoldOpen(taken(lease), differing(Winner.NOBODY)))
    assert entries.waiting()["state"] == "conflict"
    [one] = conflicts.find(records.conn, conflicts.ConflictFilter(state="open"))
    return one


def test_an_open_conflict_follows_the_values_that_it_is_of(records: Any, entries: Inbox, make_pair: Any) -> None:
    one = open_conflict(records, entries, make_pair)
    assert conflicts.resolve(records.conn, one.id, Choice(Winner.POSTGRES, {}, {"Title": ("pg", "sp")}), "ada", "why")
    was = differing(Winner.NOBODY)
    now = replace(was, fields={"Title": replace(was.fields["Title"], postgres="pg2")})
    lease = entries.take_one()
    applying.record_end(records.conn, lease, HoldOpen(taken(lease), now))
    [still] = conflicts.find(records.conn, conflicts.ConflictFilter())
    assert (still.id, still.state, still.choice) == (one.id, "open", None)
    assert still.fields["Title"]["postgres"] == "pg2"


def test_of_values_that_met_before_a_person_is_asked_again(records: Any, entries: Inbox, make_pair: Any) -> None:
    one = open_conflict(records, entries, make_pair)
    records.conn.execute("UPDATE rowtide.conflict SET state = 'closed'")
    records.conn.execute("UPDATE rowtide.inbox SET state = 'waiting', due_at = now()")
    lease = entries.take_one()
    applying.record_end(records.conn, lease, HoldOpen(taken(lease), differing(Winner.NOBODY)))
    [again] = conflicts.find(records.conn, conflicts.ConflictFilter())
    assert (again.id, again.state) == (one.id, "open")


def test_a_person_resolves_an_open_conflict(records: Any, entries: Inbox, make_pair: Any) -> None:
    one = open_conflict(records, entries, make_pair)
    assert entries.take() == []
    choice = Choice(Winner.SHAREPOINT, {}, {"Title": ("pg", "sp")})
    assert conflicts.resolve(records.conn, one.id, choice, "ada", "she called")
    lease = entries.take_one()
    assert lease.choice == choice
    end = recorded(lease, conflicts=(differing(Winner.SHAREPOINT),))
    applying.record_end(records.conn, lease, end)
    closed = conflicts.read(records.conn, one.id)
    assert closed is not None
    assert (closed.winner, closed.state, closed.chosen_by, closed.chosen_why) == (
        "sharepoint", "closed", "ada", "she called",
    )  # fmt: skip
    assert not conflicts.resolve(records.conn, one.id, choice, "bob", "too late")


def test_an_edit_that_overtakes_an_open_conflict_closes_it(records: Any, entries: Inbox, make_pair: Any) -> None:
    one = open_conflict(records, entries, make_pair)
    entries.put(version=3)
    lease = entries.take_one()
    applying.record_end(records.conn, lease, recorded(lease))
    closed = conflicts.read(records.conn, one.id)
    assert closed is not None
    assert (closed.state, closed.winner) == ("closed", None)


def test_a_row_that_changes_has_its_open_conflict_judged_anew(
    records: Any, entries: Inbox, make_pair: Any, make_change: Any
) -> None:
    one = open_conflict(records, entries, make_pair)
    records.stage(make_change("1", lsn=200))
    assert records.claim() == []
    lease = entries.take_one()
    assert lease.key == "1"
    applying.record_end(records.conn, lease, HoldOpen(taken(lease), differing(Winner.NOBODY)))
    entries.make_due()
    assert records.claim() == []
    assert entries.take() == []
    assert [found.id for found in conflicts.find(records.conn, conflicts.ConflictFilter(state="open"))] == [one.id]
    assert ListId("list-eu") == one.list_id
