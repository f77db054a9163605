"""The environment without the shop: what others can build on it, and what it leaves behind."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from control.operations import status
from control.operations.template import FieldDraft, SyncDraft, definition_text
from demo import workdir
from demo.environment import FLOW, SIMULATOR, Environment, EnvironmentSettings
from demo.workdir import Workdir, start_time
from rowtide.errors import ChildFailed
from tests.recording import simulator_module

PARTS = SyncDraft("parts", "public.parts", "Parts", (FieldDraft("name", "Title"),))
WITHIN_S = 120.0


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline, f"not within {WITHIN_S:.0f} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def directory(reachable_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workdir]:
    """A working directory that is gone after the test."""
    monkeypatch.setenv("ROWTIDE_DEMO_SIMULATOR", simulator_module())
    made = Workdir.make(reachable_path)
    yield made
    made.remove()


@pytest.mark.long
def test_rows_of_any_table_arrive_in_a_list(directory: Workdir) -> None:
    with Environment(directory, EnvironmentSettings(source="parts")) as environment:
        addresses = environment.start()
        with psycopg.connect(addresses.source_dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE parts (id int PRIMARY KEY, name text NOT NULL)")
            connection.execute("INSERT INTO parts SELECT i, 'part ' || i FROM generate_series(1, 3) i")
            environment.define(definition_text(replace(environment.draft(), syncs=[PARTS])))
            environment.apply()
            environment.start_flow()
            connection.execute("INSERT INTO parts VALUES (4, 'a late one')")
        titles = {"part 1", "part 2", "part 3", "a late one"}
        _until(
            lambda: {item["fields"]["Title"] for item in environment.simulator.fetch_items()} == titles,
            "an item for each row",
        )
        environment.check()
        assert [sync.sync for sync in environment.compiled_syncs()] == ["parts"]
        assert [sync["sync"] for sync in status.status(environment.session())["syncs"]] == ["parts"]
        assert "parts" in environment.command("status")
        processes = [entry["pid"] for entry in workdir.read_recorded(directory.path)]
    assert len(processes) >= 3
    assert [start_time(pid) for pid in processes] == [None] * len(processes)
    assert environment.log_of(FLOW).exists()


def test_what_it_writes_is_private(directory: Workdir) -> None:
    with Environment(directory) as environment:
        environment.start()
        for secret in ("source.dsn", "state.dsn", "client_secret"):
            assert (directory.path / secret).stat().st_mode & 0o777 == 0o600
        environment.define(definition_text(environment.draft()))
        assert environment.cluster.password not in environment.config.read_text()


def test_a_part_that_ends_by_itself_is_noticed(directory: Workdir) -> None:
    with Environment(directory) as environment:
        environment.start()
        environment.check()
        environment.cluster.kill()
        with pytest.raises(ChildFailed, match=r"PostgreSQL ended"):
            environment.check()


def test_a_command_that_fails_says_why(directory: Workdir) -> None:
    with Environment(directory) as environment:
        environment.start()
        with pytest.raises(ChildFailed, match=r"rowtide status failed: .*rowtide\.yaml"):
            environment.command("status")


_START_AND_STAY = """
import sys, time
from pathlib import Path
from demo.environment import Environment
from demo.workdir import Workdir
environment = Environment(Workdir.make(Path(sys.argv[1])))
environment.start()
print(environment.workdir.path, flush=True)
time.sleep(120)
"""


def test_what_a_kill_leaves_is_cleared(reachable_path: Path) -> None:
    maker = subprocess.Popen(
        [sys.executable, "-c", _START_AND_STAY, str(reachable_path)], stdout=subprocess.PIPE, text=True
    )
    assert maker.stdout is not None
    path = Path(maker.stdout.readline().strip())
    recorded = workdir.read_recorded(path)
    assert {entry["name"] for entry in recorded} == {SIMULATOR, "postgres"}
    maker.kill()
    maker.wait()
    maker.stdout.close()
    _until(lambda: all(start_time(entry["pid"]) is None for entry in recorded), "the end of every process")
    assert workdir.clear_dead(reachable_path) == [path]
    assert not path.exists()
