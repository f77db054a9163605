"""What every crash history stands on: two servers, a simulator, a stack, and what may happen to the servers.

In: makers of servers. Out: `Ground`; whoever derives from it makes the stack. Rule: an outage is over when its call
returns; nothing here knows what is synced.
"""

from collections.abc import Callable
from pathlib import Path

import psycopg

from demo.postgres import Cluster
from rowtide.errors import UserError
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

OWN, SHARED = "own", "shared"
"""The state database has a server of its own, or is another database of the source's."""


class Ground:
    """The servers of a history."""

    stack: Stack

    def __init__(self, directory: Path, simulator: Simulator, new_cluster: Callable[..., Cluster], place: str) -> None:
        self.directory = directory
        self.simulator = simulator
        self.source = new_cluster()
        self.state = new_cluster() if place == OWN else self.source

    def kill_server(self, cluster: Cluster) -> None:
        """SIGKILL a server and start it again."""
        cluster.kill()

        def back() -> bool:
            try:
                cluster.start()
            except UserError:  # the killed server's children have not all gone yet
                return False
            return True

        wait_until(back, "the server comes back")

    def drop_slots(self) -> None:
        """What was committed and not read yet is in no stream any more: only a reconcile can find it."""

        def dropped() -> bool:
            try:
                self.stack.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
            except psycopg.errors.ObjectInUse:  # the walsender of a killed process has not noticed yet
                return False
            return True

        wait_until(dropped, "the slot can be dropped")
