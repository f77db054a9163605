"""What a reconcile stages: differences only, and never over what the stream knows better."""

from collections.abc import Callable
from typing import Any

import psycopg

from rowtide.position import Position
from state import cursors, holds
from state.reconcile import record as reconcile
from tests.integration.reconcile.bench import CAUGHT_UP, SLOT

FIRST = Position(1, 0, 0)


def titles(bench: Any) -> dict[str, tuple[str, str | None]]:
    return {key: row[:2] for key, row in bench.outbox().items()}


def test_a_sync_never_loaded_is_loaded_whole_at_backfill_priority(bench: Any) -> None:
    assert bench.wanted() == ["orders"]
    record = bench.run()
    assert record.state == "done"
    assert bench.outbox() == {str(n): ("u", f"order {n}", FIRST) for n in range(1, 6)}
    assert bench.waiting("1", "priority, state, target, partial, xid") == (3, "waiting", "Orders", False, 0)
    assert bench.waiting("3", "fields") == ({"Title": "order 3", "Amount": 3},)
    assert record.counts["creates"] == 5
    assert bench.wanted() == []


def test_unchanged_rows_stage_nothing(bench: Any) -> None:
    bench.run()
    bench.deliver()
    assert bench.run().counts.get("creates", 0) == 0
    assert bench.outbox() == {}


def test_only_rows_that_differ_from_the_base_are_staged(bench: Any) -> None:
    bench.run()
    bench.deliver()
    bench.owner.execute("UPDATE orders SET title = 'other' WHERE id = 2")
    bench.owner.execute("UPDATE orders SET status = 'unmapped' WHERE id = 3")
    record = bench.run()
    assert titles(bench) == {"2": ("u", "other")}
    assert (record.counts["updates"], record.counts["creates"], record.counts["moves"]) == (1, 0, 0)


def test_a_row_that_belongs_to_another_list_now_is_staged_as_a_move(new_bench: Callable[..., Any]) -> None:
    bench = new_bench(lists={"by": "status", "map": {"paid": "Paid", "new": "New"}, "default": "Other"})
    bench.owner.execute("INSERT INTO orders VALUES (1, 'a', 1, 'new'), (2, 'b', 1, 'new')")
    bench.run()
    bench.deliver()
    bench.owner.execute("UPDATE orders SET status = 'paid' WHERE id = 2")
    record = bench.run()
    assert bench.waiting("2", "target") == ("Paid",)
    assert list(bench.outbox()) == ["2"]
    assert record.counts["moves"] == 1


def test_a_row_that_where_leaves_out_is_not_staged(new_bench: Callable[..., Any]) -> None:
    bench = new_bench(where="status <> 'draft'")
    bench.owner.execute("INSERT INTO orders VALUES (1, 'a', 1, 'draft'), (2, 'b', 1, 'paid'), (3, 'c', 1, NULL)")
    bench.run()
    assert titles(bench) == {"2": ("u", "b")}


def test_a_row_that_cannot_be_carried_is_parked_once(bench: Any) -> None:
    bench.owner.execute("UPDATE orders SET title = repeat('x', 300) WHERE id = 2")
    assert bench.run().counts["parked"] == 1
    state, op, code, fields = bench.waiting("2", "state, op, reason_code, fields")
    assert (state, op, fields) == ("parked", "r", None)
    assert code
    assert bench.run().counts["parked"] == 0
    bench.owner.execute("UPDATE orders SET title = 'short' WHERE id = 2")
    bench.run()
    assert bench.waiting("2", "state, op, reason_code, attempts") == ("waiting", "u", None, 0)


# --- CDC wins over backfill ------------------------------------------------------------------------------------------


def test_a_chunk_row_older_than_the_waiting_change_is_not_staged(bench: Any) -> None:
    bench.streamed("2", xid=bench.xid() + 100, title="newer")
    bench.run()
    assert bench.outbox()["2"] == ("u", "newer", Position(1, 500, 0))


def test_a_chunk_row_older_than_the_ledger_is_not_staged(bench: Any) -> None:
    bench.streamed("2", xid=bench.xid() + 100, title="newer")
    bench.deliver()
    bench.run()
    assert "2" not in bench.outbox()


