"""Several processes that deliver from one outbox, and what becomes of the rows of one that dies.

The state database is on a server of its own.
"""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.postgres import Cluster
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

pytestmark = pytest.mark.long

NewStack = Callable[..., Stack]
NewSimulator = Callable[..., Simulator]

ROWS = 10
LEASED = "SELECT count(*) FROM rowtide.outbox WHERE lease_owner LIKE 'rowtide:deliver:1/%' AND lease_until > now()"


def quantities(stack: Stack) -> dict[str, Any]:
    """RowtideKey -> quantity of every item there is."""
    items = [item["fields"] for item in stack.simulator.items() if not item["deleted"]]
    return {fields["RowtideKey"]: fields.get("Quantity") for fields in items}


def wait_equal(stack: Stack, deadline_s: float = 60.0) -> None:
    """Until every item has its row's quantity, and none is missing."""
    rows = stack.sql("SELECT id, quantity FROM parts")
    wanted = {f"parts:{id_}": quantity for id_, quantity in rows}
    wait_until(lambda: quantities(stack) == wanted, "source and lists equal", deadline_s)


def with_all_rows_claimed(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Cluster], held: Path
) -> tuple[Stack, subprocess.Popen[bytes]]:
    """A stack, and the process that has claimed all rows with quantity 100 and sends none while ``held`` is there."""
    state_dsn = new_cluster().create_database("rowtide")
    stack = new_stack(new_simulator("--tier", "off"), rows=ROWS, state_dsn=state_dsn)
    stack.start("--roles", "capture")
    first = stack.start("--roles", "deliver", "--process-id", "1", failpoints=f"deliver.before_send=pause:{held}")
    wait_equal(stack)
    held.touch()
    stack.sql("UPDATE parts SET quantity = 100")
    wait_until(lambda: stack.state(LEASED) == [(ROWS,)], "one process has all rows")
    return stack, first


def test_the_rows_of_a_killed_peer_move_on(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    """They were leased for two minutes: nobody else comes back under the name of the dead process."""
    stack, first = with_all_rows_claimed(new_simulator, new_stack, new_cluster, tmp_path / "held")
    peer = stack.start("--roles", "deliver", "--process-id", "2")
    stack.wait_ready(peer)
    assert stack.state(LEASED) == [(ROWS,)]  # the other process lives, so they are its own
    with psycopg.connect(stack.state_dsn) as another:
        # Whoever stands still in a transaction that has one of these rows keeps nobody from beating and sending.
        another.execute("SELECT FROM rowtide.outbox WHERE key = '1' FOR UPDATE")
        first.kill()
        dead = "SELECT count(*) FROM rowtide.process WHERE process_id = 1 AND seen_at < now() - interval '8 seconds'"
        wait_until(lambda: stack.state(dead) == [(1,)], "others have tried to have the rows of the dead")
        stack.sql("INSERT INTO parts (id, name, quantity) VALUES (1000, 'new', 1)")
        wait_until(lambda: "parts:1000" in quantities(stack), "a new row arrives meanwhile", 30.0)
    wait_equal(stack, deadline_s=30.0)
    assert stack.stop(peer) == 0, stack.logged()[-4000:]


def test_a_process_that_stood_still_writes_nothing_over_its_peers_values(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    """Its rows were another's when it woke, and the other one had written newer values of them."""
    held = tmp_path / "held"
    stack, first = with_all_rows_claimed(new_simulator, new_stack, new_cluster, held)
    first.send_signal(signal.SIGSTOP)
    try:
        # What a server or a network that fails does to the session that holds its lock.
        stack.state(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rowtide identity'"
        )
        peer = stack.start("--roles", "deliver", "--process-id", "2")
        # A transaction in which it stands still has its rows until the server ends it, after a minute.
        wait_equal(stack, deadline_s=120.0)
        stack.sql("UPDATE parts SET quantity = 1000")
        wait_equal(stack)
        wait_until(lambda: stack.state("SELECT count(*) FROM rowtide.outbox") == [(0,)], "everything settled")
    finally:
        held.unlink()
        first.send_signal(signal.SIGCONT)
    [(thawed,)] = stack.state("SELECT clock_timestamp()")
    idle = "SELECT (health -> 'due' -> 'in_flight')::int = 0 AND seen_at > %s FROM rowtide.process WHERE process_id = 1"
    wait_until(lambda: stack.state(idle, thawed) == [(True,)], "it has given up what it had")
    assert set(quantities(stack).values()) == {1000}
    assert [stack.stop(one) for one in (peer, first)] == [0, 0], stack.logged()[-4000:]
