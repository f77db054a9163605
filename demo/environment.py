"""Everything Rowtide needs, on this machine and in one working directory: PostgreSQL, a Graph simulator, the flow.

In: a `Workdir`, `EnvironmentSettings`, the text of a definition. Out: a running `Environment`: its addresses, and
Rowtide's commands run as processes of their own, as a person would type them.

What it makes, all below the working directory: a PostgreSQL cluster in ``postgres/`` with two empty databases, the
source and ``rowtide`` for the records; a simulated tenant with one site and one app; secrets in files that only we can
read (``source.dsn``, ``state.dsn``, ``client_secret``); the simulator's ``ca.pem``; the definition ``rowtide.yaml``;
for each process its stdout in ``NAME.out`` and its stderr in ``NAME.log``.

How it ends: `Environment.end`, or the end of its ``with`` block, ends the flow, the simulator and PostgreSQL, in this
order; the working directory is removed by whoever made it. When the process that made it is killed, every process of
the environment dies with it, and `demo.workdir.clear_dead` removes the directory later.
"""

import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from control.operations import compile
from control.operations.session import Session, open_session
from control.operations.template import Draft
from demo.children import Children
from demo.postgres import Cluster, free_port
from demo.simulator import SimulatorControl
from demo.workdir import Workdir
from rowtide.error_catalogue import command_errors
from rowtide.mapping.compiled_sync import CompiledSync

SIMULATOR, FLOW = "graphsim", "flow"
"""Names of the processes that stay, and of their logs."""

_READY_S, _COMMAND_S = 60.0, 240.0
# The cluster is thrown away; a crash of the machine would take it along anyhow.
_CLUSTER_SETTINGS = {"fsync": "off", "shared_buffers": "64MB", "log_min_messages": "error"}


