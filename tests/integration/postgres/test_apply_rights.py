"""What a role needs to write people's edits: what is missing is told with the statements that are enough."""

import pytest
from psycopg import sql

from connectors.postgres import apply_record, apply_rights, excess_rights
from connectors.postgres.apply_acts import Committed, DeleteRow
from rowtide.error_catalogue.entries import Check
from rowtide.mapping.columns_written import ColumnsWritten
from tests.integration.postgres.pulled_table import GONE, Decides, PulledTable, insert, place, update

PARTS = ("their schema", "parts")
WRITTEN = {PARTS: ColumnsWritten(frozenset({"name", "twice"}), frozenset({"region"}), frozenset(), True, deletes=True)}


@pytest.fixture
def parts(pulled: PulledTable) -> PulledTable:
    """A table that nobody but its owner has a right to, whose key is drawn from a sequence."""
    pulled.run(
        'CREATE SCHEMA "their schema"',
        'CREATE TABLE "their schema".parts (id serial PRIMARY KEY, name text, region text, internal text, '
        "twice int GENERATED ALWAYS AS (1) STORED)",
        f"REVOKE ALL ON rowtide_pull.applied FROM {pulled.puller}",
        f"REVOKE ALL ON SCHEMA rowtide_pull FROM {pulled.puller}",
    )
    return pulled


def found(parts: PulledTable) -> list[Check]:
    return apply_rights.checks(parts.connect(parts.puller), WRITTEN)


def test_the_statements_that_are_told_are_enough(parts: PulledTable) -> None:
    record, table = found(parts)
    assert (record.level, table.level) == ("failure", "failure")
    assert (
        f'The role {parts.puller} cannot write people\'s edits to "their schema".parts: it lacks USAGE of its schema; '
        "SELECT of id, name, region; INSERT of id, name; UPDATE of name; DELETE; USAGE of sequence parts_id_seq."
    ) == table.sentence
    parts.run(*record.remedy.split("; "), *table.remedy.split("; "))
    assert [(one.name, one.level) for one in found(parts)] == [("edits", "ok")]
    parts.run(f'GRANT USAGE ON SCHEMA "their schema" TO {parts.reader}')

    session = parts.session()
    sync = parts.compiled({"name": "Title"}, '"their schema".parts', where="region IS NULL")
    mine = parts.table(session, sync)
    drawn = session.apply_row(mine, place(None), Decides(insert(name="bolt")))
    given = session.apply_row(mine, place("9", item_id="2"), Decides(insert(id="9", name="nut")))
    changed = session.apply_row(mine, place("9", item_id="2"), Decides(update(name="screw")))
    gone = session.apply_row(mine, place("9", item_id="2"), Decides(DeleteRow(GONE)))
    assert [type(one) for one in (drawn, given, changed, gone)] == [Committed] * 4


def test_a_table_that_remembers_edits_and_is_missing_is_told(parts: PulledTable) -> None:
    parts.run("DROP SCHEMA rowtide_pull CASCADE")
    record, _ = found(parts)
    assert record.remedy.endswith("; ".join(apply_record.DDL))


def test_row_security_is_told(pulled: PulledTable) -> None:
    pulled.run(
        "CREATE TABLE parts (id int PRIMARY KEY, name text)",
        "ALTER TABLE parts ENABLE ROW LEVEL SECURITY",
    )
    written = {("public", "parts"): ColumnsWritten(frozenset({"name"}), with_primary_key=True)}
    [table] = apply_rights.read_written(pulled.owner, written)
    pulled.run(*apply_rights.table_grants(table, sql.Identifier(pulled.puller)))
    told = apply_rights.checks(pulled.connect(pulled.puller), written)
    assert [(one.level, one.sentence) for one in told] == [
        ("warning", "Row security is on for public.parts: edits that its policies refuse are parked."),
        ("ok", f"The role {pulled.puller} may write what people edit."),
    ]


def test_a_key_that_is_numbered_by_itself_needs_no_sequence(pulled: PulledTable) -> None:
    pulled.run(
        "CREATE TABLE parts (id int GENERATED ALWAYS AS IDENTITY, code text, a text, PRIMARY KEY (id, code))",
        "CREATE TABLE others (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), a text)",
    )
    written = {
        ("public", "parts"): ColumnsWritten(frozenset({"code", "a"}), with_primary_key=True),
        ("public", "others"): ColumnsWritten(frozenset({"a"}), with_primary_key=True),
    }
    for table in apply_rights.read_written(pulled.owner, written):
        assert table.sequences == []
        assert table.updated == ["a"]


def test_rights_that_writing_needs_not_are_told(pulled: PulledTable) -> None:
    assert excess_rights.of_writer(pulled.connect(pulled.puller)).level == "ok"
    told = excess_rights.of_writer(pulled.connect(pulled.reader))
    assert told.sentence == f"The role {pulled.reader} may also: bypass row security."
    assert "is superuser" in excess_rights.of_writer(pulled.owner).sentence
