"""The world of a history: two servers, a simulator, a stack, the workload, and what an act has left open.

In: makers of servers. Out: `World`, on which rounds kill and acts change. Rule: `calm` undoes whatever an act has left
open, so that afterwards source and lists have to become equal by themselves.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from demo.postgres import Cluster
from tests.e2e import owner
from tests.e2e.conftest import Simulator
from tests.e2e.crash import shop
from tests.e2e.crash.definition import IDS, Definition
from tests.e2e.crash.ground import Ground
from tests.e2e.stack import Stack, wait_until

GRAPH_OPTIONS = "rate_window: 2s\n    licences: 100000"
READ_S = 180.0
"""How long a deep reconcile may take on a loaded machine; rows that wait for the quota have to be written first."""
TIMEOUT = "3s"
"""Less than the delay of some faults."""


class World(Ground):
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
        super().__init__(directory, simulator, new_cluster, place)
        self.definition = Definition()
        source_dsn, state_dsn = self.source.create_database("source"), self.state.create_database("state")
        self.new_cluster = new_cluster
        self.connection_file = directory / "source.dsn"
        self.connection_file.touch(0o600)
        self.connection_file.write_text(source_dsn)
        self.stack = self.stack_on(directory, source_dsn, state_dsn, "rowtide_0")
        self.workload = shop.Workload(lambda: source_dsn, seed, rows)
        self.strangers: dict[tuple[str, str], dict[str, Any]] = {}
        self.open: dict[str, Callable[[], None]] = {}
        self.edited: set[str] = set()
        self.in_doubt: set[str] = set()
        self.acted = False
        self.keys_lost: set[str | None] = set()
        """Ids of lists whose items have been without their keys."""
        self.restored = False
        """The records were put back: they do not count what was done since."""
        self.lists_unread = False
        """The lists were put back, and no deep reconcile has met what is in them since."""
        self.findings: list[str] = []
        """What acts themselves have seen that may not be."""
        self.others: list[Stack] = []
        """Other installations that were started beside."""

    def stack_on(self, directory: Path, source_dsn: str, state_dsn: str, slot: str) -> Stack:
        """An installation: this definition on a state database, its files in a directory."""
        secret = f"file:{self.connection_file}"
        graph, syncs = self.simulator.ready, self.definition.syncs()
        stack = Stack(directory, source_dsn, state_dsn, graph, syncs, GRAPH_OPTIONS, slot, secret, TIMEOUT)
        stack.simulator = self.simulator
        return stack

    def begin(self) -> None:
        """Fill the tables and apply the definition."""
        self.workload.prepare()
        self.stack.apply()

    def close(self) -> None:
        """End what still runs."""
        self.workload.stop()
        for stack in (self.stack, *self.others):
            stack.close()

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
            self.open.pop(what, None)

    def read_the_lists(self) -> None:
        """A deep reconcile of each sync whose items people have edited: only it sees them."""
        for id_ in sorted(self.edited):
            wait_until(partial(self._read_the_lists_of, id_), f"the lists of {id_} are read", READ_S)
        self.edited.clear()
        self.lists_unread = False

    def _read_the_lists_of(self, id_: str) -> bool:
        """Whether a deep pass is done that left no row alone, because of something that waited for it or moved it."""
        done = self.stack.command("reconcile", self.definition.names[id_], "--deep", "--json", check=False)
        self.let_go()
        found = json.loads(done.stdout) if done.returncode == 0 else {}
        return bool(found.get("done")) and not any(found["counts"].get(why) for why in ("moving", "waiting"))

    def let_go(self) -> None:
        """What waits for a person, and no act has left open, is let go: by whoever looks at `status`."""
        asked = self.stack.state("SELECT object, kind FROM rowtide.hold WHERE kind IN ('deletes', 'creates', 'slot')")
        for object_, kind in asked:
            name = self.definition.names.get(object_, object_)
            if kind == "slot" and not {"instance", "astray"} & self.open.keys():
                self.stack.command("resume", "--take-slot", "erp", check=False)
            elif kind != "slot" and kind not in self.open:
                self.stack.command("resume", name, f"--approve-{kind}", check=False)

    def sql(self, *statements: str) -> None:
        """One transaction on the source."""
        with psycopg.connect(self.stack.source_dsn) as connection:
            for statement in statements:
                connection.execute(statement)

    def can_apply(self) -> bool:
        """Whether `apply` would not refuse: all tables fit, no list is another installation's or has a key twice."""
        return not {*IDS, "publication", "mark", "copy", "astray", "snapshot", "lists", "key"} & self.open.keys()

    def can_take_lists_away(self) -> bool:
        """Whether `apply` may leave a list: one that leaves before it is read after a restore is never read."""
        unread = "SELECT 1 FROM rowtide.reconcile WHERE deep OR state <> 'done'"
        return self.can_apply() and not self.lists_unread and not (self.restored and self.stack.state(unread))

    def apply(self) -> None:
        """Write the definition and apply it."""
        self.stack.write(self.definition.syncs())
        self.stack.apply()

    def spawn(self, word: str, *words: str) -> None:
        """A command that goes on beside the history, whatever comes of it."""
        command = [sys.executable, "-m", "control.cli", word, "-c", str(self.stack.config), *words]
        quiet = subprocess.DEVNULL
        self.stack.processes.append(
            subprocess.Popen(
                command, env=self.stack.environment_of(word), stdout=quiet, stderr=quiet, start_new_session=True
            )
        )

    def lists(self) -> list[dict[str, Any]]:
        """Every list that is there."""
        found: list[dict[str, Any]] = self.simulator.ask("lists")["lists"]
        return found

    def list_id(self, target: str) -> str | None:
        """The id of the target's list, while it is there."""
        title = self.definition.shown[target]
        return next((str(one["id"]) for one in self.lists() if one["displayName"] == title), None)

    def items_of(self, title: str) -> list[dict[str, Any]]:
        """The living items of a list."""
        return [item for item in self.simulator.items() if item["list"] == title and not item["deleted"]]

    def keys(self) -> set[str]:
        """`RowtideKey` of every living item."""
        living = (item["fields"] for item in self.simulator.items() if not item["deleted"])
        return {str(fields["RowtideKey"]) for fields in living if fields.get("RowtideKey")}

    def own(self, method: str, title: str, path: str = "", body: Any = None) -> Any:
        """A request to the list of that title by its owner."""
        return owner.own(self.simulator, method, title, path, body)

    def drop_slots(self) -> None:
        """A copy of the installation that reads a slot is ended first."""
        if end_the_copy := self.open.pop("instance", None):
            end_the_copy()
        super().drop_slots()
