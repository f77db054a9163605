"""What a sync of two ways may be told to do otherwise: deletions that mark or are ignored, refused edits taken back.

Two syncs share one running stack: ``kept`` marks what is deleted and takes back what its table refuses, ``left`` leaves
alone what is deleted. Each test has rows of its own, and begins and ends at rest.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from rowtide.keys import rowtide_key
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import Stack, wait_until

pytestmark = pytest.mark.long

TABLES = """
CREATE TABLE kept (
    id bigint PRIMARY KEY, name text NOT NULL, state text, quantity int CONSTRAINT few CHECK (quantity < 1000),
    code text UNIQUE, removed boolean NOT NULL DEFAULT false
);
CREATE TABLE left_alone (id bigint PRIMARY KEY, name text NOT NULL, state text);
INSERT INTO kept SELECT i, 'row ' || i, 'open', i, 'code ' || i FROM generate_series(1, 12) i;
INSERT INTO left_alone SELECT i, 'row ' || i, 'open' FROM generate_series(1, 5) i
"""

SYNCS = """
  kept:
    source: {postgres: erp, table: public.kept}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: Kept
    direction: both
    poll: 1s..2s
    deletes: {push: {mark: {State: removed}}, pull: {mark: {removed: true}}}
    on_refused: revert
    conflicts: {columns: {code: latest_wins}}
    breaker: {share: 1.0, rows: 100000}
    fields:
      name: Title
      state: State
      quantity: {field: Quantity, as: number}
      code: Code
  left:
    source: {postgres: erp, table: public.left_alone}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: Left
    direction: both
    poll: 1s..2s
    deletes: ignore
    breaker: {share: 1.0, rows: 100000}
    fields: {name: Title, state: State}
"""

LISTS = {"kept": "Kept", "left": "Left"}


class Desk:
    """A person before the lists, and one before the tables."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def find(self, sync: str, key: int) -> dict[str, Any] | None:
        """The item of a row."""
        items = [one for one in self.stack.simulator.items() if not one["deleted"]]
        return next((one for one in items if one["fields"].get("RowtideKey") == rowtide_key(sync, str(key))), None)

    def fields(self, sync: str, key: int) -> dict[str, Any]:
        """What the item of a row holds."""
        item = self.find(sync, key)
        return {} if item is None else dict(item["fields"])

    def edit(self, sync: str, key: int, **fields: object) -> None:
        """A person's edit."""
        item = self.find(sync, key)
        assert item is not None
        self.stack.simulator.edit(list=LISTS[sync], item_id=item["id"], fields=fields, user="Ada Editor")

    def delete(self, sync: str, key: int) -> None:
        """A person's deletion."""
        item = self.find(sync, key)
        assert item is not None
        self.stack.simulator.edit(list=LISTS[sync], item_id=item["id"], delete=True, user="Ada Editor")

    def pair(self, sync: str, key: int) -> str | None:
        """How a pair stands in the ledger."""
        found = self.stack.state("SELECT state FROM rowtide.ledger WHERE sync = %s AND key = %s", sync, str(key))
        return found[0][0] if found else None

    def is_at_rest(self) -> bool:
        """Whether nothing waits in either direction."""
        waiting = "SELECT (SELECT count(*) FROM rowtide.outbox) + (SELECT count(*) FROM rowtide.inbox)"
        return self.stack.state(waiting) == [(0,)]

    def rounds(self) -> int:
        """How often the list was asked that was asked the least."""
        return int(self.stack.state("SELECT min(round)::int FROM rowtide.list_cursor")[0][0])

    def rest(self) -> None:
        """Wait until all that was done has arrived, and each list was asked twice since."""
        wait_until(self.is_at_rest, "nothing waits any more")
        rounds = self.rounds()
        wait_until(lambda: self.rounds() >= rounds + 2 and self.is_at_rest(), "the lists were asked again")

    def writes(self) -> int:
        """Requests that changed a list."""
        return self.stack.simulator.writes()

    def conflicts(self, key: int) -> list[dict[str, Any]]:
        """What is on record of a row of ``kept``, as a user reads it."""
        found = self.stack.command("conflicts", "list", "kept", "--key", str(key), "--all", "--json")
        ids = [one["id"] for one in json.loads(found.stdout)["conflicts"]]
        return [json.loads(self.stack.command("conflicts", "show", str(one), "--json").stdout) for one in ids]


@pytest.fixture(scope="module")
def running(pg: Cluster) -> Iterator[Stack]:
    """A running stack whose rows have arrived."""
    with shared_stack(pg, pg, "policies", [TABLES], SYNCS) as made:
        made.start()
        wait_until(lambda: len(made.simulator.items()) == 17, "every row has an item")
        yield made


@pytest.fixture
def desk(running: Stack) -> Iterator[Desk]:
    """The running stack at rest, before and after."""
    desk = Desk(running)
    desk.rest()
    yield desk
    desk.rest()


