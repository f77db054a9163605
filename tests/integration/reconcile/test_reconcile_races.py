"""Two at once: capture stages while a chunk is judged; another process takes a pass up."""

import hashlib
import os
import threading
from dataclasses import replace
from typing import Any

import pytest

from rowtide.errors import ReconcileLost
from rowtide.position import Position
from rowtide.snapshot import Snapshot
from state import database
from state.reconcile import backfill
from state.reconcile import record as reconcile
from state.reconcile.backfill import Ground, chunk_line
from tests.integration.reconcile.bench import eventually

NEW = Position(1, 500, 0)


def merge(connection: Any, ground: Ground, lines: list[str]) -> None:
    with connection.transaction():
        backfill.merge(connection, ground, lines)


@pytest.mark.parametrize(
    ("op", "xid", "expected"),
    [
        ("u", 50, ("u", "chunk", NEW)),
        ("u", 150, ("u", "streamed", NEW)),
        ("d", 50, ("d", None, NEW)),
        ("r", 50, ("r", None, NEW)),
    ],
    ids=["seen by the chunk", "not seen by the chunk", "a delete", "a refresh"],
)
def test_a_change_staged_between_judging_and_merging_is_judged_again(
    bench: Any, op: str, xid: int, expected: Any
) -> None:
    ground = Ground("orders", 1, bench.version, Snapshot(100, 100))
    lines = [chunk_line("2", "Orders", "list-Orders", bench.fields("chunk"))]
    with database.connect(bench.state_dsn, "second") as second:
        merging = threading.Thread(target=lambda: merge(second, ground, lines))
        with bench.state.transaction():
            bench.streamed("2", op=op, xid=xid)
            merging.start()
            waits = "SELECT true FROM pg_locks WHERE pid = %s AND NOT granted"
            eventually(lambda: bench.owner.execute(waits, [second.info.backend_pid]).fetchone(), "waiting for a lock")
        merging.join()
    assert bench.outbox()["2"] == expected


@pytest.mark.parametrize(("xid", "op"), [(50, "d"), (150, "u")], ids=["seen", "not seen"])
def test_a_change_staged_while_a_delete_is_merged_is_judged_again(bench: Any, xid: int, op: str) -> None:
    bench.streamed("2", xid=10)
    bench.deliver()
    ground = Ground("orders", 1, bench.version, Snapshot(100, 100))
    with database.connect(bench.state_dsn, "second") as second:
        merging = threading.Thread(target=lambda: backfill.merge_absent(second, ground, ["2"]))
        with bench.state.transaction():
            bench.streamed("2", position=(1, 600, 0), xid=xid)
            merging.start()
            waits = "SELECT true FROM pg_locks WHERE pid = %s AND NOT granted"
            eventually(lambda: bench.owner.execute(waits, [second.info.backend_pid]).fetchone(), "waiting for a lock")
        merging.join()
    assert bench.outbox()["2"][0] == op


def test_a_pass_is_in_one_process_at_a_time(bench: Any) -> None:
    reconcile.request(bench.state, "orders", "asked for")
    assert reconcile.take_up(bench.state, "orders", "one") is not None
    with database.connect(bench.state_dsn, "second") as second:
        assert reconcile.take_up(second, "orders", "two") is None
        reconcile.put_down(bench.state, "orders")
        assert reconcile.take_up(second, "orders", "two") is not None


def test_who_lost_the_pass_stages_nothing_any_more(bench: Any) -> None:
    """A process that hung while another took over still holds an old chunk in its memory."""
    reconcile.request(bench.state, "orders", "asked for")
    first = reconcile.take_up(bench.state, "orders", "one")
    assert first is not None
    reconcile.put_down(bench.state, "orders")  # its connection broke
    with database.connect(bench.state_dsn, "second") as second:
        assert reconcile.take_up(second, "orders", "two") is not None
    ground = Ground("orders", 1, bench.version, Snapshot(100, 100))
    lines = [chunk_line("2", "Orders", "list-Orders", bench.fields("old"))]
    with pytest.raises(ReconcileLost):
        reconcile.stage_chunk(bench.state, replace(first, after_key=["2"]), ground, lines)
    assert bench.outbox() == {}


def test_a_row_the_state_database_refuses_stands_alone(bench: Any) -> None:
    """Its key is too long for any index; its neighbours go on."""
    reconcile.request(bench.state, "orders", "asked for")
    record = reconcile.take_up(bench.state, "orders", "one")
    assert record is not None
    ground = Ground("orders", 1, bench.version, Snapshot(100, 100))
    long = os.urandom(9000).hex()
    keys = ["a", "b", long, "c"]
    lines = [chunk_line(key, "Orders", "list-Orders", bench.fields(key[:9])) for key in keys]
    saved = reconcile.stage_chunk(bench.state, record, ground, lines)
    shortened = f"{long[:200]}#{hashlib.sha256(long.encode()).hexdigest()}"
    assert list(bench.outbox()) == sorted(["a", "b", "c", shortened])
    assert bench.waiting(shortened, "state, reason_code") == ("parked", "state_refuses_row")
    assert (saved.counts["creates"], saved.counts["parked"]) == (3, 1)


def test_a_value_that_the_state_database_refuses_parks_its_row_under_its_key(bench: Any) -> None:
    reconcile.request(bench.state, "orders", "asked for")
    record = reconcile.take_up(bench.state, "orders", "one")
    assert record is not None
    ground = Ground("orders", 1, bench.version, Snapshot(100, 100))
    lines = [chunk_line(key, "Orders", "list-Orders", bench.fields(key[:1])) for key in ("a", "tab\tkey", "c")]
    lines[1] = lines[1].replace("{", "[")
    saved = reconcile.stage_chunk(bench.state, record, ground, lines)
    assert bench.waiting("tab\tkey", "state, reason_code, op") == ("parked", "state_refuses_row", "r")
    assert (saved.counts["creates"], saved.counts["parked"]) == (2, 1)
