"""A process goes on, through words of Graph without sense.

In: one stack whose state database is on a server of its own; a process a test. Rule: what is asserted is that a row
that changes afterwards arrives, that the process still beats, and what it says.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from demo.postgres import Cluster
from state import schema
from tests.conftest import drop_databases, reachable_directory
from tests.e2e import stack as stacks
from tests.e2e.conftest import Simulator
from tests.e2e.stack import TABLE, Stack

SYNC = """
  parts:
    source: {postgres: erp, table: public.parts}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: Parts
    fields: {name: Title, note: {field: Note, as: note}}
"""


@pytest.fixture(scope="module")
def stack(pg: Cluster, state_server: Cluster) -> Iterator[Stack]:
    """Applied, three rows."""
    source = f"goes_on_{os.getpid()}"
    directory = reachable_directory("rowtide-e2e-")
    simulator = Simulator(directory, "--tier", "off")
    source_dsn, state_dsn = pg.create_database(source), state_server.create_database("rowtide")
    schema.upgrade(state_dsn)
    stack = Stack(directory, source_dsn, state_dsn, simulator.ready, SYNC, "quota: off")
    stack.simulator = simulator
    stack.sql(TABLE)
    stack.sql("INSERT INTO parts (id, name) SELECT i, 'part ' || i FROM generate_series(1, 3) i")
    stack.apply()
    yield stack
    stack.close()
    simulator.close()
    drop_databases(pg, [source])
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running(stack: Stack, traps: str = "", **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with these failpoints and variables, ended by SIGTERM within its two seconds and some for the load."""
    before, stack.environment = stack.environment, {**stack.environment, **environment}
    try:
        process = stack.start(failpoints=traps)
    finally:
        stack.environment = before
    try:
        stack.wait_ready(process)
        yield process
        assert stack.stop(process) == 0
    finally:
        process.kill()
        process.wait(20)
        stack.simulator.clear_faults()


def titles(stack: Stack) -> list[str]:
    """The title of every item."""
    return sorted(item["fields"]["Title"] for item in stack.simulator.items() if not item["deleted"])


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """As `stacks.wait_until`, for longer than a loaded machine takes and for less than a clock is set back by here."""
    return stacks.wait_until(condition, what, 120.0)


def arrives(stack: Stack, name: str) -> None:
    """Row 1 gets this name, and so does its item."""
    stack.sql("UPDATE parts SET name = %s WHERE id = 1", name)
    wait_until(lambda: name in titles(stack), f"{name} arrives")


FOREVER = "Fri, 31 Dec 9999 23:59:59 GMT"


@pytest.mark.long
@pytest.mark.parametrize("status", [429, 503])
def test_no_word_of_graph_stops_delivery(stack: Stack, status: int) -> None:
    with running(stack) as process:
        rule = {"path": r"\$batch$", "level": "request", "status": status, "count": 1}
        for word in ("inf", "-5"):
            stack.simulator.set_faults([{**rule, "headers": {"Retry-After": word}}])
            arrives(stack, f"{status} with {word}")
        stack.simulator.set_faults([{**rule, "headers": {"Retry-After": FOREVER}}])
        stack.sql("UPDATE parts SET name = 'waits an hour' WHERE id = 1")
        gate = "SELECT (health #>> '{graph,contoso,gate_until}')::timestamptz - seen_at FROM rowtide.process"
        long = f"SELECT g FROM ({gate}) AS p (g) WHERE g > interval '1 minute'"
        [(left,)] = wait_until(lambda: stack.state(long), "the gate is shut")
        assert 3500 < left.total_seconds() <= 3600
        beats = "SELECT seen_at FROM rowtide.process WHERE pid = %s"
        before = stack.state(beats, process.pid)
        wait_until(lambda: stack.state(beats, process.pid) > before, "the process beats on")
    stack.state("UPDATE rowtide.outbox SET due_at = now()")
    with running(stack):
        wait_until(lambda: "waits an hour" in titles(stack), "a new process asks again")