# --- deletions ----------------------------------------------------------------------------------------------------


def test_a_deleted_row_marks_its_item_until_it_is_there_again(desk: Desk) -> None:
    item = desk.find("kept", 1)
    assert item is not None
    desk.stack.sql("DELETE FROM kept WHERE id = 1")
    wait_until(lambda: desk.fields("kept", 1).get("State") == "removed", "the item is marked")
    desk.rest()
    assert desk.pair("kept", 1) == "ignored"
    desk.edit("kept", 1, Title="edited after that")
    desk.rest()
    assert desk.stack.sql("SELECT FROM kept WHERE id = 1") == []
    desk.stack.sql("INSERT INTO kept VALUES (1, 'again', 'open', 1, 'code 1')")
    wait_until(lambda: desk.fields("kept", 1).get("Title") == "again", "the row has its item again")
    desk.rest()
    again = desk.find("kept", 1)
    assert again is not None
    assert (again["id"], again["fields"]["State"], desk.pair("kept", 1)) == (item["id"], "open", "live")


def test_a_deleted_item_marks_its_row_which_gets_no_other(desk: Desk) -> None:
    desk.delete("kept", 2)
    marked = "SELECT removed FROM kept WHERE id = 2"
    wait_until(lambda: desk.stack.sql(marked) == [(True,)], "the row is marked")
    desk.rest()
    desk.stack.sql("UPDATE kept SET name = 'changed after that' WHERE id = 2")
    desk.rest()
    assert desk.find("kept", 2) is None
    assert desk.pair("kept", 2) == "ignored"
    desk.stack.sql("DELETE FROM kept WHERE id = 2")
    desk.rest()
    desk.stack.sql("INSERT INTO kept VALUES (2, 'made anew', 'open', 2, 'code 2')")
    wait_until(lambda: desk.fields("kept", 2).get("Title") == "made anew", "a row that is made anew has an item")


def test_what_is_deleted_on_one_side_stays_on_the_other_where_deletions_are_ignored(desk: Desk) -> None:
    desk.delete("left", 1)
    desk.stack.sql("DELETE FROM left_alone WHERE id = 2")
    wait_until(lambda: desk.pair("left", 1) == desk.pair("left", 2) == "ignored", "both pairs are left alone")
    desk.rest()
    before = desk.writes()
    desk.stack.sql("UPDATE left_alone SET name = 'nobody is told' WHERE id = 1")
    desk.edit("left", 2, Title="nobody is told")
    desk.rest()
    assert desk.find("left", 1) is None
    assert desk.stack.sql("SELECT id, name FROM left_alone WHERE id < 3") == [(1, "nobody is told")]
    assert desk.writes() == before
    desk.stack.sql("INSERT INTO left_alone VALUES (2, 'back again', 'open')")
    wait_until(lambda: desk.fields("left", 2).get("Title") == "back again", "the row has its item again")
    desk.stack.sql("DELETE FROM left_alone WHERE id = 1; INSERT INTO left_alone VALUES (1, 'back, too', 'open')")
    wait_until(lambda: desk.fields("left", 1).get("Title") == "back, too", "a row that is made anew has an item")


def test_an_item_that_comes_back_takes_its_row_up_again(desk: Desk) -> None:
    item = desk.find("left", 3)
    assert item is not None
    desk.delete("left", 3)
    wait_until(lambda: desk.pair("left", 3) == "ignored", "the pair is left alone")
    kept = {name: item["fields"].get(name) for name in ("Title", "State", "RowtideKey")}
    desk.stack.simulator.edit(list="Left", fields=kept, user="Ada Editor")
    wait_until(lambda: desk.pair("left", 3) == "live", "they are a pair again")
    desk.rest()
    desk.edit("left", 3, State="closed")
    wait_until(lambda: desk.stack.sql("SELECT state FROM left_alone WHERE id = 3") == [("closed",)], "edits arrive")


# --- what the table refuses ---------------------------------------------------------------------------------------


def test_a_refused_edit_is_taken_back_whole_and_is_on_record(desk: Desk) -> None:
    before = desk.fields("kept", 4)
    desk.edit("kept", 4, Title="with a number too large", Quantity=5000)
    wait_until(lambda: desk.conflicts(4), "the refusal is on record")
    desk.rest()
    after = desk.fields("kept", 4)
    assert {name: after[name] for name in ("Title", "Quantity")} == {
        name: before[name] for name in ("Title", "Quantity")
    }
    assert desk.stack.sql("SELECT name, quantity FROM kept WHERE id = 4") == [("row 4", 4)]
    [record] = desk.conflicts(4)
    assert (record["kind"], record["winner"], record["state"]) == ("refused_by_source", "postgres", "closed")
    assert "few" in record["sentence"]
    assert record["values"]["Quantity"] == {"base": 4, "postgres": 4, "sharepoint": 5000, "winner": "postgres"}
    assert record["editor"] == "Ada Editor"
    assert "edit refused, its item follows the row" in desk.stack.logged()
    writes = desk.writes()
    desk.rest()
    assert desk.writes() == writes, "it is taken back once"