@dataclass(frozen=True, slots=True)
class EnvironmentSettings:
    """``source`` names the source and its database; the rest describes the simulated tenant.

    ``tier`` is the quota that the tenant begins with (``off``: none); ``latency_ms`` is how long a request takes there.
    """

    source: str = "source"
    site: str = "contoso.sharepoint.com:/sites/operations"
    tenant_id: str = "22222222-2222-4222-8222-222222222222"
    client_id: str = "11111111-1111-4111-8111-111111111111"
    tier: str = "off"
    latency_ms: int = 0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of a started environment are."""

    source_dsn: str
    state_dsn: str
    base_url: str
    authority: str
    ca_file: str
    lists_url: str
    control_url: str
    listen: str

    @property
    def metrics_url(self) -> str:
        """Where the flow shows its metrics."""
        return f"http://{self.listen}/metrics"


class Environment:
    """PostgreSQL, a simulator and Rowtide; `start`, then `define`, `apply` and `start_flow`, then `end`.

    ``wait`` sleeps; it may raise to give up whatever the environment is waiting for.
    """

    def __init__(
        self,
        workdir: Workdir,
        settings: EnvironmentSettings | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.workdir = workdir
        self.settings = settings or EnvironmentSettings()
        self.config = workdir.path / "rowtide.yaml"
        self.cluster = Cluster(workdir.path / "postgres", _CLUSTER_SETTINGS)
        self._children = Children(workdir)
        self._addresses: Addresses | None = None
        self._wait = wait
        self._commands = 0

    def __enter__(self) -> "Environment":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    # --- setting up ---------------------------------------------------------------------------------------------------

    def start(self) -> Addresses:
        """Start the simulator and PostgreSQL, and create the two databases."""
        simulator = self._children.start(SIMULATOR, *self._simulator_command())
        self.cluster.start()
        self.workdir.record("postgres", self.cluster.pid or 0)
        self._wait(0)
        source_dsn = self.cluster.create_database(self.settings.source)
        state_dsn = self.cluster.create_database("rowtide")
        self._wait(0)
        self.workdir.write_secret("source.dsn", source_dsn)
        self.workdir.write_secret("state.dsn", state_dsn)
        ready = json.loads(simulator.first_line(self._wait, _READY_S))
        self._addresses = Addresses(
            source_dsn,
            state_dsn,
            ready["base_url"],
            ready["authority"],
            ready["ca_file"],
            ready["ui_url"],
            ready["control_url"],
            f"127.0.0.1:{free_port()}",
        )
        return self._addresses

    def _simulator_command(self) -> list[str]:
        secret = self.workdir.write_secret("client_secret", secrets.token_urlsafe(24))
        return [
            # Tests put a recorder before the simulator by this name; nobody else has a use for it.
            os.environ.get("ROWTIDE_DEMO_SIMULATOR", "graphsim"),
            f"--ca-out={self.workdir.path / 'ca.pem'}",
            f"--site={self.settings.site}",
            f"--client={self.settings.client_id}=file:{secret}",
            f"--tenant={self.settings.tenant_id}",
            f"--latency-ms={self.settings.latency_ms}",
            f"--seed={self.settings.seed}",
            f"--tier={self.settings.tier}",
        ]

    @property
    def addresses(self) -> Addresses:
        """Where its parts are, once it was started."""
        assert self._addresses is not None, "start comes first"
        return self._addresses

    @property
    def simulator(self) -> SimulatorControl:
        """The simulator's control side."""
        return SimulatorControl(self.addresses.control_url)

    def draft(self) -> Draft:
        """A definition that names this environment's parts and has no sync yet."""
        addresses, directory, source = self.addresses, self.workdir.path, self.settings.source
        return Draft(
            state_dsn=f"file:{directory / 'state.dsn'}",
            recovery_dir=str(directory / "recovery"),
            listen=addresses.listen,
            source=source,
            source_dsn=f"file:{directory / 'source.dsn'}",
            slot=f"rowtide_{source}",
            publication=f"rowtide_{source}",
            tenant_id=self.settings.tenant_id,
            client_id=self.settings.client_id,
            client_secret=f"file:{directory / 'client_secret'}",
            site=self.settings.site,
            simulator={
                "base_url": addresses.base_url,
                "authority": addresses.authority,
                "ca_file": addresses.ca_file,
            },
        )

    def define(self, text: str) -> None:
        """Write the definition file; `apply` puts it into force."""
        self.config.write_text(text, encoding="utf-8")

    def apply(self) -> None:
        """Put the definition file into force."""
        self.command("apply", "--yes", "--upgrade")

    def command(self, *words: str) -> str:
        """Run a Rowtide command to its end and return what it printed; ChildFailed when it fails."""
        self._commands += 1
        name = f"{words[0]}-{self._commands}"
        child = self._children.start(name, "control.cli", words[0], "-c", str(self.config), *words[1:])
        code = child.wait(self._wait, _COMMAND_S)
        self._children.forget(child)
        if code:
            raise command_errors.DEMO_COMMAND(command=words[0], said=child.last_words())
        return child.output.read_text()

    # --- while it runs ------------------------------------------------------------------------------------------------

    def start_flow(self) -> int:
        """Start ``rowtide run``; its process id."""
        return self._children.start(FLOW, "control.cli", "run", "-c", str(self.config)).process.pid

    def restart_flow(self) -> int:
        """End the flow and start it again; the new process id."""
        self._children.end(FLOW)
        return self.start_flow()

    def session(self) -> Session:
        """A session on the definition file, for operations called from this process."""
        return open_session(self.config)

    def compiled_syncs(self) -> list[CompiledSync]:
        """The syncs as the definition file and the tables say, not as the flow has them."""
        session = self.session()
        return list(compile.compile_known(session.loaded, compile.read_all_tables(session)).syncs.values())

    def check(self) -> None:
        """Raise ChildFailed when a part has ended by itself."""
        self._children.check(SIMULATOR, FLOW)
        if self.cluster.pid is None:
            raise command_errors.DEMO_CHILD(problem="PostgreSQL ended.")

    def log_of(self, name: str) -> Path:
        """Where a process writes its stderr."""
        return self.workdir.path / f"{name}.log"

    def end(self) -> None:
        """End every process, in the order flow, simulator, PostgreSQL. What has ended already is left alone."""
        self._children.end()
        self.cluster.stop()
