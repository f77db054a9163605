"""A log of level debug holds no value, no key and no secret, whatever goes wrong; and every line of it can be parsed.

In: a sync of two ways whose key and every field hold a marker; edits that the table refuses in PostgreSQL's words, rows
and lists that Graph refuses with an echo, a key that the state database cannot hold, a conflict. Rule: both styles of
the log are looked at as a whole, and what went wrong is in it, by code, hash and request id.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from tests.e2e import two_ways
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import Stack, wait_until

pytestmark = pytest.mark.long

MARKER = "Zweistein"
LONG_KEY = (MARKER + "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(50)))[:2690]
"""As much as an index of the source holds; with the id of the sync beside it, more than one of the state database."""

TABLES = """
CREATE TABLE people (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text, name text NOT NULL, note text, salary numeric(12, 2),
    mail text UNIQUE
);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.note LIKE '%refused by the table%' THEN
        RAISE EXCEPTION 'no % of % with %', NEW.note, NEW.id, NEW.mail;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO people
SELECT 'Zweistein-' || i, 'Zweistein name ' || i, 'Zweistein note ' || i, 4711.08, 'Zweistein' || i || '@example.com'
  FROM generate_series(1, 8) i
"""

SYNCS = """
  people:
    source: {postgres: erp, table: public.people}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: People
    direction: both
    poll: 1s..2s
    conflicts: {columns: {name: manual}}
    breaker: {share: 1.0, rows: 100000}
    fields:
      name: Title
      note: Note
      salary: {field: Salary, as: number}
      mail: Mail
"""

LINE = re.compile(r'(?:[a-z_]+=(?:"(?:[^"\\]|\\.)*"|[^\s"=]*)(?: |$))+')
PAIR = re.compile(r'([a-z_]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def parsed(line: str, style: str) -> dict[str, Any]:
    """A line as a program reads it."""
    if style == "json":
        document: dict[str, Any] = json.loads(line)
        return document
    assert LINE.fullmatch(line), line
    return {key: quoted or plain for key, quoted, plain in PAIR.findall(line)}


class Desk:
    """Somebody before the list, and before the table; the log as a program reads it."""

    def __init__(self, stack: Stack, style: str) -> None:
        self.stack, self.style = stack, style

    def item(self, key: int) -> dict[str, Any]:
        """The item of a row."""
        wanted = f"Zweistein name {key}"
        items = [one for one in self.stack.simulator.items() if not one["deleted"]]
        return next(one for one in items if str(one["fields"]["Title"]).startswith(wanted))

    def edit(self, key: int, **fields: object) -> None:
        """A person's edit."""
        self.stack.simulator.edit(list="People", item_id=self.item(key)["id"], fields=fields, user="Ada Editor")

    def update(self, key: int, column: str, value: str) -> None:
        """A change of the row."""
        self.stack.sql(f"UPDATE people SET {column} = %s WHERE id = %s", value, f"{MARKER}-{key}")

    def lines(self) -> list[dict[str, Any]]:
        """Every line of the log so far that is whole."""
        text = self.stack.logged()
        return [parsed(line, self.style) for line in text[: text.rfind("\n") + 1].splitlines()]

    def wait_line(self, event: str, **wanted: object) -> dict[str, Any]:
        """The first line of this event with these values."""

        def found() -> dict[str, Any] | None:
            lines = (line for line in self.lines() if line["event"] == event)
            return next((one for one in lines if all(one.get(name) == value for name, value in wanted.items())), None)

        line: dict[str, Any] = wait_until(found, f"{event} {wanted} is in the log")
        return line

    def explained(self, key: int) -> dict[str, Any]:
        """What `explain` says of a row."""
        said = self.stack.command("explain", "people", f"{MARKER}-{key}", "--json", check=False)
        document: dict[str, Any] = json.loads(said.stdout)
        return document


