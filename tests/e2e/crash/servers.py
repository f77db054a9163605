"""Servers that live as long as a history: a simulator of Graph, and PostgreSQL as often as it is asked for.

In: nothing. Out: a running simulator and a maker of PostgreSQL servers. Rule: they end, and their files go, with the
context.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from demo.postgres import Cluster
from tests.conftest import reachable_directory
from tests.e2e.conftest import Simulator


@contextmanager
def servers() -> Iterator[tuple[Simulator, "Clusters"]]:
    """A simulator and a maker of PostgreSQL servers that end with the history."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="rowtide-soak-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        simulator = Simulator(directory, "--tier", "max", "--window-s", "2")
        stack.callback(simulator.close)
        yield simulator, Clusters(stack)


class Clusters:
    """Makes servers; they are killed and removed with the stack."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(self) -> Cluster:
        cluster = Cluster(reachable_directory("rowtide-pg-"), {"fsync": "off", "shared_buffers": "32MB"})
        self._stack.callback(shutil.rmtree, cluster.directory, ignore_errors=True)
        self._stack.callback(cluster.kill)
        cluster.start()
        return cluster
