"""Fixtures of the whole suite: a real PostgreSQL per worker, fresh databases on it; the recording of answers."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.postgres import Cluster
from state import schema
from tests.recording import session as recording_session

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    recording_session.begin(config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    recording_session.judge(session)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    recording_session.report(terminalreporter, config)


def reachable_directory(prefix: str) -> Path:
    """A new directory outside pytest's private one, which a server running as another user could not enter."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    directory.chmod(0o755)
    return directory


@pytest.fixture
def reachable_path() -> Iterator[Path]:
    """A new directory that every user may enter. Pytest's own is closed again by every other pytest that starts."""
    directory = reachable_directory("rowtide-test-")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _running(shared_buffers: str) -> Iterator[Cluster]:
    """A PostgreSQL server (fsync off: a killed process loses nothing by it)."""
    directory = reachable_directory("rowtide-pg-")
    cluster = Cluster(directory, {"fsync": "off", "shared_buffers": shared_buffers})
    cluster.start()
    yield cluster
    cluster.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def pg() -> Iterator[Cluster]:
    """The worker's server."""
    with _running("64MB") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def state_pg(pg: Cluster) -> Iterator[Cluster]:
    """The server of state databases: the sources' own, or, under ``ROWTIDE_STATE=apart``, another one.

    On one server source and state database share transaction horizons, which hides some defects and makes others.
    """
    if os.environ.get("ROWTIDE_STATE") != "apart":
        yield pg
        return
    with _running("32MB") as cluster:
        yield cluster


@pytest.fixture
def new_cluster() -> Iterator[Callable[..., Cluster]]:
    """Makes servers that the test may stop, kill and set up as it likes."""
    made: list[Cluster] = []

    def make(**settings: str) -> Cluster:
        cluster = Cluster(reachable_directory("rowtide-pg-"), {"fsync": "off", "shared_buffers": "32MB", **settings})
        made.append(cluster)
        cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.kill()
        shutil.rmtree(cluster.directory, ignore_errors=True)


def drop_databases(pg: Cluster, names: Sequence[str]) -> None:
    """Drop these databases and their slots, whoever reads them: a killed process is followed by its walsender."""
    slots = "FROM pg_replication_slots WHERE database = %s"
    with psycopg.connect(pg.dsn("postgres"), autocommit=True) as connection:
        for name in names:
            # With a time it returns when the walsender has gone; until then its slot cannot be dropped.
            connection.execute(f"SELECT pg_terminate_backend(active_pid, 30000) {slots} AND active", [name])
            connection.execute(f"SELECT pg_drop_replication_slot(slot_name) {slots}", [name])
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def new_database(pg: Cluster) -> Iterator[Callable[[str], str]]:
    """Makes fresh databases on the worker's server: name prefix in, DSN out; slots and databases go afterwards."""
    names: list[str] = []

    def make(prefix: str) -> str:
        name = f"{prefix}_{os.getpid()}_{next(_numbers)}"
        names.append(name)
        return pg.create_database(name)

    yield make
    drop_databases(pg, names)


@pytest.fixture
def database(new_database: Callable[[str], str]) -> str:
    """DSN of a fresh, empty source database."""
    return new_database("source")


@pytest.fixture(scope="session")
def state_template(state_pg: Cluster) -> str:
    """Name of a database with the current schema, to be copied: the migrations take longer than most tests."""
    name = "state_template"
    schema.upgrade(state_pg.create_database(name))
    return name


@pytest.fixture
def state_dsn(state_pg: Cluster, state_template: str) -> Iterator[str]:
    """DSN of a fresh state database with the current schema."""
    name = f"state_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(state_pg.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{state_template}"')
    yield state_pg.dsn(name)
    drop_databases(state_pg, [name])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Under ``ROWTIDE_REQUIRE_ALL=1`` a test that is skipped for want of a tool has failed."""
    report = yield
    if report.skipped and os.environ.get("ROWTIDE_REQUIRE_ALL") == "1" and "make deps" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"ROWTIDE_REQUIRE_ALL=1: {report.longrepr[2]}"
    return report
