"""Names that look like something else, and types that a list has no kind for: loaded, changed and reconciled.

In: one running stack over a table whose every name is hostile, and one whose values are carried as text; the records
are on a server of their own. Rule: expected is what PostgreSQL says, read under the settings of every session of ours.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from connectors.postgres.connections import open_unproven
from demo.postgres import Cluster
from rowtide.keys import row_key, rowtide_key
from tests.conftest import drop_databases, reachable_directory
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

TABLE = '"my.schema"."we ird.%s $1"'
PUBLICATION = r"""pub "%s" \ 'x', y"""
TITLE = "We ird %s {} $1"
TABLES = f"""
CREATE SCHEMA "my.schema";
CREATE TYPE "my.schema"."m%ood {{}}" AS ENUM ('%s', 'it''s "calm"');
CREATE DOMAIN "my.schema"."co%de" AS text;
CREATE TABLE {TABLE} (
    "100%" "my.schema"."co%de", "k0" int, "a b" int, "sel""ect" text, "{{0}}" "my.schema"."m%ood {{}}",
    CONSTRAINT "con%s ""st"" raint" PRIMARY KEY ("k0", "100%")
);
INSERT INTO {TABLE} SELECT 'r' || i, i, i, 'row ' || i, '%s' FROM generate_series(1, 20) i;
CREATE EXTENSION citext;
CREATE TABLE kinds (
    id int PRIMARY KEY, words citext, numbers int[], texts text[], clock time, zoned timetz, span interval,
    paid money, net cidr, mac macaddr, spot point, during int4range, bits varbit(9)
);
INSERT INTO kinds VALUES
    (1, 'MiXed', '{{1,NULL,-3}}', '{{"a b","c\\"d",""}}', '23:59:59.999999', '10:00:00.5+02',
     '1 year -2 days 03:04:05.6', '-1234.50', '10.1.0.0/16', '08:00:2b:01:02:03', '(1.5,-2)', '[1,5)', B'10101'),
    (2, NULL, '{{}}', NULL, NULL, NULL, '-00:00:00.000001', '92233720368547758.07', NULL, NULL, NULL, 'empty', NULL)
"""
KINDS = ("words", "numbers", "texts", "clock", "zoned", "span", "paid", "net", "mac", "spot", "during", "bits")
SYNCS = f"""
  weird:
    source: {{postgres: erp, table: '{TABLE}'}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: "{TITLE}"
    where: '"a b" >= 0'
    breaker: {{share: 1.0, rows: 100000}}
    fields:
      '100%': Title
      'sel"ect': {{field: Sel, as: note}}
      a b: {{field: AB, as: number}}
      '{{0}}': {{field: Mood, as: choice}}
  kinds:
    source: {{postgres: erp, table: public.kinds}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: Kinds
    fields: {{{", ".join(f"{name}: {{field: F{name}, as: text}}" for name in KINDS)}}}
"""


@pytest.fixture(scope="module")
def stack(pg: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, its definition applied and its process running."""
    states = Cluster(reachable_directory("rowtide-pg-"), {"fsync": "off", "shared_buffers": "32MB"})
    directory = reachable_directory("rowtide-names-")
    simulator = Simulator(tmp_path_factory.mktemp("simulator"), "--tier", "off")
    source_dsn = pg.create_database("names_source")
    with ExitStack() as ending:
        for used in (directory, states.directory):
            ending.callback(shutil.rmtree, used, ignore_errors=True)
        ending.callback(drop_databases, pg, ["names_source"])
        ending.callback(simulator.close)
        ending.callback(states.kill)
        states.start()
        stack = Stack(directory, source_dsn, states.create_database("state"), simulator.ready, SYNCS, "quota: off")
        ending.callback(stack.close)
        named = f"publication: {json.dumps(PUBLICATION)}, heartbeat: 1s"
        stack.config.write_text(stack.config.read_text().replace("heartbeat: 1s", named))
        stack.simulator = simulator
        stack.sql(TABLES)
        stack.apply()
        stack.start()
        yield stack


def in_tables(stack: Stack) -> dict[str, dict[str, Any]]:
    """RowtideKey -> the fields, as the tables say under our sessions' settings."""
    found = {}
    with open_unproven(stack.source_dsn, "test") as connection:
        columns = '"100%", "k0", "a b", "sel""ect", "{0}"::text'
        for code, k0, number, sel, mood in connection.execute(f'SELECT {columns} FROM {TABLE} WHERE "a b" >= 0'):
            fields = {"Title": code, "Sel": sel, "AB": number, "Mood": mood}
            found[rowtide_key("weird", row_key([str(k0), code]))] = fields
        texts = ", ".join(f"{name}::text" for name in KINDS)
        # An empty text is no value to SharePoint.
        for id_, *values in connection.execute(f"SELECT id, {texts} FROM public.kinds"):
            fields = {f"F{name}": value or None for name, value in zip(KINDS, values, strict=True)}
            found[rowtide_key("kinds", str(id_))] = fields
    return found


def in_lists(stack: Stack) -> dict[str, dict[str, Any]]:
    """RowtideKey -> the fields of its item; of two items, neither is what it should be."""
    found: dict[str, dict[str, Any]] = {}
    for item in stack.simulator.items():
        if not item["deleted"] and item["list"] in (TITLE, "Kinds"):
            names = [f"F{name}" for name in KINDS] if item["list"] == "Kinds" else ["Title", "Sel", "AB", "Mood"]
            key = item["fields"]["RowtideKey"]
            fields = {name: item["fields"].get(name) or None for name in names}
            found[key] = {"two": "items"} if key in found else fields
    return found


def wait_equal(stack: Stack) -> None:
    """Until tables and lists are equal."""
    try:
        wait_until(lambda: in_lists(stack) == in_tables(stack), "tables and lists equal", 90.0)
    except AssertionError as error:
        have, want = in_lists(stack), in_tables(stack)
        differing = {key: (have.get(key), want.get(key)) for key in have | want if have.get(key) != want.get(key)}
        raise AssertionError(f"{error}\nlists, tables: {differing}\n{stack.logged()[-4000:]}") from None


def test_they_are_loaded_changed_and_reconciled(stack: Stack) -> None:
    wait_equal(stack)
    assert len(in_lists(stack)) == 22
    stack.sql(f"""UPDATE {TABLE} SET "sel""ect" = '100%s', "{{0}}" = 'it''s "calm"' WHERE "k0" < 6""")
    stack.sql(f'DELETE FROM {TABLE} WHERE "k0" IN (7, 8)')
    stack.sql(f"""UPDATE {TABLE} SET "100%" = '%s {{}} $1 "' WHERE "k0" = 9""")
    stack.sql(f'UPDATE {TABLE} SET "a b" = -1 WHERE "k0" = 10')
    stack.sql("UPDATE kinds SET words = 'uPPer', numbers = '{9}', span = '-1 mon', paid = 7 WHERE id = 1")
    wait_equal(stack)
    for sync in ("weird", "kinds"):
        stack.command("reconcile", sync)
        stack.command("diff", sync)
    wait_equal(stack)


def test_commands_know_them_too(stack: Stack) -> None:
    stack.command("validate")
    planned = json.loads(stack.command("plan", "--json").stdout)
    assert planned["sources"]["erp"] == {"statements": [], "faults": [], "problem": None}
    checks = json.loads(stack.command("doctor", "--json", check=False).stdout)["checks"]
    assert [check for check in checks if check["level"] == "failure"] == []
    stack.command("plan", "--sql")
