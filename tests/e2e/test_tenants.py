"""Two tenants in one process: what one of them suffers costs the other nothing.

In: one stack with the sync ``orders`` in the tenant contoso and ``lines`` in fabrikam, which is another app of the same
simulator; its state database is on a server of its own. Rule: the latency of orders is held against its own undisturbed
run of the same minute.
"""

import os
import shutil
import time
from collections.abc import Iterator
from statistics import quantiles
from typing import Any

import pytest

from demo.postgres import Cluster
from state import schema
from tests.conftest import drop_databases, reachable_directory
from tests.e2e.conftest import Simulator
from tests.e2e.stack import SECRET, Stack, wait_until

OTHER = "1b2c3d4e-0000-4000-8000-000000000002"
FABRIKAM = """quota: off
  fabrikam:
    tenant_id: 72f988bf-86f1-41af-91ab-2d7cd011db48
    client_id: {client}
    credential: {{client_secret: "env:ROWTIDE_OTHER_SECRET"}}
    base_url: {base_url}
    authority: {authority}
    ca_file: {ca_file}
    request_timeout: 8s
    absent_after: 1s
    quota: off"""
SYNC = """
  {name}:
    source: {{postgres: erp, table: public.{name}}}
    target: {{graph: {graph}, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {name}
    breaker: {{share: 1.0, rows: 100000}}
    fields: {{note: Title}}
"""
TABLE = """
CREATE TABLE {name} (id bigint PRIMARY KEY, note text);
INSERT INTO {name} SELECT n, 'note ' || n FROM generate_series(1, {rows}) n
"""
UPDATES = 15
SLACK_S = 0.3
"""What a busy machine may add to the slowest of a few updates."""


@pytest.fixture(scope="module")
def stack(pg: Cluster) -> Iterator[Stack]:
    """Both syncs are applied; no process runs."""
    cluster = Cluster(reachable_directory("rowtide-pg-"), {"fsync": "off", "shared_buffers": "32MB"})
    cluster.start()
    source, directory = f"tenants_{os.getpid()}", reachable_directory("rowtide-e2e-")
    simulator = Simulator(directory, "--tier", "off", "--client", f"{OTHER}=env:SIMULATOR_SECRET")
    source_dsn, state_dsn = pg.create_database(source), cluster.create_database("rowtide")
    schema.upgrade(state_dsn)
    syncs = SYNC.format(name="orders", graph="contoso") + SYNC.format(name="lines", graph="fabrikam")
    graphs = FABRIKAM.format(client=OTHER, **simulator.ready)
    stack = Stack(directory, source_dsn, state_dsn, simulator.ready, syncs, graphs)
    stack.environment["ROWTIDE_OTHER_SECRET"] = SECRET
    stack.simulator = simulator
    stack.sql(TABLE.format(name="orders", rows=40))
    stack.sql(TABLE.format(name="lines", rows=1000))
    stack.apply()
    yield stack
    stack.close()
    simulator.close()
    drop_databases(pg, [source])
    cluster.kill()
    for path in (directory, cluster.directory):
        shutil.rmtree(path, ignore_errors=True)


def notes(stack: Stack, name: str) -> dict[str, Any]:
    """RowtideKey -> Title of the items of a list."""
    items = [item["fields"] for item in stack.simulator.ask(f"items?list={name}")["items"]]
    return {fields["RowtideKey"]: fields.get("Title") for fields in items}


def is_loaded(stack: Stack, name: str) -> bool:
    """Whether the list is as the table."""
    rows = stack.sql(f"SELECT id, note FROM {name}")
    return notes(stack, name) == {f"{name}:{id_}": note for id_, note in rows}


def latency_s(stack: Stack, mark: str) -> float:
    """The 95th percentile of single updates of orders, from the commit to the changed item."""
    found = []
    for number in range(UPDATES):
        note = f"{mark} {number}"
        stack.sql("UPDATE orders SET note = %s WHERE id = %s", note, 1 + number)
        began = time.monotonic()
        wait_until(lambda: notes(stack, "orders")[f"orders:{1 + number}"] == note, "the update arrives")  # noqa: B023
        found.append(time.monotonic() - began)
    return quantiles(found, n=20)[-1]


def deep_pass_s(stack: Stack) -> float:
    """How long a deep pass of orders takes, while one of lines is asked for too."""
    stack.state("UPDATE rowtide.reconcile SET state = 'wanted', asked = asked + 1, deep = true")
    began = time.monotonic()
    wait_until(lambda: stack.state("SELECT state FROM rowtide.reconcile WHERE sync = 'orders'") == [("done",)], "done")
    return time.monotonic() - began


def test_a_tenant_that_refuses_its_credential_holds_back_nobody_else(stack: Stack) -> None:
    """At the start, when lists are examined and items are read for the first time."""
    stack.environment["ROWTIDE_OTHER_SECRET"] = "wrong"
    process = stack.start()
    wait_until(lambda: is_loaded(stack, "orders"), "the other tenant loads", 30)
    deep_pass_s(stack)
    said = {sync["sync"]: sync["reason"] for sync in stack.status()["syncs"]}
    assert "fabrikam" in said["lines"]["sentence"]
    assert "fabrikam" not in said["orders"]["sentence"]
    assert notes(stack, "lines") == {}
    assert stack.stop(process) == 0
    stack.environment["ROWTIDE_OTHER_SECRET"] = SECRET


@pytest.fixture(scope="module")
def loaded(stack: Stack) -> Stack:
    """A process runs, and both lists are as their tables."""
    stack.start()
    wait_until(lambda: is_loaded(stack, "orders") and is_loaded(stack, "lines"), "both loaded")
    return stack


def test_lists_that_cannot_be_read_delay_no_other_tenants(loaded: Stack) -> None:
    before = deep_pass_s(loaded)
    wait_until(lambda: loaded.state("SELECT count(*) FROM rowtide.enumeration") == [(0,)], "nothing is read any more")
    loaded.simulator.set_faults([{"client": OTHER, "path": "delta", "action": "delay", "delay_ms": 30_000}])
    try:
        during = deep_pass_s(loaded)
    finally:
        loaded.simulator.clear_faults()
    assert during < before + 5, f"{during:.2f} s beside trouble, {before:.2f} s without"


FAULTS = {
    "answers 503": {"status": 503},
    "is throttled": {"status": 429, "retry_after": 3},
    "hangs": {"action": "delay", "delay_ms": 30_000},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_tenant_in_trouble_delays_nobody_else(loaded: Stack, fault: dict[str, Any]) -> None:
    stack = loaded
    before = latency_s(stack, "before")
    stack.simulator.set_faults([{"client": OTHER, "level": "request", **fault}])
    try:
        stack.sql("UPDATE lines SET note = note || '!'")
        wait_until(lambda: stack.simulator.ask("faults")["rules"][0]["hits"] > 0, "the fault strikes")
        during = latency_s(stack, "during")
    finally:
        stack.simulator.clear_faults()
    assert during < 2 * before + SLACK_S, f"{during:.2f} s beside trouble, {before:.2f} s without"