def test_a_chunk_row_older_than_a_tombstone_does_not_resurrect_the_item(bench: Any) -> None:
    bench.streamed("2", op="d", xid=bench.xid() + 100)
    bench.deliver()
    bench.run()
    assert "2" not in bench.outbox()


def test_a_chunk_row_that_has_seen_the_tombstones_delete_is_staged_at_its_position(bench: Any) -> None:
    bench.streamed("2", op="d", xid=bench.xid() - 1)
    bench.deliver()
    bench.run()
    assert bench.outbox()["2"] == ("u", "order 2", Position(1, 500, 0))


def test_a_transaction_under_way_while_the_chunk_is_read_is_not_visible_to_it(bench: Any) -> None:
    """Its change was streamed (the commit is in the WAL) before the source lets anyone see it."""
    with psycopg.connect(bench.source_dsn) as other:
        other.execute("UPDATE orders SET title = 'streamed' WHERE id = 2")
        [(xid,)] = other.execute("SELECT pg_current_xact_id()::text::bigint").fetchall()
        bench.owner.execute("INSERT INTO orders VALUES (6, 'order 6', 6, 'paid')")  # above it in xid, and visible
        bench.streamed("2", xid=xid)
        bench.run()
        assert bench.outbox()["2"] == ("u", "streamed", Position(1, 500, 0))
        assert "6" in bench.outbox()
        other.commit()
    bench.owner.execute("UPDATE orders SET title = 'last' WHERE id = 2")
    bench.run()
    assert bench.outbox()["2"] == ("u", "last", Position(1, 500, 0))


def test_over_a_waiting_upsert_it_has_seen_the_row_takes_its_position_and_priority(bench: Any) -> None:
    bench.streamed("2", xid=bench.xid() - 1, title="older", priority=0, revision=7, sent=[], mapping_version=1)
    bench.run()
    assert bench.outbox()["2"] == ("u", "order 2", Position(1, 500, 0))
    assert bench.waiting("2", "priority, revision, mapping_version") == (0, 8, bench.version)


def test_a_waiting_upsert_that_says_the_same_is_left_alone(bench: Any) -> None:
    bench.streamed("2", xid=bench.xid() - 1, fields=bench.fields("order 2", 2), revision=7)
    bench.run()
    assert bench.waiting("2", "revision, priority") == (7, 0)


def test_never_over_a_waiting_delete_of_this_era(bench: Any) -> None:
    bench.streamed("2", op="d", xid=bench.xid() - 1)
    bench.run()
    assert bench.outbox()["2"] == ("d", None, Position(1, 500, 0))


def test_a_waiting_refresh_is_left_to_read_the_row_itself(bench: Any) -> None:
    bench.streamed("2", op="r", xid=bench.xid() - 1)
    bench.run()
    assert bench.outbox()["2"] == ("r", None, Position(1, 500, 0))


def test_a_held_row_takes_the_value_and_goes_on_waiting_for_a_person(bench: Any) -> None:
    bench.streamed("2", xid=bench.xid() - 1, state="parked", hold=True, reason_code="loop", reason="ping-pong")
    bench.run()
    assert bench.waiting("2", "state, reason_code, hold") == ("parked", "loop", True)
    assert bench.outbox()["2"][1] == "order 2"


def test_the_higher_position_of_waiting_row_and_ledger_is_taken(bench: Any) -> None:
    """A waiting row below its ledger would be dropped by decide, and the reconciled row with it."""
    bench.streamed("2", position=(1, 900, 3), xid=bench.xid() - 1)
    bench.deliver()
    bench.streamed("2", position=(1, 500, 0), xid=bench.xid() - 1, title="stale")
    bench.run()
    assert bench.outbox()["2"] == ("u", "order 2", Position(1, 900, 3))


# --- a new era -------------------------------------------------------------------------------------------------------


def test_in_a_new_era_rows_are_staged_at_its_first_position_whatever_the_ledger_has(bench: Any) -> None:
    bench.streamed("2", position=(1, 900, 3), xid=bench.xid() + 10_000, title="before the gap")
    bench.deliver()
    bench.streamed("3", position=(1, 950, 0), xid=bench.xid() + 10_000, title="waiting before the gap")
    bench.streamed("4", op="d", position=(1, 960, 0), xid=bench.xid() + 10_000)
    bench.open_era(2)
    assert bench.wanted() == ["orders"]
    bench.run()
    first = Position(2, 0, 0)
    assert bench.outbox() == {str(n): ("u", f"order {n}", first) for n in range(1, 6)}


