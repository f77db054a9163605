"""What people do to lists and columns: rows are in the list they belong to afterwards, each once.

In: one running stack; each test has a table, a sync and lists of its own. Rule: what is told by SharePoint's owner or
by the definition is done while the flow runs.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from state import schema
from tests.conftest import drop_databases, reachable_directory
from tests.e2e import owner
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

OPS, OTHER = "contoso.sharepoint.com:/sites/ops", "contoso.sharepoint.com:/sites/other"

SYNC = """
  {name}:
    {more}
    source: {{postgres: erp, table: public.{table}}}
    target: {{graph: contoso, site: "{site}"}}
    {lists}
    breaker: {{share: 1.0, rows: 100000}}
    fields: {{note: Title, region: Region, quantity: {{field: Quantity, as: number}}}}
"""
ROWS = 12
Places = dict[str, list[tuple[str, str]]]
"""RowtideKey -> (list, title) of its items."""


class Line:
    """A running stack whose definition grows by a sync for each test."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.syncs: dict[str, str] = {}
        self.process: subprocess.Popen[bytes]

    def table(self, name: str) -> None:
        """A table with rows of two regions."""
        columns = "id int PRIMARY KEY, note text, region text NOT NULL, quantity int"
        self.stack.sql(f"CREATE TABLE {name} ({columns})")
        values = "i, 'row ' || i, (ARRAY['EU', 'US'])[1 + i % 2], i"
        self.stack.sql(f"INSERT INTO {name} SELECT {values} FROM generate_series(1, {ROWS}) i")

    def define(self, name: str, lists: str, *, table: str = "", site: str = OPS, more: str = "") -> None:
        """The sync is like this from now on; it is not applied yet."""
        self.syncs[name] = SYNC.format(name=name, table=table or name, site=site, lists=lists, more=more)
        self.stack.write("".join(self.syncs.values()))

    def sync(self, name: str, lists: str, *, table: str = "", site: str = OPS, more: str = "") -> None:
        """The sync is like this, and applied."""
        self.define(name, lists, table=table, site=site, more=more)
        self.stack.apply()

    def places(self, name: str) -> Places:
        """Where the items of a sync are."""
        found: Places = {}
        for item in self.stack.simulator.items():
            if not item["deleted"] and (item["fields"].get("RowtideKey") or "").startswith(f"{name}:"):
                found.setdefault(item["fields"]["RowtideKey"], []).append((item["list"], item["fields"].get("Title")))
        return found

    def wanted(self, name: str, lists: dict[str, str], table: str = "") -> Places:
        """Where they belong; ``lists``: region -> list, ``""`` for every other region."""
        rows = self.stack.sql(f"SELECT id, note, region FROM {table or name}")
        return {f"{name}:{id_}": [(lists.get(region, lists.get("", "?")), note)] for id_, note, region in rows}

    def wait(self, name: str, lists: dict[str, str], table: str = "") -> None:
        """Until each row has its one item, where it belongs, and nothing is left to do."""

        def equal() -> bool:
            return self.places(name) == self.wanted(name, lists, table) and self.settled(name)

        try:
            wait_until(equal, "each row has its one item in its list", 60)
        except AssertionError as error:
            outbox = self.stack.state("SELECT key, op, state, due_at, reason, sent FROM rowtide.outbox LIMIT 5")
            said = f"{error}\n{self.places(name)}\n{self.wanted(name, lists, table)}\n{outbox}\n"
            raise AssertionError(said + self.stack.logged()[-5000:]) from None

    def settled(self, name: str) -> bool:
        """Whether nothing of the sync waits, and nothing is left behind."""
        waiting = "SELECT count(*) FROM rowtide.outbox WHERE sync = %s"
        left = "SELECT count(*) FROM rowtide.ledger WHERE sync = %s AND leftovers <> '[]'"
        return self.stack.state(waiting, name) == self.stack.state(left, name) == [(0,)]

    def postpone(self, name: str, rows: int) -> None:
        """Wait until so many rows of the sync were refused, and let them wait an hour longer."""
        later = "SELECT count(*) FROM rowtide.outbox WHERE sync = %s AND due_at > now() AND lease_token IS NULL"
        wait_until(lambda: self.stack.state(later, name) == [(rows,)], "rows that wait for their list")
        self.stack.state("UPDATE rowtide.outbox SET due_at = now() + interval '1 hour' WHERE sync = %s", name)

    def write(self, table: str, note: str) -> None:
        """Every row is another, one is new, one is gone."""
        self.stack.sql(f"UPDATE {table} SET note = %s || id", note)
        new = f"INSERT INTO {table} SELECT max(id) + 1, %s, 'EU', 0 FROM {table}"
        self.stack.sql(new, note)
        self.stack.sql(f"DELETE FROM {table} WHERE id = (SELECT min(id) FROM {table})")

    def restart(self) -> None:
        """Kill the process and start another one."""
        self.process.kill()
        self.process.wait(10)
        self.process = self.stack.start()

    def creates(self) -> int:
        """Items made so far."""
        return int(self.stack.simulator.stats()["creates"]["total"])

    # --- what the owner of the lists does -------------------------------------------------------------------------

    def list(self, title: str) -> dict[str, Any]:
        """The one list of that title, as the simulator shows it."""
        return owner.list_of(self.stack.simulator, title)

    def own(self, method: str, title: str, path: str = "", body: Any = None) -> Any:
        """A request to a list by its owner."""
        return owner.own(self.stack.simulator, method, title, path, body)


