"""Claims: which rows go first, leases by the database's clock, what the claim writes down."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rowtide.change import BACKFILL, BULK, INTERACTIVE, MOVE
from rowtide.deciding.records import ItemId
from rowtide.position import Position
from rowtide.turns import LITTLE, Line
from state import database, failpoints, holds, outbox
from tests.failpoints import Failpoints


def keys(works: Any) -> list[str]:
    return [work.desired.key for work in works]


def test_a_claim_gives_the_row_its_pair_and_a_lease(records: Any, make_change: Any, make_pair: Any) -> None:
    pair = make_pair(lsn=50)
    records.know("1", pair)
    records.stage(make_change("1", fields={"Title": "b"}), make_change("2"))
    first, second = sorted(records.claim(), key=lambda work: work.desired.key)
    assert first.pair == pair
    assert second.pair is None
    desired = first.desired
    assert (desired.op, desired.target, desired.list_id, desired.fields) == (
        "u",
        "Orders EU",
        "list-eu",
        {"Title": "b"},
    )
    assert (desired.position, desired.xid, desired.revision) == (Position(1, 100, 0), 800, 1)
    assert desired.committed_at == datetime(2025, 11, 22, 20, 31, 34, 123456, tzinfo=UTC)
    assert timedelta(seconds=100) < desired.lease_until - datetime.now(UTC) < timedelta(seconds=130)
    assert not desired.uncertain


def test_a_leased_row_is_nobodys_until_its_lease_is_over(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"))
    [first] = records.claim(lease_s=0.05)
    while not (again := records.claim(owner="p1")):
        pass
    assert again[0].desired.token != first.desired.token
    assert [one.token for one in again[0].desired.sent] == [first.desired.token]
    assert records.claim(owner="p2") == []


def test_the_claim_writes_down_what_may_be_sent(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", fields={"A": 1}))
    first = records.claim_one()
    records.stage(make_change("1", fields={"A": 2}, lsn=101, target="Orders US"))
    records.set("1", "lease_until = now() - interval '1 second'")
    second = records.claim_one().desired
    [sent] = second.sent
    assert (sent.token, sent.op, sent.list_id, sent.fields) == (first.desired.token, "u", "list-eu", {"A": 1})
    assert abs(sent.at - datetime.now(UTC)) < timedelta(minutes=1)
    newest = records.waiting("1")["sent"][-1]
    assert (newest["token"], newest["list_id"], newest["fields"]) == (second.token, "list-us", {"A": 2})


def test_a_row_that_is_only_read_leaves_no_attempt(records: Any, make_change: Any) -> None:
    """Nothing of it goes to SharePoint: whoever claims it after a crash has nothing to explain."""
    records.stage(make_change("1"))
    records.claim_one()
    records.set("1", "op = 'r', fields = NULL, lease_token = NULL, lease_owner = NULL, lease_until = NULL")
    work = records.claim_one()
    assert [one.op for one in work.desired.sent] == ["u"], "of the claim before"
    assert [one["op"] for one in records.waiting("1")["sent"]] == ["u"]


def test_a_target_without_a_list_is_claimed_all_the_same(records: Any, make_change: Any) -> None:
    records.stage(make_change("1", target="Nowhere"), make_change("2", "d"))
    assert {work.desired.list_id for work in records.claim()} == {None}


def test_highest_priority_first_then_the_longest_due(records: Any, make_change: Any) -> None:
    records.stage(make_change("b1", priority=BULK), make_change("m", priority=MOVE))
    records.stage(make_change("b2", priority=BULK), make_change("i", priority=INTERACTIVE))
    assert [keys(records.claim(limit=1))[0] for _ in range(4)] == ["i", "m", "b1", "b2"]


def test_a_tenth_goes_to_the_lowest_class_that_waits(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(f"i{number:03}", priority=INTERACTIVE) for number in range(100)])
    records.stage(*[make_change(f"b{number:03}", priority=BULK) for number in range(100)])
    claimed = keys(records.claim(limit=20))
    assert len(claimed) == 20
    assert sum(key.startswith("b") for key in claimed) == 2


def test_many_small_claims_give_a_tenth_too(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(f"i{number:03}", priority=INTERACTIVE) for number in range(100)])
    records.stage(*[make_change(f"b{number:03}", priority=BULK) for number in range(100)])
    claimed = [key for _ in range(20) for key in keys(records.claim(limit=3))]
    assert sum(key.startswith("b") for key in claimed) == 6


def test_the_lowest_class_fills_what_the_others_leave(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(f"i{number}", priority=INTERACTIVE) for number in range(3)])
    records.stage(*[make_change(f"b{number}", priority=BACKFILL) for number in range(30)])
    claimed = keys(records.claim(limit=20))
    assert claimed[:3] == ["i0", "i1", "i2"]
    assert len(claimed) == 20


def test_wide_rows_are_claimed_up_to_a_bound_in_bytes(records: Any, make_change: Any) -> None:
    text = {"Note": "x" * 60_000}
    records.stage(*[make_change(f"i{number}", priority=INTERACTIVE, fields=text) for number in range(18)])
    records.stage(*[make_change(f"b{number}", priority=BULK, fields=text) for number in range(6)])
    rows = outbox.survey(records.conn, ["orders"])
    sizes, claimed = [], []
    for number in range(4):
        request = outbox.ClaimRequest(rows, "p0", f"t{number}", 120, {}, most_bytes=460_000)
        found = outbox.claim(records.conn, request)
        assert found.is_cut == (number < 2)
        sizes.append(found.size_bytes // 60_000)
        claimed.append(sum(key.startswith("b") for key in keys(found.works)))
    assert sizes == [8, 8, 8, 0]
    assert claimed == [2, 2, 2, 0]  # each line in proportion


def test_a_row_wider_than_the_bound_is_claimed_alone(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(str(number), fields={"Note": "x" * 9000}) for number in range(3)])
    rows = outbox.survey(records.conn, ["orders"])
    found = outbox.claim(records.conn, outbox.ClaimRequest(rows, "p0", "t", 120, {}, most_bytes=1))
    assert (len(found.works), found.is_cut) == (1, True)


def test_what_was_agreed_counts_as_width(records: Any, make_change: Any, make_pair: Any) -> None:
    for number in range(4):
        records.know(str(number), make_pair(lsn=50, item_id=ItemId(str(number)), base={"Note": "z" * 9000}))
    records.stage(*[make_change(str(number), fields={"Title": "y"}, partial=True) for number in range(4)])
    rows = outbox.survey(records.conn, ["orders"])
    found = outbox.claim(records.conn, outbox.ClaimRequest(rows, "p0", "t", 120, {}, most_bytes=20_000))
    assert (len(found.works), found.is_cut) == (3, True)


def test_only_due_waiting_rows_of_these_syncs(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(str(number)) for number in range(40)])
    records.stage(make_change("1"), sync="customers")
    records.set("3", "due_at = now() + interval '1 hour'")
    records.set("4", "state = 'parked'")
    assert set(keys(records.claim())) == {str(number) for number in range(40)} - {"3", "4"}
    assert records.claim(syncs=[]) == []
    assert keys(records.claim(syncs=["customers"])) == ["1"]


def test_a_survey_counts_what_may_be_claimed_line_by_line(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(str(number), priority=BULK) for number in range(10)])
    records.stage(make_change("us", target="Orders US"), make_change("gone", "d"), make_change("anew", "r"))
    records.stage(make_change("1"), sync="customers")
    records.set("3", "due_at = now() + interval '1 hour'")
    records.set("4", "state = 'parked'")
    records.set("5", "lease_until = now() + interval '1 minute'")
    records.set("us", "priority = 0")
    found = outbox.survey(records.conn, ["orders", "lines"])
    assert {(line.waits_for, line.priority) for line in found} == {
        ("to Orders EU", BULK), ("to Orders US", INTERACTIVE), ("", BULK), ("read", BULK),
    }  # fmt: skip
    assert sum(found.values()) == 13 - 3
    by_rule = [outbox.waits_for("u", "Orders EU"), outbox.waits_for("u", "Orders US")]
    assert {line.waits_for for line in found} == {*by_rule, outbox.waits_for("d", None), outbox.waits_for("r", None)}


def test_a_survey_counts_a_sync_no_further_than_anybody_needs(records: Any, make_change: Any) -> None:
    """Beyond that nobody knows how many rows are in which line, but that some are."""
    records.stage(*[make_change(str(number)) for number in range(LITTLE - 1)], make_change("gone", "d"))
    records.stage(make_change("us", target="Orders US"), make_change("late", "r"))
    records.set("late", "due_at = now() + interval '1 hour'")
    found = outbox.survey(records.conn, ["orders"])
    assert found == {Line("orders", name, BULK): LITTLE for name in ("", "to Orders EU", "to Orders US")}


def test_a_line_gives_what_it_is_asked_for_and_the_longest_due_first(records: Any, make_change: Any) -> None:
    records.stage(make_change("late"), make_change("us", target="Orders US"), make_change("early"))
    records.set("early", "due_at = now() - interval '1 hour'")
    rows = {Line("orders", "to Orders EU", BULK): 1, Line("orders", "to Orders US", BULK): 5}
    works = outbox.claim(records.conn, outbox.ClaimRequest(rows, "p0", "t", 120, {})).works
    assert sorted(keys(works)) == ["early", "us"]


def test_two_processes_never_claim_the_same_row(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(str(number)) for number in range(50)])
    with database.connect(records.dsn) as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM rowtide.outbox WHERE key IN ('7', '8') FOR UPDATE")
        claimed = keys(records.claim())  # does not wait for the locked ones
        other.execute("COMMIT")
    assert len(claimed) == 48
    assert sorted(keys(records.claim())) == ["7", "8"]


def test_void_leases_frees_only_the_owners_rows_and_keeps_sent(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"), make_change("2"))
    [mine] = records.claim(limit=1, owner="p0")
    [theirs] = records.claim(limit=1, owner="p1")
    assert outbox.void_leases(records.conn, "p0") == 1
    [again] = records.claim(owner="p0")
    assert again.desired.key == mine.desired.key != theirs.desired.key
    assert [one.token for one in again.desired.sent] == [mine.desired.token]


def test_the_leases_of_a_processs_other_lives_are_void(records: Any, make_change: Any) -> None:
    records.stage(*(make_change(str(n)) for n in range(5)))
    now, former, other = outbox.new_owner("p1"), outbox.new_owner("p1"), outbox.new_owner("p10")
    for owner in (now, former, other):
        records.claim(limit=1, owner=owner)
    assert outbox.void_leases_of_others(records.conn, "p1", now) == 1
    query = "SELECT array_agg(lease_owner ORDER BY lease_owner) FROM rowtide.outbox WHERE lease_owner IS NOT NULL"
    assert records.conn.execute(query).fetchone() == (sorted([now, other]),)
    assert outbox.void_leases_of_others(records.conn, "p1", None) == 1
    assert records.conn.execute(query).fetchone() == ([other],)


def test_the_ledger_is_read_after_the_lease_is_had(
    records: Any, make_change: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What another process settled between the two statements is seen: a join could show an older ledger."""
    records.stage(make_change("1"))
    held = tmp_path / "held"
    held.touch()
    points = Failpoints(f"claim.after_lease=pause:{held}")
    monkeypatch.setattr(failpoints, "_of_process", points)
    works: list[Any] = []
    thread = threading.Thread(target=lambda: works.append(records.claim_one()))
    thread.start()
    with database.connect(records.dsn) as other:
        while other.execute("SELECT lease_token FROM rowtide.outbox").fetchone() == (None,):
            assert thread.is_alive()
        columns = "sync, key, state, mapping_version, era, lsn, ordinal, xid, item_id, list_id"
        values = "'orders', '1', 'live', 1, 1, 60, 0, 7, '9', 'list-eu'"
        other.execute(f"INSERT INTO rowtide.ledger ({columns}) VALUES ({values})")
    held.unlink()
    thread.join(20)
    assert works[0].pair.item.item_id == "9"


@pytest.mark.parametrize(("scope", "object_"), [("sync", "orders"), ("all", "")])
def test_once_a_sync_is_held_nothing_of_it_is_claimed(scope: str, object_: str, records: Any, make_change: Any) -> None:
    """A process may not have heard of the hold yet, and claim for the sync still."""
    records.stage(make_change("1"))
    records.stage(make_change("2"), sync="customers")
    holds.place(records.conn, scope, object_, "person", "paused", "By hand.", "me")
    assert keys(records.claim(syncs=["orders", "customers"])) == ([] if scope == "all" else ["2"])
    holds.lift(records.conn, scope, object_, "person")
    assert "1" in keys(records.claim(syncs=["orders", "customers"]))


def test_nothing_of_a_retired_sync_is_claimed(records: Any, make_change: Any) -> None:
    records.stage(make_change("1"))
    records.conn.execute("UPDATE rowtide.sync SET retired = true")
    assert records.claim(syncs=["orders"]) == []
