"""Fixtures of the command tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

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
