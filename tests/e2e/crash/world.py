"""The world of a history: two servers, a simulator, a stack, the workload, and what an act has left open.

In: makers of servers. Out: `World`, on which rounds kill and acts change. Rule: `calm` undoes whatever an act has left
open, so that afterwards source and lists have to become equal by themselves.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from demo.postgres import Cluster
from rowtide.errors import UserError
from tests.e2e import owner
from tests.e2e.conftest import Simulator
from tests.e2e.crash import shop
from tests.e2e.crash.definition import IDS, Definition
from tests.e2e.stack import Stack, wait_until

GRAPH_OPTIONS = "rate_window: 2s\n    licences: 100000"
OWN, SHARED = "own", "shared"
"""The state database has a server of its own, or is another database of the source's."""


class World:
    """Everything a history acts on."""

    def __init__(
        self,
        directory: Path,
        simulator: Simulator,
        new_cluster: Callable[..., Cluster],
        place: str,
        seed: int,
        rows: int,
    ) -> None:
        self.directory = directory
        self.simulator = simulator
        self.source = new_cluster()
        self.state = new_cluster() if place == OWN else self.source
        self.definition = Definition()
        source_dsn, state_dsn = self.source.create_database("source"), self.state.create_database("state")
        self.stack = Stack(
            directory, source_dsn, state_dsn, simulator.ready, self.definition.syncs(), GRAPH_OPTIONS, slot="rowtide_0"
        )
        self.stack.simulator = simulator
        self.workload = shop.Workload(lambda: source_dsn, seed, rows)
        self.strangers: dict[tuple[str, str], dict[str, Any]] = {}
        self.open: dict[str, Callable[[], None]] = {}
        self.edited: set[str] = set()
        self.in_doubt: set[str] = set()
        self.acted = False

    def begin(self) -> None:
        """Fill the tables and apply the definition."""
        self.workload.prepare()
        self.stack.apply()

    def close(self) -> None:
        """End what still runs."""
        self.workload.stop()
        self.stack.close()

    # --- what acts do -------------------------------------------------------------------------------------------------

    def later(self, what: str, undo: Callable[[], None]) -> None:
        """Something is as it should not stay: `calm` does ``undo``, and no other act touches ``what`` until then."""
        self.open[what] = undo

    def free(self, *names: str) -> list[str]:
        """Those of ``names`` that no act has left open."""
        return [name for name in names if name not in self.open]

    def calm(self) -> None:
        """Undo what is open, the newest first."""
        while self.open:
            what, undo = next(reversed(self.open.items()))
            undo()
            del self.open[what]

    def read_the_lists(self) -> None:
        """A deep reconcile of each sync whose items people have edited: only it sees them."""
        for id_ in sorted(self.edited):
            self.stack.command("reconcile", self.definition.names[id_], "--deep")
        self.edited.clear()

    def sql(self, *statements: str) -> None:
        """One transaction on the source."""
        with psycopg.connect(self.stack.source_dsn) as connection:
            for statement in statements:
                connection.execute(statement)

    def can_apply(self) -> bool:
        """Whether `apply` would not refuse: all tables fit, no list is another installation's or has a key twice."""
        return not {*IDS, "publication", "mark", "copy"} & self.open.keys()

    def apply(self) -> None:
        """Write the definition and apply it."""
        self.stack.write(self.definition.syncs())
        self.stack.apply()

    def spawn(self, word: str, *words: str) -> None:
        """A command that goes on beside the history, whatever comes of it."""
        command = [sys.executable, "-m", "control.cli", word, "-c", str(self.stack.config), *words]
        quiet = subprocess.DEVNULL
        self.stack.processes.append(
            subprocess.Popen(command, env=self.stack.environment, stdout=quiet, stderr=quiet, start_new_session=True)
        )

    def lists(self) -> list[dict[str, Any]]:
        """Every list that is there."""
        found: list[dict[str, Any]] = self.simulator.ask("lists")["lists"]
        return found

    def own(self, method: str, title: str, path: str = "", body: Any = None) -> Any:
        """A request to the list of that title by its owner."""
        return owner.own(self.simulator, method, title, path, body)

    # --- outages ------------------------------------------------------------------------------------------------------

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
