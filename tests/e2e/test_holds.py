"""What holds rows back and what is in force, on real processes.

In: one running stack with two syncs; its state database is on a server of its own. Rules: what is asserted is what a
person sees, in lists and by `rowtide status`; a test leaves both syncs equal, in force and not held.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from demo.postgres import Cluster
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import Stack, wait_until

SYNC = """
  {name}:
    source: {{postgres: erp, table: public.{name}}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {name}
    breaker: {{share: 0.2, rows: 500}}
    fields: {{note: Title}}
"""
TABLE = """
CREATE TABLE {name} (id bigint PRIMARY KEY, note text);
INSERT INTO {name} SELECT n, 'note ' || n FROM generate_series(1, 40) n
"""
BOTH = SYNC.format(name="orders") + SYNC.format(name="lines")


@pytest.fixture(scope="module")
def stack(pg: Cluster, state_server: Cluster) -> Iterator[Stack]:
    """Syncs ``orders`` and ``lines`` run."""
    tables = [TABLE.format(name=name) for name in ("orders", "lines")]
    with shared_stack(pg, state_server, "holds", tables, BOTH) as stack:
        stack.start()
        yield stack


def titles(stack: Stack, name: str = "orders") -> dict[int, str]:
    """Key -> title of every item of a list."""
    live = [item["fields"] for item in stack.simulator.items() if item["list"] == name and not item["deleted"]]
    return {int(fields["RowtideKey"].split(":")[1]): fields["Title"] for fields in live}


def rows(stack: Stack, name: str = "orders") -> dict[int, str]:
    """Key -> note of every row."""
    return dict(stack.sql(f"SELECT id, note FROM {name}"))


def wait_equal(stack: Stack, name: str = "orders") -> None:
    """Until table and list are equal."""
    wait_until(lambda: titles(stack, name) == rows(stack, name), f"{name} equal")


def code_of(stack: Stack, name: str = "orders") -> str:
    """The code by which `status` says why a sync moves or does not."""
    return next(str(one["reason"]["code"]) for one in stack.status()["syncs"] if one["sync"] == name)


def test_one_resume_lifts_a_persons_pause_and_no_stop_at_capture(stack: Stack) -> None:
    """A sync stopped at capture while it is paused stays paused; resumed, it is still stopped, and that is said."""
    wait_equal(stack)
    stack.command("pause", "orders", "--reason", "stock taking")
    stack.sql("ALTER TABLE orders RENAME COLUMN note TO remark")
    stack.sql("UPDATE orders SET remark = 'while it does not fit' WHERE id = 1")
    wait_until(lambda: "relation_mismatch" in stack.command("status", "--json").stdout, "status has both reasons")
    assert code_of(stack) == "paused"
    done = stack.command("resume", "orders", "--json", check=False)
    assert done.returncode == 3
    [left] = json.loads(done.stdout)["remaining"]["orders"]
    assert (left["kind"], left["code"]) == ("capture", "relation_mismatch")
    wait_until(lambda: code_of(stack) == "relation_mismatch", "still stopped")
    stack.sql("ALTER TABLE orders RENAME COLUMN remark TO note")
    wait_equal(stack)
    wait_until(lambda: code_of(stack) == "idle", "runs again")


def test_an_approval_lets_through_exactly_the_deletions_that_were_held(stack: Stack) -> None:
    """Those that come afterwards are judged anew."""
    wait_equal(stack)
    stack.sql("DELETE FROM orders WHERE id <= 20")
    wait_until(lambda: code_of(stack) == "mass_delete", "held")
    stack.sql("DELETE FROM orders WHERE id BETWEEN 21 AND 30")
    wait_until(lambda: waiting(stack) == 30, "ten more wait")
    assert stack.command("resume", "orders", check=False).returncode == 3
    assert len(titles(stack)) == 40
    done = json.loads(stack.command("resume", "orders", "--approve-deletes", "--json", check=False).stdout)
    assert done["approved"]["count"] == 20
    wait_until(lambda: code_of(stack) == "mass_delete" and len(titles(stack)) == 20, "the others are held in turn")
    assert sorted(titles(stack)) == list(range(21, 41))
    stack.sql("INSERT INTO orders SELECT n, 'back again' FROM generate_series(21, 30) n")
    stack.command("reconcile", "orders", check=False)
    wait_equal(stack)
    wait_until(lambda: code_of(stack) == "idle", "runs again")


def waiting(stack: Stack) -> Any:
    """How many rows of the sync wait."""
    return next(one["waiting"] for one in stack.status()["syncs"] if one["sync"] == "orders")


@pytest.mark.long
def test_a_hold_on_a_tenant_covers_a_sync_that_is_applied_later(stack: Stack) -> None:
    stack.command("pause", "--target", "contoso", "--reason", "the tenant moves")
    stack.sql(TABLE.format(name="later"))
    stack.write(BOTH + SYNC.format(name="later"))
    stack.apply()
    wait_until(lambda: code_of(stack, "later") == "paused", "it is held")
    stack.sql("UPDATE orders SET note = 'while held' WHERE id = 40")
    wait_until(lambda: waiting(stack) == 1, "its change waits")
    assert titles(stack, "later") == {}
    stack.command("resume", "--target", "contoso")
    wait_equal(stack, "later")
    wait_equal(stack)
    stack.write(BOTH)
    stack.apply()


@pytest.mark.long
def test_the_lag_of_a_row_is_that_of_its_oldest_change_that_no_item_shows(stack: Stack) -> None:
    """A row that changes all the time is as late as it was before its newest change."""

    def lag_s() -> float:
        return next(float(one["lag_s"] or 0) for one in stack.status()["syncs"] if one["sync"] == "orders")

    wait_equal(stack)
    stack.command("pause", "orders")
    stack.sql("UPDATE orders SET note = 'hot' WHERE id = 38")
    wait_until(lambda: lag_s() > 4, "the row is late")
    [(before,)] = stack.state("SELECT revision FROM rowtide.outbox WHERE sync = 'orders'")
    stack.sql("UPDATE orders SET note = 'hotter' WHERE id = 38")
    wait_until(lambda: stack.state("SELECT 1 FROM rowtide.outbox WHERE revision > %s", before), "merged")
    assert lag_s() > 4
    stack.command("resume", "orders")
    wait_equal(stack)


@contextmanager
def spawned_apply(stack: Stack, syncs: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`rowtide apply` of these syncs, from a file of its own, in a process beside the test that ends with it."""
    before = stack.config
    stack.config = stack.directory / f"apply-{len(list(stack.directory.iterdir()))}.yaml"
    stack.write(syncs)
    command = [sys.executable, "-m", "tests.failpoints", "apply", "--yes", "-c", str(stack.config)]
    stack.config = before
    pipe, given = subprocess.PIPE, {**stack.environment, **environment}
    process = subprocess.Popen(command, env=given, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.long
def test_of_two_applies_that_interleave_the_later_is_refused(stack: Stack) -> None:
    """It was planned without what the earlier changes, and nobody has agreed to undo that; it has made nothing."""
    wait_equal(stack, "lines")
    held = stack.directory / "held"
    held.touch()
    idle = (
        "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'INSERT INTO rowtide.def%'"
    )
    queued = (
        "SELECT 1 FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
        " WHERE NOT l.granted AND l.locktype = 'advisory' AND a.datname = current_database()"
    )
    later = BOTH.replace("rows: 500", "rows: 400").replace("list: lines", "list: made by the later")
    with spawned_apply(stack, SYNC.format(name="orders"), ROWTIDE_FAILPOINTS=f"apply.stored=pause:{held}") as fewer:
        wait_until(lambda: stack.state(idle), "the first is in the middle of storing", 180)
        with spawned_apply(stack, later) as both:
            wait_until(lambda: both.poll() is not None or stack.state(queued), "the second has stored, or waits", 180)
            held.unlink()
            said = {apply.communicate(timeout=180)[0]: apply.returncode for apply in (fewer, both)}
    [(compiled,)] = stack.state("SELECT compiled FROM rowtide.definition ORDER BY version DESC LIMIT 1")
    retired = [sync for (sync,) in stack.state("SELECT sync FROM rowtide.sync WHERE retired")]
    assert set(retired).isdisjoint(compiled["definition"]["syncs"]), said
    assert sorted(said.values()) == [0, 2]
    assert any("definition_moved" in text and "- syncs.lines" in text for text in said), said
    assert "made by the later" not in {one["displayName"] for one in stack.simulator.ask("lists")["lists"]}
    stack.write(BOTH)
    stack.apply()
    wait_equal(stack, "lines")


STORED = "INSERT INTO rowtide.definition (hash, compiled, needs, applied_by) SELECT hash"
NEWEST = "FROM rowtide.definition ORDER BY version DESC LIMIT 1"


@pytest.mark.long
def test_a_version_of_a_newer_release_makes_nobody_deaf(stack: Stack) -> None:
    """Changes are staged by the version before, nothing is delivered, pauses are heard, also after a restart."""
    wait_equal(stack)
    stack.state(f"{STORED}, compiled, 99, 'newer' {NEWEST}")
    wait_until(lambda: code_of(stack) == "definition_not_taken", "status says so")
    stack.sql("UPDATE orders SET note = 'by the version before' WHERE id = 40")
    wait_until(lambda: waiting(stack) == 1, "its change is staged")
    assert stack.stop(stack.processes[-1]) == 0
    process = stack.start()
    wait_until(lambda: [one["ready"] for one in stack.status()["processes"]] == [False], "it runs and is not ready")
    stack.command("pause", "orders")
    wait_until(lambda: code_of(stack) == "paused", "paused")
    stack.apply()
    wait_until(lambda: [one["ready"] for one in stack.status()["processes"]] == [True], "taken over")
    stack.sql("UPDATE lines SET note = 'goes on' WHERE id = 1")
    wait_equal(stack, "lines")
    assert titles(stack)[40] != "by the version before"
    stack.command("resume", "orders")
    wait_equal(stack)
    assert process.poll() is None


@pytest.mark.long
def test_one_sync_that_does_not_compile_stops_alone(stack: Stack) -> None:
    """Its neighbours take the version over; it goes on, in a new era, when it compiles."""
    wait_equal(stack, "lines")
    broken = """jsonb_set(compiled, '{columns,lines,1,type_name}', '"bytea"')"""
    stack.state(f"{STORED}, {broken}, 1, 'newer' {NEWEST}")
    wait_until(lambda: code_of(stack, "lines") == "not_compiled", "held")
    stack.sql("UPDATE lines SET note = 'passes by' WHERE id = 2")
    stack.sql("UPDATE orders SET note = 'goes on' WHERE id = 39")
    wait_equal(stack)
    assert titles(stack, "lines")[2] != "passes by"
    stack.apply()
    wait_equal(stack, "lines")
    wait_until(lambda: code_of(stack, "lines") == "idle", "the stop has ended")
