"""Settling: what goes into the ledger, which rows leave, which wait on (docs/design.md sections 3 and 6)."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from rowtide.change import BULK
from rowtide.deciding.outcomes import Outcome, ParkRow, Release, Settle
from rowtide.deciding.records import (
    Arriving,
    AsOf,
    ETag,
    Held,
    ItemId,
    LeftItem,
    ListId,
    LostPost,
    NoItem,
    Pair,
    Standing,
    Work,
)
from rowtide.errors import RowError
from rowtide.position import Position
from state import database, ledger, outbox


def settled(work: Work, make_pair: Any, **other: Any) -> Settle:
    """The outcome of a successful write of what ``work`` wants."""
    desired = work.desired
    flags = {name: other.pop(name) for name in ("writes", "again", "foreign_edit") if name in other}
    position = other.pop("position", desired.position)
    pair = {"base": desired.fields, "xid": desired.xid, "item_id": f"item-{desired.key}", **other}
    return Settle(work, make_pair(position.lsn, position.ordinal, position.era, **pair), **{"writes": 1, **flags})


def as_of(work: Work) -> AsOf:
    """The state that ``work`` wants."""
    desired = work.desired
    return AsOf(desired.position, desired.xid, desired.mapping_version)


def test_a_settled_row_is_in_the_ledger_and_out_of_the_outbox(records: Any, make_change: Any, make_pair: Any) -> None:
    records.stage(make_change("1", fields={"A": 1}), make_change("2"))
    works = records.claim()
    first = settled(works[0], make_pair, etag='"g,12"', kept={"A": 2})
    outcomes = [first, settled(works[1], make_pair, writes=0)]
    counts = outbox.settle(records.conn, outcomes)
    assert (counts.by_sync["orders"].writes, counts.by_sync["orders"].suppressed, counts.stale) == (1, 1, 0)
    assert (records.row("1"), records.row("2")) == (None, None)
    assert ledger.read(records.conn, "orders", ["1", "x"]) == {"1": first.pair}
    assert records.ledger("1")["version"] == 12
    assert ledger.live_count(records.conn, "orders") == 2
    assert records.claim() == []


@pytest.mark.parametrize("kind", ["gone", "never", "live", "ignored", "kept", "arriving", "version unknown"])
def test_every_kind_of_pair_comes_back_as_it_was(kind: str, records: Any, make_pair: Any) -> None:
    """But for what the row of a tombstone held."""
    held = make_pair(kept={"Title": "A"})
    pairs: dict[str, Pair] = {
        "gone": NoItem(held.as_of, replace(held.item, base={}, kept={})),
        "never": NoItem(held.as_of),
        "live": held,
        "ignored": replace(held, standing=Standing.IGNORED),
        "kept": replace(held, standing=Standing.KEPT),
        "arriving": Arriving(held.as_of, held.item),
        "version unknown": make_pair(etag=None),
    }
    records.know("1", pairs[kind])
    assert ledger.read(records.conn, "orders", ["1"]) == {"1": pairs[kind]}


def test_leftovers_come_back_as_they_were(records: Any, make_change: Any, make_pair: Any, now: datetime) -> None:
    records.stage(make_change("1"))
    leftovers = (
        LostPost(ListId("l"), now),
        LeftItem(ListId("l"), ItemId("8"), ETag('"e,1"'), now),
        LeftItem(ListId("m"), ItemId("8")),
    )
    outbox.settle(records.conn, [settled(records.claim_one(), make_pair, leftovers=leftovers)])
    again = records.claim_one()
    assert again.pair is not None
    assert again.pair.leftovers == leftovers
    assert not again.desired.uncertain


def test_a_newer_value_waits_on_after_the_settle_of_an_older(records: Any, make_change: Any, make_pair: Any) -> None:
    records.stage(make_change("1", fields={"A": 1}))
    work = records.claim_one()
    records.stage(make_change("1", fields={"A": 2}, lsn=101))
    outbox.settle(records.conn, [settled(work, make_pair)])
    again = records.claim_one()
    assert (again.desired.fields, again.desired.revision, again.desired.sent) == ({"A": 2}, 2, ())
    assert isinstance(again.pair, Held)
    assert again.pair.item.base == {"A": 1}


def test_again_keeps_the_row_due(records: Any, make_change: Any, make_pair: Any) -> None:
    records.stage(make_change("1"))
    records.set("1", "attempts = 3")
    outbox.settle(records.conn, [settled(records.claim_one(), make_pair, again=True)])
    assert (records.waiting("1")["sent"], records.waiting("1")["attempts"]) == ([], 0)
    assert records.claim_one().desired.revision == 1


def test_a_lost_lease_writes_nothing(records: Any, make_change: Any, make_pair: Any) -> None:
    records.stage(make_change("1"), make_change("2"), make_change("3"))
    late = records.claim()
    records.conn.execute("UPDATE rowtide.outbox SET lease_until = now() - interval '1 second'")
    current = records.claim(owner="p1")
    pair = make_pair()
    outcomes: list[Outcome] = [
        settled(late[0], make_pair),
        Release(late[1], 5, False, pair=pair),
        ParkRow(late[2], "x", "y", pair=pair),
    ]
    assert outbox.settle(records.conn, outcomes).stale == 3
    assert [records.ledger(key) for key in "123"] == [None, None, None]
    tokens = {records.waiting(key)["lease_token"] for key in "123"}
    assert tokens == {current[0].desired.token}
    assert {records.waiting(key)["state"] for key in "123"} == {"waiting"}


def test_an_expired_lease_that_nobody_took_is_still_ours(records: Any, make_change: Any, make_pair: Any) -> None:
    records.stage(make_change("1"))
    work = records.claim_one()
    records.set("1", "lease_until = now() - interval '1 second'")
    assert outbox.settle(records.conn, [settled(work, make_pair)]).stale == 0
    assert records.row("1") is None


def test_positions_and_versions_never_fall(records: Any, make_change: Any, make_pair: Any) -> None:
    records.know("1", make_pair(lsn=500, ordinal=2, item_id="item-1", etag='"g,9"'))
    records.conn.execute("UPDATE rowtide.ledger SET version = 9")
    records.conn.execute("DELETE FROM rowtide.outbox")
    records.stage(make_change("1", lsn=600))
    outbox.settle(records.conn, [settled(records.claim_one(), make_pair, position=Position(1, 400, 7), etag='"g,8"')])
    row = records.ledger("1")
    assert (row["lsn"], row["ordinal"], row["xid"], row["version"], row["etag"]) == (500, 2, 1200, 9, '"g,9"')


def test_another_item_begins_its_own_versions(records: Any, make_change: Any, make_pair: Any) -> None:
    records.know("1", make_pair(lsn=50, item_id="old", etag='"g,9"'))
    records.conn.execute("UPDATE rowtide.ledger SET version = 9")
    records.stage(make_change("1"))
    outbox.settle(records.conn, [settled(records.claim_one(), make_pair, item_id="new", etag='"h,1"')])
    row = records.ledger("1")
    assert (row["item_id"], row["version"], row["etag"], row["lsn"]) == ("new", 1, '"h,1"', 100)


def test_a_delete_leaves_a_tombstone_that_drops_replays(records: Any, make_change: Any, make_pair: Any) -> None:
    records.know("1", make_pair(lsn=50))
    records.stage(make_change("1", "d"), make_change("never", "d"))
    first, second = sorted(records.claim(), key=lambda work: work.desired.key)
    assert isinstance(first.pair, Held)
    gone = Settle(first, NoItem(as_of(first), first.pair.item), 1)
    unknown = Settle(second, NoItem(as_of(second)))
    outbox.settle(records.conn, [gone, unknown])
    assert records.ledger("1")["item_id"] == "7"
    assert (records.ledger("1")["base"], records.ledger("1")["kept"]) == ({}, {}), (
        "what a deleted row held is forgotten"
    )
    assert records.ledger("never")["state"] == "tombstone"
    assert records.stage(make_change("1", lsn=90), make_change("never", lsn=90)).dropped == 2
    assert ledger.live_count(records.conn, "orders") == 0


def test_nothing_of_a_deleted_rows_values_is_in_the_records(records: Any, make_change: Any, make_pair: Any) -> None:
    secret = "known to nobody"
    records.know("1", make_pair(lsn=50, base={"Title": secret}, kept={"Title": secret}))
    records.stage(make_change("1", "u", lsn=60, fields={"Title": secret}))
    records.stage(make_change("1", "d", lsn=70))
    work = records.claim_one()
    outbox.settle(records.conn, [Settle(work, NoItem(as_of(work), work.pair.item), 1)])
    tables = records.conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'rowtide'").fetchall()
    for (table,) in tables:
        query = f'SELECT t::text FROM rowtide."{table}" AS t WHERE t::text LIKE %s'
        assert records.conn.execute(query, [f"%{secret}%"]).fetchall() == []


def test_known_not_applied_takes_back_its_own_sent_only(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", fields={"A": 1}))
    lost = records.claim_one()
    records.set("1", "lease_until = now() - interval '1 second'")
    work = records.claim_one()
    outbox.settle(records.conn, [Release(work, 30, unknown=False)])
    row = records.waiting("1")
    assert [one["token"] for one in row["sent"]] == [lost.desired.token]
    assert timedelta(seconds=20) < row["due_at"] - datetime.now(UTC) < timedelta(seconds=31)
    assert (row["lease_token"], row["attempts"]) == (None, 0)
    assert records.claim() == []


def test_a_delete_waits_in_the_line_of_its_list_once_that_is_known(records: Any, make_change: Any) -> None:
    records.conn.execute(
        "INSERT INTO rowtide.list (id, site_id, sync, targets, title, state)"
        " VALUES ('list-a', 's', 'orders', '{}', 'Orders EU', 'applied'),"
        " ('list-b', 's', 'other', '{}', 'B', 'applied')"
    )
    records.stage(make_change("1", op="d"), make_change("2", op="d"), make_change("3", op="u"))
    works = {work.desired.key: work for work in records.claim()}
    lists = {"1": "list-a", "2": "list-b", "3": "list-a"}  # the second is another sync's
    outbox.settle(
        records.conn,
        [Release(works[key], 0, unknown=False, list_id=ListId(list_id)) for key, list_id in lists.items()],
    )
    assert [records.waiting(key)["waits_for"] for key in "12"] == ["to Orders EU", ""]
    assert records.waiting("3")["target"] == works["3"].desired.target
    records.stage(make_change("1", op="d", lsn=101))  # the row was there in between: nobody knows where
    assert records.waiting("1")["waits_for"] == ""


def test_unknown_keeps_sent_and_equal_attempts_are_one(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", fields={"A": 1}))
    for _ in range(3):
        work = records.claim_one()
        outbox.settle(records.conn, [Release(work, 0, unknown=True)])
    assert [one["token"] for one in records.waiting("1")["sent"]] == [work.desired.token]
    records.stage(make_change("1", fields={"A": 2}, lsn=101))
    outbox.settle(records.conn, [Release(records.claim_one(), 0, unknown=True)])
    assert [one["fields"] for one in records.waiting("1")["sent"]] == [{"A": 1}, {"A": 2}]
    assert records.claim_one().desired.uncertain


def test_what_was_learnt_before_a_release_is_kept(records: Any, make_change: Any, make_pair: Any) -> None:
    records.stage(make_change("1"))
    pair = make_pair(lsn=0, etag='"g,5"', base={"Title": "seen"})
    outbox.settle(records.conn, [Release(records.claim_one(), 0, unknown=False, pair=pair)])
    assert records.claim_one().pair == pair


def test_only_blame_counts_as_an_attempt_and_not_against_a_newer_value(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"))
    outbox.settle(records.conn, [Release(records.claim_one(), 0, unknown=False, blame=True, reason="bad")])
    assert (records.waiting("1")["attempts"], records.waiting("1")["reason"]) == (1, "bad")
    work = records.claim_one()
    records.stage(make_change("1", lsn=101))
    outbox.settle(records.conn, [Release(work, 60, unknown=False, blame=True)])
    assert records.waiting("1")["attempts"] == 1
    assert records.claim_one().desired.revision == 2


def test_waits_that_grow_double_up_to_five_minutes_and_a_newer_value_waits_no_longer(
    records: Any, make_change: Any, make_pair: Any
) -> None:
    records.stage(make_change("1"))
    waits = []
    for _ in range(10):
        records.set("1", "due_at = now()")
        outbox.settle(records.conn, [Release(records.claim_one(), 1, unknown=False, grows=True)])
        waits.append(round((records.waiting("1")["due_at"] - datetime.now(UTC)).total_seconds()))
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 300], abs=1)
    records.set("1", "due_at = now()")
    work = records.claim_one()
    records.stage(make_change("1", lsn=101))
    outbox.settle(records.conn, [Release(work, 1, unknown=False, grows=True)])
    assert records.waiting("1")["due_at"] - datetime.now(UTC) < timedelta(seconds=2)
    assert outbox.make_due(records.conn, "orders") == 1
    assert records.waiting("1")["tries"] == 0


def test_poison_parks(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"))
    counts = outbox.settle(records.conn, [ParkRow(records.claim_one(), "invalid", "The list refuses it.")])
    row = records.waiting("1")
    assert counts.by_sync["orders"].parked == 1
    assert (row["state"], row["reason_code"], row["reason"], row["sent"]) == (
        "parked",
        "invalid",
        "The list refuses it.",
        [],
    )
    assert outbox.waiting(records.conn)["orders"].parked == 1


def test_a_newer_value_is_not_parked_for_an_older_one(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"))
    work = records.claim_one()
    records.stage(make_change("1", fields={"Title": "better"}, lsn=101))
    outbox.settle(records.conn, [ParkRow(work, "invalid", "no", unknown=True)])
    again = records.claim_one()
    assert again.desired.fields == {"Title": "better"}
    assert again.desired.uncertain


def test_a_newer_value_that_cannot_be_carried_stays_parked(records: Any, make_change: Any, make_pair: Any) -> None:
    """The row is parked by a merge while an older value of it is on its way."""
    records.stage(make_change("1"), make_change("2"))
    works = sorted(records.claim(), key=lambda work: work.desired.key)
    for key in "12":
        records.stage(make_change(key, lsn=101, park=("value_too_long", "It is too long.")))
    outbox.settle(records.conn, [settled(works[0], make_pair), Release(works[1], 0, unknown=False)])
    for key in "12":
        row = records.waiting(key)
        assert (row["state"], row["reason_code"], row["lease_token"]) == ("parked", "value_too_long", None)
    assert records.claim() == []


def test_held_codes_wait_for_a_person(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"))
    outbox.settle(records.conn, [ParkRow(records.claim_one(), "ping_pong", "It goes to and fro.")])
    records.stage(make_change("1", lsn=101))
    assert records.waiting("1")["state"] == "parked"


def test_a_completed_row_is_claimed_anew_with_what_was_read(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", "r"), make_change("2", "r"), make_change("3", "r"))
    works = sorted(records.claim(), key=lambda work: work.desired.key)
    records.stage(make_change("2", fields={"A": 9}, lsn=101))
    records.set("3", "lease_token = 'other'")
    read = {"op": "u", "target": "Orders US", "fields": {"A": 1}, "partial": False, "mapping_version": 2}
    outbox.complete(records.conn, [Work(replace(work.desired, **read), work.pair) for work in works])
    first, second = sorted(records.claim(), key=lambda work: work.desired.key)
    assert (first.desired.op, first.desired.fields, first.desired.list_id) == ("u", {"A": 1}, "list-us")
    assert (first.desired.mapping_version, first.desired.sent) == (2, ())
    assert second.desired.fields == {"A": 9}
    assert records.waiting("3")["op"] == "r"


def test_an_item_belongs_to_one_pair(records: Any, make_change: Any, make_pair: Any) -> None:
    records.know("other", make_pair(lsn=50, item_id="77"))
    records.stage(make_change("1"))
    outcome = settled(records.claim_one(), make_pair, item_id="77")
    link = database.Link(records.dsn)
    with pytest.raises(RowError):
        link.run(lambda connection: outbox.settle(connection, [outcome]))
    link.close()
    assert records.ledger("1") is None
    assert records.waiting("1")["lease_token"] == outcome.work.desired.token


def test_crosswise_transactions_are_retried_in_place(records: Any, make_change: Any, make_pair: Any) -> None:
    """A settle and a transaction that locks the other way round: one is ended as a deadlock and tried again."""
    records.stage(make_change("1"), make_change("2"))
    works = sorted(records.claim(), key=lambda work: work.desired.key)
    link = database.Link(records.dsn)
    tries: list[int] = []
    counts: list[Any] = []

    def settle_slowly(connection: database.Connection) -> Any:
        if tries:  # else it may have the first row again before the other one, who has waited for it
            ended.wait(20)
        tries.append(1)
        with connection.transaction():
            connection.execute("SET LOCAL deadlock_timeout = '10ms'")
            connection.execute("SELECT FROM rowtide.outbox WHERE key = '1' FOR UPDATE")
            locked.set()
            while not tries[1:] and records.conn.execute(waits, [other.info.backend_pid]).fetchone() != (True,):
                continue  # a deadlock is looked for once a wait: this one has to complete the circle
            return outbox.settle(connection, [settled(work, make_pair) for work in works])

    waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    locked, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: counts.append(link.run(settle_slowly)))
    with psycopg.connect(records.dsn) as other:
        other.execute("SET deadlock_timeout = '1min'")
        other.execute("SELECT FROM rowtide.outbox WHERE key = '2' FOR UPDATE")
        thread.start()
        locked.wait(20)
        other.execute("SELECT FROM rowtide.outbox WHERE key = '1' FOR UPDATE")
        other.rollback()
        ended.set()
    thread.join(20)
    link.close()
    assert len(tries) == 2
    assert counts[0].by_sync["orders"].writes == 2
    assert outbox.waiting(records.conn) == {}


def test_counts_of_what_waits(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(str(number), priority=BULK) for number in range(10)])
    records.stage(make_change("1", "d"), sync="customers")
    records.claim(limit=3)
    records.set("9", "state = 'parked', lease_until = NULL")
    waiting = outbox.waiting(records.conn)
    orders = waiting["orders"]
    assert (orders.waiting, orders.in_flight, orders.parked) == (9, 3, 1)
    assert orders.oldest == datetime(2025, 11, 22, 20, 31, 34, 123456, tzinfo=UTC)
    assert waiting["customers"].waiting == 1
    assert outbox.few_waiting_deletes(records.conn, ["customers", "orders"]) == {"customers": 0, "orders": 0}


def test_a_row_that_has_to_be_read_becomes_a_refresh_unless_it_is_newer(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"), make_change("2"))
    works = records.claim()
    records.stage(make_change("2", fields={"Title": "newer"}, lsn=101))
    outbox.settle(records.conn, [Release(work, 0.0, unknown=False, reread=True) for work in works])
    read, newer = records.waiting("1"), records.waiting("2")
    assert (read["op"], read["target"], read["fields"], read["sent"]) == ("r", None, None, [])
    assert (newer["op"], newer["fields"]) == ("u", {"Title": "newer"})
    assert {line.waits_for for line in outbox.survey(records.conn, ["orders"])} == {"read", "to Orders EU"}
