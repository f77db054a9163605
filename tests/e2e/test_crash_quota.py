"""A process that is killed again and again, as soon as it writes: it cannot overspend the quota.

In: a stack in a tenant of the smallest tier, three thousand rows that wait; the simulator counts resource units as
Graph does and refuses what is beyond them. Rule: what a life spends without its successors' knowing is what its own
bucket lets through, which begins empty.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest

from rowtide.pacing import Bucket, tier_of
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

ROWS = 3_000
FOR_S = 75.0
"""More than one minute's window, so that one of them holds nothing but lives that end early."""

LEAST_LIVES = 5
SLACK_RU = 60
"""What a life's bucket has gained by the time that the process is on record, and the batch that is under way at the
kill. One that began full would hold 125 units besides."""


def quota(stack: Stack) -> dict[str, Any]:
    """What the simulator counts."""
    found: dict[str, Any] = stack.simulator.stats()["ru"]
    return found


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_crash_loop_stays_within_the_minute_and_within_the_day(
    new_simulator: Callable[..., Simulator], new_stack: Callable[..., Stack]
) -> None:
    stack = new_stack(new_simulator("--tier", "1000"), rows=ROWS, graph_options="licences: 1000")
    limit, share = tier_of(1_000).ru_per_minute, 0.8
    rate = Bucket.of(limit, 60.0, share, 0.0).rate
    applied = quota(stack)["used"]
    began, lives, at_work_s, written = time.monotonic(), 0, 0.0, 0

    def writes_more() -> bool:
        return bool(stack.simulator.writes() > written)

    while time.monotonic() - began < FOR_S or lives < LEAST_LIVES:
        written, process = stack.simulator.writes(), stack.start()
        stack.wait_ready(process)
        ready_at = time.monotonic()
        wait_until(writes_more, "the process writes")
        process.kill()
        process.wait()
        stack.processes.remove(process)
        lives, at_work_s = lives + 1, at_work_s + time.monotonic() - ready_at
    found = quota(stack)
    spent = found["used"] - applied
    assert sum(one["throttled"] for one in found["clients"].values()) == 0
    assert found["max_in_window"] <= limit
    assert spent <= rate * at_work_s + SLACK_RU * lives, f"{lives} lives, {at_work_s:.0f} s at work"
    # Of the day what a life has spent since its last beat is unknown to the next one: a second of the minute's rate.
    [(recorded,)] = stack.state("SELECT coalesce(sum(ru), 0)::float8 FROM rowtide.spent")
    assert spent - recorded <= lives * (1.0 * rate + SLACK_RU)
