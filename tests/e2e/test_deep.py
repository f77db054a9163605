"""What people do to items: `rowtide diff` names it, `rowtide reconcile --deep` mends it, and nobody else is touched.

In: one running stack with a state database on a server of its own; each test has a table, a sync and a list of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.postgres import Cluster
from flows import deep_pass
from state import schema
from tests.conftest import drop_databases, reachable_directory
from tests.e2e import owner
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

SYNC = """
  {name}:
    source: {{postgres: erp, table: public.{name}}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {name}
    breaker: {{share: {share}, rows: 100000}}
    fields: {{note: Title, quantity: {{field: Quantity, as: number}}, at: {{field: At, as: dateTime}}}}
"""
ROWS = 40


class Line:
    """A running stack whose definition grows by a sync for each test."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.syncs: list[str] = []
        self.process: subprocess.Popen[bytes] = stack.start()
        self.pages_before = 0

    def sync(self, name: str, key: str = "int", rows: int = ROWS, share: float = 1.0) -> None:
        """A table with rows, its sync, and its items."""
        self.stack.sql(f"CREATE TABLE {name} (id {key} PRIMARY KEY, note text, quantity int, at timestamptz)")
        value = "i" if key == "int" else "'Key ' || i"
        self.stack.sql(f"INSERT INTO {name} SELECT {value}, 'row ' || i, i, now() FROM generate_series(1, {rows}) i")
        self.syncs.append(SYNC.format(name=name, share=share))
        self.stack.write("".join(self.syncs))
        self.stack.apply()
        self.wait(name)

    def items(self, name: str) -> list[dict[str, Any]]:
        """The living items of the sync's list."""
        return [one for one in self.stack.simulator.items() if one["list"] == name and not one["deleted"]]

    def item(self, name: str, key: object) -> dict[str, Any]:
        """The item of a row."""
        [found] = [one for one in self.items(name) if one["fields"].get("RowtideKey") == f"{name}:{key}"]
        return found

    def edit(self, name: str, **what: Any) -> dict[str, Any]:
        """A person's edit in the sync's list."""
        found: dict[str, Any] = self.stack.simulator.edit(list=name, **what)
        return found

    def is_equal(self, name: str) -> bool:
        """Whether every row has its one item, and nothing waits."""
        rows = sorted((note, quantity) for note, quantity in self.stack.sql(f"SELECT note, quantity FROM {name}"))
        shown = [
            (one["fields"].get("Title"), one["fields"].get("Quantity"))
            for one in self.items(name)
            if one["fields"].get("RowtideKey")
        ]
        waiting = self.stack.state("SELECT count(*) FROM rowtide.outbox WHERE sync = %s", name)
        return rows == sorted(shown) and waiting == [(0,)]

    def wait(self, name: str) -> None:
        """Until they are equal."""
        try:
            wait_until(lambda: self.is_equal(name), f"{name} and its list are equal", 90)
        except AssertionError as error:
            outbox = self.stack.state("SELECT key, op, state, reason, sent FROM rowtide.outbox LIMIT 5")
            raise AssertionError(f"{error}\n{outbox}\n{self.stack.logged()[-3000:]}") from None

    def settled(self, name: str) -> bool:
        """Whether nothing of the sync waits."""
        return self.stack.state("SELECT count(*) FROM rowtide.outbox WHERE sync = %s", name) == [(0,)]

    def done(self, name: str) -> bool:
        """Whether no pass of the sync is wanted or under way."""
        return self.stack.state("SELECT state FROM rowtide.reconcile WHERE sync = %s", name) == [("done",)]

    def restart(self, failpoints: str = "") -> None:
        """Kill the process and start it again."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process = self.stack.start(failpoints=failpoints)
        self.pages_before = self.stack.simulator.stats()["delta_pages"]

    def ask(self, name: str, failpoints: str = "") -> "subprocess.Popen[bytes]":
        """`rowtide reconcile --deep`, under way. The command, or the process that runs, does the pass."""
        command = [sys.executable, "-m", "tests.failpoints", "reconcile", "-c", str(self.stack.config), name, "--deep"]
        environment = {**self.stack.environment, "ROWTIDE_FAILPOINTS": failpoints}
        asked = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.processes.append(asked)
        return asked

    def diff(self, name: str) -> dict[str, Any]:
        """What `rowtide diff` says."""
        done = self.stack.command("diff", name, "--json", check=False)
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        assert "error" not in document, document
        assert done.returncode == (0 if document["equal"] else 1)
        return document

    def deep(self, name: str) -> dict[str, Any]:
        """What `rowtide reconcile --deep` says."""
        document: dict[str, Any] = json.loads(self.stack.command("reconcile", name, "--deep", "--json").stdout)
        return document


@pytest.fixture(scope="module")
def line(pg: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A running stack; the records are on another server than the source."""
    name = f"deep_{os.getpid()}"
    other = Cluster(reachable_directory("rowtide-deep-pg-"), {"fsync": "off"})
    other.start()
    source_dsn, state_dsn = pg.create_database(name), other.create_database(name)
    schema.upgrade(state_dsn)
    simulator = Simulator(tmp_path_factory.mktemp("simulator"), "--tier", "off")
    directory = reachable_directory("rowtide-deep-")
    stack = Stack(directory, source_dsn, state_dsn, simulator.ready, "", "quota: off")
    stack.simulator = simulator
    stack.sql("CREATE TABLE first (id int PRIMARY KEY, note text, quantity int, at timestamptz)")
    stack.write(SYNC.format(name="first", share=1.0))
    stack.apply()
    line = Line(stack)
    line.syncs.append(SYNC.format(name="first", share=1.0))
    yield line
    stack.close()
    simulator.close()
    drop_databases(pg, [name])
    other.kill()
    for path in (directory, other.directory):
        shutil.rmtree(path, ignore_errors=True)


def kinds(document: dict[str, Any]) -> list[tuple[str, str | None]]:
    """What was found, by kind and key."""
    return sorted((one["kind"], one["key"] or "") for one in document["findings"])


def test_what_people_do_to_items_is_named_and_mended(line: Line) -> None:
    name = "acts"
    line.sync(name)
    assert line.diff(name)["findings"] == []
    edited, touched = line.item(name, 1), line.item(name, 2)
    line.edit(name, item_id=edited["id"], fields={"Title": "a person's words"})
    line.edit(name, item_id=touched["id"], touch=True)
    for key in (3, 4, 5):
        line.edit(name, item_id=line.item(name, key)["id"], delete=True)
    added = line.edit(name, fields={"Title": "by hand"})
    copied = line.edit(name, fields={"Title": "a copy", "RowtideKey": f"{name}:999"})
    found = line.diff(name)
    assert not found["equal"]
    assert kinds(found) == [
        ("edited", "1"), ("missing", "3"), ("missing", "4"), ("missing", "5"), ("orphan", "999"), ("stranger", ""),
    ]  # fmt: skip
    assert next(one for one in found["findings"] if one["kind"] == "edited")["fields"] == ["Title"]
    assert line.stack.state("SELECT count(*) FROM rowtide.outbox") == [(0,)]
    assert line.stack.state("SELECT count(*) FROM rowtide.seen") == [(0,)]
    document = line.deep(name)
    assert document["done"], document
    assert {one: document["counts"].get(one) for one in ("edited", "missing", "orphans", "strangers")} == {
        "edited": 1, "missing": 3, "orphans": 1, "strangers": 1,
    }  # fmt: skip
    wait_until(lambda: line.item(name, 1)["fields"]["Title"] == "row 1", "the edit is mended")
    wait_until(lambda: len([one for one in line.items(name) if one["fields"].get("RowtideKey")]) == ROWS + 1, "made")
    assert line.item(name, 2)["version"] == touched["version"] + 1
    for stranger in (added, copied):
        [shown] = [one for one in line.items(name) if one["id"] == stranger["id"]]
        assert (shown["version"], shown["fields"]["Title"]) == (stranger["version"], stranger["fields"]["Title"])
    again = line.diff(name)
    assert kinds(again) == [("orphan", "999"), ("stranger", "")]


def test_what_waits_is_mended_too(line: Line) -> None:
    """A row that waits may turn out to say what its item said before a person came: nothing would be written then."""
    name = "waits"
    line.sync(name)
    line.process.kill()
    line.process = line.stack.start("--roles", "capture")
    line.stack.sql(f"UPDATE {name} SET quantity = quantity WHERE id BETWEEN 6 AND 9")
    line.stack.sql(f"DELETE FROM {name} WHERE id = 9")
    count = "SELECT count(*) FROM rowtide.outbox WHERE sync = %s"
    wait_until(lambda: line.stack.state(count, name) == [(4,)], "the rows wait")
    line.stack.state("UPDATE rowtide.outbox SET due_at = now() + interval '1 hour' WHERE sync = %s RETURNING 1", name)
    line.edit(name, item_id=line.item(name, 6)["id"], fields={"Title": "a person's words"})
    line.edit(name, item_id=line.item(name, 7)["id"], delete=True)
    line.edit(name, item_id=line.item(name, 8)["id"], fields={"RowtideKey": None})
    line.restart()
    line.ask(name)
    asked = "SELECT counts FROM rowtide.reconcile WHERE sync = %s AND state = 'done' AND enumerates"
    [(counts,)] = wait_until(lambda: line.stack.state(asked, name), "the pass has ended", 90)
    assert {one: counts.get(one) for one in ("edited", "missing", "waiting")} == {
        "edited": 2, "missing": 1, "waiting": 1,
    }  # fmt: skip
    line.stack.state("UPDATE rowtide.outbox SET due_at = now() WHERE sync = %s RETURNING 1", name)
    line.wait(name)
    assert line.diff(name)["findings"] == []


def test_lost_edited_and_copied_keys_are_mended(line: Line) -> None:
    """A key is a field of the base; a person's item that has it loses it first, because keys are unique."""
    name = "keys"
    line.sync(name)
    own = {key: line.item(name, key) for key in (1, 2, 3)}
    line.edit(name, item_id=own[1]["id"], fields={"RowtideKey": None})
    line.edit(name, item_id=own[2]["id"], fields={"RowtideKey": f"{name}:1000"})
    line.edit(name, item_id=own[3]["id"], fields={"RowtideKey": None})
    taken = line.edit(name, fields={"Title": "a person's", "RowtideKey": f"{name}:3"})
    found = line.diff(name)
    assert kinds(found) == [("copy", "3"), ("edited", "1"), ("edited", "2"), ("edited", "3")]
    assert {tuple(one["fields"]) for one in found["findings"] if one["kind"] == "edited"} == {("RowtideKey",)}
    made = int(line.stack.simulator.stats()["creates"]["total"])
    assert line.deep(name)["done"]
    line.wait(name)
    for key, before in own.items():
        assert line.item(name, key)["id"] == before["id"]
    [left] = [one for one in line.items(name) if one["id"] == taken["id"]]
    assert (left["fields"]["Title"], left["fields"].get("RowtideKey")) == ("a person's", None)
    assert int(line.stack.simulator.stats()["creates"]["total"]) == made
    assert kinds(line.diff(name)) == [("stranger", "")]


@pytest.mark.long
def test_very_many_missing_items_are_made_anew_only_when_a_person_says_so(line: Line) -> None:
    """The approval is for those that were found missing; those that a person restores are not made."""
    name, simulator = "emptied", line.stack.simulator
    line.sync(name, share=0.2)
    made = int(simulator.stats()["creates"]["total"])

    def held() -> bool:
        [said] = [one["reason"]["code"] for one in line.stack.status()["syncs"] if one["sync"] == name]
        return bool(said == "mass_missing")

    deleted = [line.item(name, key)["id"] for key in range(1, 21)]
    for item_id in deleted:
        line.edit(name, item_id=item_id, delete=True)
    line.ask(name)
    wait_until(held, "the sync is held", 90)
    assert len(line.items(name)) == ROWS - 20
    for item_id in deleted[:17]:
        simulator.ask("recycle", {"list": name, "item_id": item_id})
    line.ask(name)
    line.wait(name)
    wait_until(lambda: line.done(name), "the passes have ended", 90)
    assert int(simulator.stats()["creates"]["total"]) == made + 3
    for key in range(21, 36):
        line.edit(name, item_id=line.item(name, key)["id"], delete=True)
    line.ask(name)
    wait_until(held, "the sync is held again", 90)
    assert "--approve-creates" in line.stack.command("resume", name, check=False).stdout
    done = line.stack.command("resume", name, "--approve-creates", "--json").stdout
    assert json.loads(done)["made_anew"]["count"] == 15
    line.wait(name)
    assert int(simulator.stats()["creates"]["total"]) == made + 3 + 15
    assert line.diff(name)["findings"] == []


def test_two_items_of_one_key_are_one_again(line: Line) -> None:
    """Possible while a person has made RowtideKey's values not unique; a copy is a person's, or our application's."""
    name, simulator = "twins", line.stack.simulator
    line.sync(name)
    own = {key: line.item(name, key)["id"] for key in (1, 2, 3)}
    owner.own(simulator, "PATCH", name, "/columns/RowtideKey", {"enforceUniqueValues": False})
    theirs = line.edit(name, fields={"Title": "a person's", "RowtideKey": f"{name}:1"})
    twice = {"Title": "made twice", "RowtideKey": f"{name}:2"}
    ours = owner.own(simulator, "POST", name, "/items", {"fields": twice})
    line.edit(name, item_id=own[3], fields={"RowtideKey": None})
    last = owner.own(
        simulator, "POST", name, "/items", {"fields": {"Title": "in its stead", "RowtideKey": f"{name}:3"}}
    )
    assert kinds(line.diff(name)) == [("copy", "1"), ("copy", "2"), ("copy", "3"), ("edited", "3")]
    refused = line.stack.command("apply", "--yes", check=False)
    assert refused.returncode != 0
    assert f"rowtide reconcile {name} --deep" in refused.stdout + refused.stderr
    line.stack.sql(f"UPDATE {name} SET note = 'while it is twice' WHERE id < 4")
    assert line.deep(name)["done"]
    line.wait(name)
    assert {key: line.item(name, key)["id"] for key in own} == own
    [left] = [one for one in line.items(name) if one["fields"].get("RowtideKey") is None]
    assert (left["id"], left["fields"]["Title"]) == (theirs["id"], "a person's")
    assert not {str(ours["id"]), str(last["id"])} & {one["id"] for one in line.items(name)}
    line.stack.apply()
    [key] = [one for one in owner.list_of(simulator, name)["columns"] if one["name"] == "RowtideKey"]
    assert (key["indexed"], key["enforceUniqueValues"]) == (True, True)
    line.stack.sql(f"INSERT INTO {name} VALUES (100, 'new', 1, now())")
    line.wait(name)
    wait_until(lambda: line.done(name), "the pass of the mended key has ended", 90)
    assert kinds(line.diff(name)) == [("stranger", "")]


@pytest.mark.long
def test_items_that_the_records_do_not_know_are_taken_up(line: Line) -> None:
    """A lost ledger costs no item and no write; items of rows that are gone go. Digests are found by their table."""
    for name, key in (("lost", "int"), ("digests", "text")):
        line.sync(name, key)
        line.stack.state("DELETE FROM rowtide.ledger WHERE sync = %s", name)
    found = line.diff("lost")
    assert found["counts"] == {"unknown": ROWS}
    assert line.diff("digests")["counts"] in ({"unknown": ROWS}, {"orphan": ROWS, "unsent": ROWS})
    line.stack.sql("DELETE FROM lost WHERE id = 7")
    line.stack.sql("DELETE FROM digests WHERE id = 'Key 7'")
    gone = "SELECT 1 FROM rowtide.ledger WHERE sync = 'digests' AND key = 'Key 7' AND state = 'tombstone'"
    wait_until(lambda: line.stack.state(gone), "the deletion is settled as one of nothing", 90)
    line.stack.state("DELETE FROM rowtide.ledger WHERE sync = 'digests'")  # no record has the row's key any more
    before = line.stack.simulator.writes()
    for name in ("lost", "digests"):
        assert line.deep(name)["counts"]["adopted"] >= ROWS - 1
        line.wait(name)
        assert line.diff(name)["findings"] == []
    assert line.stack.simulator.writes() - before <= 2


def test_an_item_whose_row_goes_before_it_is_taken_up_goes_with_one_more_pass(line: Line, tmp_path: Path) -> None:
    """Its delete is settled as one of nothing, because the records do not know the item; the next pass deletes it."""
    name, held = "orphaned", tmp_path / "held"
    line.sync(name)
    line.stack.state("DELETE FROM rowtide.ledger WHERE sync = %s AND key IN ('7', '8')", name)
    held.touch()
    pause = f"enumeration.before_take_up=pause:{held}"
    line.restart(pause)
    asked = line.ask(name, pause)
    read = "SELECT 1 FROM rowtide.enumeration WHERE sync = %s AND purpose = 'deep' AND ended >= wanted"
    try:
        wait_until(lambda: line.stack.state(read, name), "the lists are read", 90)
        line.stack.sql(f"DELETE FROM {name} WHERE id = 7")
        settled = "SELECT state FROM rowtide.ledger WHERE sync = %s AND key = '7'"
        wait_until(lambda: line.stack.state(settled, name) == [("tombstone",)], "the delete is settled", 90)
    finally:
        held.unlink()
    wait_until(lambda: asked.poll() is not None and line.done(name), "no pass is wanted", 90)
    line.wait(name)
    assert line.item(name, 8)
    whys = line.stack.state("SELECT detail ->> 'why' FROM rowtide.runs WHERE sync = %s ORDER BY id DESC LIMIT 2", name)
    assert [why == deep_pass.AGAIN for (why,) in whys] == [True, False]
    assert line.diff(name)["findings"] == []


@pytest.mark.long
def test_a_killed_process_goes_on_from_the_page(line: Line) -> None:
    """SIGKILL in the middle of an enumeration: no page is read twice, and its cost is 2 units for 200 items."""
    name = "pages"
    rows = 900
    line.sync(name, rows=rows)
    for key in (1, 500, 900):
        line.edit(name, item_id=line.item(name, key)["id"], fields={"Title": "a person's"})
    line.restart("enumeration.after_page=kill@3")
    asked = line.ask(name)
    wait_until(lambda: line.process.poll() is not None, "the process is killed behind a page", 60)
    [(pages, ended)] = line.stack.state("SELECT pages, ended FROM rowtide.enumeration WHERE sync = %s", name)
    assert (pages, ended) == (3, 0)
    line.restart()
    wait_until(lambda: asked.poll() is not None, "the command has ended", 90)
    wait_until(lambda: line.done(name), "the pass has ended", 90)
    line.wait(name)
    [(counts,)] = line.stack.state("SELECT counts FROM rowtide.reconcile WHERE sync = %s", name)
    assert (counts["edited"], counts["seen"]) == (3, rows)
    read = line.stack.simulator.stats()["delta_pages"]
    assert read - line.pages_before <= 5 + 3 * 2


@pytest.mark.long
def test_edits_and_changes_while_it_runs_end_equal(line: Line) -> None:
    name = "busy"
    line.sync(name, rows=300)
    asked = line.ask(name)
    for turn in range(30):
        key = 1 + turn * 7
        line.stack.sql(
            f"UPDATE {name} SET quantity = quantity + 1000, note = 'turn {turn}' WHERE id % 10 = {turn % 10}"
        )
        shown = [one for one in line.items(name) if one["fields"].get("RowtideKey") == f"{name}:{key}"]
        if shown and turn % 3 == 0:
            line.edit(name, item_id=shown[0]["id"], delete=True)
        elif shown:
            line.edit(name, item_id=shown[0]["id"], fields={"Title": "a person's"})
    wait_until(lambda: asked.poll() is not None, "the command has ended", 90)
    wait_until(lambda: line.settled(name), "nothing waits", 90)
    assert line.deep(name)["done"]
    line.wait(name)
    assert line.diff(name)["findings"] == []
    keys = [one["fields"]["RowtideKey"] for one in line.items(name)]
    assert sorted(keys) == sorted(set(keys))
