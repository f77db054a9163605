"""`rowtide explain` on running processes: what it says of a row is so, whatever state the row is in.

Tests of `desk` share a stack with a sync that goes both ways (``tasks``) and one that only pushes (``notes``).
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from demo.postgres import Cluster
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_pull import SYNC, TABLE, Desk

pytestmark = pytest.mark.long

NOTES = (
    "CREATE TABLE notes (id bigint PRIMARY KEY, title text NOT NULL); INSERT INTO notes VALUES (1, 'one'), (2, 'two')"
)
PUSHED = """
  notes:
    source: {postgres: erp, table: public.notes}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: Notes
    fields: {title: Title}
"""


@pytest.fixture(scope="module")
def running(pg: Cluster) -> Iterator[Stack]:
    """A running stack whose rows have arrived."""
    with shared_stack(pg, pg, "explain", [TABLE, NOTES], SYNC + PUSHED) as made:
        made.start()
        wait_until(lambda: len(Desk(made).items()) == 24, "every row has an item")
        yield made


@pytest.fixture
def desk(running: Stack) -> Iterator[Desk]:
    """The running stack at rest, before and after."""
    desk = Desk(running)
    desk.rest()
    yield desk
    desk.rest()


def explained(desk: Desk, key: object, *field: str, sync: str = "tasks") -> dict[str, Any]:
    """What `explain --json` says of a row."""
    found = desk.stack.command("explain", sync, str(key), *field, "--json", check=False)
    document: dict[str, Any] = json.loads(found.stdout)
    assert found.returncode == (0 if document["settled"] else 3), found.stderr
    return document


def field(document: dict[str, Any], column: str) -> dict[str, Any]:
    """One field of the answer."""
    found: dict[str, Any] = next(one for one in document["fields"] if one["column"] == column)
    return found


def waiting(document: dict[str, Any]) -> list[tuple[str, str]]:
    """What waits, and how."""
    return [(one["what"], one["state"]) for one in document["waits"]]


def test_a_row_in_sync(desk: Desk) -> None:
    desk.stack.sql("UPDATE tasks SET name = 'renamed' WHERE id = 1")
    wait_until(lambda: desk.item(1)["fields"]["Title"] == "renamed", "the change arrived")
    desk.rest()
    found = explained(desk, 1)
    assert (found["verdict"]["code"], found["settled"], found["waits"]) == ("in_sync", True, [])
    name = field(found, "name")
    assert (name["postgres"], name["sharepoint"], name["agreed"], name["state"]) == ("renamed",) * 3 + ("same",)
    assert found["item"]["item_id"] == desk.item(1)["id"]
    assert found["item"]["request_id"]
    [(lsn, xid)] = desk.stack.state("SELECT lsn, xid FROM rowtide.ledger WHERE key = '1' AND sync = 'tasks'")
    assert found["to_sharepoint"]["lsn"] == f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
    assert found["to_sharepoint"]["xid"] == xid
    assert found["to_postgres"] is None
    text = desk.stack.command("explain", "tasks", "1").stdout
    assert "Row and item say the same." in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_sharepoint_keeps_otherwise_is_no_difference(desk: Desk) -> None:
    found = explained(desk, 21)
    assert (found["verdict"]["code"], field(found, "name")["sharepoint"]) == ("in_sync", "padded")


def test_an_edit_that_waits_and_what_holds_it(desk: Desk) -> None:
    desk.stack.command("pause", "tasks", "--reason", "stock taking")
    desk.edit(2, Title="from the list")
    wait_until(desk.inbox, "the edit was collected")
    found = explained(desk, 2)
    assert (found["verdict"]["code"], waiting(found)) == ("edit_waits", [("edit", "waiting"), ("hold", "person")])
    assert "Ada Editor" in found["waits"][0]["sentence"]
    assert "stock taking" in found["waits"][1]["sentence"]
    name = field(found, "name")
    assert (name["postgres"], name["sharepoint"], name["state"]) == ("task 2", "from the list", "sharepoint_ahead")
    desk.stack.command("resume", "tasks")
    desk.arrives(2, "name", "from the list")
    desk.rest()
    found = explained(desk, 2)
    assert found["verdict"]["code"] == "in_sync"
    back = found["to_postgres"]
    assert (back["operation"], back["fields"], back["item_version"]) == ("update", ["Title"], found["item"]["version"])
    [(xid,)] = desk.stack.sql("SELECT xid FROM rowtide_pull.applied WHERE key = '2'")
    assert (back["xid"], back["problem"]) == (xid, None)


def test_a_row_that_waits_says_what_would_be_written(desk: Desk) -> None:
    desk.stack.command("pause", "tasks")
    desk.stack.sql("UPDATE tasks SET quantity = 300 WHERE id = 3")
    wait_until(lambda: desk.stack.state("SELECT FROM rowtide.outbox"), "the change was captured")
    found = explained(desk, 3)
    assert found["verdict"]["code"] == "row_waits"
    assert "a change of Quantity" in found["verdict"]["sentence"]
    assert waiting(found) == [("row", "waiting"), ("hold", "person")]
    desk.stack.command("resume", "tasks")
    wait_until(lambda: desk.item(3)["fields"]["Quantity"] == 300, "it arrived")


def test_a_conflict_that_waits_for_a_person(desk: Desk) -> None:
    stack = desk.stack
    stack.command("pause", "tasks")
    desk.edit(4, Owner="Berta")
    stack.sql("UPDATE tasks SET owner = 'Cem' WHERE id = 4")
    wait_until(lambda: desk.inbox() and stack.state("SELECT FROM rowtide.outbox"), "both sides were read")
    stack.command("resume", "tasks")
    wait_until(lambda: [state for _, state, _, _ in desk.conflicts(4)] == ["open"], "it waits for a person")
    [conflict] = json.loads(stack.command("conflicts", "list", "--json", check=False).stdout)["conflicts"]
    found = explained(desk, 4, "owner")
    assert found["verdict"]["code"] == "conflict_open"
    assert f"conflict {conflict['id']}" in found["verdict"]["sentence"]
    assert {what for what, _ in waiting(found)} >= {"conflict", "edit"}
    [owner] = found["fields"]
    assert (owner["postgres"], owner["sharepoint"], owner["agreed"]) == ("Cem", "Berta", "Ann")
    assert (owner["state"], owner["rule"]) == ("both_changed", "manual")
    stack.command("conflicts", "resolve", str(conflict["id"]), "--take", "sharepoint", "--why", "hers", "--yes")
    desk.arrives(4, "owner", "Berta")


def test_an_edit_and_a_row_that_are_set_aside(desk: Desk) -> None:
    desk.edit(5, Quantity=5000)
    wait_until(lambda: [one for one in desk.inbox() if one[0] == "parked"], "the edit is set aside")
    found = explained(desk, 5)
    assert (found["verdict"]["code"], waiting(found)) == ("edit_parked", [("edit", "parked")])
    assert "few" in found["verdict"]["sentence"]
    assert field(found, "quantity")["sharepoint"] == 5000
    desk.edit(5, Quantity=50)
    desk.arrives(5, "quantity", 50)
    desk.stack.sql("UPDATE tasks SET name = repeat('n', 300) WHERE id = 6")
    wait_until(lambda: desk.stack.state("SELECT FROM rowtide.outbox WHERE state = 'parked'"), "the row is set aside")
    found = explained(desk, 6)
    assert (found["verdict"]["code"], found["row"]["state"]) == ("row_parked", "unmapped")
    assert "`rowtide parked retry tasks 6`" in found["verdict"]["next"]
    desk.stack.sql("UPDATE tasks SET name = 'short again' WHERE id = 6")
    wait_until(lambda: desk.item(6)["fields"]["Title"] == "short again", "it arrived")


def test_an_edit_in_a_sync_that_only_pushes(desk: Desk) -> None:
    made = next(one for one in desk.items() if one["fields"].get("RowtideKey") == "notes:2")
    desk.stack.simulator.edit(list="Notes", item_id=made["id"], fields={"Title": "by hand"}, user="Ada Editor")
    found = explained(desk, 2, sync="notes")
    assert (found["verdict"]["code"], field(found, "title")["state"]) == ("item_edited", "sharepoint_ahead")
    assert found["item"]["edited_by"] == "Ada Editor"
    desk.stack.sql("UPDATE notes SET title = 'two again' WHERE id = 2")
    wait_until(lambda: explained(desk, 2, sync="notes")["verdict"]["code"] == "in_sync", "the row has mended it")


@pytest.mark.parametrize("key", ["4711", "no number", "1|2"])
def test_a_key_that_nobody_knows(desk: Desk, key: str) -> None:
    found = desk.stack.command("explain", "tasks", key, "--json", check=False)
    assert (found.returncode, json.loads(found.stdout)["error"]["code"]) == (2, "unknown_row")


def test_a_sync_and_a_field_that_nobody_knows(desk: Desk) -> None:
    for words, code in ((("nothing", "1"), "unknown_sync"), (("tasks", "1", "colour"), "unknown_field")):
        found = desk.stack.command("explain", *words, "--json", check=False)
        assert (found.returncode, json.loads(found.stdout)["error"]["code"]) == (2, code)


def test_another_text_of_the_same_key(desk: Desk) -> None:
    assert (explained(desk, "007")["key"], explained(desk, "007")["settled"]) == ("7", True)


def test_a_side_that_is_away_is_said_and_the_other_one_shown(desk: Desk) -> None:
    environment = desk.stack.environment
    known = dict(environment)
    try:
        environment["ROWTIDE_SOURCE_DSN"] = make_conninfo(desk.stack.source_dsn, host="127.0.0.1", port=1)
        found = explained(desk, 8)
        assert (found["verdict"]["code"], found["row"]["state"]) == ("not_known", "unread")
        assert found["row"]["problem"]
        assert field(found, "name")["sharepoint"] == field(found, "name")["agreed"] == "task 8"
        environment.update(known, ROWTIDE_CLIENT_SECRET="another-secret-than-the-one")
        found = explained(desk, 8)
        assert (found["verdict"]["code"], found["item"]["state"]) == ("not_known", "unread")
        assert field(found, "name")["postgres"] == "task 8"
    finally:
        environment.update(known)