@pytest.fixture(params=["text", "json"])
def desk(pg: Cluster, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A running stack whose rows have arrived, with a log of level debug."""
    style = str(request.param)

    def loud(definition: str) -> str:
        return definition.replace("run: {", f"run: {{log: {{format: {style}, level: debug}}, ", 1)

    with shared_stack(pg, pg, f"private{style}", [TABLES], SYNCS, loud) as made:
        made.start()
        wait_until(lambda: sum(not one["deleted"] for one in made.simulator.items()) == 8, "every row has an item")
        two_ways.rest(made)
        yield Desk(made, style)


def refused(status: int, code: str, count: int, **where: str) -> dict[str, Any]:
    """A fault whose message echoes a value and the key."""
    message = f"{MARKER}-2 has a {MARKER} note, which is refused"
    return {"status": status, "code": code, "message": message, "count": count, "level": "member", **where}


def go_wrong(desk: Desk) -> None:
    """Everything that brings another system's words about values into the process."""
    stack = desk.stack
    desk.edit(1, Note=f"{MARKER} refused by the table")
    line = desk.wait_line("edit set aside", code="refused_by_source")
    assert line["key_hash"] == desk.explained(1)["key_hash"]

    stack.simulator.set_faults([refused(400, "invalidRequest", 1, method="PATCH")])
    desk.update(2, "note", f"{MARKER} refused by Graph")
    line = desk.wait_line("refused by graph", code="invalidRequest")
    assert (str(line["status"]), line["key_hash"]) == ("400", desk.explained(2)["key_hash"])
    assert UUID.fullmatch(line["request_id"])
    assert UUID.fullmatch(line["client_request_id"])
    assert re.fullmatch(r"\d+:[0-9A-F]+/[0-9A-F]+:\d+", line["position"])

    stack.simulator.set_faults([refused(403, "accessDenied", 1, method="PATCH")])
    desk.update(3, "note", f"{MARKER} the list refuses")
    assert "…" in desk.wait_line("list fails", code="graph_403")["problem"]
    desk.wait_line("list answers again")

    stack.simulator.set_faults([refused(400, "invalidRequest", 1) | {"level": "any", "path": r"/\$batch$"}])
    desk.update(4, "note", f"{MARKER} the batch is refused")
    desk.wait_line("batch answered", status="400" if desk.style == "text" else 400)

    stack.simulator.set_faults([{"action": "reset", "path": r"/\$batch$", "count": 1}])
    desk.update(5, "mail", f"{MARKER}-5@example.org")
    assert desk.wait_line("batch not answered")["code"] == "graph_unavailable"

    delta = refused(403, "accessDenied", 3) | {"level": "any", "method": "GET", "path": "/items/delta"}
    stack.simulator.set_faults([delta])
    wait_until(lambda: any("403" in str(line.get("code")) and "delta" not in line["event"] for line in desk.lines()),
               "a list that cannot be read is in the log")  # fmt: skip
    stack.simulator.clear_faults()

    stack.sql("INSERT INTO people VALUES (%s, %s)", LONG_KEY, f"{MARKER} with a long key")
    assert len(desk.wait_line("row refused by state database")["key_hash"]) == 16


def disagree(desk: Desk) -> None:
    """Two edits of one field at a time."""
    [process] = [one for one in desk.stack.processes if one.poll() is None]
    assert desk.stack.stop(process) == 0
    desk.edit(6, Title=f"{MARKER} name 6 of the list")
    desk.update(6, "name", f"{MARKER} name 6 of the table")
    desk.stack.start()
    wait_until(lambda: desk.stack.state("SELECT 1 FROM rowtide.conflict WHERE state = 'open'"), "they are in conflict")


def test_the_log_holds_no_value_no_key_and_no_secret(desk: Desk) -> None:
    go_wrong(desk)
    disagree(desk)
    for process in desk.stack.processes:
        if process.poll() is None:
            assert desk.stack.stop(process) == 0
    text = desk.stack.logged()
    for what in (MARKER, "4711", "example.", "Ada", LONG_KEY[20:60], "Bearer", "client_secret", "password"):
        assert what not in text, [line for line in text.splitlines() if what in line][:3]
    lines = desk.lines()
    assert {"debug", "info", "warning"} <= {line["level"] for line in lines}
    for line in lines:
        assert list(line)[:3] == ["timestamp", "level", "event"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
    batches = [line for line in lines if line["event"] == "batch answered"]
    assert batches
    assert all(UUID.fullmatch(line["request_id"]) and line["syncs"] == "people" for line in batches)
