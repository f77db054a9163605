"""A source that is restored from a copy of its volume: what was committed to it afterwards is carried, all of it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_administration import eras, idle, no_doubles
from tests.e2e.test_push import settled, wait_equal

pytestmark = pytest.mark.long

NewStack = Callable[..., Stack]
NewSimulator = Callable[..., Simulator]


def cursor(stack: Stack) -> tuple[int, int]:
    """Where capture stands, and the highest position it has staged."""
    [(lsn, staged)] = stack.state("SELECT lsn, staged_lsn FROM rowtide.slot_cursor")
    return lsn, staged


def copy(data: Path, to: Path) -> None:
    """A copy of a stopped server's directory, as a snapshot of its volume is one."""
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-a", str(data), str(to)], check=True)


def write_past(dsn: str, place: int) -> None:
    """Let the server's WAL grow beyond ``place`` by what no publication carries."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        beyond = f"SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn > {place}"
        while connection.execute(beyond).fetchone() != (True,):
            connection.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 50000))")
        connection.execute("SELECT pg_switch_wal()")


def test_a_source_restored_from_a_snapshot_of_its_volume(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Any]
) -> None:
    """The system id and the timeline are the same, and the WAL has grown past all that was staged."""
    cluster = new_cluster(wal_level="logical")
    stack = new_stack(new_simulator("--tier", "off"), rows=20, source_dsn=cluster.create_database("shop"))
    snapshot = cluster.directory / "snapshot"

    process = stack.start()
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    began = eras(stack)
    assert stack.stop(process) == 0
    cluster.stop()
    copy(cluster.data, snapshot)
    cluster.start()
    process = stack.start()
    stack.sql("UPDATE parts SET name = 'not in the snapshot' WHERE id BETWEEN 7 AND 15")
    stack.sql("DELETE FROM parts WHERE id = 16")
    stack.sql("INSERT INTO parts (id, name) VALUES (100, 'not in the snapshot')")
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    assert stack.stop(process) == 0
    cluster.stop()
    copy(snapshot, cluster.data)
    cluster.start()
    stack.sql("UPDATE parts SET name = 'after the restore' WHERE id IN (7, 18)")
    write_past(stack.source_dsn, max(cursor(stack)))
    stack.sql("UPDATE parts SET name = 'far beyond' WHERE id = 19")
    process = stack.start()
    wait_until(lambda: eras(stack) > began, "a new era")
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    wait_equal(stack)
    no_doubles(stack)
    assert stack.stop(process) == 0
