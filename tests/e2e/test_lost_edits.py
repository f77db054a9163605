"""A source that fails over to a standby which lacks people's edits: each of them is applied again, or is a conflict.

In: a stack that goes both ways, a standby of its source that ended some commits before. Rule: what a person made is in
the table at the end, or on record as a conflict; and nothing is written once all is at rest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from connectors.postgres.apply_session import lock_number
from demo.postgres import Cluster
from rowtide.keys import rowtide_key
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import wait_until
from tests.e2e.test_pull import SYNC, TABLE, Desk
from tests.integration.postgres.standby import standby_of

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Sources(Desk):
    """A desk before a source that has a standby."""

    primary: Cluster
    standby: Cluster

    def fail_over(self) -> None:
        """The process and the primary die; the standby, which ended before, is the primary from now on."""
        self.stack.processes[-1].kill()
        self.stack.processes[-1].wait(10)
        self.primary.kill()
        self.standby.start()
        name = str(psycopg.conninfo.conninfo_to_dict(self.stack.source_dsn)["dbname"])
        self.stack.source_dsn = self.stack.environment["ROWTIDE_SOURCE_DSN"] = self.standby.dsn(name)
        self.stack.sql("SELECT pg_promote(true, 30)")
        wait_until(lambda: self.stack.sql("SELECT pg_is_in_recovery()") == [(False,)], "it is promoted")

    def item_keys(self) -> list[str | None]:
        """The RowtideKey of every item."""
        return [one["fields"].get("RowtideKey") for one in self.items()]

    def delete(self, key: int) -> None:
        """A person deletes the item of a row."""
        self.stack.simulator.edit(list="Tasks", item_id=self.item(key)["id"], delete=True, user="Ada Editor")


@pytest.fixture
def desk(new_cluster: Callable[..., Cluster], pg: Cluster, reachable_path: Path) -> Iterator[Sources]:
    """A running stack whose rows have arrived, and whose row 3 was edited; its standby ends there."""
    primary = new_cluster(wal_level="logical")
    with shared_stack(primary, pg, "lost", [TABLE], SYNC) as stack:
        made: list[Cluster] = []
        try:
            stack.start()
            wait_until(lambda: len(Desk(stack).items()) == 22, "every row has an item")
            Desk(stack).rest()
            Desk(stack).edit(3, Title="kept")
            Desk(stack).arrives(3, "name", "kept")
            Desk(stack).rest()
            made.append(standby_of(primary, reachable_path / "standby"))
            yield Sources(stack, primary, made[0])
        finally:
            for standby in made:
                standby.kill()
            primary.start()  # for whoever takes its databases away


def test_what_a_promoted_standby_lacks_of_edits_is_applied_again(desk: Sources) -> None:
    stack = desk.stack
    desk.edit(3, Title="edited again")
    desk.edit(4, Title="lost")
    desk.edit(5, Title="lost first")
    desk.arrives(5, "name", "lost first")
    desk.edit(5, Quantity=500)
    desk.edit(6, Title="by a person", Quantity=600)
    desk.edit(7, Note=None)
    desk.delete(8)
    desk.delete(9)
    stack.simulator.edit(list="Tasks", fields={"Title": "made in the list", "Quantity": 5}, user="Ada Editor")
    [(made,)] = wait_until(lambda: stack.sql("SELECT id FROM tasks WHERE name = 'made in the list'"), "a new row")
    desk.edit(made, Quantity=55)
    desk.arrives(made, "quantity", 55)
    desk.arrives(6, "name, quantity", "by a person", 600)
    wait_until(lambda: desk.row(8) is None and desk.row(9) is None and desk.row(7, "note") == (None,), "all is there")
    desk.rest()

    desk.fail_over()
    assert desk.row(4) == ("task 4",)
    assert desk.row(made) is None
    stack.sql("UPDATE tasks SET name = 'by the application' WHERE id = 6")
    stack.sql("UPDATE tasks SET quantity = 70 WHERE id = 7")
    stack.sql("UPDATE tasks SET owner = 'still needed' WHERE id = 9")
    stack.start()

    desk.arrives(3, "name", "edited again")
    desk.arrives(4, "name, quantity", "lost", 4)
    desk.arrives(5, "name, quantity", "lost first", 500)
    desk.arrives(6, "name, quantity", "by the application", 600)
    desk.arrives(7, "note, quantity", None, 70)
    desk.arrives(made, "name, quantity", "made in the list", 55)
    wait_until(lambda: desk.row(8) is None, "the row is deleted again")
    wait_until(lambda: "tasks:9" in desk.item_keys(), "the row that was changed since has an item again")
    desk.rest()
    assert desk.item(6)["fields"]["Title"] == "by the application"
    assert desk.item(7)["fields"]["Quantity"] == 70
    assert desk.item(9)["fields"]["Owner"] == "still needed"
    assert rowtide_key("tasks", "8") not in desk.item_keys()
    assert len(desk.item_keys()) == len(set(desk.item_keys())) == 22
    [(kind, _, winner, fields)] = desk.conflicts(6)
    assert (kind, winner, set(fields)) == ("update_differing", "postgres", {"Title"})
    assert [kind for kind, _, _, _ in desk.conflicts(9)] == ["delete_updated"]
    others = "SELECT key FROM rowtide.conflict WHERE key NOT IN ('6', '9')"
    assert stack.state(others) == []
    assert "the source has lost edits" in stack.logged()
    before = desk.writes()
    desk.rest()
    assert desk.writes() == before
    assert stack.stop(stack.processes[-1]) == 0


def test_no_row_goes_to_its_list_before_it_was_looked_at(desk: Sources) -> None:
    """Although the stream of the new era says it at once: somebody else holds the lock of whoever applies edits."""
    stack = desk.stack
    desk.edit(4, Title="lost")
    desk.edit(5, Title="lost, and its row changed")
    desk.arrives(4, "name", "lost")
    desk.arrives(5, "name", "lost, and its row changed")
    desk.rest()
    desk.fail_over()
    with psycopg.connect(stack.source_dsn, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [lock_number("tasks")])
        stack.start()
        stack.sql("UPDATE tasks SET quantity = 555 WHERE id = 5")
        said = "SELECT waits FROM rowtide.reconcile WHERE waits LIKE 'It is looked first%'"
        wait_until(lambda: stack.state(said), "the pass waits")
        stack.sql("UPDATE tasks SET quantity = 666 WHERE id = 6")
        wait_until(lambda: desk.item(6)["fields"]["Quantity"] == 666, "another row goes to its list")
        assert desk.item(5)["fields"]["Title"] == "lost, and its row changed"
        assert desk.item(4)["fields"]["Title"] == "lost"
    desk.arrives(4, "name", "lost")
    desk.arrives(5, "name, quantity", "lost, and its row changed", 555)
    desk.rest()
    assert desk.item(5)["fields"]["Quantity"] == 555
    assert stack.state("SELECT count(*) FROM rowtide.conflict") == [(0,)]
    assert stack.stop(stack.processes[-1]) == 0
