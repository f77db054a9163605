"""Staging: how changes of a row become one, what is dropped, what a refused row does (docs/design.md section 3)."""

import itertools
import random
import threading
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from rowtide.change import BACKFILL, INTERACTIVE, Change, ChangeBatch, fold
from rowtide.deciding.outcomes import Settle
from rowtide.deciding.records import AsOf, ETag, Held, ItemId, ListId, NoItem, PairedItem
from rowtide.errors import StateRefused
from state import channels, cursors, database, outbox
from state.cursors import SlotCursor
from state.outbox import StageCounts


def test_a_new_row_waits_with_all_that_is_known(records: Any, make_change: Any) -> None:
    strange = {"Title": "tab\t line\n back\\slash \"quote\" 'single' é 漢 \u2028", "N": 1.5, "B": True, "Z": None}
    assert records.stage(make_change("a\\b\tc", fields=strange)) == StageCounts(1, 0, 0)
    row = records.row("a\\b\tc")
    assert row["fields"] == strange
    assert (row["op"], row["target"], row["state"], row["revision"], row["attempts"]) == (
        "u",
        "Orders EU",
        "waiting",
        1,
        0,
    )
    assert (row["era"], row["lsn"], row["ordinal"], row["xid"], row["priority"]) == (1, 100, 0, 800, 2)
    assert row["committed_at"] == datetime(2025, 11, 22, 20, 31, 34, 123456, tzinfo=UTC)
    assert row["sent"] == []