def test_an_era_that_begins_under_a_pass_begins_the_pass_anew(bench: Any) -> None:
    bench.run()
    bench.deliver()
    record = bench.record
    bench.state.execute("UPDATE rowtide.reconcile SET state = 'running', phase = 'ask', after_key = '{3}'")
    bench.open_era(2)
    bench.owner.execute("UPDATE orders SET title = 'healed' WHERE id = 1")
    bench.run()
    assert bench.record.era == 2
    assert bench.record.run_id is None
    assert bench.outbox() == {"1": ("u", "healed", Position(2, 0, 0))}
    assert record.era == 1


# --- when it is wanted -----------------------------------------------------------------------------------------------


def test_nothing_is_read_before_capture_has_noted_where_the_sync_is_whole_from(bench: Any) -> None:
    bench.state.execute("UPDATE rowtide.sync SET since_lsn = NULL")
    assert bench.wanted() == []
    assert bench.run().state == "wanted"
    assert bench.outbox() == {}


def test_nothing_is_read_before_capture_has_passed_the_mark(new_bench: Any) -> None:
    """What was committed before the pass may still be on its way to the outbox, and would come after what it reads."""
    bench = new_bench()
    bench.owner.execute("INSERT INTO orders VALUES (1, 'one', 1, 'x')")
    bench.state.execute("UPDATE rowtide.slot_cursor SET lsn = 100")
    record = bench.run()
    assert (record.state, record.phase) == ("running", "mark")
    assert record.mark_lsn > 100
    assert "bytes of WAL to stage" in record.waits
    assert bench.outbox() == {}
    cursors.advance_slot(bench.state, SLOT, 1, record.mark_lsn - 1)
    assert bench.run().phase == "mark"
    cursors.advance_slot(bench.state, SLOT, 2, record.mark_lsn)  # another incarnation's place says nothing
    assert bench.run().phase == "mark"
    cursors.advance_slot(bench.state, SLOT, 1, CAUGHT_UP)
    assert bench.run().state == "done"
    assert set(bench.outbox()) == {"1"}


def test_a_new_era_and_another_mapping_are_reason_enough(bench: Any) -> None:
    bench.run()
    assert bench.wanted() == []
    bench.open_era(2)
    assert bench.wanted() == ["orders"]
    bench.run()
    assert bench.wanted() == []
    bench.state.execute("UPDATE rowtide.reconcile SET mapping_version = 1")
    assert bench.wanted() == ["orders"]


def test_a_paused_sync_is_not_reconciled(bench: Any) -> None:
    holds.place(bench.state, "tenant", "contoso", "person", "paused", "By hand.", "someone")
    assert bench.wanted() == []
    assert bench.run().state == "wanted"
    assert bench.outbox() == {}


def test_a_request_under_way_leads_to_another_pass(bench: Any) -> None:
    bench.run()
    bench.deliver()
    bench.state.execute("UPDATE rowtide.reconcile SET state = 'running', phase = 'delete'")
    reconcile.request(bench.state, "orders", "asked for")
    bench.owner.execute("DELETE FROM orders WHERE id = 5")
    record = bench.run()
    assert record.state == "done"
    assert record.serves == record.asked == 3
    assert bench.outbox()["5"][0] == "d"


def test_a_dry_run_counts_and_stages_nothing(bench: Any) -> None:
    bench.run()
    bench.deliver()
    bench.owner.execute("UPDATE orders SET title = 'other' WHERE id = 2")
    bench.owner.execute("DELETE FROM orders WHERE id = 3")
    bench.owner.execute("INSERT INTO orders VALUES (6, 'six', 1, 'x')")
    before = bench.record
    rows, found = bench.dry_run()
    assert rows == 5
    assert (found.creates, found.updates, found.moves, found.parked, found.deletes) == (1, 1, 0, 0, 1)
    assert bench.outbox() == {}
    assert bench.record == before
