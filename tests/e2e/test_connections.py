"""Whoever may write the state database chooses no host and no secret: connections come from the process's own file.

In: a running stack whose sync ``orders`` goes from the source erp to the tenant contoso, and ``lines`` from crm to
fabrikam; the state database is on a server of its own. Rules: an attack is a row that is inserted into the table of
applied definitions; a stranger's port says whether anybody came there.
"""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import Stack, replace_text, wait_until
from tests.e2e.stranger import Stranger

SYNC = """
  {name}:
    source: {{postgres: {source}, table: public.{name}}}
    target: {{graph: {graph}, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {name}
    fields: {{note: Title}}
"""
TABLE = """
CREATE TABLE {name} (id bigint PRIMARY KEY, note text);
INSERT INTO {name} SELECT n, 'note ' || n FROM generate_series(1, 5) n
"""
BOTH = SYNC.format(name="orders", source="erp", graph="contoso") + SYNC.format(
    name="lines", source="crm", graph="fabrikam"
)


def with_neighbours(definition: str) -> str:
    """The definition with another source and another tenant, which are the same server and the same simulator."""
    head, graph, rest = definition.partition("graph:\n")
    tenant = rest.partition("syncs:")[0]
    crm = '  crm: {dsn: "env:ROWTIDE_SOURCE_DSN", slot: rowtide_neighbour, heartbeat: 1s}\n'
    return head + crm + graph + tenant + tenant.replace("contoso:", "fabrikam:", 1) + rest[len(tenant) :]


@pytest.fixture(scope="module")
def stack(pg: Cluster, state_server: Cluster) -> Iterator[Stack]:
    """Both syncs run, and are loaded."""
    tables = [TABLE.format(name=name) for name in ("orders", "lines")]
    with shared_stack(pg, state_server, "connections", tables, BOTH, with_neighbours) as stack:
        stack.start()
        for name in ("orders", "lines"):
            wait_equal(stack, name)
        yield stack


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """A host that nobody may come to."""
    stranger = Stranger()
    yield stranger
    stranger.close()


def titles(stack: Stack, name: str) -> dict[int, str]:
    """Key -> title of every item of a list."""
    live = [item["fields"] for item in stack.simulator.items() if item["list"] == name and not item["deleted"]]
    return {int(fields["RowtideKey"].split(":")[1]): fields["Title"] for fields in live}


def wait_equal(stack: Stack, name: str) -> None:
    """Until table and list are equal."""
    wait_until(lambda: titles(stack, name) == dict(stack.sql(f"SELECT id, note FROM {name}")), f"{name} equal")


def reason(stack: Stack, name: str) -> dict[str, str]:
    """Why `status` says that a sync moves or does not."""
    return next(dict(one["reason"]) for one in stack.status()["syncs"] if one["sync"] == name)


def said_by(checks: list[dict[str, str]], part: str) -> list[str]:
    """Names of the failed checks of a source or tenant."""
    return [one["name"] for one in checks if one["part"].endswith(f" {part}") and one["level"] == "failure"]


def insert_version(stack: Stack, *changes: tuple[str, Any]) -> None:
    """What whoever may insert a row there does: the version in force with other values at these paths, as a newer."""
    stored = "compiled"
    for path, value in changes:
        stored = f"jsonb_set({stored}, '{{{path}}}', '{json.dumps(value)}')"
    stack.state(
        f"""
        INSERT INTO rowtide.definition
        SELECT (jsonb_populate_record(NULL::rowtide.definition, to_jsonb(d) || jsonb_build_object(
                'version', nextval('rowtide.definition_version_seq'), 'compiled', {stored}))).*
          FROM rowtide.definition AS d ORDER BY version DESC LIMIT 1
        """
    )


def attacks(port: int, secret: str) -> dict[str, tuple[str, list[tuple[str, Any]]]]:
    """By name: what is attacked, and the values that send it, or a local file, to the stranger."""
    here = f"127.0.0.1:{port}"
    graph, erp = "definition,graph,contoso", "definition,postgres,erp"
    return {
        "base_url": ("contoso", [(f"{graph},base_url", f"http://{here}/v1.0")]),
        "authority": ("contoso", [(f"{graph},authority", f"https://{here}")]),
        "a local file as the secret": (
            "contoso",
            [(f"{graph},authority", f"https://{here}"), (f"{graph},credential", {"client_secret": f"file:{secret}"})],
        ),
        "ca_file": ("contoso", [(f"{graph},ca_file", secret)]),
        "the tenant's identity": ("contoso", [("tenants,contoso,graph", here)]),
        "dsn": ("erp", [(f"{erp},dsn", f"file:{secret}")]),
        "slot": ("erp", [(f"{erp},slot", "of_somebody_else")]),
    }


