"""What administrators do to tables, slots and files: source and lists are equal afterwards, and nothing was doubled."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import Simulator
from tests.e2e.stack import SYNC, TABLE, Stack, wait_until
from tests.e2e.test_push import settled, wait_equal

NewStack = Callable[..., Stack]
NewSimulator = Callable[..., Simulator]


def idle(stack: Stack) -> bool:
    """Whether `status` says that nothing is waiting."""
    [parts] = [one for one in stack.status()["syncs"] if one["sync"] == "parts"]
    return bool(parts["reason"]["code"] == "idle")


def eras(stack: Stack) -> int:
    """The era of the sync, and so how often its stream began anew."""
    [(era,)] = stack.state("SELECT era FROM rowtide.sync WHERE sync = 'parts'")
    return int(era)


def no_doubles(stack: Stack) -> None:
    """No key has two items."""
    keys = [item["fields"]["RowtideKey"] for item in stack.simulator.items() if not item["deleted"]]
    assert sorted(keys) == sorted(set(keys))


def wait_quiet(stack: Stack) -> None:
    """Until source and lists are equal, and nothing is left to do."""
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled", 120)
    wait_equal(stack)
    no_doubles(stack)


def test_a_sync_resumed_after_a_stop_at_capture_takes_changes_again(
    new_simulator: NewSimulator, new_stack: NewStack
) -> None:
    stack = new_stack(new_simulator("--tier", "off"), rows=20)
    stack.start()
    wait_equal(stack)
    before = eras(stack)
    stack.sql("ALTER TABLE parts DROP COLUMN quantity")
    stack.sql("UPDATE parts SET name = 'while it does not fit' WHERE id = 1")
    wait_until(lambda: stack.state("SELECT 1 FROM rowtide.hold WHERE kind = 'capture'"), "stopped at capture")
    stack.sql("ALTER TABLE parts ADD COLUMN quantity int")
    stack.sql("UPDATE parts SET quantity = id WHERE id < 5")
    stack.command("resume", "parts", check=False)  # not needed; it may say that the stop is about to end by itself
    wait_equal(stack)
    assert eras(stack) > before
    for quantity in range(3):
        stack.sql(f"UPDATE parts SET quantity = {quantity}, name = 'after the resume {quantity}'")
        wait_equal(stack)
    wait_until(lambda: idle(stack), "nothing is waiting")
    no_doubles(stack)


@pytest.mark.parametrize("live", [True, False])
def test_another_slot_name_begins_a_new_stream(live: bool, new_simulator: NewSimulator, new_stack: NewStack) -> None:
    """A slot's positions mean nothing to another slot: rows that were carried before change again afterwards."""
    stack = new_stack(new_simulator("--tier", "off"), rows=20)
    process = stack.start()
    wait_equal(stack)
    if not live:
        assert stack.stop(process) == 0
        stack.sql("UPDATE parts SET name = 'while nothing ran' WHERE id = 3")
    before, old = eras(stack), stack.slot
    stack.slot = f"{old[:50]}_b"
    stack.write(SYNC)
    stack.apply()
    if not live:
        process = stack.start()
    wait_until(lambda: eras(stack) > before, "a new era", 90)
    stack.sql("UPDATE parts SET name = 'by the new slot' WHERE id <= 10")
    stack.sql("DELETE FROM parts WHERE id = 20")
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    no_doubles(stack)
    assert process.poll() is None, stack.logged()[-4000:]
    stack.sql("SELECT pg_drop_replication_slot(%s)", old)


