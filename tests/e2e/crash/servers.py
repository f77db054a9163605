"""Servers that live as long as a history: a simulator of Graph, and PostgreSQL as often as it is asked for.

In: nothing. Out: a running simulator and a maker of PostgreSQL servers. Rule: they end, and their files go, with the
context.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from demo.postgres import Cluster
from tests.conftest import reachable_directory
from tests.e2e.conftest import Simulator


@contextmanager
def servers() -> Iterator[tuple["Site", "Clusters"]]:
    """A simulator and a maker of PostgreSQL servers that end with the history."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="rowtide-soak-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        site = Site(directory)
        stack.callback(site.close)
        yield site, Clusters(stack)


class Site(Simulator):
    """A simulator whose lists can be put back as they were."""

    def __init__(self, directory: Path) -> None:
        self._lists, self._kept = directory / "lists", directory / "kept"
        self._lists.mkdir()
        self._writes_before = 0
        self._begin(directory, 0, 0)

    def _begin(self, directory: Path, port: int, auth_port: int) -> None:
        data = ("--data", str(self._lists / "data"))
        super().__init__(directory, "--tier", "max", "--window-s", "2", *data, port=port, auth_port=auth_port)

    def keep(self) -> None:
        """Remember how the lists are."""
        self._turn(self._lists, self._kept)

    def put_back(self) -> None:
        """Every list is as it was kept."""
        self._turn(self._kept, self._lists)

    def _turn(self, source: Path, target: Path) -> None:
        port, auth_port = (urlsplit(self.ready[name]).port or 0 for name in ("base_url", "authority"))
        self._writes_before = self.writes()
        self.close()
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        self._begin(self.directory, port, auth_port)

    def writes(self) -> int:
        """Requests that changed a list, also those before the lists were put back."""
        return self._writes_before + super().writes()


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
