"""A state database that is restored from an older copy: what its records do not know of the lists is mended."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.postgres import Cluster
from flows import deep_pass
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_administration import idle, no_doubles
from tests.e2e.test_interleavings import standby_of
from tests.e2e.test_push import settled, wait_equal

pytestmark = pytest.mark.long

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
    whys = stack.state("SELECT detail ->> 'why' FROM rowtide.runs WHERE detail ->> 'deep' = 'true' ORDER BY id")
    assert "state database was restored" in whys[0][0]
    assert whys[1:] in ([], [(deep_pass.AGAIN,)])  # one more where the deletion of row 100 was settled meanwhile
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
        assert stack.state(holds) == []
        wait_until(lambda: reason(stack) == "idle", "nothing is wrong with the original")
    finally:
        copy.close()
    assert stack.stop(process) == 0


@pytest.fixture
def servers(new_cluster: Callable[..., Any]) -> Iterator[tuple[Cluster, Cluster]]:
    """A primary with the database ``rowtide``, and its streaming standby."""
    primary: Cluster = new_cluster()
    primary.create_database("rowtide")
    standby = standby_of(primary)
    yield primary, standby
    standby.kill()
    shutil.rmtree(standby.directory, ignore_errors=True)


def test_the_server_of_the_state_database_fails_over(
    new_simulator: NewSimulator, new_stack: NewStack, servers: tuple[Cluster, Cluster]
) -> None:
    """The standby lacks the last commits. Processes that never stopped find it by themselves."""
    primary, standby = servers
    both = {"host": "127.0.0.1,127.0.0.1", "port": f"{primary.port},{standby.port}"}
    dsn = make_conninfo(primary.dsn("rowtide"), **both, target_session_attrs="read-write")
    stack = new_stack(new_simulator("--tier", "off"), rows=20, state_dsn=dsn)
    process = stack.start()
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    [(end,)] = stack.state("SELECT pg_current_wal_lsn()")
    received = "SELECT pg_last_wal_replay_lsn() >= %s"
    wait_until(lambda: on_standby(standby, received, end) == [(True,)], "the standby has it")
    on_standby(standby, "ALTER SYSTEM SET primary_conninfo = ''")
    on_standby(standby, "SELECT pg_reload_conf()")
    wait_until(
        lambda: on_standby(standby, "SELECT count(*) FROM pg_stat_wal_receiver") == [(0,)], "it receives no more"
    )

    stack.sql("INSERT INTO parts (id, name) SELECT i, 'of the lost minute' FROM generate_series(101, 110) i")
    stack.sql("UPDATE parts SET quantity = 500 + id WHERE id < 5; DELETE FROM parts WHERE id IN (6, 7)")
    stack.sql("UPDATE parts SET region = 'US' WHERE id = 8; UPDATE parts SET id = 50 WHERE id = 9")
    wait_equal(stack)
    stack.sql("UPDATE parts SET quantity = quantity - 500 WHERE id < 3; DELETE FROM parts WHERE id > 108")
    stack.sql("INSERT INTO parts (id, name) VALUES (6, 'deleted and made again')")
    wait_equal(stack)
    stack.sql("UPDATE parts SET note = 'under way ' || id")  # whatever became of it, and of its records
    primary.kill()
    on_standby(standby, "SELECT pg_promote()")
    wait_equal(stack)
    stack.sql("UPDATE parts SET quantity = 1 WHERE id = 10; INSERT INTO parts (id, name) VALUES (200, 'afterwards')")
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    wait_equal(stack)
    no_doubles(stack)
    assert process.poll() is None
    assert "the server is on timeline 2, no longer 1" in stack.logged()
    runs = stack.state("SELECT detail ->> 'why' FROM rowtide.runs WHERE detail ->> 'deep' = 'true'")
    assert any("state database was restored, copied or failed over" in why for (why,) in runs)
    assert stack.state("SELECT code FROM rowtide.hold") == []  # the lists are this installation's still
    assert stack.stop(process) == 0


def test_a_cold_copy_of_the_data_directory_is_put_back(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Any]
) -> None:
    """Same server, timeline and database, and the slot has not moved: only the heartbeats in the WAL show it."""
    cluster = new_cluster()
    stack = new_stack(new_simulator("--tier", "off"), rows=10, state_dsn=cluster.create_database("rowtide"))
    process = stack.start()
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    assert stack.stop(process) == 0
    cluster.stop()
    cold = cluster.directory / "cold"
    shutil.copytree(cluster.data, cold)
    cluster.start()

    known = "SELECT heartbeat FROM rowtide.slot_cursor"
    before = stack.state(known)
    process = stack.start(failpoints="confirm.before_cursor=raise")  # nothing is confirmed any more
    wait_until(lambda: stack.state(known) > before, "a heartbeat")
    stack.sql("UPDATE parts SET quantity = quantity + 500 WHERE id = 3")
    stack.sql("INSERT INTO parts (id, name) VALUES (100, 'not in the copy')")
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    process.kill()
    process.wait(10)
    stack.sql("UPDATE parts SET quantity = quantity - 500 WHERE id = 3")
    stack.sql("DELETE FROM parts WHERE id = 100")
    cluster.stop()
    shutil.rmtree(cluster.data)
    cold.rename(cluster.data)
    own(cluster)
    cluster.start()

    process = stack.start()
    wait_until(lambda: "is newer than the records" in stack.logged(), "the records are known to be old")
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    wait_equal(stack)
    no_doubles(stack)
    assert stack.state("SELECT code FROM rowtide.hold") == []
    assert stack.logged().count("new incarnation") == 1
    assert stack.stop(process) == 0


def own(cluster: Cluster) -> None:
    """Give the server its data directory back: a copy is whoever made it's."""
    owner = cluster.directory.stat()
    for path in [cluster.data, *cluster.data.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)


def on_standby(standby: Cluster, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement on the standby."""
    with psycopg.connect(standby.dsn("rowtide"), autocommit=True) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def another_of(stack: Stack, state_dsn: str) -> Stack:
    """The same definition on another state database, in a directory of its own."""
    directory = stack.directory / "another"
    directory.mkdir()
    there = Stack(
        directory, stack.source_dsn, state_dsn, stack.simulator.ready, graph_options="quota: off", slot=stack.slot
    )
    there.simulator = stack.simulator
    return there
