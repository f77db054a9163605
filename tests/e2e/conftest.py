"""Fixtures of the end-to-end tests: simulators and stacks that end with the test."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.postgres import Cluster
from state import schema
from tests.conftest import drop_databases, reachable_directory
from tests.e2e.prometheus import Prometheus
from tests.e2e.stack import SECRET, SYNC, TABLE, Stack
from tests.recording import simulator_module

CLIENT = "1b2c3d4e-0000-4000-8000-000000000001"


class Simulator:
    """A running ``graphsim`` and its control side; in a test run the recorder of `tests/recording` is before it."""

    def __init__(self, directory: Path, *options: str, port: int = 0, auth_port: int = 0) -> None:
        self.directory = directory
        command = [sys.executable, "-m", simulator_module(), "--port", str(port), "--auth-port", str(auth_port)]
        command += ["--ca-out", str(directory / "ca.pem"), "--site", "contoso.sharepoint.com:/sites/ops"]
        command += ["--client", f"{CLIENT}=env:SIMULATOR_SECRET", "--die-with-parent", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "SIMULATOR_SECRET": SECRET}, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the simulator did not start"
        self.ready: dict[str, str] = json.loads(line)

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """One request to the control side."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.ready['control_url']}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def stats(self) -> dict[str, Any]:
        """Counts so far."""
        found: dict[str, Any] = self.ask("stats")
        return found

    def items(self) -> list[dict[str, Any]]:
        """Every item of every list."""
        found: list[dict[str, Any]] = self.ask("items?all=1")["items"]
        return found

    def edit(self, **what: Any) -> dict[str, Any]:
        """A person's edit."""
        found: dict[str, Any] = self.ask("edit", what)
        return found

    def set_faults(self, rules: list[dict[str, Any]]) -> None:
        """These faults and no others."""
        self.clear_faults()
        if rules:
            self.ask("faults", rules)

    def clear_faults(self) -> None:
        """No faults."""
        self.ask("faults", method="DELETE")

    def writes(self) -> int:
        """Requests that changed a list."""
        stats = self.stats()
        return sum(int(stats[kind]["total"]) for kind in ("creates", "updates", "deletes"))

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout is None or self.process.stdout.closed:
            return  # a test may end it before its fixture does
        # With the recorder before it, the end of stdout is the end of both.
        self.process.stdout.read()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def state_server() -> Iterator[Cluster]:
    """The state database's own server."""
    cluster = Cluster(reachable_directory("rowtide-pg-"), {"fsync": "off", "shared_buffers": "32MB"})
    cluster.start()
    yield cluster
    cluster.kill()
    shutil.rmtree(cluster.directory, ignore_errors=True)


@pytest.fixture
def new_simulator(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Makes simulators: options in, a running one out."""
    made: list[Simulator] = []

    def make(*options: str, **ports: int) -> Simulator:
        made.append(Simulator(tmp_path, *options, **ports))
        return made[-1]

    yield make
    for simulator in made:
        simulator.close()


@pytest.fixture
def new_prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Makes a Prometheus that scrapes a port: the port in, one that answers out."""
    made: list[Prometheus] = []

    def make(port: int) -> Prometheus:
        made.append(Prometheus(tmp_path, port))
        made[-1].wait_ready()
        return made[-1]

    yield make
    for one in made:
        one.close()


def fill(stack: Stack, rows: int) -> None:
    """Make table ``parts`` with so many rows."""
    for statement in parts_of(rows):
        stack.sql(statement)


def parts_of(rows: int) -> list[str]:
    """The statements that make table ``parts`` with so many rows."""
    insert = (
        "INSERT INTO parts SELECT i, 'part ' || i, 'note ' || i, i, i * 1.25, i % 2 = 0, now(),"
        f" (ARRAY['EU', 'US', 'APAC'])[1 + i % 3], NULL FROM generate_series(1, {rows}) i"
    )
    return [TABLE, insert] if rows else [TABLE]


@contextmanager
def shared_stack(
    source: Cluster,
    state: Cluster,
    name: str,
    statements: Sequence[str],
    syncs: str = SYNC,
    edit: Callable[[str], str] = lambda definition: definition,
) -> Iterator[Stack]:
    """A stack for all tests of a file: databases of its own on these servers, what ``statements`` make in the source,
    and the definition, as ``edit`` leaves it, applied. Nothing runs yet.
    """
    databases = {f"{name}_{role}_{os.getpid()}": server for role, server in (("source", source), ("state", state))}
    source_dsn, state_dsn = (server.create_database(database) for database, server in databases.items())
    schema.upgrade(state_dsn)
    directory = reachable_directory(f"rowtide-{name}-")
    simulator = Simulator(directory, "--tier", "off")
    stack = Stack(directory, source_dsn, state_dsn, simulator.ready, syncs, "quota: off")
    stack.simulator = simulator
    try:
        stack.config.write_text(edit(stack.config.read_text()))
        for statement in statements:
            stack.sql(statement)
        stack.apply()
        yield stack
    finally:  # also where whoever prepares it further fails before the first test
        stack.close()
        simulator.close()
        for database, server in databases.items():
            drop_databases(server, [database])
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def new_stack(database: str, state_dsn: str) -> Iterator[Callable[..., Stack]]:
    """Makes a stack with table ``parts`` and its definition applied; keyword arguments as `Stack` takes them."""
    made: list[Stack] = []
    directories: list[Path] = []

    def make(simulator: Simulator, rows: int = 0, **options: Any) -> Stack:
        directory = reachable_directory("rowtide-e2e-")
        directories.append(directory)
        options = {
            "source_dsn": database,
            "state_dsn": state_dsn,
            "graph": simulator.ready,
            "graph_options": "quota: off",
            **options,
        }
        stack = Stack(directory, **options)
        made.append(stack)
        stack.simulator = simulator
        fill(stack, rows)
        stack.apply()
        return stack

    yield make
    for stack in made:
        stack.close()
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