NAMES = tuple(attacks(0, ""))


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_row_in_the_state_database_leads_nobody_to_a_stranger(stack: Stack, stranger: Stranger, name: str) -> None:
    """Only what it concerns is held, and it says so; the neighbour goes on, and everything does when it is gone."""
    wait_equal(stack, "orders")
    secret = stack.directory / "stranger.dsn"
    secret.write_text(f"host=127.0.0.1 port={stranger.port} dbname=shop user=reader password=of-the-reader")
    part, changes = attacks(stranger.port, str(secret))[name]
    mark = f"{name} {time.monotonic()}"
    insert_version(stack, *changes)
    wait_until(lambda: stranger.heard or reason(stack, "orders")["code"] == "connection_differs", "held, or led astray")
    assert not stranger.heard
    said = reason(stack, "orders")["sentence"]
    assert [word for word in (part, str(stack.config), socket.gethostname()) if word not in said] == []
    for table in ("orders", "lines"):
        stack.sql(f"UPDATE {table} SET note = %s WHERE id = 1", mark)
    wait_equal(stack, "lines")
    assert titles(stack, "orders")[1] != mark
    assert "connection_differs" in stack.command("diff", "orders", check=False).stderr
    told = json.loads(stack.command("doctor", "--json", check=False).stdout)["checks"]
    assert said_by(told, part) == ["file"]

    stack.apply()
    wait_equal(stack, "orders")
    wait_until(lambda: reason(stack, "orders")["code"] == "idle", "the hold is gone")
    assert not stranger.heard
    assert stack.state("SELECT 1 FROM rowtide.hold") == []


@pytest.mark.long
def test_a_tenant_that_the_process_does_not_know_is_held_until_its_file_has_it(stack: Stack) -> None:
    """An operator applies from another machine: the file of the process is brought up to date, and read again."""
    before, old = stack.config, stack.config.read_text()
    stack.config = stack.directory / "elsewhere.yaml"
    moved = old.replace("crm", "sales").replace("fabrikam", "northwind")
    replace_text(stack.config, moved)
    stack.apply()
    stack.config = before
    wait_until(lambda: reason(stack, "lines")["code"] == "connection_differs", "the neighbour is held")
    said = reason(stack, "lines")
    assert "sales" in said["sentence"]
    assert str(before) in said["sentence"]
    stack.sql("UPDATE orders SET note = 'goes on' WHERE id = 2")
    wait_equal(stack, "orders")
    replace_text(before, "version: 1\nnot: [finished")
    wait_until(lambda: "definition file not read again" in stack.logged(), "half a file changes nothing")
    stack.sql("UPDATE orders SET note = 'still goes on' WHERE id = 2")
    wait_equal(stack, "orders")

    replace_text(before, moved)
    stack.sql("UPDATE lines SET note = 'again' WHERE id = 2")
    wait_equal(stack, "lines")
    replace_text(before, old)
    stack.apply()
    wait_equal(stack, "lines")
    wait_until(lambda: [reason(stack, name)["code"] for name in ("orders", "lines")] == ["idle"] * 2, "both go on")
    assert stack.state("SELECT 1 FROM rowtide.hold") == []


@pytest.mark.long
@pytest.mark.parametrize("roles", ["capture", "deliver"])
def test_a_process_that_reaches_nothing_waits_for_its_file(stack: Stack, roles: str) -> None:
    """It lives, says what is wrong with its file, and goes to work when that is mended; the other process goes on."""
    other = stack.directory / f"{roles}.yaml"
    text, good = stack.config.read_text(), stack.config
    for name in ("erp", "crm", "contoso", "fabrikam"):
        text = text.replace(name, f"{name}-of-before").replace(f"{name}-of-before.", f"{name}.")
    replace_text(other, text)
    stack.config = other
    process = stack.start("--roles", roles)
    stack.config = good
    stack.wait_ready(process)
    placed = "SELECT count(*) FROM rowtide.hold WHERE code = 'connection_differs' AND reason LIKE %s"
    expected = 2 if roles == "capture" else 4
    wait_until(lambda: stack.state(placed, f"%{other.name}%") == [(expected,)], "all that it opens is held")
    assert process.poll() is None
    replace_text(other, good.read_text())
    wait_until(lambda: stack.state("SELECT 1 FROM rowtide.hold") == [], "nothing is held")
    stack.sql("UPDATE orders SET note = %s WHERE id = 3", f"beside {roles}")
    wait_equal(stack, "orders")
    assert stack.stop(process) == 0
