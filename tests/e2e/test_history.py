"""The history of real processes, one of them killed, told from the databases, the simulator and the metrics anew."""

import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_counts import wait_settled
from tests.e2e.test_run import free_port, scraped

NAMES = ("changes", "delivered", "writes", "suppressed")
METRICS = {
    "changes": "rowtide_changes_total",
    "delivered": "rowtide_rows_delivered_total",
    "writes": "rowtide_list_writes_total",
    "suppressed": "rowtide_rows_suppressed_total",
}


class Totals(NamedTuple):
    """What the transactions that do the work have counted, and when that was, by the state database's clock."""

    at: datetime
    counts: dict[str, int]


def totals(stack: Stack) -> Totals:
    """The totals of the sync now."""
    found = stack.state(f"SELECT clock_timestamp(), {', '.join(NAMES)} FROM rowtide.progress")
    if not found:
        return Totals(datetime.now(UTC), dict.fromkeys(NAMES, 0))
    [(at, *counts)] = found
    return Totals(at, dict(zip(NAMES, map(int, counts), strict=True)))


def recorded(stack: Stack, run: dict[str, Any]) -> dict[str, int]:
    """What the minutes of a process's incarnation add up to, read by hand."""
    query = """
        SELECT u.i, sum(u.v)::int FROM rowtide.sync_minute AS m
         CROSS JOIN LATERAL unnest(m.n) WITH ORDINALITY AS u (v, i) WHERE m.incarnation = %s GROUP BY 1
    """
    by_place = {int(place): int(total) for place, total in stack.state(query.strip(), run["incarnation"])}
    return {name: by_place.get(place, 0) for place, name in enumerate(NAMES, start=1)}


def runs_of(stack: Stack) -> list[dict[str, Any]]:
    """Processes on record, the first one first."""
    found = json.loads(stack.command("runs", "list", "--kind", "process", "--json").stdout)["runs"]
    return list(reversed(found))


@pytest.mark.long
def test_a_kill_loses_a_second_of_the_history_and_doubles_nothing(
    new_simulator: Callable[..., Simulator], new_stack: Callable[..., Stack]
) -> None:
    stack = new_stack(new_simulator("--tier", "off"))
    port = free_port()
    stack.config.write_text(stack.config.read_text().replace('listen: "127.0.0.1:0"', f'listen: "127.0.0.1:{port}"'))
    first = stack.start()
    wait_until(lambda: stack.state("SELECT state FROM rowtide.reconcile") == [("done",)], "the first load is over")
    samples: list[Totals] = []
    with psycopg.connect(stack.source_dsn, autocommit=True) as source:
        began = totals(stack).at
        rows = 0
        while not samples or samples[-1].at < began + timedelta(seconds=8) or samples[-1].counts["delivered"] < 60:
            source.execute("INSERT INTO parts (id, name) VALUES (%s, 'part')", [rows := rows + 1])
            samples.append(totals(stack))
        first.send_signal(signal.SIGKILL)
        first.wait(20)
        killed = totals(stack)
        source.execute(
            "INSERT INTO parts (id, name) SELECT i, 'part' FROM generate_series(%s::int, %s::int) AS i",
            [rows + 1, rows + 40],
        )
    second = stack.start()
    wait_settled(stack)
    end = totals(stack)
    assert end.counts["changes"] == end.counts["delivered"] == len(stack.simulator.items()) == rows + 40

    wait_until(lambda: recorded(stack, runs_of(stack)[1]) == minus(end, killed), "the minutes say what was done")
    shown = scraped(port)
    assert {name: int(shown[metric]) for name, metric in METRICS.items()} == minus(end, killed)
    assert shown["rowtide_delivery_seconds_count"] == end.counts["delivered"] - killed.counts["delivered"]
    assert stack.stop(second) == 0, stack.logged()[-4000:]

    lost, ended = runs_of(stack)
    assert (lost["state"], ended["state"]) == ("lost", "stopped")
    # What the killed process counted: all that was done when it was seen last, and nothing that was not done.
    seen_at = datetime.fromisoformat(lost["seen_at"])
    assert lost["ended_at"] == lost["seen_at"]
    assert killed.at - seen_at < timedelta(seconds=10)
    known = [one for one in samples if one.at < seen_at - timedelta(seconds=1)]
    kept = recorded(stack, lost)
    assert known
    for name in NAMES:
        assert known[-1].counts[name] <= kept[name] <= killed.counts[name], name
    assert kept["delivered"] > 0

    # What `runs` says is what stands there, and the positions go on where the one before ended.
    [did] = json.loads(stack.command("runs", "show", str(ended["id"]), "--json").stdout)["did"]
    assert {name: did["counts"][name] for name in NAMES} == minus(end, killed)
    assert sum(did["push"]["buckets"]) + sum(did["bulk"]["buckets"]) == did["counts"]["delivered"]
    minutes = json.loads(stack.command("runs", "minutes", "parts", "--json").stdout)["did"]
    for name in NAMES:
        assert sum(one["counts"][name] for one in minutes) == kept[name] + did["counts"][name], name
    [begun], [until] = ended["from_position"].values(), ended["to_position"].values()
    assert begun["incarnation"] == until["incarnation"]
    assert lsn(lost["to_position"]) <= lsn(ended["from_position"]) < lsn(ended["to_position"])


def minus(end: Totals, begin: Totals) -> dict[str, int]:
    """What was done between the two."""
    return {name: end.counts[name] - begin.counts[name] for name in NAMES}


def lsn(position: dict[str, Any]) -> int:
    """The LSN of the one slot in a position."""
    [one] = position.values()
    high, _, low = str(one["lsn"]).partition("/")
    return (int(high, 16) << 32) + int(low, 16)
