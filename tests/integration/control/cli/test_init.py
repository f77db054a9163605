"""`rowtide init` over all kinds of tables: what it writes is valid, and what it refuses has a reason."""

from collections.abc import Sequence

import pytest

from connectors import settings
from rowtide.definition.model import SyncDefinition
from tests.integration.control.desk import Answer, Desk

TABLES = """
CREATE EXTENSION citext;
CREATE SCHEMA "my.schema";
CREATE TYPE feeling AS ENUM ('a "b"', '%s');
CREATE TABLE kinds (
    id int PRIMARY KEY, label text NOT NULL, words citext, numbers int[], clock time, span interval, paid money,
    long_text text, lines text, no_values text, exact numeric, huge numeric(30, 2), big bigint, digits bigint,
    doubled int GENERATED ALWAYS AS (id * 2) STORED, feels feeling, photo bytea
);
INSERT INTO kinds VALUES
    (1, 'one', 'W', '{1}', '10:00', '1 day', 5, repeat('x', 200), E'a\\nb', NULL, 1.5, 12.25, 7, 1234567890123456789),
    (2, 'two', NULL, NULL, NULL, NULL, NULL, 'short', 'c', NULL, 123456789012345678, 1, 8, 9);
CREATE TABLE "my.schema"."Odd %s {} table" (
    "no %s" int, "b: c" text NOT NULL, "\u0085" text, ".5" text, "null" text, "Title" text, "title" text
);
CREATE UNIQUE INDEX ON "my.schema"."Odd %s {} table" ("b: c");
CREATE TABLE "my.schema".kinds (id int PRIMARY KEY, note text);
CREATE TABLE "null" (id uuid PRIMARY KEY);
CREATE VIEW seen AS SELECT * FROM kinds;
CREATE TABLE keyless (id int, name text);
CREATE TABLE nullable (id int UNIQUE, name text);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child () INHERITS (parent);
CREATE TABLE blobs (id bytea PRIMARY KEY, blob bytea);
CREATE TABLE computed (a int, g int GENERATED ALWAYS AS (a + 1) STORED PRIMARY KEY)
"""


@pytest.fixture
def bare(desk: Desk) -> Desk:
    """A desk with these tables and no definition."""
    desk.config.unlink()
    desk.sql(TABLES)
    return desk


def init(desk: Desk, *tables: str, name: str = "erp-two") -> Answer:
    """Type `init` for these tables."""
    words = [word for table in tables for word in ("--table", table)]
    return desk.type("init", "--name", name, "--dsn", "env:ROWTIDE_SOURCE_DSN", *words)


def written(desk: Desk, *tables: str) -> Sequence[SyncDefinition]:
    """The syncs of the file that `init` writes for these tables, which `validate` takes."""
    done = init(desk, *tables)
    assert done.code == 0, done.err
    checked = desk.type("validate", "--json")
    assert (checked.code, checked.json["problems"]) == (0, [])
    return list(settings.load(desk.config).definition.syncs.values())


def test_kinds_come_from_types_and_values(bare: Desk) -> None:
    (sync,) = written(bare, "kinds")
    assert {column: one.kind for column, one in sync.fields.items()} == {
        "label": "text",
        "words": "text",
        "numbers": "text",
        "clock": "text",
        "span": "text",
        "paid": "text",
        "long_text": "note",
        "lines": "note",
        "no_values": "note",
        "exact": "text",
        "huge": "number",
        "big": "number",
        "digits": "text",
        "feels": "choice",
    }
    assert "# doubled: " in bare.config.read_text()


def test_hostile_names_and_tables_of_one_name(bare: Desk) -> None:
    odd = '"my.schema"."Odd %s {} table"'
    first, second, third, _ = written(bare, "public.kinds", odd, '"my.schema".kinds', "null")
    assert second.source.schema_and_table == ("my.schema", "Odd %s {} table")
    assert second.source.key == ("b: c",)
    assert {"no %s", "\u0085", ".5", "null", "Title", "title"} <= second.fields.keys()
    assert (first.list, third.list) == ("Kinds", "Kinds 2")
    assert list(settings.load(bare.config).definition.postgres) == ["erp-two"]


REFUSED = {
    "seen": "not_a_table: public.seen is a view",
    "keyless": "init_table: public.keyless cannot be synced: it has no primary key",
    "nullable": "init_table: public.nullable cannot be synced: it has no primary key",
    "parent": "init_table: public.parent cannot be synced: other tables inherit from it",
    "blobs": "init_table: public.blobs cannot be synced: no column of it can be carried",
    "computed": "init_table: public.computed cannot be synced: it has no primary key",
    "a.b.c": "init_table: a.b.c is no table's name",
}


def test_what_no_definition_could_carry_is_refused(bare: Desk) -> None:
    for table, said in REFUSED.items():
        done = init(bare, table)
        assert done.code != 0
        assert done.err.startswith(f"error {said}")
        assert not bare.config.exists()


def test_a_name_that_no_definition_takes_is_refused(bare: Desk) -> None:
    done = init(bare, "kinds", name="My Shop")
    assert done.err.startswith("error init_name: ")
    assert not bare.config.exists()


def test_validate_calls_a_view_a_view(desk: Desk) -> None:
    desk.sql("CREATE VIEW seen AS SELECT * FROM parts")
    desk.config.write_text(desk.config.read_text().replace("public.parts", "public.seen"))
    done = desk.type("validate")
    assert done.code == 2
    assert "public.seen is a view" in done.err
