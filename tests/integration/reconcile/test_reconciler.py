"""The reconciler beside the flow: first load unasked, killed anywhere, sources that fail, quick to stop."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg

from connectors.pace import Pace
from flows import reconcile as flow
from flows import tidying
from flows.applied_view import read_view
from flows.reconcile import Reconciler
from rowtide.connections import Reach
from rowtide.position import Position
from state import database, failpoints, holds
from state.reconcile import record
from tests.integration.forks import preload, run_forked
from tests.integration.reconcile.bench import SLOT, eventually, sessions_on

preload(__name__)


def reconcile_to_the_end(state_dsn: str, source_dsn: str) -> None:
    """Reconcile the applied definition until its pass is done."""
    with database.connect(state_dsn) as connection:
        view = read_view(connection, None, lambda _catalog: Reach())
        reconciler = Reconciler(state_dsn, "a process", lambda: view, sessions_on(lambda: source_dsn), Pace())
        reconciler.start()
        while (found := record.read(connection, "orders")) is None or found.state != "done":
            threading.Event().wait(0.02)
        reconciler.stop()


def run_process(bench: Any, failpoint: str = "") -> int:
    """Exit code of a process that reconciles until it is done (or dies)."""
    return run_forked(reconcile_to_the_end, bench.state_dsn, bench.source_dsn, trap=failpoint)


@contextmanager
def running(bench: Any, source_dsn: Callable[[], str] | None = None) -> Iterator[Reconciler]:
    """A reconciler in this process."""
    sessions = sessions_on(source_dsn or (lambda: bench.source_dsn))
    reconciler = Reconciler(bench.state_dsn, "test", bench.view, sessions, Pace())
    reconciler.start()
    try:
        yield reconciler
    finally:
        reconciler.stop()


def is_done(bench: Any) -> bool:
    [(done,)] = bench.state.execute("SELECT count(*) FROM rowtide.reconcile WHERE state = 'done'").fetchall()
    return bool(done)


def test_a_new_sync_is_loaded_without_being_asked(bench: Any) -> None:
    with running(bench):
        eventually(lambda: is_done(bench), "done")
    assert len(bench.outbox()) == 5
    runs = bench.state.execute("SELECT kind, sync, verdict, detail ->> 'why' FROM rowtide.runs").fetchall()
    assert runs == [("reconcile", "orders", "done", "first load")]


def test_killed_at_each_step_a_pass_goes_on_rightly(bench: Any) -> None:
    """Each kill leaves the pass to the next process; what comes out is what an undisturbed one brings."""
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(6, 4000) n")
    bench.apply()
    assert run_process(bench) == 0
    bench.deliver()
    bench.owner.execute("UPDATE orders SET title = 'changed' WHERE id IN (1, 900, 2500, 4000)")
    bench.owner.execute("DELETE FROM orders WHERE id IN (2, 1500, 3999)")
    bench.owner.execute("INSERT INTO orders VALUES (4001, 'new', 1, 'x')")
    bench.open_era(2)
    kills = [
        f"{failpoints.RECONCILE_BEGUN}=kill",
        f"{failpoints.RECONCILE_AFTER_READ}=kill",
        f"{failpoints.RECONCILE_BEFORE_COMMIT}=kill@2",
        f"{failpoints.RECONCILE_AFTER_COMMIT}=kill",
        f"{failpoints.RECONCILE_AFTER_READ}=kill@3",
        f"{failpoints.RECONCILE_AFTER_COMMIT}=kill@2",
        f"{failpoints.RECONCILE_BEFORE_FINISH}=kill",
        f"{failpoints.RECONCILE_FINISHED}=kill",
    ]
    killed = [run_process(bench, kill) for kill in kills]
    assert killed.count(-signal.SIGKILL) >= 6
    assert set(killed) <= {-signal.SIGKILL, 0}
    assert run_process(bench) == 0
    first = Position(2, 0, 0)
    expected: dict[str, tuple[str, str | None, Position]] = {
        str(key): ("u", "changed", first) for key in (1, 900, 2500, 4000)
    }
    expected |= {str(key): ("d", None, first) for key in (2, 1500, 3999)}
    assert bench.outbox() == {**expected, "4001": ("u", "new", first)}
    assert bench.waiting("4001", "revision") == (1,)


def test_a_source_that_does_not_answer_is_tried_again(bench: Any) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(bench.source_dsn)
    dsns = {"erp": psycopg.conninfo.make_conninfo("", **{**parts, "port": 1})}
    with running(bench, lambda: dsns["erp"]) as reconciler:
        problem = eventually(lambda: reconciler.health().get("orders", {}).get("problem"), "a problem is shown")
        assert problem["code"] == "connection_refused"
        dsns["erp"] = bench.source_dsn
        eventually(lambda: is_done(bench), "done")
        eventually(lambda: reconciler.health() == {}, "no problem any more")


def test_a_broken_connection_to_the_state_database_is_made_again(bench: Any) -> None:
    with running(bench):
        eventually(lambda: is_done(bench), "done")
        broken = bench.owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rowtide reconcile'"
        ).fetchall()
        assert (True,) in broken
        bench.open_era(2)
        eventually(lambda: bench.record.era == 2 and is_done(bench), "done again")


def test_a_table_that_no_longer_fits_pauses_its_sync(bench: Any) -> None:
    bench.owner.execute("ALTER TABLE orders RENAME TO orders_before")
    with running(bench):
        [hold] = eventually(lambda: holds.read(bench.state), "held")
    assert (hold.object, hold.kind, hold.code) == ("orders", "capture", "relation_mismatch")


def test_it_stops_at_once_though_the_source_hangs(bench: Any) -> None:
    with psycopg.connect(bench.source_dsn) as other:
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        with running(bench):
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock'"
            eventually(lambda: other.execute(waits).fetchall() != [(0,)], "reading waits")
            began = time.monotonic()
        assert time.monotonic() - began < 1.5
        other.rollback()


def test_a_waiting_pass_shows_why_and_is_finished_when_it_can_be(bench: Any) -> None:
    with psycopg.connect(bench.source_dsn) as other:
        other.execute("INSERT INTO orders VALUES (6, 'late', 1, 'x')")
        with running(bench) as reconciler:
            problem = eventually(lambda: reconciler.health().get("orders", {}).get("problem"), "why it waits")
            assert "xid" in problem["sentence"]
            other.commit()
            eventually(lambda: is_done(bench), "done")
    assert "6" in bench.outbox()


def test_a_pause_is_honoured_between_chunks(bench: Any) -> None:
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(6, 60000) n")
    with running(bench):
        eventually(lambda: staged_rows(bench), "something staged")
        holds.place(bench.state, "sync", "orders", "person", "paused", "By hand.", "someone")
        eventually(lambda: bench.record.owner == "test", "taken up")
        locks = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory'"
        mine = f"{locks} AND datname = current_database()"
        eventually(lambda: bench.state.execute(mine).fetchall() == [(0,)], "the pass is put down")
        staged = staged_rows(bench)
        assert 0 < staged < 60000
        wait_looked(bench)
        assert staged_rows(bench) == staged
        holds.lift(bench.state, "sync", "orders", "person")
        eventually(lambda: is_done(bench), "done")
    assert len(bench.outbox()) == 60000


def wait_looked(bench: Any) -> None:
    """Until the reconciler has looked, from now on, whether there is anything to do."""
    query = "SELECT max(query_start) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
    [first] = bench.state.execute(query, [flow.SOURCE]).fetchall()
    seen = {first}

    def looked_twice() -> bool:  # the first may have begun before
        seen.update(bench.state.execute(query, [flow.SOURCE]).fetchall())
        return len(seen) > 2

    eventually(looked_twice, "the reconciler looks again")


def staged_rows(bench: Any) -> int:
    """Rows in the outbox."""
    [(count,)] = bench.state.execute("SELECT count(*) FROM rowtide.outbox").fetchall()
    return int(count)


def test_tombstones_go_when_the_pass_is_done_and_the_stream_has_passed_them(bench: Any) -> None:
    bench.run()
    bench.deliver()
    bench.streamed("1", op="d", position=(1, 500, 0), xid=bench.xid())
    bench.streamed("2", op="d", position=(1, 900, 0), xid=bench.xid())
    bench.streamed("3", op="d", position=(1, 500, 1), xid=bench.xid() + 10_000)
    bench.state.execute("DELETE FROM rowtide.ledger WHERE key IN ('1', '2', '3')")
    bench.deliver()
    bench.state.execute("UPDATE rowtide.slot_cursor SET lsn = 600")

    def left(age: timedelta) -> set[str]:
        tidying.tidy(bench.state, bench.source, bench.catalog.syncs["orders"], SLOT, age)
        return {key for (key,) in bench.state.execute("SELECT key FROM rowtide.ledger WHERE state = 'tombstone'")}

    assert left(timedelta(days=7)) == {"1", "2", "3"}
    record.request(bench.state, "orders", "asked for")
    assert left(timedelta(0)) == {"1", "2", "3"}
    bench.state.execute("UPDATE rowtide.reconcile SET state = 'done'")
    assert left(timedelta(0)) == {"2", "3"}
