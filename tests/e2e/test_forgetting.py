"""`rowtide forget` and `rowtide purge`: nothing of a row or a sync is kept, and what comes afterwards arrives.

In: a running stack with a sync that propagates deletions and one that ignores them; the state database is on a server
of its own. Rule: that nothing is kept is looked up in every table of the state database.
"""

from collections.abc import Iterator

import psycopg
import pytest

from demo.postgres import Cluster
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import Stack, wait_until

SYNC = """
  {name}:
    source: {{postgres: erp, table: public.{name}}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {name}
    deletes: {deletes}
    breaker: {{share: 1.0, rows: 100000}}
    fields: {{note: Title, more: {{field: More, as: text}}}}
"""
TABLE = """
CREATE TABLE {name} (id bigint PRIMARY KEY, note text, more text);
INSERT INTO {name} SELECT n, 'note ' || n, 'private of {name} ' || n FROM generate_series(1, 5) n
"""
ORDERS, NOTES = SYNC.format(name="orders", deletes="propagate"), SYNC.format(name="notes", deletes="ignore")


@pytest.fixture(scope="module")
def stack(pg: Cluster, state_server: Cluster) -> Iterator[Stack]:
    """Both syncs run, and are loaded."""
    tables = [TABLE.format(name=name) for name in ("orders", "notes")]
    with shared_stack(pg, state_server, "forgetting", tables, ORDERS + NOTES) as stack:
        stack.start()
        for name in ("orders", "notes"):
            wait_equal(stack, name)
        yield stack


def titles(stack: Stack, name: str) -> dict[int, str]:
    """Key -> title of every item of a list; two items of one key are an error."""
    live = [item["fields"] for item in stack.simulator.items() if item["list"] == name and not item["deleted"]]
    found = {int(fields["RowtideKey"].split(":")[1]): fields["Title"] for fields in live}
    assert len(found) == len(live)
    return found


def wait_equal(stack: Stack, name: str) -> None:
    """Until table and list are equal."""
    wait_until(lambda: titles(stack, name) == dict(stack.sql(f"SELECT id, note FROM {name}")), f"{name} equal")


def kept_in(stack: Stack, text: str) -> list[str]:
    """The tables of the state database in which ``text`` stands."""
    tables = stack.state("SELECT tablename FROM pg_tables WHERE schemaname = 'rowtide' ORDER BY tablename")
    query = 'SELECT 1 FROM rowtide."{}" AS t WHERE strpos(t::text, %s) > 0 LIMIT 1'
    return [table for (table,) in tables if stack.state(query.format(table), text)]


def refused(stack: Stack, *words: str) -> str:
    """The code with which a command is refused."""
    done = stack.command(*words, check=False)
    assert done.returncode == 2, done.stdout
    return done.stderr.split()[1].rstrip(":")


def pairs(stack: Stack, sync: str, key: int) -> list[tuple[str, ...]]:
    """State and base of a row in the ledger."""
    return stack.state("SELECT state, base::text FROM rowtide.ledger WHERE sync = %s AND key = %s", sync, str(key))


@pytest.mark.long
def test_each_process_and_command_has_its_own_role_in_the_state_database(stack: Stack) -> None:
    """So has every end-to-end test: what any of them does is done with no more than these rights."""
    sessions = "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name LIKE 'rowtide%%'"
    assert stack.state(f"{sessions} AND datname = current_database()") == [("rowtide_run",)]
    for command, role in (("status", "rowtide_view"), ("apply", "rowtide_apply"), ("run", "rowtide_run")):
        dsn = stack.environment_of(command)["ROWTIDE_STATE_DSN"]
        assert psycopg.conninfo.conninfo_to_dict(dsn)["user"] == role


