"""A process whose connection leads to another server than the source: it reads and writes nothing there.

Capture reads the right server all the while, so everything on record says that the rows are there. The other server's
table is empty: whoever believed it would delete every item.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import Simulator
from tests.e2e.stack import SYNC, TABLE, Stack, wait_until
from tests.e2e.test_administration import idle, no_doubles
from tests.e2e.test_push import settled

pytestmark = pytest.mark.long

NewStack = Callable[..., Stack]
NewSimulator = Callable[..., Simulator]

ROWS = 10
NOTE = "repeat('a note ', 1000)"
# A change of another column does not bring the note, which decides whether the row has an item: it has to be read.
BY_NOTE = SYNC.replace('where: "quantity IS NULL OR quantity >= 0"', 'where: "note IS NOT NULL"')


class Elsewhere:
    """A stack whose connection file can be pointed at another server, where the same table is empty."""

    def __init__(self, stack: Stack, file: Path, elsewhere: str) -> None:
        self.stack = stack
        self.elsewhere = elsewhere
        self._file = file

    def lead_astray(self) -> None:
        """The connection file names the other server."""
        self._file.write_text(self.elsewhere)

    def lead_back(self) -> None:
        """The connection file names the source."""
        self._file.write_text(self.stack.source_dsn)

    def quantities(self) -> dict[str, Any]:
        """RowtideKey -> quantity of every item there is."""
        items = [item["fields"] for item in self.stack.simulator.items() if not item["deleted"]]
        return {fields["RowtideKey"]: fields.get("Quantity") for fields in items}

    def wait_equal(self) -> None:
        """Until every item has its row's quantity, and none is missing."""

        def equal() -> bool:
            rows = self.stack.sql("SELECT id, quantity FROM parts")
            return self.quantities() == {f"parts:{id_}": quantity for id_, quantity in rows}

        wait_until(equal, "source and lists equal", 90)


@pytest.fixture
def at(
    new_simulator: NewSimulator,
    new_stack: NewStack,
    new_cluster: Callable[..., Any],
    database: str,
    tmp_path: Path,
) -> Elsewhere:
    """A stack with rows, not started yet; the state database is on the other server."""
    cluster = new_cluster(wal_level="logical")
    elsewhere, file = cluster.create_database("elsewhere"), tmp_path / "source.dsn"
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute(TABLE)
    file.touch(0o600)
    file.write_text(database)
    state_dsn = cluster.create_database("rowtide")
    stack = new_stack(new_simulator("--tier", "off"), state_dsn=state_dsn, syncs=BY_NOTE, source_secret=f"file:{file}")
    stack.sql("ALTER TABLE parts ALTER COLUMN note SET STORAGE EXTERNAL")
    stack.sql(
        f"INSERT INTO parts (id, name, note, quantity) SELECT i, 'p', {NOTE}, i FROM generate_series(1, {ROWS}) i"
    )
    return Elsewhere(stack, file, elsewhere)


def address(dsn: str) -> str:
    """How a sentence names a server."""
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    return f"{given['host']}:{given['port']}/{given['dbname']}"


def reason(stack: Stack) -> dict[str, str]:
    """What `status` says of the sync."""
    [parts] = stack.status()["syncs"]
    found: dict[str, str] = parts["reason"]
    return found


def test_a_process_with_a_stale_connection_file_deletes_nothing(at: Elsewhere) -> None:
    stack = at.stack
    capture, deliver = stack.start("--roles", "capture"), stack.start("--roles", "deliver")
    at.wait_equal()
    assert stack.stop(deliver) == 0
    deliver = rows_are_read(at)
    assert [stack.stop(process) for process in (deliver, capture)] == [0, 0]
    a_reconcile_reads(at)


def rows_are_read(at: Elsewhere) -> Any:
    """Deliver has rows to read from the source; returns its process."""
    stack, before = at.stack, at.quantities()
    stack.sql("UPDATE parts SET quantity = quantity + 100")
    refreshes = "SELECT count(*) FROM rowtide.outbox WHERE op = 'r'"
    wait_until(lambda: stack.state(refreshes) == [(ROWS,)], "rows that have to be read")
    at.lead_astray()
    deliver = stack.start("--roles", "deliver")
    wait_until(
        lambda: at.quantities() != before or reason(stack)["code"] == "source_differs", "the other server is said"
    )
    assert at.quantities() == before
    assert stack.state(refreshes) == [(ROWS,)]
    sentence = reason(stack)["sentence"]
    assert address(at.elsewhere) in sentence
    assert address(stack.source_dsn) in sentence

    # Commands use the same file.
    assert "source_differs" in stack.command("reconcile", "parts", check=False).stderr
    assert "source_differs" in stack.command("slot", "drop", stack.slot, "--yes", check=False).stderr
    planned = stack.command("plan", "--json", check=False)
    assert planned.returncode == 3
    assert address(at.elsewhere) in json.loads(planned.stdout)["sources"]["erp"]["problem"]

    at.lead_back()
    at.wait_equal()
    wait_until(lambda: idle(stack) and settled(stack), "nothing is waiting")
    no_doubles(stack)
    return deliver


def a_reconcile_reads(at: Elsewhere) -> None:
    """A process that may not stream from the other server has a pass to do."""
    stack = at.stack
    at.lead_astray()
    before = at.quantities()
    stack.sql("UPDATE parts SET quantity = quantity + 100")
    stack.state("UPDATE rowtide.reconcile SET asked = asked + 1, state = 'wanted'")
    process = stack.start()
    problem = "SELECT health #>> '{sessions,erp,problem,code}' FROM rowtide.process"
    wait_until(
        lambda: at.quantities() != before or stack.state(problem) == [("source_differs",)], "the problem of the pass"
    )
    assert at.quantities() == before

    at.lead_back()
    at.wait_equal()
    wait_until(lambda: idle(stack) and settled(stack), "nothing is waiting")
    assert stack.state("SELECT state FROM rowtide.reconcile") == [("done",)]
    no_doubles(stack)
    assert stack.stop(process) == 0
