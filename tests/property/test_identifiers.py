"""Every statement that we compose means the same whatever names PostgreSQL has allowed in it.

In: names of schema, table, type, label, columns, constraint and publication made of what SQL, psycopg, YAML and
``str.format`` take for something else. Out: each statement is run on a real server and answers as with plain names.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from ruamel.yaml import YAML

from connectors.postgres import (
    apply_table,
    column_samples,
    connections,
    preflight,
    publishing_rights,
    row_counts,
    shape,
    slots,
    table_catalog,
    table_pages,
)
from connectors.postgres.preflight import WantedSource
from control.operations import grants, template
from control.operations.grants import SourceRequirements, TableRequirements
from demo.postgres import Cluster
from rowtide import table_name
from rowtide.definition import model as definitions
from rowtide.mapping.compiled_sync import CompiledSync, compile_sync

PIECES = (
    "%", "%s", "%(x)s", "{}", "{0}", "$1", ":x", '"', "'", "\\", ".", ",", " ", "\n", "\t", "--", "/*", ";", "(", "[]",
    "ä", "表", "\U0001f600", "\x7f", "\x85", "select", "ORDER", "a", "B", "t", "k0", "0", "#", "&", "*", "!",
    "-", "'%s",
)  # fmt: skip


def _usable(name: str) -> bool:
    return table_name.fits(name) and not name.startswith("pg_")


NAMES = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).map("".join),
    st.sampled_from(("x" * 63, "ä" * 31, "100%", "a b", 'sel"ect', "user", "Table", "k0", "t", "s", "null", ".5")),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20),
).filter(_usable)


class World(NamedTuple):
    """A schema and what is in it; the table has the rows ('a', 1) and ('b', 2)."""

    schema: str
    table: str
    enum: str
    domain: str
    label: str
    constraint: str
    publication: str
    first: str
    second: str
    words: str
    mood: str

    @property
    def text(self) -> str:
        """The table as a definition writes it."""
        return table_name.to_text(self.schema, self.table)

    def make(self, connection: psycopg.Connection[Any]) -> None:
        """Make everything but the publication."""
        names = {name: sql.Identifier(value) for name, value in self._asdict().items()}
        whole = {name: sql.Identifier(self.schema, getattr(self, name)) for name in ("table", "enum", "domain")}
        label = sql.Literal(self.label)
        for statement in (
            "CREATE SCHEMA {schema}",
            "CREATE TYPE {enum} AS ENUM ({label})",
            "CREATE DOMAIN {domain} AS text",
            "CREATE TABLE {table} ({first} {domain}, {second} int, {words} text, {mood} {enum}, "
            "CONSTRAINT {constraint} PRIMARY KEY ({second}, {first}))",
            "INSERT INTO {table} VALUES ('a', 1, 'one', {label}), ('b', 2, 'two', NULL)",
        ):
            connection.execute(sql.SQL(statement).format(**{**names, **whole, "label": label}))

    def drop(self, connection: psycopg.Connection[Any]) -> None:
        """Drop it again."""
        connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(self.publication)))
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(self.schema)))

    def definition(self) -> definitions.Document:
        """The document of a definition with a sync of the table, read back from its own JSON."""
        words = sql.Identifier(self.words).as_string()
        made = definitions.parse(
            {
                "version": 1,
                "state": {"dsn": "env:STATE"},
                "postgres": {"erp": {"dsn": "env:SOURCE", "publication": self.publication}},
                "graph": {
                    "contoso": {"tenant_id": "t", "client_id": "c", "credential": {"client_secret": "env:SECRET"}}
                },
                "syncs": {
                    "parts": {
                        "source": {"postgres": "erp", "table": self.text, "key": [self.first, self.second]},
                        "target": {"graph": "contoso", "site": "contoso.sharepoint.com:/sites/ops"},
                        "lists": {"by": words, "map": {"one": "List {} %s", "two": "Two"}},
                        "where": f"{words} <> '%s'",
                        "fields": {self.words: "Title", self.mood: {"field": "Mood", "as": "choice"}},
                    }
                },
            }
        )
        return definitions.parse_document(made.to_json())

    def compiled(self, connection: psycopg.Connection[Any]) -> CompiledSync:
        """The sync over the table."""
        columns = table_catalog.read_table(connection, self.schema, self.table).columns
        return compile_sync("parts", self.definition().syncs["parts"], columns)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A world; the names of tables, types and indexes are one namespace, those of columns another."""
    schema, label, publication = (draw(NAMES) for _ in range(3))
    table, enum, domain, constraint = draw(st.lists(NAMES, min_size=4, max_size=4, unique=True))
    first, second, words, mood = draw(st.lists(NAMES, min_size=4, max_size=4, unique=True))
    return World(schema, table, enum, domain, label, constraint, publication, first, second, words, mood)


