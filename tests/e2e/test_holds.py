"""What holds rows back, on real processes: kinds of holds stand beside each other, and each goes by what it waits for.

In: one running stack with two syncs; its state database is on a server of its own. Rule: what is asserted is what a
person sees, in lists and by `rowtide status`.
"""

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from state import schema
from tests.conftest import drop_databases, reachable_directory
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

SYNC = """
  {name}:
    source: {{postgres: erp, table: public.{name}}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {name}
    breaker: {{share: 0.2, rows: 500}}
    fields: {{note: Title}}
"""
TABLE = """
CREATE TABLE {name} (id bigint PRIMARY KEY, note text);
INSERT INTO {name} SELECT n, 'note ' || n FROM generate_series(1, 40) n
"""


@pytest.fixture(scope="module")
def stack(pg: Cluster) -> Iterator[Stack]:
    """Sync ``orders`` runs."""
    cluster = Cluster(reachable_directory("rowtide-pg-"), {"fsync": "off", "shared_buffers": "32MB"})
    cluster.start()
    source, directory = f"holds_{os.getpid()}", reachable_directory("rowtide-e2e-")
    simulator = Simulator(directory, "--tier", "off")
    source_dsn, state_dsn = pg.create_database(source), cluster.create_database("rowtide")
    schema.upgrade(state_dsn)
    stack = Stack(directory, source_dsn, state_dsn, simulator.ready, SYNC.format(name="orders"), "quota: off")
    stack.simulator = simulator
    stack.sql(TABLE.format(name="orders"))
    stack.apply()
    stack.start()
    yield stack
    stack.close()
    simulator.close()
    drop_databases(pg, [source])
    cluster.kill()
    for path in (directory, cluster.directory):
        shutil.rmtree(path, ignore_errors=True)


def titles(stack: Stack, name: str = "orders") -> dict[int, str]:
    """Key -> title of every item of a list."""
    live = [item["fields"] for item in stack.simulator.items() if item["list"] == name and not item["deleted"]]
    return {int(fields["RowtideKey"].split(":")[1]): fields["Title"] for fields in live}


def rows(stack: Stack, name: str = "orders") -> dict[int, str]:
    """Key -> note of every row."""
    return dict(stack.sql(f"SELECT id, note FROM {name}"))


def wait_equal(stack: Stack, name: str = "orders") -> None:
    """Until table and list are equal."""
    wait_until(lambda: titles(stack, name) == rows(stack, name), f"{name} equal")


def code_of(stack: Stack, name: str = "orders") -> str:
    """The code by which `status` says why a sync moves or does not."""
    return next(str(one["reason"]["code"]) for one in stack.status()["syncs"] if one["sync"] == name)


def test_one_resume_lifts_a_persons_pause_and_no_stop_at_capture(stack: Stack) -> None:
    """A sync stopped at capture while it is paused stays paused; resumed, it is still stopped, and that is said."""
    wait_equal(stack)
    stack.command("pause", "orders", "--reason", "stock taking")
    stack.sql("ALTER TABLE orders RENAME COLUMN note TO remark")
    stack.sql("UPDATE orders SET remark = 'while it does not fit' WHERE id = 1")
    wait_until(lambda: "relation_mismatch" in stack.command("status", "--json").stdout, "status has both reasons")
    assert code_of(stack) == "paused"
    done = stack.command("resume", "orders", "--json", check=False)
    assert done.returncode == 3
    [left] = json.loads(done.stdout)["remaining"]["orders"]
    assert (left["kind"], left["code"]) == ("capture", "relation_mismatch")
    wait_until(lambda: code_of(stack) == "relation_mismatch", "still stopped")
    stack.sql("ALTER TABLE orders RENAME COLUMN remark TO note")
    wait_equal(stack)
    wait_until(lambda: code_of(stack) == "idle", "runs again")


def test_an_approval_lets_through_exactly_the_deletions_that_were_held(stack: Stack) -> None:
    """Those that come afterwards are judged anew."""
    wait_equal(stack)
    stack.sql("DELETE FROM orders WHERE id <= 20")
    wait_until(lambda: code_of(stack) == "mass_delete", "held")
    stack.sql("DELETE FROM orders WHERE id BETWEEN 21 AND 30")
    wait_until(lambda: waiting(stack) == 30, "ten more wait")
    assert stack.command("resume", "orders", check=False).returncode == 3
    assert len(titles(stack)) == 40
    done = json.loads(stack.command("resume", "orders", "--approve-deletes", "--json", check=False).stdout)
    assert done["approved"]["count"] == 20
    wait_until(lambda: code_of(stack) == "mass_delete" and len(titles(stack)) == 20, "the others are held in turn")
    assert sorted(titles(stack)) == list(range(21, 41))
    stack.sql("INSERT INTO orders SELECT n, 'back again' FROM generate_series(21, 30) n")
    stack.command("reconcile", "orders", check=False)
    wait_equal(stack)
    wait_until(lambda: code_of(stack) == "idle", "runs again")


def waiting(stack: Stack) -> Any:
    """How many rows of the sync wait."""
    return next(one["waiting"] for one in stack.status()["syncs"] if one["sync"] == "orders")


def test_a_hold_on_a_tenant_covers_a_sync_that_is_applied_later(stack: Stack) -> None:
    stack.command("pause", "--target", "contoso", "--reason", "the tenant moves")
    stack.sql(TABLE.format(name="lines"))
    stack.write(SYNC.format(name="orders") + SYNC.format(name="lines"))
    stack.apply()
    wait_until(lambda: code_of(stack, "lines") == "paused", "it is held")
    stack.sql("UPDATE orders SET note = 'while held' WHERE id = 40")
    wait_until(lambda: waiting(stack) == 1, "its change waits")
    assert titles(stack, "lines") == {}
    stack.command("resume", "--target", "contoso")
    wait_equal(stack, "lines")
    wait_equal(stack)
