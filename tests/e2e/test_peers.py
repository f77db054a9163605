"""Several processes that deliver from one outbox, and what becomes of the rows of one that dies.

The state database is on a server of its own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.postgres import Cluster
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

NewStack = Callable[..., Stack]
NewSimulator = Callable[..., Simulator]

ROWS = 10


def quantities(stack: Stack) -> dict[str, Any]:
    """RowtideKey -> quantity of every item there is."""
    items = [item["fields"] for item in stack.simulator.items() if not item["deleted"]]
    return {fields["RowtideKey"]: fields.get("Quantity") for fields in items}


def wait_equal(stack: Stack, deadline_s: float = 60.0) -> None:
    """Until every item has its row's quantity, and none is missing."""
    rows = stack.sql("SELECT id, quantity FROM parts")
    wanted = {f"parts:{id_}": quantity for id_, quantity in rows}
    wait_until(lambda: quantities(stack) == wanted, "source and lists equal", deadline_s)


def test_the_rows_of_a_killed_peer_move_on(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    """They were leased for two minutes: nobody else comes back under the name of the dead process."""
    state_dsn = new_cluster().create_database("rowtide")
    stack = new_stack(new_simulator("--tier", "off"), rows=ROWS, state_dsn=state_dsn)
    stack.start("--roles", "capture")
    held = tmp_path / "held"
    first = stack.start("--roles", "deliver", "--process-id", "1", failpoints=f"deliver.before_send=pause:{held}")
    wait_equal(stack)
    held.touch()
    stack.sql("UPDATE parts SET quantity = quantity + 100")
    leased = "SELECT count(*) FROM rowtide.outbox WHERE lease_owner = 'rowtide:deliver:1' AND lease_until > now()"
    wait_until(lambda: stack.state(leased) == [(ROWS,)], "one process has all rows")
    peer = stack.start("--roles", "deliver", "--process-id", "2")
    stack.wait_ready(peer)
    assert stack.state(leased) == [(ROWS,)]  # the other process lives, so they are its own
    first.kill()
    wait_equal(stack, deadline_s=30.0)
    assert stack.stop(peer) == 0, stack.logged()[-4000:]