def test_each_kind_of_refusal_is_taken_back(desk: Desk) -> None:
    desk.edit("kept", 5, Code="code 6")
    desk.edit("kept", 7, Quantity=7.5)
    desk.edit("kept", 8, Title="is taken")
    wait_until(lambda: desk.stack.sql("SELECT name FROM kept WHERE id = 8") == [("is taken",)], "what fits arrives")
    desk.rest()
    assert (desk.fields("kept", 5)["Code"], desk.fields("kept", 7)["Quantity"]) == ("code 5", 7)
    assert [one["kind"] for one in desk.conflicts(5)] == ["unique_violation"]
    assert [one["kind"] for one in desk.conflicts(7)] == ["type_unrepresentable"]


def test_a_change_of_the_row_meanwhile_travels_with_what_is_taken_back(desk: Desk) -> None:
    stack = desk.stack
    assert stack.stop(stack.processes[-1]) == 0
    desk.edit("kept", 9, Quantity=5000, State="from the list")
    stack.sql("UPDATE kept SET name = 'from the table' WHERE id = 9")
    stack.start()
    wait_until(lambda: desk.fields("kept", 9)["Title"] == "from the table", "the row's change arrives")
    desk.rest()
    fields = desk.fields("kept", 9)
    assert (fields["Quantity"], fields["State"]) == (9, "open")


# --- who was later, and who insists -------------------------------------------------------------------------------


def test_the_later_one_wins_by_one_clock(desk: Desk) -> None:
    """Graph's clock is minutes ahead here; that the row was changed after its item is seen all the same."""
    stack = desk.stack
    assert stack.stop(stack.processes[-1]) == 0
    stack.simulator.ask("clock", {"advance_s": 300})
    desk.edit("kept", 10, Code="from the list, earlier")
    stack.sql("UPDATE kept SET code = 'from the table, earlier' WHERE id = 11")
    [(now,)] = stack.sql("SELECT clock_timestamp()")
    later = "SELECT clock_timestamp() > %s + interval '5 seconds'"
    wait_until(lambda: stack.sql(later, now) == [(True,)], "some seconds have passed")
    stack.sql("UPDATE kept SET code = 'from the table, later' WHERE id = 10")
    desk.edit("kept", 11, Code="from the list, later")
    stack.start()
    wait_until(lambda: desk.fields("kept", 10)["Code"] == "from the table, later", "the row was later")
    code = "SELECT code FROM kept WHERE id = 11"
    wait_until(lambda: stack.sql(code) == [("from the list, later",)], "the item was later")
    desk.rest()
    assert [[one["policy"], one["winner"]] for key in (10, 11) for one in desk.conflicts(key)] == [
        ["postgres_wins", "postgres"],
        ["postgres_wins", "sharepoint"],
    ]


def test_a_field_that_both_sides_insist_on_holds_its_row_until_a_person_lets_it_go(desk: Desk) -> None:
    stack = desk.stack

    def held() -> list[tuple[Any, ...]]:
        return stack.state("SELECT code FROM rowtide.inbox WHERE key = '12' AND state = 'parked'")

    for turn in range(1, 4):
        desk.edit("kept", 12, State=f"list {turn}")
        name = "SELECT state FROM kept WHERE id = 12"
        wait_until(lambda name=name, turn=turn: stack.sql(name) == [(f"list {turn}",)], "the edit arrives")
        stack.sql("UPDATE kept SET state = %s WHERE id = 12", f"table {turn}")
        wait_until(lambda turn=turn: desk.fields("kept", 12)["State"] == f"table {turn}", "the change arrives")
    assert held() == []
    desk.edit("kept", 12, State="list 4")
    wait_until(lambda: held() == [("ping_pong",)], "the row is held")
    stack.sql("UPDATE kept SET name = 'is not written' WHERE id = 12")
    desk.edit("kept", 12, State="list 5")
    wait_until(lambda: stack.state("SELECT FROM rowtide.outbox WHERE key = '12'"), "the row waits")
    rounds = desk.rounds()
    wait_until(lambda: desk.rounds() >= rounds + 3, "the list was asked again")
    assert held() == [("ping_pong",)], "another edit does not let it go"
    assert stack.sql("SELECT state FROM kept WHERE id = 12") == [("table 3",)]
    assert desk.fields("kept", 12)["Title"] == "row 12"
    found = stack.command("parked", "list", "kept", check=False)
    assert found.returncode == 3
    assert "set field State in turn 6 times" in found.stdout
    stack.command("parked", "retry", "kept", "12")
    wait_until(lambda: stack.sql("SELECT state FROM kept WHERE id = 12") == [("list 5",)], "the edit is applied")
    wait_until(lambda: desk.fields("kept", 12)["Title"] == "is not written", "the row's change arrives, too")
