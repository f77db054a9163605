"""Deletions: asked of the source key by key, judged by its snapshot, stopped by the breaker."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from rowtide.holds import HeldDeletes
from rowtide.position import Position
from state import holds, outbox
from state.reconcile import record as reconcile


def loaded(bench: Any) -> Any:
    bench.run()
    bench.deliver()
    return bench


def test_a_key_that_is_gone_is_deleted_at_the_ledgers_position(bench: Any) -> None:
    bench.streamed("4", position=(1, 700, 2), xid=bench.xid() - 1, fields=bench.fields("order 4", 4))
    loaded(bench).owner.execute("DELETE FROM orders WHERE id = 4")
    record = bench.run()
    assert bench.outbox() == {"4": ("d", None, Position(1, 700, 2))}
    assert bench.waiting("4", "target, fields, priority, state") == (None, None, 3, "waiting")
    assert record.counts["deletes"] == 1


def test_a_row_that_no_longer_matches_where_is_deleted(new_bench: Callable[..., Any]) -> None:
    bench = new_bench(where="status <> 'draft'")
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'paid' FROM generate_series(1, 5) n")
    loaded(bench).owner.execute("UPDATE orders SET status = 'draft' WHERE id = 2")
    bench.run()
    assert bench.outbox() == {"2": ("d", None, Position(1, 0, 0))}


def test_an_absent_key_whose_last_change_the_snapshot_has_not_seen_is_no_delete(bench: Any) -> None:
    """An insert is streamed and delivered before the source shows it."""
    loaded(bench)
    bench.streamed("77", xid=bench.xid() + 100)
    bench.deliver()
    bench.run()
    assert bench.outbox() == {}


def test_an_absent_key_with_a_waiting_change_the_snapshot_has_not_seen_is_no_delete(bench: Any) -> None:
    loaded(bench).owner.execute("DELETE FROM orders WHERE id = 4")
    bench.streamed("4", xid=bench.xid() + 100, title="inserted again")
    bench.run()
    assert bench.outbox()["4"][:2] == ("u", "inserted again")


def test_a_waiting_delete_is_left_as_it_is(bench: Any) -> None:
    loaded(bench).owner.execute("DELETE FROM orders WHERE id = 4")
    bench.streamed("4", op="d", xid=bench.xid() - 1, revision=5)
    bench.run()
    assert bench.waiting("4", "op, revision, priority") == ("d", 5, 0)


def test_a_waiting_row_of_an_older_era_that_is_gone_is_deleted_at_the_eras_first_position(bench: Any) -> None:
    bench.streamed("88", xid=bench.xid() + 100)  # never delivered, deleted in the gap
    bench.open_era(2)
    bench.run()
    assert bench.outbox()["88"] == ("d", None, Position(2, 0, 0))


def test_deletes_are_ignored_where_the_definition_says_so(new_bench: Callable[..., Any]) -> None:
    bench = new_bench(deletes="ignore")
    bench.owner.execute("INSERT INTO orders VALUES (1, 'a', 1, 'x'), (2, 'b', 1, 'x')")
    loaded(bench).owner.execute("DELETE FROM orders WHERE id = 1")
    assert bench.run().state == "done"
    assert bench.outbox() == {}


def test_keys_of_any_text_under_another_collation_are_found(new_bench: Callable[..., Any]) -> None:
    bench = new_bench(
        'CREATE TABLE orders (id text COLLATE "POSIX" PRIMARY KEY, title text, amount numeric, status text)'
    )
    keys = ["a", "B", "Ä", "z z", "1|2", "back\\slash", 'quo"te', "tab\there", "{curly,}", ""]
    with bench.owner.cursor() as cursor:
        cursor.executemany("INSERT INTO orders VALUES (%s, 't', 1, 'x')", [[key] for key in keys])
    loaded(bench)
    assert bench.run().counts.get("deletes", 0) == 0
    bench.owner.execute("DELETE FROM orders WHERE id IN ('Ä', 'tab\there')")
    bench.run()
    assert {key: row[0] for key, row in bench.outbox().items()} == {"Ä": "d", "tab\there": "d"}


def test_composite_keys_of_any_types_are_asked_and_walked(new_bench: Callable[..., Any]) -> None:
    bench = new_bench(
        "CREATE TABLE orders (at timestamptz, code char(4), flag boolean, title text, amount numeric, status text,"
        " PRIMARY KEY (code, flag, at))"
    )
    bench.owner.execute(
        "INSERT INTO orders SELECT timestamptz '2026-01-01 00:00+00' + n * interval '1.5 s', 'a|' || n % 3, n % 2 = 0,"
        " 'order ' || n, n, 'x' FROM generate_series(1, 2500) n"
    )
    record = loaded(bench)
    assert record.record.counts["creates"] == 2500
    bench.owner.execute("DELETE FROM orders WHERE amount IN (7, 1200)")
    bench.owner.execute("UPDATE orders SET title = 'new' WHERE amount = 1300")
    bench.run()
    assert sorted(row[0] for row in bench.outbox().values()) == ["d", "d", "u"]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize(("before", "more"), [(datetime(2026, 6, 1, tzinfo=UTC), set()), (None, {"f", "g"})])
def test_each_key_is_asked_once_whatever_the_page(
    bench: Any, limit: int, before: datetime | None, more: set[str]
) -> None:
    """What waits is asked for too, but not what this very pass has staged."""
    for key in "bdh":
        bench.streamed(key)
    bench.streamed("t", op="d")
    bench.deliver()
    for key, era, priority, op in [
        ("a", 0, 0, "u"), ("b", 0, 0, "u"), ("c", 0, 3, "r"), ("e", 0, 0, "d"), ("f", 1, 3, "u"), ("g", 1, 3, "u"),
        ("h", 1, 0, "u"), ("i", 1, 0, "u"), ("j", 1, 3, "d"), ("z", 1, 0, "u"),
    ]:  # fmt: skip
        staged_at = "2026-07-01" if key in "fg" else "2026-01-01"
        bench.streamed(key, op=op, position=(era, 600, 0), priority=priority, staged_at=staged_at)
    asked: list[str] = []
    after = None
    while page := reconcile.keys_to_ask(bench.state, "orders", before, after, limit):
        asked += page
        after = page[-1]
    assert asked == sorted({"a", "b", "c", "d", "h", "i", "z"} | more)


# --- the mass-delete breaker -----------------------------------------------------------------------------------------


def held(bench: Any) -> Any:
    """What holds the sync."""
    [hold] = holds.read(bench.state)
    return hold


def test_more_deletions_than_the_breaker_lets_pass_hold_the_sync_before_the_first(bench: Any) -> None:
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(6, 20) n")
    loaded(bench).owner.execute("DELETE FROM orders WHERE id > 8")
    record = bench.run()
    assert bench.outbox() == {}
    assert record.state == "running"
    found = held(bench)
    assert (found.kind, found.code) == ("deletes", "mass_delete")
    assert found.deletes == HeldDeletes(12, ("10", "11", "12", "13", "14"), None)
    assert "12" in found.reason
    assert "20" in found.reason
    assert record.waits == found.reason


def test_approved_deletions_pass_and_the_pass_goes_on(bench: Any) -> None:
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(6, 20) n")
    loaded(bench).owner.execute("DELETE FROM orders WHERE id > 8")
    bench.run()
    holds.approve(bench.state, "orders")
    record = bench.run()
    assert record.state == "done"
    assert {row[0] for row in bench.outbox().values()} == {"d"}
    assert len(bench.outbox()) == 12


def test_an_approval_lets_through_what_the_pass_had_found_and_no_more(bench: Any) -> None:
    """Nor does the breaker of the claims ask again for what was approved."""
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(6, 30) n")
    loaded(bench).owner.execute("DELETE FROM orders WHERE id > 20")
    bench.run()
    bench.owner.execute("DELETE FROM orders WHERE id BETWEEN 9 AND 18")
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(29, 30) n")
    holds.approve(bench.state, "orders")
    bench.run()
    assert sorted(bench.outbox(), key=int) == [str(n) for n in range(21, 29)]
    assert outbox.few_waiting_deletes(bench.state, ["orders"]) == {"orders": 0}
    bench.run()
    assert held(bench).deletes.count == 10


def test_lifted_without_approval_the_source_is_asked_anew(bench: Any) -> None:
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(6, 20) n")
    loaded(bench).owner.execute("DELETE FROM orders WHERE id > 8")
    bench.run()
    holds.lift(bench.state, "sync", "orders", "deletes")
    bench.run()
    assert held(bench).code == "mass_delete"
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(9, 20) n")
    holds.lift(bench.state, "sync", "orders", "deletes")
    assert bench.run().state == "done"
    assert bench.outbox() == {}


def test_few_deletions_pass(bench: Any) -> None:
    loaded(bench).owner.execute("DELETE FROM orders WHERE id > 1")
    assert bench.run().state == "done"
    assert len(bench.outbox()) == 4


def test_deletions_are_never_more_than_what_they_are_a_share_of(bench: Any) -> None:
    """Some of the items that were found to be too many go before the breaker has judged them."""
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(6, 20) n")
    loaded(bench).owner.execute("DELETE FROM orders")
    bench.run(until="delete")
    bench.state.execute("UPDATE rowtide.ledger SET state = 'tombstone' WHERE key < '15'")
    bench.run()
    found = re.search(r"(\d+)%", held(bench).reason)
    assert found is not None
    assert int(found.group(1)) <= 100


# --- TRUNCATE --------------------------------------------------------------------------------------------------------


def test_a_truncate_deletes_waiting_rows_too(bench: Any) -> None:
    """It is not streamed as deletes; rows staged before it and not delivered yet would be created for ever."""
    bench.run()
    bench.owner.execute("TRUNCATE orders")
    reconcile.request(bench.state, "orders", "orders was truncated")
    bench.run()
    assert {row[0] for row in bench.outbox().values()} == {"d"}
