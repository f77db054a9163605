"""Graph answers slowly for a while, and is quick again: what it is sent then keeps to the pace of the quota.

In: a stack whose state database is on a server of its own, with the quota of the smallest tier, and a first load.
"""

import time
from collections.abc import Iterator

import pytest

from demo.postgres import Cluster
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import TABLE, Stack, wait_until

ROWS, SLOW_S, AFTER_S = 400, 20, 3
MOST = 150
"""Rows in three seconds: what the bucket has saved up (62), the rate (25), what was under way, and some more."""


def with_quota(definition: str) -> str:
    """The definition with a quota, and with patience."""
    return definition.replace("quota: off", "licences: 1000").replace("request_timeout: 10s", "request_timeout: 40s")


@pytest.fixture
def stack(pg: Cluster, state_server: Cluster) -> Iterator[Stack]:
    """Applied; nothing runs."""
    insert = f"INSERT INTO parts (id, name) SELECT n, 'part ' || n FROM generate_series(1, {ROWS}) n"
    with shared_stack(pg, state_server, "slow", [TABLE, insert], edit=with_quota) as stack:
        yield stack


@pytest.mark.long
def test_nothing_goes_out_in_a_burst_after_graph_was_slow(stack: Stack) -> None:
    def delivered() -> int:
        return int(stack.state("SELECT count(*) FROM rowtide.ledger")[0][0])

    slow = {"path": "batch$", "level": "request", "action": "delay", "delay_ms": 1000 * SLOW_S}
    stack.simulator.set_faults([slow])
    stack.start()
    wait_until(lambda: stack.simulator.ask("faults")["rules"][0]["hits"] > 0, "the first batch hangs")
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + SLOW_S - 2, "it hangs for long", SLOW_S)
    stack.simulator.clear_faults()
    wait_until(lambda: delivered() > 0, "the first answer comes")
    answered = time.monotonic()
    wait_until(lambda: time.monotonic() > answered + AFTER_S, "seconds pass", 2 * AFTER_S)
    assert delivered() < MOST
    wait_until(lambda: delivered() > MOST, "it goes on", 120)
