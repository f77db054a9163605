"""The figures of `status` after kills: each committed row counted once, and none lost, whenever nothing waits.

Rows are only inserted, so each is one change of the stream and is delivered once: `changes`, `delivered`, the pairs of
the ledger and the items of the lists are one number. With updates, `changes` is what was committed, and what waits for
nothing was delivered or overtaken by a newer change of its row.
"""

import itertools
import signal
import subprocess
from collections.abc import Callable

import psycopg
import pytest

from state import failpoints
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

KILLS = [
    f"{failpoints.STAGE_BEFORE_COMMIT}=kill@3",
    f"{failpoints.STAGE_AFTER_COMMIT}=kill@3",
    f"{failpoints.SETTLE_BEFORE_COMMIT}=kill@2",
    f"{failpoints.SETTLE_AFTER_COMMIT}=kill@2",
    f"{failpoints.DELIVER_AFTER_SEND}=kill@2",
]
"""Around each transaction that counts, and where a write was made that nobody settled."""


MOST_ROWS = 10_000
"""More than can be inserted while five processes start and come to their end."""


def has_ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Whether the process ends within this time."""
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def wait_settled(stack: Stack) -> None:
    """Until everything that is committed now is staged, and nothing waits."""
    [(end,)] = stack.sql("SELECT pg_current_wal_insert_lsn() - '0/0'")
    passed = "SELECT lsn >= %s FROM rowtide.slot_cursor"
    wait_until(lambda: stack.state(passed, end) == [(True,)], "the stream has passed what is committed")
    waiting = "SELECT count(*) FROM rowtide.outbox"
    wait_until(lambda: stack.state(waiting) == [(0,)], "nothing waits")


def figures(stack: Stack) -> dict[str, int]:
    """What `status` says now."""
    [parts] = stack.status()["syncs"]
    return {name: parts[name] for name in ("changes", "delivered", "writes", "suppressed", "waiting")}


@pytest.mark.long
def test_after_kills_each_row_was_counted_once(
    new_simulator: Callable[..., Simulator], new_stack: Callable[..., Stack]
) -> None:
    stack = new_stack(new_simulator("--tier", "off"))
    first = stack.start()
    wait_until(lambda: stack.state("SELECT state FROM rowtide.reconcile") == [("done",)], "the first load is over")
    assert stack.stop(first) == 0, stack.logged()[-4000:]
    ids = itertools.count(1)
    with psycopg.connect(stack.source_dsn, autocommit=True) as source:
        for trap in KILLS:
            process = stack.start(failpoints=trap)
            while not has_ended(process, within_s=0.2):
                id_ = next(ids)
                assert id_ < MOST_ROWS, f"nobody came to {trap}"
                source.execute("INSERT INTO parts (id, name) VALUES (%s, 'part')", [id_])
            assert process.returncode == -signal.SIGKILL, stack.logged()[-4000:]
        process = stack.start()
        wait_settled(stack)
        [(rows,)] = stack.sql("SELECT count(*) FROM parts")
        assert stack.state("SELECT count(*) FROM rowtide.ledger WHERE state = 'live'") == [(rows,)]
        assert len(stack.simulator.items()) == rows
        said = figures(stack)
        assert (said["changes"], said["delivered"], said["waiting"]) == (rows, rows, 0)
        assert said["writes"] + said["suppressed"] == rows
        process.kill()
        for number in range(20):
            source.execute("UPDATE parts SET quantity = %s WHERE id <= 8", [number])
        stack.start()
        wait_settled(stack)
    said = figures(stack)
    assert said["changes"] == rows + 20 * 8
    assert rows + 8 <= said["delivered"] <= said["changes"]
