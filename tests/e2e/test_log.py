"""The log of a process while a database of it is away: one line when a problem begins and one when it ends.

In: a stack whose state database, or source, is a server of its own, which is stopped for ten seconds. Rule: no line for
an attempt.
"""

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_push import wait_equal

AWAY_S = 10.0
MOST_LINES = 8
"""The connection broke, then it is refused, maybe the server is starting, then it answers; and once more for a loop
that finds its old connection dead after all others went on. How many loops ask, and how long, makes no difference."""


def lines_of(text: str) -> list[dict[str, str]]:
    """The log lines as key and value."""
    pattern = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')
    return [{key: value.strip('"') for key, value in pattern.findall(line)} for line in text.splitlines()]


def wait_away() -> None:
    """Until the server has been away for long enough."""
    ended_at = time.monotonic() + AWAY_S
    wait_until(lambda: time.monotonic() > ended_at, "ten seconds are over", 2 * AWAY_S)


@pytest.mark.long
def test_a_state_database_that_is_away_is_said_once_and_its_end_too(
    new_simulator: Callable[..., Simulator], new_stack: Callable[..., Stack], new_cluster: Callable[..., Any]
) -> None:
    cluster = new_cluster()
    state_dsn = cluster.create_database("rowtide")
    stack = new_stack(new_simulator("--tier", "off"), rows=5, state_dsn=state_dsn)
    process = stack.start()
    wait_equal(stack)
    before = len(stack.logged())
    cluster.stop()
    stack.sql("UPDATE parts SET quantity = quantity + 1")
    wait_away()
    cluster.start()
    wait_equal(stack)
    wait_until(lambda: "answers again" in stack.logged()[before:], "the process says that it is over")
    assert process.poll() is None
    said = lines_of(stack.logged()[before:])
    assert len(said) <= MOST_LINES, Counter(line.get("event") for line in said)
    assert {line["event"] for line in said} == {"state database is away", "state database answers again"}
    ends = [line for line in said if line["event"] == "state database answers again"]
    assert 1 <= len(ends) <= 2
    assert AWAY_S * 0.8 <= float(ends[0]["after_s"]) <= AWAY_S + 30
    for event, count in Counter((line["event"], line.get("code"), line.get("problem")) for line in said).items():
        assert count <= 2, event


@pytest.mark.long
def test_a_source_that_is_away_is_said_once_and_its_end_too(
    new_simulator: Callable[..., Simulator], new_stack: Callable[..., Stack], new_cluster: Callable[..., Any]
) -> None:
    """By the stream, the heartbeats, the watch over the catalog, and by who reads rows anew or reconciles."""
    cluster = new_cluster(wal_level="logical")
    stack = new_stack(new_simulator("--tier", "off"), rows=5, source_dsn=cluster.create_database("source"))
    process = stack.start()
    wait_equal(stack)
    wanted = "SELECT state FROM rowtide.reconcile WHERE sync = 'parts'"
    wait_until(lambda: stack.state(wanted) == [("done",)], "the first load is over")
    before = len(stack.logged())
    cluster.stop()
    stack.state(
        "INSERT INTO rowtide.outbox (sync, key, op, mapping_version, era, lsn, ordinal, xid, committed_at, priority)"
        " SELECT sync, key, 'r', mapping_version, era, lsn, ordinal, xid, now(), 0 FROM rowtide.ledger"
    )
    stack.state("UPDATE rowtide.reconcile SET state = 'wanted', asked = asked + 1 WHERE sync = 'parts'")
    wait_away()
    cluster.start()
    wait_until(lambda: "answers again" in stack.logged()[before:], "the process says that it is over")
    stack.sql("UPDATE parts SET quantity = quantity + 1")
    wait_equal(stack)
    wait_until(lambda: stack.state(wanted) == [("done",)], "the pass is over")
    assert process.poll() is None
    said = [
        line for line in lines_of(stack.logged()[before:]) if line.get("level") != "info" or "answers" in line["event"]
    ]
    assert len(said) <= MOST_LINES, Counter(line.get("event") for line in said)
    assert {line["event"] for line in said} == {"source is away", "source answers again"}
    assert {line["source"] for line in said} == {"erp"}
    assert 1 <= sum(line["event"] == "source answers again" for line in said) <= 2
