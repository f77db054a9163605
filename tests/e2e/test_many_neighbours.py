"""Thirty tenants that Graph throttles beside one that it does not, and small first loads beside a large one.

In: one stack of 31 tenants, each another name of two apps of one simulator, with the state database on a server of its
own; in the healthy tenant the quota of the smallest tier. Rules: the latency of the healthy one is held against its own
undisturbed run; what `plan` promised of a small first load is what comes.
"""

import json
import time
from collections.abc import Iterator

import pytest

from demo.postgres import Cluster
from tests.e2e.stack import Stack, wait_until
from tests.e2e.two_tenants import OTHER, SAMPLES, SYNC, TABLE, Table, assert_as_quick, is_loaded, latency_s, two_tenants

GATED = [f"gated_{number}" for number in range(30)]
ROWS, LARGE = 40, 8_000
START_S = 10.0
"""Until the process has taken the definition over, and the passes of the small syncs have read their tables."""

GRAPH = """
  #:
    tenant_id: 72f988bf-86f1-41af-91ab-2d7cd011db48
    client_id: {client}
    credential: {{client_secret: "env:ROWTIDE_OTHER_SECRET"}}
    base_url: {base_url}
    authority: {authority}
    ca_file: {ca_file}
    quota: off"""

pytestmark = [pytest.mark.long, pytest.mark.latency]


@pytest.fixture(scope="module")
def stack(pg: Cluster) -> Iterator[Stack]:
    """A process runs, and every list is as its table."""
    tables = {"orders": Table("contoso", ROWS), **{one: Table(one, 5) for one in GATED}}
    graphs = "quota: off" + "".join(GRAPH.replace("#", one) for one in GATED)
    with two_tenants(pg, tables, graphs) as stack:
        stack.start()
        wait_until(lambda: is_loaded(stack, "orders") and is_loaded(stack, GATED[-1]), "loaded", 120)
        passes, waiting = (
            "SELECT count(*) FROM rowtide.reconcile WHERE state <> 'done'",
            "SELECT count(*) FROM rowtide.outbox",
        )
        wait_until(lambda: stack.state(passes) == stack.state(waiting) == [(0,)], "all", 120)
        yield stack


def test_thirty_gated_tenants_cost_the_healthy_one_nothing(stack: Stack) -> None:
    """Midway and at the start; each has rows that wait."""
    before = latency_s(stack, "before", SAMPLES)
    found = {}
    stack.simulator.set_faults([{"client": OTHER, "level": "request", "status": 429, "retry_after": 300}])
    for one in GATED:
        stack.sql(f"UPDATE {one} SET note = note || '!'")
    gated = "SELECT count(*) FROM rowtide.hold WHERE (scope, kind, code) = ('tenant', 'fault', 'throttled')"
    wait_until(lambda: stack.state(gated) == [(len(GATED),)], "every one of them is gated")
    found["midway"] = latency_s(stack, "midway", SAMPLES)
    hits = stack.simulator.ask("faults")["rules"][0]["hits"]
    assert stack.stop(stack.processes[-1]) == 0
    stack.wait_ready(stack.start())
    latency_s(stack, "until it has started", 2)
    found["at the start"] = latency_s(stack, "at the start", SAMPLES)
    assert stack.simulator.ask("faults")["rules"][0]["hits"] == hits, "no gated tenant was asked"
    stack.simulator.clear_faults()
    stack.command("resume", "--all")
    wait_until(lambda: stack.state("SELECT count(*) FROM rowtide.outbox") == [(0,)], "all are delivered", 120)
    assert_as_quick(found, before)


def test_small_first_loads_beside_a_large_one_take_what_plan_promised(stack: Stack) -> None:
    """With a quota that lets 8.3 rows a second through, of which each of two small ones gets its share at once."""
    small = ["small_a", "small_b"]
    for name, rows in (("large", LARGE), *((one, ROWS) for one in small)):
        stack.sql(TABLE.format(name=name, rows=rows))
    text = stack.config.read_text().replace(
        "absent_after: 1s\n    quota: off", "absent_after: 1s\n    licences: 1000", 1
    )
    stack.config.write_text(text + SYNC.format(name="large", graph="contoso"))
    stack.apply()
    passes = "SELECT state FROM rowtide.reconcile WHERE sync = 'large'"
    wait_until(lambda: stack.state(passes) == [("done",)], "all of the large one waits", 120)
    stack.config.write_text(stack.config.read_text() + "".join(SYNC.format(name=one, graph="contoso") for one in small))
    plan = json.loads(stack.command("plan", "--json").stdout)
    promised_s = max(one["seconds"] for one in plan["first_load"] if one["sync"] in small)
    assert promised_s < 30
    stack.apply()
    began = time.monotonic()
    wait_until(lambda: all(is_loaded(stack, one) for one in small), "both small ones are loaded", 120)
    took_s = time.monotonic() - began
    left = "SELECT count(*) FROM rowtide.outbox WHERE sync = 'large'"
    assert stack.state(left)[0][0] > LARGE // 2, "the large one waits all the while"
    assert took_s < 2 * promised_s + START_S
