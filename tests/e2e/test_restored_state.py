"""A state database that is restored from an older copy: what its records do not know of the lists is mended."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.postgres import Cluster
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_administration import idle, no_doubles
from tests.e2e.test_push import settled, wait_equal

NewStack = Callable[..., Stack]
NewSimulator = Callable[..., Simulator]


def run_tool(cluster: Cluster, name: str, *words: str) -> None:
    """One of PostgreSQL's own tools, to its end."""
    subprocess.run([str(cluster.binaries / name), *words], check=True, capture_output=True)


def reason(stack: Stack) -> str:
    """Why the sync stands still, if it does."""
    [parts] = stack.status()["syncs"]
    return str(parts["reason"]["code"])


def test_records_restored_from_a_dump_are_mended_by_the_lists(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Any], tmp_path: Path
) -> None:
    """The source has gone back to what the old records say, so that only the lists themselves show the difference."""
    cluster, dump = new_cluster(), tmp_path / "state.dump"
    stack = new_stack(new_simulator("--tier", "off"), rows=10, state_dsn=cluster.create_database("rowtide"))
    process = stack.start()
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    assert stack.stop(process) == 0
    run_tool(cluster, "pg_dump", "-Fc", "-f", str(dump), "-d", stack.state_dsn)

    process = stack.start()
    stack.sql("UPDATE parts SET quantity = quantity + 500 WHERE id = 3")
    stack.sql("INSERT INTO parts (id, name) VALUES (100, 'not in the dump')")
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    assert stack.stop(process) == 0
    stack.sql("UPDATE parts SET quantity = quantity - 500 WHERE id = 3")
    stack.sql("DELETE FROM parts WHERE id = 100")

    stack.state_dsn = stack.environment["ROWTIDE_STATE_DSN"] = cluster.create_database("restored")
    run_tool(cluster, "pg_restore", "-d", stack.state_dsn, str(dump))
    process = stack.start()
    wait_until(lambda: reason(stack) == "list_of_other_instance", "nothing is written to lists of the one before")
    stack.command("apply", "--yes", "--take-over")
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    wait_equal(stack)
    no_doubles(stack)
    assert "the database was made from a copy" in stack.logged()
    assert "slot_shared" not in stack.logged()  # the heartbeats of the former installation are history
    [(why, deep)] = stack.state("SELECT detail ->> 'why', detail ->> 'deep' FROM rowtide.runs ORDER BY id DESC LIMIT 1")
    assert deep == "true"
    assert "state database was restored" in why
    assert stack.stop(process) == 0


def test_a_list_belongs_to_one_installation(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Any], tmp_path: Path
) -> None:
    """A copy of the state database is another installation: it may have the lists only when a person says so."""
    cluster, dump = new_cluster(), tmp_path / "state.dump"
    original, copy = cluster.create_database("rowtide"), cluster.create_database("copy")
    stack = new_stack(new_simulator("--tier", "off"), state_dsn=original)
    run_tool(cluster, "pg_dump", "-Fc", "-f", str(dump), "-d", original)
    run_tool(cluster, "pg_restore", "-d", copy, str(dump))
    stack.apply()

    stack.environment["ROWTIDE_STATE_DSN"] = copy
    refused = stack.command("apply", "--yes", check=False)
    assert refused.returncode == 1
    assert "list_of_other_instance" in refused.stderr
    assert "--take-over" in refused.stderr
    assert "mark it as this installation's" in stack.command("apply", "--yes", "--take-over").stdout
    stack.apply()

    stack.environment["ROWTIDE_STATE_DSN"] = original
    assert "list_of_other_instance" in stack.command("apply", "--yes", check=False).stderr


def test_a_copy_of_the_records_is_started_by_mistake(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Any], tmp_path: Path
) -> None:
    """The original still runs: it goes on, and the copy reads nothing and writes nothing."""
    cluster, dump = new_cluster(), tmp_path / "state.dump"
    stack = new_stack(new_simulator("--tier", "off"), rows=10, state_dsn=cluster.create_database("rowtide"))
    process = stack.start()
    wait_equal(stack)
    run_tool(cluster, "pg_dump", "-Fc", "-f", str(dump), "-d", stack.state_dsn)
    copy_dsn = cluster.create_database("copy")
    run_tool(cluster, "pg_restore", "-d", copy_dsn, str(dump))
    copy = another_of(stack, copy_dsn)
    copied = copy.start()
    try:
        stack.sql("UPDATE parts SET quantity = quantity + 1; DELETE FROM parts WHERE id = 4")
        wait_equal(stack)
        wait_until(lambda: "code=slot_shared" in copy.logged(), "the copy stops")
        stack.sql("UPDATE parts SET quantity = quantity + 1")
        stack.sql("INSERT INTO parts (id, name) VALUES (100, 'of the original')")
        wait_equal(stack)
        assert "slot_shared" not in stack.logged()
        assert copy.stop(copied) == 0
        copied = copy.start()
        wait_until(lambda: reason(copy) == "slot_shared", "it stays stopped")
        holds = "SELECT scope, object, code FROM rowtide.hold ORDER BY scope"
        held = [("source", "erp", "slot_shared"), ("sync", "parts", "list_of_other_instance")]
        assert copy.state(holds) == held
        no_doubles(stack)
        assert (reason(stack), stack.state(holds)) == ("idle", [])
    finally:
        copy.close()
    assert stack.stop(process) == 0


def another_of(stack: Stack, state_dsn: str) -> Stack:
    """The same definition on another state database, in a directory of its own."""
    directory = stack.directory / "another"
    directory.mkdir()
    there = Stack(
        directory, stack.source_dsn, state_dsn, stack.simulator.ready, graph_options="quota: off", slot=stack.slot
    )
    there.simulator = stack.simulator
    return there