def test_another_name_of_the_source_begins_a_new_stream(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    stack = new_stack(new_simulator("--tier", "off"), rows=20)
    process = stack.start()
    wait_equal(stack)
    text = stack.config.read_text()
    stack.config.write_text(text.replace("  erp: {", "  warehouse: {").replace("postgres: erp", "postgres: warehouse"))
    stack.apply()
    stack.sql("UPDATE parts SET name = 'by another name' WHERE id <= 10")
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    assert process.poll() is None, stack.logged()[-4000:]
    assert "KeyError" not in stack.logged()
    no_doubles(stack)


STAGING_WAITS = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'rowtide stage' AND wait_event_type = 'Lock'"
STANDS = """
SELECT 1 FROM rowtide.reconcile
 WHERE why LIKE 'what the sync reads has changed%' AND (state = 'done' OR waits LIKE 'Capture has%')
"""


def hold_capture(stack: Stack) -> psycopg.Connection[Any]:
    """Capture reads, and can neither stage nor move its cursor, until the connection ends; a reconcile could go on."""
    connection = psycopg.connect(stack.state_dsn)
    connection.execute("SELECT FROM rowtide.slot_cursor FOR NO KEY UPDATE")
    return connection


def another_server(new_cluster: Callable[..., Any]) -> str:
    """The DSN of a server with a table of the same name, one row in it, and the publication."""
    elsewhere: str = new_cluster(wal_level="logical").create_database("elsewhere")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute(TABLE)
        connection.execute("INSERT INTO parts (id, name) VALUES (1, 'of another server')")
        connection.execute("CREATE PUBLICATION rowtide_erp FOR TABLE parts")
    return elsewhere


def test_a_reconcile_reads_only_when_capture_has_passed_its_mark(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Any]
) -> None:
    """Conversions and TRUNCATE change rows that no stream brings: older rows still to be staged must not come behind.

    The state database has a server of its own: what holds capture back is no transaction under way in the source.
    """
    stack = new_stack(new_simulator("--tier", "off"), rows=50, state_dsn=new_cluster().create_database("state"))
    stack.start()
    wait_equal(stack)
    with hold_capture(stack):
        stack.sql("UPDATE parts SET name = 'an older value', quantity = quantity + 1000")
        stack.sql("ALTER TABLE parts ALTER quantity TYPE bigint USING quantity * 2")
        wait_until(lambda: stack.state(STANDS), "the pass of the conversion waits for capture, or has not waited")
    stack.sql("INSERT INTO parts (id, name) VALUES (900, 'behind them')")
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    with hold_capture(stack):
        stack.sql("INSERT INTO parts (id, name) SELECT n, 'ghost' FROM generate_series(1000, 3000) n")
        stack.sql("UPDATE parts SET name = 'old value' WHERE id <= 50")
        stack.sql("TRUNCATE parts")
        stack.sql("INSERT INTO parts (id, name) SELECT n, 'after it' FROM generate_series(1, 30) n")
        wait_until(lambda: stack.state(STAGING_WAITS), "the backlog is read and stands still")
    stack.command("reconcile", "parts", check=False)
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    wait_equal(stack)
    no_doubles(stack)


@pytest.mark.long
def test_passes_end_beside_a_truncate_each_two_seconds(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Any]
) -> None:
    """TRUNCATE asks for another pass and lets the one under way go on, which takes ten seconds here."""
    stack = new_stack(new_simulator("--tier", "off"), rows=30, state_dsn=new_cluster().create_database("state"))
    stack.start(failpoints="reconcile.after_read=pause:5")
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    [(before,)] = stack.state("SELECT max(id) FROM rowtide.runs")
    ended = "SELECT started_at, ended_at FROM rowtide.runs WHERE id > %s AND verdict = 'done' ORDER BY id"
    for _ in range(40):
        if len(stack.state(ended, before)) == 2:
            break
        with psycopg.connect(stack.source_dsn) as connection:
            connection.execute("CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM parts")
            connection.execute("TRUNCATE parts")
            connection.execute("UPDATE kept SET quantity = quantity + 1 WHERE id <= 20")
            connection.execute("INSERT INTO parts SELECT * FROM kept")
        stack.sql("SELECT pg_sleep(2)")
    passes = stack.state(ended, before)
    assert len(passes) == 2, stack.state("SELECT * FROM rowtide.runs")
    assert min(end - begun for begun, end in passes).total_seconds() > 10
    assert stack.state("SELECT 1 FROM rowtide.runs WHERE id > %s AND verdict <> 'done'", before) == []
    wait_equal(stack)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled")
    wait_equal(stack)
    no_doubles(stack)


def test_the_wrong_server_is_not_read_until_a_person_accepts_it(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Any]
) -> None:
    """A DSN that points elsewhere overwrites no list, whatever on_gap says; after a migration a person says so."""
    stack = new_stack(new_simulator("--tier", "off"), rows=20)
    process = stack.start()
    wait_equal(stack)
    assert stack.stop(process) == 0
    here, elsewhere = stack.source_dsn, another_server(new_cluster)
    stack.environment["ROWTIDE_SOURCE_DSN"] = elsewhere
    process = stack.start()
    wait_until(lambda: "another one" in str(stack.status()["sources"]["erp"]["problem"]), "the wrong server is said")
    wait_equal(stack)  # with the right one's rows
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
    stack.source_dsn = elsewhere
    stack.command("resume", "--accept-source", "erp")
    wait_equal(stack)
    assert process.poll() is None
    stack.source_dsn = here


@pytest.mark.long
def test_the_wrong_server_is_not_read_before_anything_was_captured_either(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Any]
) -> None:
    """The file of the host that applied is right, that of the host that runs leads to another server."""
    stack = new_stack(new_simulator("--tier", "off"), rows=20, state_dsn=new_cluster().create_database("state"))
    elsewhere = another_server(new_cluster)
    stack.environment["ROWTIDE_SOURCE_DSN"] = elsewhere
    process = stack.start()
    problem = "SELECT health #>> ARRAY['source', %s, 'problem', 'code'] FROM rowtide.process"
    wait_until(
        lambda: stack.state(problem, stack.slot) == [("other_system",)] or stack.simulator.items(), "the server is said"
    )
    assert stack.simulator.items() == []
    assert "source_differs" in stack.command("reconcile", "parts", check=False).stderr
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
    assert stack.stop(process) == 0
    stack.environment["ROWTIDE_SOURCE_DSN"] = stack.source_dsn
    stack.start()
    wait_equal(stack)