@pytest.fixture(scope="module")
def line(pg: Cluster, state_pg: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A running stack on the worker's server."""
    source, state = (f"lists_{role}_{os.getpid()}" for role in ("source", "state"))
    source_dsn, state_dsn = pg.create_database(source), state_pg.create_database(state)
    schema.upgrade(state_dsn)
    simulator = Simulator(tmp_path_factory.mktemp("simulator"), "--tier", "off", "--site", OTHER)
    directory = reachable_directory("rowtide-lists-")
    stack = Stack(directory, source_dsn, state_dsn, simulator.ready, "", "quota: off")
    stack.simulator = simulator
    line = Line(stack)
    line.table("first")
    line.sync("first", "list: First")
    line.process = stack.start()
    line.wait("first", {"": "First"})
    yield line
    stack.close()
    simulator.close()
    drop_databases(pg, [source])
    drop_databases(state_pg, [state])
    shutil.rmtree(directory, ignore_errors=True)


def test_a_list_renamed_in_the_definition_is_renamed(line: Line) -> None:
    line.table("titled")
    line.sync("titled", "list: Old title")
    line.wait("titled", {"": "Old title"})
    before, made = line.list("Old title")["id"], line.creates()
    line.sync("titled", "list: New title")
    line.wait("titled", {"": "New title"})
    assert (line.list("New title")["id"], line.creates()) == (before, made)
    line.write("titled", "after the rename ")
    line.wait("titled", {"": "New title"})


def test_a_list_renamed_by_a_person_is_found_by_its_id(line: Line) -> None:
    line.table("known")
    line.sync("known", "list: Known")
    line.wait("known", {"": "Known"})
    made = line.creates()
    line.own("PATCH", "Known", body={"displayName": "Somebody's name"})
    line.sync("known", "list: Known", more="deletes: propagate")
    assert "Known" not in [one["displayName"] for one in line.stack.simulator.ask("lists")["lists"]]
    assert "make list" not in line.stack.command("plan", check=False).stdout
    line.write("known", "by its id ")
    line.wait("known", {"": "Somebody's name"})
    # Where the definition's title changes too, the person's stays, and it is said.
    line.define("known", "list: Known otherwise")
    assert "it stays 'Somebody's name'" in line.stack.command("plan", check=False).stdout
    line.stack.apply()
    line.wait("known", {"": "Somebody's name"})
    assert line.creates() == made + 1


def test_rows_move_when_the_site_changes(line: Line) -> None:
    line.table("moving")
    line.sync("moving", "list: Moving")
    line.wait("moving", {"": "Moving"})
    old = line.list("Moving")["id"]
    line.sync("moving", "list: Moving", site=OTHER)

    def moved() -> bool:
        items = {one["id"]: one["items"] for one in line.stack.simulator.ask("lists")["lists"]}
        return bool(items[old] == 0)

    wait_until(moved, "every item has left the old site")  # both lists have one title
    line.wait("moving", {"": "Moving"})
    line.write("moving", "elsewhere ")
    line.wait("moving", {"": "Moving"})


def test_rows_move_when_a_list_is_taken_out_of_the_map(line: Line) -> None:
    line.table("mapped")
    line.sync("mapped", "lists: {by: region, map: {EU: Mapped EU, US: Mapped US}, default: Mapped}")
    line.wait("mapped", {"EU": "Mapped EU", "US": "Mapped US"})
    line.sync("mapped", "lists: {by: region, map: {EU: Mapped EU}, default: Mapped}")
    line.wait("mapped", {"EU": "Mapped EU", "": "Mapped"})
    # A list that was left is the target's again.
    line.sync("mapped", "lists: {by: region, map: {EU: Mapped EU, US: Mapped US}, default: Mapped}")
    line.wait("mapped", {"EU": "Mapped EU", "US": "Mapped US"})


def test_a_list_deleted_by_a_person_is_made_anew_and_filled(line: Line) -> None:
    """No row sits out the wait that the missing list has earned it."""
    line.table("gone")
    line.sync("gone", "list: Gone")
    line.wait("gone", {"": "Gone"})
    line.own("DELETE", "Gone")
    line.stack.sql("UPDATE gone SET note = 'while the list was gone' WHERE id < 4")
    line.postpone("gone", 3)
    line.stack.apply()
    line.wait("gone", {"": "Gone"})
    line.write("gone", "again ")
    line.wait("gone", {"": "Gone"})


def test_a_column_made_anew_is_filled(line: Line) -> None:
    line.table("columns")
    line.sync("columns", "list: Columns")
    line.wait("columns", {"": "Columns"})
    line.own("DELETE", "Columns", "/columns/Quantity")
    line.stack.apply()

    def filled() -> bool:
        shown = {item["fields"]["RowtideKey"]: item["fields"].get("Quantity") for item in line.stack.simulator.items()}
        rows = line.stack.sql("SELECT id, quantity FROM columns")
        return all(shown[f"columns:{id_}"] == quantity for id_, quantity in rows)

    wait_until(filled, "the column made anew holds every row's value")
    line.wait("columns", {"": "Columns"})


def test_a_sync_renamed_in_the_file_keeps_its_items_by_its_id(line: Line) -> None:
    """Without the id it is refused, also once the old name is retired: it would make every item a second time."""
    line.table("named")
    line.sync("named", "list: Named")
    line.wait("named", {"": "Named"})
    made = line.creates()
    del line.syncs["named"]
    line.define("renamed", "list: Named", table="named")
    assert "belongs to the sync with the id named" in line.stack.command("plan", check=False).stdout
    refused = line.stack.command("apply", "--yes", check=False)
    assert refused.returncode != 0
    assert "id: named" in refused.stdout + refused.stderr
    line.sync("renamed", "list: Named", table="named", more="id: named")
    line.stack.sql("UPDATE named SET note = 'by another name' || id")
    line.wait("named", {"": "Named"})
    assert line.creates() == made
    assert "renamed" in [one["sync"] for one in line.stack.status()["syncs"]]
    for word in ("renamed", "named"):
        line.stack.command("pause", word)
        assert line.stack.state("SELECT kind FROM rowtide.hold WHERE object = 'named'") == [("person",)]
        line.stack.command("resume", word)


# --- columns --------------------------------------------------------------------------------------------------------


def reason(line: Line, name: str) -> str:
    """What `status` says of a sync."""
    [sync] = [one for one in line.stack.status()["syncs"] if one["sync"] == name]
    return f"{sync['reason']['code']}: {sync['reason']['sentence']}"


def shown(line: Line, name: str, field: str) -> dict[str, Any]:
    """What the items of a sync show in a field, by their RowtideKey."""
    items = [item for item in line.stack.simulator.items() if not item["deleted"]]
    keyed = [item["fields"] for item in items if (item["fields"].get("RowtideKey") or "").startswith(f"{name}:")]
    return {fields["RowtideKey"]: fields.get(field) for fields in keyed}


def of_rows(line: Line, name: str) -> dict[str, Any]:
    """What they should show in Quantity."""
    return {f"{name}:{id_}": quantity for id_, quantity in line.stack.sql(f"SELECT id, quantity FROM {name}")}


def test_a_deleted_column_holds_back_nothing_but_itself(line: Line) -> None:
    line.table("held")
    line.sync("held", "list: Held")
    line.wait("held", {"": "Held"})
    line.own("DELETE", "Held", "/columns/Quantity")
    line.write("held", "without its column ")
    line.stack.sql("UPDATE held SET quantity = quantity + 100")
    line.wait("held", {"": "Held"})
    assert set(shown(line, "held", "Quantity").values()) == {None}
    wait_until(lambda: "column Quantity is gone" in reason(line, "held"), "status says so")
    line.stack.apply()
    wait_until(lambda: shown(line, "held", "Quantity") == of_rows(line, "held"), "the column made anew is filled")
    line.wait("held", {"": "Held"})
    wait_until(lambda: reason(line, "held").startswith("idle"), "nothing is held")


def test_rows_that_were_refused_while_a_column_was_away_are_written_when_it_is_back(line: Line) -> None:
    """It comes and goes between two looks, so that nobody has seen that it was away."""
    line.table("away")
    line.sync("away", "list: Away")
    line.wait("away", {"": "Away"})
    simulator = line.stack.simulator
    line.own("DELETE", "Away", "/columns/Quantity")
    simulator.set_faults([{"path": r"/columns", "level": "request", "action": "status", "status": 503}])
    line.stack.sql("UPDATE away SET quantity = quantity + 100")
    parked = "SELECT count(*) FROM rowtide.outbox WHERE sync = 'away' AND state = 'parked'"
    wait_until(lambda: line.stack.state(parked) == [(ROWS,)], "every row is refused")
    line.process.kill()
    line.process.wait(10)
    simulator.clear_faults()
    line.stack.apply()
    line.process = line.stack.start()
    wait_until(lambda: shown(line, "away", "Quantity") == of_rows(line, "away"), "the rows are written")
    line.wait("away", {"": "Away"})


def test_a_column_of_another_kind_holds_back_nothing_but_itself(line: Line) -> None:
    """`apply` goes on with the rest; it refuses a definition that is the first to name such a column."""
    line.table("misfit")
    line.sync("misfit", "list: Misfit")
    line.wait("misfit", {"": "Misfit"})
    line.own("DELETE", "Misfit", "/columns/Quantity")
    line.own("POST", "Misfit", "/columns", {"name": "Quantity", "boolean": {}})
    line.own("DELETE", "Misfit", "/columns/Region")
    line.define("misfit", "list: Misfit", more="deletes: ignore")
    why = "column Quantity, which is a boolean column, and the definition says number"
    for word in ("plan", "doctor"):
        assert why in line.stack.command(word, check=False).stdout
    line.stack.apply()
    line.stack.sql("UPDATE misfit SET quantity = quantity + 100, note = 'beside it ' || id WHERE id < 5")
    line.wait("misfit", {"": "Misfit"})
    assert set(shown(line, "misfit", "Quantity").values()) == {None}
    wait_until(lambda: None not in shown(line, "misfit", "Region").values(), "the column that was gone is filled")
    wait_until(lambda: "column Quantity is a boolean column" in reason(line, "misfit"), "status says so")
    assert "no change" in line.stack.command("apply", "--yes").stdout
    line.syncs["misfit"] = line.syncs["misfit"].replace("as: number", "as: text")
    line.stack.write("".join(line.syncs.values()))
    assert "column Quantity of list 'Misfit' cannot be used" in line.stack.command("plan", check=False).stdout
    line.own("DELETE", "Misfit", "/columns/Quantity")
    line.define("misfit", "list: Misfit")
    line.stack.apply()
    wait_until(lambda: shown(line, "misfit", "Quantity") == of_rows(line, "misfit"), "the column made anew is filled")
    line.wait("misfit", {"": "Misfit"})


@pytest.mark.long
def test_a_read_only_column_holds_back_nothing_but_itself(line: Line) -> None:
    """What was written meanwhile is made up for when it can be written again, without `apply`."""
    line.table("fixed")
    line.sync("fixed", "list: Fixed")
    line.wait("fixed", {"": "Fixed"})
    line.own("PATCH", "Fixed", "/columns/Quantity", {"readOnly": True})
    line.stack.sql("UPDATE fixed SET quantity = quantity + 100, note = note || ' again' WHERE id < 5")
    line.wait("fixed", {"": "Fixed"})
    wait_until(lambda: "column Quantity cannot be written" in reason(line, "fixed"), "status says so")
    line.own("PATCH", "Fixed", "/columns/Quantity", {"readOnly": False})
    wait_until(lambda: shown(line, "fixed", "Quantity") == of_rows(line, "fixed"), "what was left out is written", 90)


def test_a_list_whose_key_is_not_unique_takes_no_new_items(line: Line) -> None:
    line.table("keyed")
    line.sync("keyed", "list: Keyed")
    line.wait("keyed", {"": "Keyed"})
    line.own("PATCH", "Keyed", "/columns/RowtideKey", {"enforceUniqueValues": False})
    # A process looks at the columns when it starts; otherwise every few minutes.
    line.restart()
    wait_until(lambda: "is not indexed with unique values" in reason(line, "keyed"), "status says so")
    made = line.creates()
    line.write("keyed", "while it is not unique ")
    changed = "SELECT count(*) FROM rowtide.outbox WHERE sync = 'keyed'"
    wait_until(lambda: line.stack.state(changed) == [(1,)], "changes and deletions are delivered")
    [(key,)] = line.stack.sql("SELECT max(id) FROM keyed")
    assert f"keyed:{key}" not in shown(line, "keyed", "Title")
    assert line.creates() == made
    line.postpone("keyed", 1)
    line.stack.apply()
    line.wait("keyed", {"": "Keyed"})


def test_a_deleted_key_column_is_made_anew_and_filled(line: Line) -> None:
    line.table("keyless")
    line.sync("keyless", "list: Keyless")
    line.wait("keyless", {"": "Keyless"})
    made = line.creates()
    line.own("DELETE", "Keyless", "/columns/RowtideKey")
    line.stack.sql("UPDATE keyless SET note = 'without a key' WHERE id < 5")
    line.stack.sql("INSERT INTO keyless VALUES (100, 'new', 'EU', 1)")
    wait_until(lambda: "column RowtideKey is gone" in reason(line, "keyless"), "status says so")
    line.stack.apply()
    line.wait("keyless", {"": "Keyless"})
    assert line.creates() == made + 1


def test_a_list_marked_by_another_installation_is_held(line: Line) -> None:
    """Nothing is written there, the other syncs go on, and it ends by itself when the mark is ours again."""
    line.table("marked")
    line.sync("marked", "lists: {by: region, map: {EU: Marked EU}, default: Marked}")
    lists = {"EU": "Marked EU", "": "Marked"}
    line.wait("marked", lists)
    ours = line.own("GET", "Marked", "/columns/RowtideKey")["description"]
    other = re.sub(r"\[instance [^]]*\]", "[instance another-one]", ours)
    assert other != ours
    line.own("PATCH", "Marked", "/columns/RowtideKey", {"description": other})
    line.restart()

    def reason() -> str:
        [found] = [one for one in line.stack.status()["syncs"] if one["sync"] == "marked"]
        return str(found["reason"]["code"])

    wait_until(lambda: reason() == "list_of_other_instance", "the sync is held")
    before = line.places("marked")
    line.write("marked", "held back ")
    line.write("first", "not held back ")
    line.wait("first", {"": "First"})
    assert line.places("marked") == before
    doctor = line.stack.command("doctor", check=False).stdout
    assert "list 'Marked' belongs to another installation of Rowtide (another-one)" in doctor
    line.own("PATCH", "Marked", "/columns/RowtideKey", {"description": ours})
    line.wait("marked", lists)
    assert line.places("marked") != before
