"""Fixtures of the command tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from connectors import settings
from connectors.postgres import connections, table_catalog
from control.operations.session import Session, open_session
from rowtide import catalog
from rowtide.catalog import ListRef
from rowtide.connections import tenants_of
from state import database, definitions
from tests.e2e.conftest import Simulator
from tests.integration.control.desk import TABLE, Desk


@pytest.fixture
def desk(tmp_path: Path, database: str, new_database: Callable[[str], str]) -> Desk:
    """A desk whose state database is empty."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLE)
        [(name,)] = connection.execute("SELECT current_database()").fetchall()
    return Desk(tmp_path, database, new_database("state"), f"slot_{name}")


@pytest.fixture
def simulator(tmp_path: Path, desk: Desk) -> Iterator[Simulator]:
    """A Graph simulator that the desk's definition names."""
    simulator = Simulator(tmp_path, "--tier", "max")
    desk.graph = {name: simulator.ready[name] for name in ("base_url", "authority", "ca_file")}
    desk.write()
    yield simulator
    simulator.close()


@pytest.fixture
def applied(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The desk with its definition in force, as `apply` would have stored it."""
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    assert desk.type("db", "upgrade").code == 0
    loaded = settings.load(desk.config)
    with connections.open_unproven(desk.source_dsn) as connection:
        columns = {"parts": table_catalog.read_columns(connection, "public", "parts")}
    lists = {"parts": {title: ListRef(title, "site", "contoso") for title in ("Parts EU", "Parts US", "Parts Other")}}
    with database.connect(desk.state_dsn) as connection:
        tenants = tenants_of(loaded.definition)
        definitions.apply(connection, catalog.to_compiled(loaded.definition, tenants, columns, lists), "test", None)
    return desk


@pytest.fixture
def session(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session on the desk's definition; a test that wants a simulator names it before this one."""
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    return open_session(desk.config)