def test_upsert_over_upsert_is_replaced_and_partial_is_overlaid(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", fields={"A": 1, "B": 1}))
    assert records.stage(make_change("1", fields={"A": 2, "B": 2}, lsn=101)) == StageCounts(1, 1, 0)
    assert records.waiting("1")["fields"] == {"A": 2, "B": 2}
    records.stage(make_change("1", fields={"B": 3}, lsn=102, partial=True, target="Orders US"))
    row = records.waiting("1")
    assert (row["fields"], row["partial"], row["target"], row["revision"]) == ({"A": 2, "B": 3}, False, "Orders US", 3)


@pytest.mark.parametrize("older", ["d", "r"])
def test_a_partial_upsert_over_delete_or_refresh_has_to_be_read(older: Any, records: Any, make_change: Any) -> None:
    records.stage(make_change("1", older))
    records.stage(make_change("1", fields={"B": 3}, lsn=101, partial=True))
    row = records.waiting("1")
    assert (row["op"], row["fields"], row["target"], row["partial"]) == ("r", None, None, False)


def test_a_partial_upsert_alone_stays_partial(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", fields={"B": 3}, partial=True))
    records.stage(make_change("1", fields={"C": 4}, lsn=101, partial=True))
    row = records.waiting("1")
    assert (row["op"], row["fields"], row["partial"]) == ("u", {"B": 3, "C": 4}, True)


@pytest.mark.parametrize(("era", "version"), [(2, 1), (1, 2)])
def test_fields_of_another_era_or_mapping_fill_nothing(era: int, version: int, records: Any, make_change: Any) -> None:
    records.stage(make_change("1", fields={"A": 1, "B": 1}))
    records.open_era(era)
    records.stage(make_change("1", fields={"B": 3}, lsn=101, partial=True), era=era, version=version)
    row = records.waiting("1")
    assert (row["op"], row["era"], row["mapping_version"]) == ("r", era, version)


@pytest.mark.parametrize(("first", "second"), [("u", "d"), ("d", "u"), ("d", "r"), ("r", "u"), ("u", "r")])
def test_with_a_delete_or_refresh_on_either_side_it_is_replaced(
    first: Any, second: Any, records: Any, make_change: Any
) -> None:
    records.stage(make_change("1", first))
    records.stage(make_change("1", second, lsn=101))
    row = records.waiting("1")
    assert (row["op"], row["fields"]) == (second, {"Title": "1"} if second == "u" else None)


def test_the_highest_position_wins_and_replays_are_dropped(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", fields={"A": 2}, lsn=200, ordinal=5))
    assert records.stage(make_change("1", fields={"A": 1}, lsn=200, ordinal=5)) == StageCounts(1, 0, 1)
    assert records.stage(make_change("1", fields={"A": 1}, lsn=200, ordinal=4)) == StageCounts(1, 0, 1)
    assert records.stage(make_change("1", "d", lsn=199, ordinal=9)) == StageCounts(1, 0, 1)
    assert records.waiting("1")["revision"] == 1
    records.stage(make_change("1", fields={"A": 3}, lsn=200, ordinal=6))
    records.open_era(2)
    records.stage(make_change("1", fields={"A": 4}, lsn=1), era=2)
    assert records.stage(make_change("1", fields={"A": 9}, lsn=900)).dropped == 1
    assert records.waiting("1")["fields"] == {"A": 4}


def test_highest_priority_and_earliest_due_are_kept(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", priority=INTERACTIVE))
    records.set("1", "due_at = now() - interval '1 hour'")
    due_at = records.waiting("1")["due_at"]
    records.stage(make_change("1", lsn=101, priority=BACKFILL))
    assert (records.waiting("1")["priority"], records.waiting("1")["due_at"]) == (INTERACTIVE, due_at)
    records.set("1", "due_at = now() + interval '1 hour', priority = 3")
    records.stage(make_change("1", lsn=102, priority=INTERACTIVE))
    assert records.waiting("1")["priority"] == INTERACTIVE
    assert records.claim_one().desired.key == "1"


def test_what_the_ledger_has_at_that_position_or_above_is_dropped(
    records: Any, make_change: Any, make_pair: Any
) -> None:
    records.know("1", make_pair(lsn=200, ordinal=3))
    records.know("gone", NoItem(make_pair(lsn=200).as_of))
    assert records.stage(make_change("1", lsn=200, ordinal=3), make_change("2", lsn=200)) == StageCounts(2, 0, 1)
    assert records.stage(make_change("gone", lsn=150)) == StageCounts(1, 0, 1)
    assert (records.row("1"), records.row("gone")) == (None, None)
    assert records.stage(make_change("1", lsn=200, ordinal=4), make_change("gone", lsn=201)).dropped == 0
    assert records.waiting("1")["ordinal"] == 4
    assert records.waiting("gone")["lsn"] == 201


def test_a_merge_into_a_leased_row_keeps_lease_and_sent(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"))
    work = records.claim_one()
    records.stage(make_change("1", fields={"Title": "newer"}, lsn=101))
    row = records.waiting("1")
    assert (row["lease_token"], row["revision"], len(row["sent"])) == (work.desired.token, 2, 1)
    assert records.claim() == []


def test_a_newer_value_makes_a_parked_row_due_again(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"))
    records.set("1", "state = 'parked', reason_code = 'x', reason = 'y', attempts = 4")
    records.stage(make_change("1", fields={"Title": "b"}, lsn=101))
    row = records.waiting("1")
    assert (row["state"], row["reason_code"], row["reason"], row["attempts"]) == ("waiting", None, None, 0)
    assert records.claim_one().desired.fields == {"Title": "b"}


def test_a_held_row_merges_but_waits_for_a_person(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", fields={"A": 1, "B": 1}))
    records.set("1", "state = 'parked', reason_code = 'ping_pong', reason = 'y', hold = true, attempts = 4")
    records.stage(make_change("1", fields={"B": 2}, lsn=101, partial=True))
    row = records.waiting("1")
    assert (row["state"], row["reason_code"], row["fields"], row["attempts"]) == (
        "parked",
        "ping_pong",
        {"A": 1, "B": 2},
        4,
    )
    assert records.claim() == []
    assert outbox.retry_parked(records.conn, "orders", ["1"]) == 1
    assert records.claim_one().desired.op == "r"


def test_a_row_that_cannot_be_carried_is_parked_to_be_read_again(records: Any, make_change: Any) -> None:
    park = ("value_too_long", "Column notes is longer than 255 characters.")
    records.stage(make_change("1"), make_change("2", park=park))
    row = records.waiting("2")
    assert (row["state"], row["op"], row["reason_code"], row["reason"]) == ("parked", "r", *park)
    records.stage(make_change("1", lsn=101, park=park))
    assert (records.waiting("1")["state"], records.waiting("1")["op"]) == ("parked", "r")
    records.stage(make_change("1", fields={"B": 1}, partial=True, lsn=102))
    assert (records.waiting("1")["state"], records.waiting("1")["op"]) == ("waiting", "r")
    assert [one.key for one in outbox.parked(records.conn, "orders")] == ["2"]
    assert outbox.discard_parked(records.conn, "orders", ["2"]) == 1
    assert records.row("2") is None


def test_changes_of_one_call_fold_across_batches(records: Any, make_change: Any) -> None:
    batches = [
        ChangeBatch("orders", 1, 1, [make_change("1", fields={"A": 1, "B": 1}), make_change("2")]),
        ChangeBatch("customers", 1, 1, [make_change("1")]),
        ChangeBatch("orders", 1, 1, [make_change("1", fields={"B": 2}, lsn=101, partial=True)]),
        ChangeBatch("orders", 2, 1, [make_change("2", fields={"B": 2}, lsn=101, partial=True)]),
    ]
    assert outbox.stage(records.conn, "slot", batches) == StageCounts(5, 2, 0)
    assert records.waiting("1")["fields"] == {"A": 1, "B": 2}
    assert (records.waiting("2")["op"], records.waiting("2")["mapping_version"]) == ("r", 2)
    assert records.row("1", "customers")["fields"] == {"Title": "1"}


def test_sql_and_fold_say_the_same(records: Any, make_change: Any) -> None:
    """Every chain of three changes, staged one by one, gives the row that `fold` gives."""

    def links(lsn: int) -> list[Change]:
        return [
            make_change("k", fields={"A": lsn, "B": lsn, "C": lsn}, lsn=lsn, priority=lsn % 4),
            make_change("k", fields={"B": lsn}, lsn=lsn, partial=True, priority=3),
            make_change("k", "d", lsn=lsn),
            make_change("k", "r", lsn=lsn, priority=0),
        ]

    for number, chain in enumerate(itertools.product(links(100), links(101), links(102))):
        key = f"k{number}"
        for link in chain:
            records.stage(link._replace(key=key))
        folded = fold(fold(chain[0], chain[1]), chain[2])
        row = records.waiting(key)
        told = (row["op"], row["target"], row["fields"], row["partial"], row["lsn"], row["priority"])
        assert told == (folded.op, folded.target, folded.fields, folded.partial, folded.lsn, folded.priority)


def test_the_staged_position_rises_with_the_batch(records: Any, make_change: Any) -> None:
    columns = "incarnation, staged_lsn, staged_ordinal, lsn"

    def staged() -> Any:
        return records.conn.execute(f"SELECT {columns} FROM rowtide.slot_cursor").fetchone()

    assert staged() == (1, 0, -1, 50)
    records.stage(make_change("1", lsn=300, ordinal=4), make_change("2", lsn=200, ordinal=9))
    assert staged() == (1, 300, 4, 50)
    records.stage(make_change("1", lsn=200))
    assert staged() == (1, 300, 4, 50)
    records.stage(make_change("3", lsn=300, ordinal=5))
    assert staged() == (1, 300, 5, 50)
    records.open_era(2)
    records.stage(make_change("1", lsn=10), era=2)
    assert staged() == (2, 10, 0, 50)
    cursors.open_slot(records.conn, SlotCursor("slot", 3, 70, "7", 1, 70, 16400))
    assert staged() == (3, 70, -1, 70)


def test_what_is_not_of_the_present_era_is_fenced_off(records: Any, make_change: Any) -> None:
    """A process that slept through an era stages nothing: the new era's reconcile has read what it knows, and more."""
    records.open_era(2)
    records.stage(make_change("1", lsn=100), era=2)
    assert records.stage(make_change("1", lsn=900), make_change("2", lsn=900)).dropped == 2
    assert records.stage(make_change("3", lsn=900), era=3).dropped == 1
    assert (records.waiting("1")["lsn"], records.row("2"), records.row("3")) == (100, None, None)
    [(staged,)] = records.conn.execute("SELECT staged_lsn FROM rowtide.slot_cursor").fetchall()
    assert staged == 100


def test_what_was_committed_before_the_era_began_is_fenced_off(records: Any, make_change: Any) -> None:
    records.conn.execute("UPDATE rowtide.sync SET since_lsn = 200 WHERE sync = 'orders'")
    assert records.stage(make_change("1", lsn=199), make_change("2", lsn=200)).dropped == 1
    assert records.row("1") is None
    assert records.row("2") is not None


def test_a_sync_that_is_read_from_another_slot_by_now_is_fenced_off(records: Any, make_change: Any) -> None:
    records.conn.execute("UPDATE rowtide.sync SET since_slot = 'other' WHERE sync = 'orders'")
    assert records.stage(make_change("1")).dropped == 1
    assert records.stage(make_change("1"), sync="customers").dropped == 0


def test_an_era_that_begins_meanwhile_waits_for_what_is_being_staged(records: Any, make_change: Any) -> None:
    with database.connect(records.dsn) as other, other.transaction():
        other.execute("LOCK TABLE rowtide.outbox IN SHARE MODE")  # staging stands still behind its fence
        stager = threading.Thread(target=lambda: records.stage(make_change("1")))
        stager.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        with psycopg.connect(records.dsn, autocommit=True) as watcher:
            while watcher.execute(waits, [records.conn.info.backend_pid]).fetchone() != (1,):
                assert stager.is_alive()
            watcher.execute("SET lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                watcher.execute("UPDATE rowtide.sync SET era = era + 1 WHERE sync = 'orders'")
    stager.join(20)
    assert records.row("1") is not None


def test_staging_wakes_deliver(records: Any, make_change: Any) -> None:
    with database.connect(records.dsn) as listener:
        channels.listen(listener, channels.DUE)
        records.stage(make_change("1"))
        assert [one.channel for one in listener.notifies(timeout=10, stop_after=1)] == [channels.DUE]


def test_the_bad_row_of_a_batch_stands_alone(records: Any, make_change: Any) -> None:
    changes = [make_change(str(number)) for number in range(50)]
    changes[17] = make_change("17", fields={"Title": "nul \0 byte"})
    changes[31] = make_change("31", fields={"Title": 10**40})
    assert records.stage(*changes).changes == 50
    parked = {one.key: one.reason_code for one in outbox.parked(records.conn)}
    assert parked == {"17": "state_refuses_row", "31": "state_refuses_row"}
    assert outbox.waiting(records.conn)["orders"].waiting == 48
    assert "nul" not in str(records.waiting("17")["reason"])


def test_a_key_beyond_the_index_is_parked_under_a_shortened_name(records: Any, make_change: Any) -> None:
    chance = random.Random(1)
    long = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(9000))
    records.stage(make_change(long), make_change("1"), make_change("nul\0key"))
    names = sorted(one.key for one in outbox.parked(records.conn))
    assert [name.split("#")[0] for name in names] == [long[:200], "nul?key"]
    assert records.row("1") is not None


def test_a_wrong_schema_is_not_a_bad_row(records: Any, make_change: Any) -> None:
    records.conn.execute("ALTER TABLE rowtide.outbox RENAME COLUMN priority TO class")
    link = database.Link(records.dsn)
    with pytest.raises(StateRefused) as refused:
        link.run(lambda c: outbox.stage(c, "slot", [ChangeBatch("orders", 1, 1, [make_change("1")])]))
    assert refused.value.code == "state_schema_missing"
    link.close()


def test_a_row_staged_by_another_process_meanwhile_is_merged(records: Any, make_change: Any) -> None:
    """The straight copy meets the other's row after it looked for waiting ones, and all goes the careful way."""
    with database.connect(records.dsn) as other:
        other.execute("BEGIN")
        columns = "sync, key, op, mapping_version, era, lsn, ordinal, xid, committed_at, priority"
        values = "'orders', '1', 'd', 1, 1, 50, 0, 1, now(), 3"
        other.execute(f"INSERT INTO rowtide.outbox ({columns}) VALUES ({values})")
        counts: list[StageCounts] = []
        thread = threading.Thread(target=lambda: counts.append(records.stage(make_change("1"), make_change("2"))))
        thread.start()
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        with psycopg.connect(records.dsn, autocommit=True) as watcher:
            while watcher.execute(blocked, [records.conn.info.backend_pid]).fetchone() != (1,):
                assert thread.is_alive()
        other.execute("COMMIT")
        thread.join(20)
    assert counts == [StageCounts(2, 1, 0)]
    assert (records.waiting("1")["op"], records.waiting("1")["revision"]) == ("u", 2)


def test_nothing_staged_is_nothing_done(records: Any) -> None:
    assert outbox.stage(records.conn, "slot", []) == StageCounts()
    assert outbox.stage(records.conn, "slot", [ChangeBatch("orders", 1, 1, [])]) == StageCounts()


def test_a_row_is_out_of_sync_since_its_oldest_change_that_no_item_shows(records: Any, make_change: Any) -> None:
    """Not since its newest; and what was settled no longer counts."""

    def oldest() -> Any:
        return outbox.waiting(records.conn)["orders"].oldest

    hour, minute = 3_600_000_000, 60_000_000
    now_us = int(datetime.now(UTC).timestamp() * 1_000_000)
    first, second, ahead = now_us - 3 * hour, now_us - hour, now_us + hour
    records.stage(make_change("1", lsn=10)._replace(committed_us=first))
    records.stage(make_change("1", lsn=20)._replace(committed_us=second))
    assert oldest() == datetime.fromtimestamp(first / 1e6, UTC)
    work = records.claim_one()
    records.stage(make_change("1", lsn=30)._replace(committed_us=now_us - minute))
    outbox.settle(records.conn, [settled(work)])
    assert oldest() == datetime.fromtimestamp((now_us - minute) / 1e6, UTC)
    outbox.settle(records.conn, [settled(records.claim_one())])
    records.stage(make_change("2", lsn=40)._replace(committed_us=ahead))  # the source's clock is ahead
    assert (oldest() - datetime.now(UTC)).total_seconds() < 60
    records.stage(make_change("2", lsn=50)._replace(committed_us=ahead))
    assert (oldest() - datetime.now(UTC)).total_seconds() < 60


def settled(work: Any) -> Settle:
    """The claim's row is in its list."""
    item = PairedItem(ListId("list-eu"), ItemId(work.desired.key), ETag('"g,1"'), {}, {})
    return Settle(work, Held(AsOf(work.desired.position, work.desired.xid, 1), item), 1)
