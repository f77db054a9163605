"""Everything the demo runs on: a PostgreSQL, a Graph simulator, an applied definition, the flow.

In: the demo's directory and options. Out: a `Stage`: addresses, and processes that are ended by `end`. Rules: the same
commands a user would type do the work, each as a process of its own; secrets are in files that only we can read.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg

from connectors import settings
from control.operations import compile
from control.operations.session import Session
from demo import definition
from demo.children import Child, Children
from demo.comparison import fetch
from demo.options import Options
from demo.postgres import Cluster, free_port
from demo.shop import schema
from demo.workdir import Home
from rowtide.error_catalogue import command_errors
from rowtide.mapping.compiled_sync import CompiledSync
from state import definitions
from state.database import Connection, Link

SIMULATOR, FLOW = "graphsim", "flow"
LATENCY_MS = 60
_READY_S, _COMMAND_S = 60.0, 240.0
# The demo's cluster is thrown away; a crash of the machine would take it along anyhow.
_SETTINGS = {"fsync": "off", "shared_buffers": "64MB", "log_min_messages": "error"}


class Stage:
    """The demo's parts. ``wait`` sleeps, and raises when the demo is to end."""

    def __init__(self, home: Home, options: Options, wait: Callable[[float], None]) -> None:
        self.home = home
        self.options = options
        self.children = Children(home)
        self.cluster: Cluster | None = None
        self.source_dsn = self.state_dsn = self.metrics_url = ""
        self.graph: dict[str, Any] = {}
        self.config = home.path / "rowtide.yaml"
        self.rows: dict[str, int] = {}
        self._wait = wait
        self._commands = 0

    # --- setting up ---------------------------------------------------------------------------------------------------

    def open_shop(self) -> Mapping[str, int]:
        """Start the simulator and PostgreSQL, and fill the shop; rows of each table."""
        simulator = self._start_simulator()
        self.cluster = cluster = Cluster(self.home.path / "postgres", _SETTINGS)
        cluster.start()
        self.home.record("postgres", cluster.pid or 0)
        self._wait(0)
        self.source_dsn = cluster.create_database("shop")
        self.state_dsn = cluster.create_database("rowtide")
        self._wait(0)
        with psycopg.connect(self.source_dsn, autocommit=True) as connection:
            self.rows = schema.create(connection, self.options.seed)
        self.graph = json.loads(simulator.first_line(self._wait, _READY_S))
        return self.rows

    def _start_simulator(self) -> Child:
        secret = self.home.write_secret("client_secret", secrets.token_urlsafe(24))
        return self.children.start(
            SIMULATOR,
            # Tests of the demo put a recorder before the simulator by this name; nobody else has a use for it.
            os.environ.get("ROWTIDE_DEMO_SIMULATOR", "graphsim"),
            f"--ca-out={self.home.path / 'ca.pem'}",
            f"--site={definition.SITE}",
            f"--client={definition.CLIENT_ID}=file:{secret}",
            f"--tenant={definition.TENANT_ID}",
            f"--latency-ms={LATENCY_MS}",
            f"--seed={self.options.seed}",
            "--tier=off",
        )

    def define(self) -> None:
        """Write the definition for a simulator that keeps no quota yet, and apply it."""
        self._places = definition.Places(
            directory=self.home.path,
            source_dsn=self.home.write_secret("source.dsn", self.source_dsn),
            state_dsn=self.home.write_secret("state.dsn", self.state_dsn),
            client_secret=self.home.path / "client_secret",
            base_url=self.graph["base_url"],
            authority=self.graph["authority"],
            ca_file=self.graph["ca_file"],
            listen=f"127.0.0.1:{free_port()}",
        )
        self.metrics_url = f"http://{self._places.listen}/metrics"
        self._write(quota=False)
        self.command("apply", "--yes", "--upgrade")

    def _write(self, quota: bool) -> None:
        self.config.write_text(definition.text(self._places, self.options.tier, quota))

    def start_flow(self) -> int:
        """Start ``rowtide run``; its process id."""
        return self.children.start(FLOW, "control.cli", "run", "-c", str(self.config)).process.pid

    def set_quota(self) -> int:
        """From now on the tenant has its tier's quota: simulator, definition, and the flow started anew with it."""
        self._write(quota=True)
        self._apply_pacing()
        fetch(f"{self.control_url}/tier", {"tier": self.options.tier})
        self.children.end(FLOW)
        return self.start_flow()

    def _apply_pacing(self) -> None:
        """What `rowtide apply` does where nothing but pacing is new, without asking Graph for all lists again."""
        loaded = settings.load(self.config)

        def work(connection: Connection) -> None:
            applied = definitions.read_applied(connection)
            assert applied is not None
            stored = {**applied.compiled, "definition": loaded.definition.to_json()}
            definitions.apply(connection, loaded.source_text, stored, "demo")

        link = Link(self.state_dsn, "rowtide demo")
        try:
            link.run(work)
        finally:
            link.close()

    def command(self, *words: str) -> str:
        """Run a rowtide command to its end and return what it printed; ChildFailed when it fails."""
        self._commands += 1
        name = f"{words[0]}-{self._commands}"
        child = self.children.start(name, "control.cli", words[0], "-c", str(self.config), *words[1:])
        code = child.wait(self._wait, _COMMAND_S)
        self.children.forget(child)
        if code:
            raise command_errors.DEMO_COMMAND(command=words[0], said=child.last_words())
        return child.output.read_text()

    # --- while it runs ------------------------------------------------------------------------------------------------

    @property
    def control_url(self) -> str:
        """The simulator's control side."""
        return str(self.graph["control_url"])

    def compiled(self) -> list[CompiledSync]:
        """The syncs as the definition file and the tables say, not as the flow has them."""
        loaded = settings.load(self.config)
        return list(compile.compile_known(loaded, compile.read_all_columns(Session(loaded))).syncs.values())

    def check(self) -> None:
        """Raise ChildFailed when a part has ended by itself."""
        self.children.check(SIMULATOR, FLOW)
        if self.cluster is not None and self.cluster.pid is None:
            raise command_errors.DEMO_CHILD(problem="PostgreSQL ended.")

    def log_of(self, name: str) -> Path:
        """Where a part's stderr is."""
        return self.home.path / f"{name}.log"

    def end(self) -> None:
        """End everything, in the order flow, simulator, PostgreSQL."""
        self.children.end()
        if self.cluster is not None:
            self.cluster.stop()
