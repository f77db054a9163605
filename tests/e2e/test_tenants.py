"""Two tenants in one process: what one of them suffers costs the other nothing.

In: one stack with the sync ``orders`` in the tenant contoso and ``lines`` in fabrikam, which is another app of the same
simulator; its state database is on a server of its own. Rule: the latency of orders is held against its own undisturbed
run of the same minute.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from tests.e2e.stack import SECRET, Stack, wait_until
from tests.e2e.stranger import Stranger
from tests.e2e.test_connections import insert_version, reason
from tests.e2e.two_tenants import OTHER, SAMPLES, Table, assert_as_quick, is_loaded, latency_s, notes, two_tenants

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def stack(pg: Cluster) -> Iterator[Stack]:
    """Both syncs are applied; no process runs."""
    with two_tenants(pg, {"orders": Table("contoso", 40), "lines": Table("fabrikam", 1000)}) as stack:
        yield stack


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
    before = latency_s(stack, "before", SAMPLES)
    stack.simulator.set_faults([{"client": OTHER, "level": "request", **fault}])
    try:
        stack.sql("UPDATE lines SET note = note || '!'")
        wait_until(lambda: stack.simulator.ask("faults")["rules"][0]["hits"] > 0, "the fault strikes")
        during = latency_s(stack, "during", SAMPLES)
    finally:
        stack.simulator.clear_faults()
    assert_as_quick({"during": during}, before)


def test_a_row_in_the_state_database_leads_no_credential_astray(loaded: Stack) -> None:
    """Nothing that is stored says how a tenant is reached; what is put there holds the tenant, and no other."""
    [(stored,)] = loaded.state("SELECT string_agg(d::text, ' ') FROM rowtide.definition AS d")
    words = ("dsn", "env:", "file:", "base_url", "authority", "ca_file", "credential", str(loaded.directory))
    assert [word for word in words if word in stored] == []
    stranger = Stranger()
    insert_version(loaded, ("definition,graph,contoso,base_url", f"http://127.0.0.1:{stranger.port}/v1.0"))
    wait_until(
        lambda: stranger.heard or reason(loaded, "orders")["code"] == "connection_differs", "held, or led astray"
    )
    loaded.sql("UPDATE lines SET note = 'goes on' WHERE id = 1")
    wait_until(lambda: is_loaded(loaded, "lines"), "the neighbour goes on")
    assert not stranger.heard
    assert str(loaded.config) in reason(loaded, "orders")["sentence"]
    loaded.apply()
    loaded.sql("UPDATE orders SET note = 'goes on' WHERE id = 1")
    wait_until(lambda: is_loaded(loaded, "orders"), "it goes on by itself")
    stranger.close()
