"""A state database that is restored from an older copy, of a sync that goes both ways.

In: a stack whose records forget what was pulled and pushed since. Rule: `rowtide_pull.applied` in the source knows what
was pulled; nothing is written over it, no conflict is made up, and nothing that a person made meanwhile is lost.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_pull import SYNC, TABLE, Desk
from tests.e2e.test_restored_state import run_tool

pytestmark = pytest.mark.long


def reason(stack: Stack) -> str:
    """Why the sync stands still, if it does."""
    [tasks] = stack.status()["syncs"]
    return str(tasks["reason"]["code"])


def test_what_the_records_forgot_is_told_by_source_and_lists(
    new_simulator: Callable[..., Simulator],
    new_stack: Callable[..., Stack],
    new_cluster: Callable[..., Any],
    database: str,
    tmp_path: Path,
) -> None:
    cluster, dump = new_cluster(), tmp_path / "state.dump"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLE)
    simulator, state_dsn = new_simulator("--tier", "off"), cluster.create_database("rowtide")
    stack = new_stack(simulator, source_dsn=database, state_dsn=state_dsn, syncs=SYNC)
    desk, process = Desk(stack), stack.start()
    wait_until(lambda: len(desk.items()) == 22, "every row has an item")
    desk.rest()
    assert stack.stop(process) == 0
    run_tool(cluster, "pg_dump", "-Fc", "-f", str(dump), "-d", stack.state_dsn)

    process = stack.start()
    for key in (3, 4, 7, 10):
        desk.edit(key, Title=f"typed on {key}")
        desk.arrives(key, "name", f"typed on {key}")
    stack.sql("UPDATE tasks SET quantity = 400 WHERE id IN (4, 5)")
    wait_until(lambda: {desk.item(key)["fields"]["Quantity"] for key in (4, 5)} == {400}, "they are written")
    stack.simulator.edit(list="Tasks", item_id=desk.item(6)["id"], delete=True, user="Ada Editor")
    wait_until(lambda: desk.row(6) is None, "the row is gone")
    stack.simulator.edit(list="Tasks", fields={"Title": "made in the list"}, user="Ada Editor")
    wait_until(lambda: stack.sql("SELECT FROM tasks WHERE name = 'made in the list'"), "a new row")
    desk.rest()
    assert stack.stop(process) == 0
    stack.sql("UPDATE tasks SET quantity = quantity + 1 WHERE id IN (4, 5)")
    stack.sql("UPDATE tasks SET name = 'over what was typed' WHERE id = 7")
    desk.edit(8, Note="while nothing ran")
    desk.edit(10, Note="on top")
    stack.sql("UPDATE tasks SET price = 8 WHERE id = 8")

    stack.state_dsn = stack.environment["ROWTIDE_STATE_DSN"] = cluster.create_database("restored")
    run_tool(cluster, "pg_restore", "-d", stack.state_dsn, str(dump))
    process = stack.start()
    wait_until(lambda: reason(stack) == "list_of_other_instance", "nothing is written to lists of the one before")
    stack.command("apply", "--yes", "--take-over")
    desk.arrives(8, "note, price::float8", "while nothing ran", 8.0)
    desk.arrives(10, "name, note", "typed on 10", "on top")
    wait_until(lambda: desk.item(7)["fields"]["Title"] == "over what was typed", "the row's newer value")
    wait_until(lambda: {desk.item(key)["fields"]["Quantity"] for key in (4, 5)} == {401}, "and these")
    desk.rest()
    assert [desk.row(key) for key in (3, 4)] == [("typed on 3",), ("typed on 4",)]
    assert desk.item(3)["fields"]["Title"] == "typed on 3"
    assert desk.row(6) is None
    assert stack.sql("SELECT count(*) FROM tasks WHERE name = 'made in the list'") == [(1,)]
    keys = [one["fields"].get("RowtideKey") for one in desk.items()]
    assert len(keys) == len(set(keys)) == 22
    assert stack.state("SELECT key, kind FROM rowtide.conflict") == []
    assert stack.stop(process) == 0