@pytest.mark.long
def test_a_deleted_row_of_a_paused_sync_is_forgotten_and_its_item_goes_all_the_same(stack: Stack) -> None:
    assert refused(stack, "forget", "orders", "1", "--yes") == "forget_live"
    stack.command("pause", "orders")
    stack.sql("UPDATE orders SET more = 'private of orders 1, too' WHERE id = 1")
    waits = "SELECT op FROM rowtide.outbox WHERE sync = 'orders' AND key = '1'"
    wait_until(lambda: stack.state(waits) == [("u",)], "the change waits")
    assert refused(stack, "forget", "orders", "1", "--yes") == "forget_waits"
    stack.sql("DELETE FROM orders WHERE id = 1")
    wait_until(lambda: stack.state(waits) == [("d",)], "the deletion waits")
    assert kept_in(stack, "private of orders 1") == ["ledger"]
    stack.command("forget", "orders", "1", "--yes")
    assert kept_in(stack, "private of orders 1") == []

    stack.command("resume", "orders")
    wait_equal(stack, "orders")
    wait_until(lambda: pairs(stack, "orders", 1) == [("tombstone", "{}")], "the deletion is settled")

    def forgotten() -> bool:
        stack.command("forget", "orders", "1", "--yes")
        return pairs(stack, "orders", 1) == []

    wait_until(forgotten, "stream and snapshots are beyond the tombstone: its key goes, too")
    stack.sql("INSERT INTO orders VALUES (1, 'note of another', 'x')")
    wait_equal(stack, "orders")


@pytest.mark.long
def test_a_row_whose_item_was_left_there_is_forgotten_and_may_come_back(stack: Stack) -> None:
    stack.sql("DELETE FROM notes WHERE id = 2")
    wait_until(lambda: [one[0] for one in pairs(stack, "notes", 2)] == ["ignored"], "the item is left where it is")
    assert kept_in(stack, "private of notes 2") == ["ledger"]
    stack.command("forget", "notes", "2", "--yes")
    assert kept_in(stack, "private of notes 2") == []
    stack.sql("INSERT INTO notes VALUES (2, 'came back', 'y')")
    wait_equal(stack, "notes")
    live = [("live", '{"More": "y", "Title": "came back"}')]
    wait_until(lambda: pairs(stack, "notes", 2) == live, "the pair is live again")


@pytest.mark.long
def test_a_retired_sync_is_purged_and_may_come_back(stack: Stack) -> None:
    assert refused(stack, "purge", "notes", "--yes") == "purge_in_force"
    assert refused(stack, "purge", "nothing", "--yes") == "unknown_sync"
    stack.command("pause", "notes")
    stack.sql("UPDATE notes SET more = 'waits of notes' WHERE id = 3")
    wait_until(lambda: kept_in(stack, "waits of notes") == ["outbox"], "a change waits")
    stack.write(ORDERS)
    stack.apply()
    assert refused(stack, "purge", "notes", "--yes") == "purge_would_lose"
    stack.command("forget", "notes", "3", "--yes")
    assert kept_in(stack, "waits of notes") == kept_in(stack, "private of notes 3") == []
    assert kept_in(stack, "private of notes 4") == ["ledger"]
    stack.command("purge", "notes", "--yes")
    assert kept_in(stack, "of notes") == []
    left = "SELECT count(*) FROM rowtide.{} WHERE sync = 'notes'"
    for table in ("outbox", "ledger", "list", "reconcile", "progress", "seen", "enumeration"):
        assert stack.state(left.format(table)) == [(0,)]
    stack.sql("UPDATE orders SET note = 'goes on' WHERE id = 4")
    wait_equal(stack, "orders")

    stack.write(ORDERS + NOTES)
    stack.apply()
    stack.sql("UPDATE notes SET note = 'once more' WHERE id = 5")
    wait_equal(stack, "notes")
    wait_until(lambda: "private of notes 4" in str(pairs(stack, "notes", 4)), "the row is known again")
    by = stack.state("SELECT kind, verdict FROM rowtide.runs WHERE kind IN ('forget', 'purge') AND actor <> ''")
    assert {("forget", "done"), ("purge", "done")} <= set(by)
