"""Whatever one list or table suffers, the other lists of its tenant and of other tenants notice nothing.

In: one stack with the sync ``orders``, whose latency counts, the sync ``near`` in the same tenant and ``far`` in
another one. Rules: the latency is held against the undisturbed one of the same test; each fault strikes midway and at
the start of a process, with few rows and with thousands, at ``near`` and at ``far``.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from demo.postgres import Cluster
from tests.e2e.stack import Stack, wait_until
from tests.e2e.two_tenants import SAMPLES, Table, assert_as_quick, is_as_quick, is_loaded, latency_s, notes, two_tenants

pytestmark = pytest.mark.latency

ROWS, FEW = 2_000, 5
START_FLOOR_S = 6.0
"""A start takes seconds of its own, most of them imports, which are as many as the machine is busy just then."""

HasStruck = Callable[[], bool]
Fault = Callable[[Stack, str], AbstractContextManager[HasStruck]]
"""Given a sync it is there while the context lasts."""


def in_graph(**rule: Any) -> Fault:
    """Graph answers so for the list, member by member."""

    @contextmanager
    def fault(stack: Stack, name: str) -> Iterator[HasStruck]:
        stack.simulator.set_faults([{"list": name, "level": "member", **rule}])
        yield lambda: stack.simulator.ask("faults")["rules"][0]["hits"] > 0
        stack.simulator.clear_faults()

    return fault


@contextmanager
def locked_table(stack: Stack, name: str) -> Iterator[HasStruck]:
    """Somebody has locked the table, and rows of it have to be read."""
    refused = "SELECT count(*) FROM rowtide.outbox WHERE sync = %s AND op = 'r' AND reason IS NOT NULL"
    with psycopg.connect(stack.source_dsn) as locker:
        locker.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE".encode())
        yield lambda: stack.state(refused, name) != [(0,)]


def update(stack: Stack, name: str, rows: int) -> None:
    """So many rows are to be written."""
    stack.sql(f"UPDATE {name} SET note = note || '!' WHERE id <= %s", rows)


def refresh(stack: Stack, name: str, rows: int) -> None:
    """So many rows are to be read from the source."""
    stack.state(
        "INSERT INTO rowtide.outbox (sync, key, op, mapping_version, era, lsn, ordinal, xid, committed_at, priority)"
        " SELECT sync, key, 'r', mapping_version, era, lsn, ordinal, xid, now(), 0 FROM rowtide.ledger"
        "  WHERE sync = %s ORDER BY key LIMIT %s ON CONFLICT DO NOTHING",
        name,
        rows,
    )


Disturb = Callable[[Stack, str, int], None]
FAULTS: dict[str, tuple[Fault, Disturb]] = {
    "answers 503": (in_graph(status=503), update),
    "hangs": (in_graph(action="delay", delay_ms=60_000), update),
    "is locked": (in_graph(status=403), update),
    "is gone": (in_graph(status=404), update),
    "refuses every row": (in_graph(status=400, code="invalidRequest"), update),
    "has a table that cannot be read": (locked_table, refresh),
}


@pytest.fixture(scope="module")
def stack(pg: Cluster) -> Iterator[Stack]:
    """A process runs, and every list is as its table."""
    tables = {"orders": Table("contoso", 40), "near": Table("contoso", ROWS), "far": Table("fabrikam", FEW)}
    with two_tenants(pg, tables) as stack:
        stack.start()
        wait_until(lambda: all(is_loaded(stack, name) for name in tables), "loaded", 120)
        yield stack


@pytest.fixture(scope="module")
def all_large(stack: Stack) -> Stack:
    """Both lists in trouble have thousands of rows."""
    stack.sql("INSERT INTO far SELECT n, 'note ' || n FROM generate_series(%s::int, %s::int) n", FEW + 1, ROWS)
    wait_until(lambda: is_loaded(stack, "far"), "loaded", 120)
    return stack


def restart_s(stack: Stack, mark: str, meanwhile: Callable[[], None] = lambda: None) -> float:
    """The process ends and begins again; seconds until the first update of orders has arrived."""
    process: subprocess.Popen[bytes] = stack.processes[-1]
    assert stack.stop(process) == 0
    meanwhile()
    began = time.monotonic()
    stack.wait_ready(stack.start())
    latency_s(stack, f"start {mark}", 2)
    return time.monotonic() - began


def mend(stack: Stack, name: str) -> None:
    """Until nothing waits any more; what was parked is tried again."""
    left = "SELECT state, count(*) FROM rowtide.outbox GROUP BY state"

    def is_over() -> bool:
        states = dict(stack.state(left))
        if "parked" in states:
            stack.command("parked", "retry", name, "--all")
        return not states

    wait_until(is_over, f"{name} is mended", 120)


@pytest.mark.long
@pytest.mark.parametrize("name", ["near", "far"])
@pytest.mark.parametrize("trouble", FAULTS)
def test_a_neighbour_notices_nothing(all_large: Stack, trouble: str, name: str) -> None:
    stack = all_large
    fault, disturb = FAULTS[trouble]
    mark = f"{trouble} {name}"
    # Undisturbed, too, the other list has something to write when the process begins: its tenant's first login.
    start_s = restart_s(stack, mark, lambda: update(stack, name, FEW))
    before = latency_s(stack, f"before {mark}", SAMPLES)
    found: dict[str, float] = {}
    starts: dict[str, float] = {}

    def measure(moment: str, has_struck: HasStruck, begin: Callable[[], None] = lambda: None) -> None:
        """What is not as quick is measured again: the fault is still there then, a hiccup of the machine is not."""
        for _ in range(2):
            begin()
            wait_until(has_struck, f"{trouble}, {moment}", 30)
            found[moment] = latency_s(stack, f"{mark} {moment}", SAMPLES)
            if is_as_quick(found[moment], before):
                return

    with fault(stack, name) as has_struck:
        disturb(stack, name, FEW)
        measure("midway, few rows", has_struck)
        disturb(stack, name, ROWS)
        measure("midway, thousands", has_struck)

        def begin_beside_thousands() -> None:
            starts["thousands"] = restart_s(stack, f"{mark} thousands")

        measure("at the start, thousands", has_struck, begin_beside_thousands)
    mend(stack, name)
    with fault(stack, name) as has_struck:

        def begin_beside_few() -> None:
            starts["few rows"] = restart_s(stack, f"{mark} few", lambda: disturb(stack, name, FEW))

        measure("at the start, few rows", has_struck, begin_beside_few)
    mend(stack, name)
    assert_as_quick(found, before)
    assert_as_quick(starts, start_s, START_FLOOR_S)


@pytest.mark.long
def test_a_list_that_hangs_delays_no_other_of_its_tenant(stack: Stack) -> None:
    """One cell of the matrix above, for every run of the tests."""
    before = latency_s(stack, "before", SAMPLES)
    fault, disturb = FAULTS["hangs"]
    with fault(stack, "near") as has_struck:
        disturb(stack, "near", ROWS)
        wait_until(has_struck, "it hangs")
        during = latency_s(stack, "during", SAMPLES)
    mend(stack, "near")
    assert_as_quick({"during": during}, before)


@pytest.mark.long
def test_the_wait_of_a_list_outlives_the_process(stack: Stack) -> None:
    """A process that is killed again and again asks a list that refuses no more often than one that lives."""
    on_record = "SELECT step, until > now() FROM rowtide.hold WHERE (scope, kind) = ('list', 'fault')"
    with in_graph(status=403)(stack, "near"):
        update(stack, "near", FEW)
        wait_until(lambda: [row for row in stack.state(on_record) if row[0] >= 2], "a trial has failed", 30)
        stack.processes[-1].kill()
        stack.processes[-1].wait()
        stack.state("UPDATE rowtide.hold SET until = now() + interval '20 seconds' WHERE kind = 'fault'")
        asked = stack.simulator.ask("faults")["rules"][0]["hits"]
        stack.wait_ready(stack.start())
        latency_s(stack, "after the kill", 2)
        [(_, still)] = stack.state(on_record)
        # Unless the machine was so slow that the wait is over.
        assert not still or stack.simulator.ask("faults")["rules"][0]["hits"] == asked
        [said] = [sync["reason"] for sync in stack.status()["syncs"] if sync["sync"] == "near"]
        assert said["code"] == "graph_403"
    stack.state("UPDATE rowtide.hold SET until = now() WHERE kind = 'fault'")
    restart_s(stack, "after all")
    mend(stack, "near")
    wait_until(lambda: stack.state(on_record) == [], "the hold is lifted")


@pytest.mark.long
def test_a_row_that_fails_again_and_again_is_tried_less_and_less(stack: Stack) -> None:
    """Its list answers for every other row, so that nothing but the row has a wait."""
    [(item,)] = stack.state("SELECT item_id FROM rowtide.ledger WHERE (sync, key) = ('near', '1')")
    tries = "SELECT tries FROM rowtide.outbox WHERE (sync, key) = ('near', '1')"
    stack.simulator.set_faults([{"list": "near", "level": "member", "path": rf"items/{item}\b", "status": 503}])
    stack.sql("UPDATE near SET note = 'fails' WHERE id = 1")
    hits: list[float] = []

    def struck(times: int) -> bool:
        note = f"beside it {time.monotonic()}"
        stack.sql("UPDATE near SET note = %s WHERE id = 9", note)
        wait_until(lambda: notes(stack, "near")["near:9"] == note, "its neighbour is delivered")
        hits.extend([time.monotonic()] * (stack.simulator.ask("faults")["rules"][0]["hits"] - len(hits)))
        return len(hits) >= times

    wait_until(lambda: struck(5), "it is tried for the fifth time", 120)
    assert hits[4] - hits[0] > 10, "after 1, 2, 4 and 8 seconds"
    assert stack.state(tries)[0][0] >= 4
    stack.simulator.clear_faults()
    stack.state("UPDATE rowtide.outbox SET due_at = now()")
    mend(stack, "near")
    assert is_loaded(stack, "near")