@pytest.fixture(scope="module")
def server(pg: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A session on a database of its own, as the product opens it."""
    with connections.open_unproven(pg.create_database("identifiers")) as connection:
        yield connection


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_every_statement_takes_every_name(server: psycopg.Connection[Any], world: World) -> None:
    try:
        world.make(server)
        run_the_dbas_script(server, world)
        look_before_apply(server, world)
        publish(server, world)
        sync = world.compiled(server)
        read_pages(server, sync)
        write_rows(server, sync, world)
        count(server, sync)
        look_at_the_shape(server, sync, world)
    finally:
        world.drop(server)


def run_the_dbas_script(server: psycopg.Connection[Any], world: World) -> None:
    """All of it but the slot, which no transaction with changes may make; it is rolled back."""
    owner = publishing_rights.owner_of(server, world.schema, world.table)
    assert owner is not None
    columns = (world.words, world.mood)
    guarded = TableRequirements(world.schema, world.table, owner.name, owner.powerful, True, columns)
    required = SourceRequirements("erp", server.info.dbname, "slot", world.publication, False, [guarded])
    with server.transaction(force_rollback=True):
        script = [line for line in grants.source_statements(required) if "pg_create_logical" not in line]
        server.execute("\n".join(script).encode())
        assert slots.unpublished(server, world.publication, [(world.schema, world.table)]) == []


def look_before_apply(server: psycopg.Connection[Any], world: World) -> None:
    table = (world.schema, world.table)
    wanted = WantedSource("", "slot", world.publication, [table])
    assert preflight.blockers(wanted, server) == []
    assert publishing_rights.missing(server, world.publication, [table]) == []
    samples = column_samples.read(server, *table, [world.words, world.mood])
    assert samples[world.words].longest == 3
    assert samples[world.mood].values == 1
    found = table_catalog.read_table(server, *table)
    draft = template.Draft(syncs=[template.propose(world.text, found.columns, samples, template.key_of(found) or ())])
    sync = definitions.parse(YAML(typ="safe", pure=True).load(template.definition_text(draft))).syncs
    (proposed,) = sync.values()
    assert proposed.source.schema_and_table == table
    assert {world.words, world.mood} <= proposed.fields.keys()
    assert proposed.fields[world.mood].choices == (world.label,)


def publish(server: psycopg.Connection[Any], world: World) -> None:
    table = (world.schema, world.table)
    assert slots.ensure_publication(server, world.publication, [table])
    assert slots.ensure_publication(server, world.publication, [table]) == []
    publication, relation = sql.Identifier(world.publication), sql.Identifier(*table)
    server.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(publication, relation))
    assert slots.ensure_publication(server, world.publication, [table])
    assert slots.publication_oid(server, world.publication) is not None


def read_pages(server: psycopg.Connection[Any], sync: CompiledSync) -> None:
    keyset = table_pages.read_keyset(server, sync)
    assert keyset.columns == (sync.key_columns[1], sync.key_columns[0])
    page = table_pages.read_page(server, sync, keyset, None, 10)
    assert [row[:2] for row in page.rows] == [("a", "1"), ("b", "2")]
    assert [row[0] for row in table_pages.read_page(server, sync, keyset, ("1", "a"), 10).rows] == ["b"]
    assert [row[0] for row in table_pages.read_page(server, sync, keyset, ("0", ""), 10, ("1", "a")).rows] == ["a"]
    assert list(table_pages.read_rows(server, sync, keyset, ["a|1", "b|1"]).rows) == ["a|1"]
    assert table_pages.read_keys(server, sync, keyset, ["b|2", "b|1"])[1] == {"b|2"}


def write_rows(server: psycopg.Connection[Any], sync: CompiledSync, world: World) -> None:
    """As people's edits are applied, under the search path of the table's triggers; it is rolled back."""
    table, cursor = apply_table.read_apply_table(server, sync), psycopg.RawCursor(server)
    new: dict[str, str | None] = {world.first: "c", world.second: "3", world.words: "one"}
    with server.transaction(force_rollback=True):
        server.execute("SELECT set_config('search_path', %s, true)", [table.search_path])
        [row] = cursor.execute(apply_table.read_row(table), ["a", "1"]).fetchall()
        assert [str(value) for value in table.key_values(row)] == ["a", "1"]
        [row] = cursor.execute(apply_table.update_row(table, {world.words: "two"}), ["two", "a", "1"]).fetchall()
        assert "two" in row
        insert = apply_table.insert_row(table, new, unless_taken=True)
        assert [len(cursor.execute(insert, list(new.values())).fetchall()) for _ in range(2)] == [1, 0]
        assert len(cursor.execute(apply_table.delete_row(table), ["c", "3"]).fetchall()) == 1


def count(server: psycopg.Connection[Any], sync: CompiledSync) -> None:
    assert row_counts.read(server, sync).rows == {"List {} %s": 1, "Two": 1}
    assert row_counts.estimate(server, sync).exact is False
    assert row_counts.read_places(server, sync, sync) == {("List {} %s", "List {} %s"): 1, ("Two", "Two"): 1}


def look_at_the_shape(server: psycopg.Connection[Any], sync: CompiledSync, world: World) -> None:
    found = shape.read_shapes(server, world.publication, [sync])["parts"]
    assert found is not None
    assert found.carried
    assert set(found.relation.columns) == set(sync.select_columns)


def test_a_name_of_one_key_column(server: psycopg.Connection[Any]) -> None:
    """Rows of a table with one key column are found by another statement."""
    server.execute('CREATE TABLE public.single ("100%" int PRIMARY KEY, words text)')
    server.execute("INSERT INTO public.single VALUES (7, 'seven')")
    columns = table_catalog.read_columns(server, "public", "single")
    document = {
        "source": {"postgres": "erp", "table": "public.single"},
        "target": {"graph": "contoso", "site": "contoso.sharepoint.com:/sites/ops"},
        "list": "Single",
        "fields": {"words": "Title"},
    }
    sync = compile_sync("single", definitions.SyncDefinition.model_validate(document), columns)
    keyset = table_pages.read_keyset(server, sync)
    assert list(table_pages.read_rows(server, sync, keyset, ["7", "8"]).rows) == ["7"]
