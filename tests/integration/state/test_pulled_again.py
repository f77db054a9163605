"""A new era on the real records: nothing goes to a list before it is known what the source has lost of edits."""

from typing import Any

import pytest

from rowtide.deciding.pull_steps import Drop
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import ItemId
from state import applying, pulled
from state.pulled import PulledAgain
from tests.integration.state.inboxes import LIST, Inbox, pair_of, shown, taken, wrote

NOTHING = PulledAgain({}, [], {})


def apply_an_edit(records: Any, entries: Inbox, make_pair: Any, key: str = "1") -> None:
    """Title of the row's item 7 was edited, and the row has it."""
    records.know(key, make_pair())
    entries.put()
    lease = entries.take_one()
    end = Recorded(taken(lease), lease.key, pair_of(lease), wrote(lease), 500)
    assert applying.record_end(records.conn, lease, end)


def test_in_the_era_of_an_edit_there_is_nothing_to_look_at(records: Any, entries: Inbox, make_pair: Any) -> None:
    apply_an_edit(records, entries, make_pair)
    assert not pulled.has_unconfirmed(records.conn, "orders")
    assert pulled.read_unconfirmed(records.conn, "orders", 10).pairs == []


def test_in_a_new_era_each_pair_is_looked_at_once(records: Any, entries: Inbox, make_pair: Any) -> None:
    apply_an_edit(records, entries, make_pair)
    records.open_era(2)
    assert pulled.has_unconfirmed(records.conn, "orders")
    found = pulled.read_unconfirmed(records.conn, "orders", 10)
    [one] = found.pairs
    assert (found.era, one.key, one.pulled.over["Title"][0].digest) == (2, "1", "was")
    assert one.pair is not None
    pulled.confirm(records.conn, "orders", found, NOTHING)
    assert not pulled.has_unconfirmed(records.conn, "orders")
    assert entries.entry() is None


def test_what_was_applied_meanwhile_is_looked_at_again(records: Any, entries: Inbox, make_pair: Any) -> None:
    """By a process that had taken an entry in the old era, and had it in the source before that broke."""
    apply_an_edit(records, entries, make_pair)
    records.open_era(2)
    found = pulled.read_unconfirmed(records.conn, "orders", 10)
    records.conn.execute("""UPDATE rowtide.ledger SET pulled = pulled || '{"xid": 901}'""")
    pulled.confirm(records.conn, "orders", found, NOTHING)
    assert pulled.has_unconfirmed(records.conn, "orders")


def test_a_lost_edit_is_in_the_inbox_before_its_row_may_go(
    records: Any, entries: Inbox, make_pair: Any, make_change: Any
) -> None:
    apply_an_edit(records, entries, make_pair)
    records.open_era(2)
    records.stage(make_change("1", lsn=10), era=2)
    assert records.claim() == []
    found = pulled.read_unconfirmed(records.conn, "orders", 10)
    pulled.confirm(records.conn, "orders", found, PulledAgain({"1": shown(item_key="orders:1")}, [], {}))
    entries.make_due()
    assert records.claim() == []
    assert records.waiting("1")["reason"] == "an edit of its item is applied first"
    lease = entries.take_one()
    assert (lease.key, lease.era) == ("1", 2)
    assert lease.pulled == found.pairs[0].pulled


def test_what_is_lost_of_an_item_that_the_row_has_left_is_in_the_inbox_too(
    records: Any, entries: Inbox, make_pair: Any
) -> None:
    apply_an_edit(records, entries, make_pair)
    records.open_era(2)
    found = pulled.read_unconfirmed(records.conn, "orders", 10)
    again = PulledAgain({"1": shown(item_key="orders:1")}, [], {}, [shown("8", item_key="orders:1")])
    pulled.confirm(records.conn, "orders", found, again)
    assert (entries.waiting("7")["version"], entries.waiting("8")["version"]) == (2, 2)


def test_what_the_list_told_since_stays(records: Any, entries: Inbox, make_pair: Any) -> None:
    apply_an_edit(records, entries, make_pair)
    entries.put(version=9)
    records.open_era(2)
    found = pulled.read_unconfirmed(records.conn, "orders", 10)
    pulled.confirm(records.conn, "orders", found, PulledAgain({"1": shown(item_key="orders:1")}, [], {}))
    assert entries.waiting()["version"] == 9


def test_a_lost_row_has_no_item_until_it_is_made_again(records: Any, entries: Inbox, make_pair: Any) -> None:
    apply_an_edit(records, entries, make_pair)
    records.open_era(2)
    found = pulled.read_unconfirmed(records.conn, "orders", 10)
    pulled.confirm(records.conn, "orders", found, PulledAgain({"1": shown(item_key="orders:1")}, ["1"], {}))
    row = records.ledger("1")
    assert (row["state"], row["item_id"], row["pulled"], row["pulled_era"]) == ("tombstone", None, None, None)
    assert entries.take_one().key == "1"


def test_a_lost_deletion_is_one_that_a_person_let_through(records: Any, entries: Inbox, make_pair: Any) -> None:
    apply_an_edit(records, entries, make_pair)
    records.conn.execute("UPDATE rowtide.ledger SET state = 'tombstone'")
    records.open_era(2)
    found = pulled.read_unconfirmed(records.conn, "orders", 10)
    pulled.confirm(records.conn, "orders", found, PulledAgain({}, [], {"1": (LIST, ItemId("7"))}))
    waiting = entries.waiting()
    assert (waiting["deleted"], waiting["approved"], waiting["key"]) == (True, True, "1")


def test_whoever_has_an_entry_of_a_lost_edit_leaves_it_there(records: Any, entries: Inbox, make_pair: Any) -> None:
    """It was taken when nothing was lost, and says nothing new."""
    apply_an_edit(records, entries, make_pair)
    entries.put()
    lease = entries.take_one()
    records.open_era(2)
    found = pulled.read_unconfirmed(records.conn, "orders", 10)
    pulled.confirm(records.conn, "orders", found, PulledAgain({"1": shown(item_key="orders:1")}, [], {}))
    assert applying.record_end(records.conn, lease, Drop(taken(lease)))
    assert entries.take_one().pulled == found.pairs[0].pulled


@pytest.mark.parametrize("is_leased", [True, False], ids=["leased", "uncertain"])
def test_a_row_that_pull_made_is_looked_at_once_nothing_of_it_is_on_its_way(
    is_leased: bool, records: Any, entries: Inbox, make_pair: Any, make_change: Any
) -> None:
    """Else whoever writes its item notes the pair as it was, and the item of a lost row is deleted."""
    apply_an_edit(records, entries, make_pair)
    made = """UPDATE rowtide.ledger SET pulled = pulled || '{"inserted": 900}', applied_era = NULL"""
    records.conn.execute(made)
    records.stage(make_change("1", lsn=510))
    records.claim_one()
    if not is_leased:
        records.set("1", "lease_token = NULL, lease_owner = NULL, lease_until = NULL")
    records.open_era(2)
    assert pulled.read_unconfirmed(records.conn, "orders", 10).pairs == []
    assert not pulled.has_unconfirmed(records.conn, "orders"), "a pass waits for no list"
    records.set("1", "sent = '[]', lease_token = NULL, lease_owner = NULL, lease_until = NULL")
    [one] = pulled.read_unconfirmed(records.conn, "orders", 10).pairs
    assert one.key == "1"
