"""Whether a role may write people's edits into a source, for `doctor` and `plan`, and the grants that it needs.

In: a session as the role of ``apply_dsn``, what syncs write of each table. Out: failed `Check`s, each with the
statements that mend it; warnings for what only some edits will meet. Rule (docs/design.md section 21): the role needs
no more than DML on the columns that syncs map and on ``rowtide_pull.applied``, whoever owns them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from connectors.postgres import apply_record
from connectors.postgres.connections import as_source_errors
from connectors.postgres.slots import Table
from rowtide import table_name
from rowtide.error_catalogue import doctor_findings as findings
from rowtide.error_catalogue.entries import Check
from rowtide.mapping.columns_written import ColumnsWritten

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class WrittenTable:
    """What is written of a table: its columns by what is done with them, and the sequences that its key draws from.

    ``selected`` are read under lock. ``guarded``: row security is on.
    """

    schema: str
    table: str
    selected: Sequence[str] = ()
    updated: Sequence[str] = ()
    inserted: Sequence[str] = ()
    deletes: bool = False
    sequences: Sequence[Table] = ()
    guarded: bool = False

    @property
    def name(self) -> str:
        """The table as a definition writes it."""
        return table_name.to_text(self.schema, self.table)


_COLUMNS: Final = """
SELECT a.attname::text, COALESCE(a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]), false),
       a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', s.nspname::text, s.relname::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
  LEFT JOIN LATERAL (
      SELECT sn.nspname, sc.relname
        FROM pg_attrdef d JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
         AND p.refclassid = 'pg_class'::regclass
        JOIN pg_class sc ON sc.oid = p.refobjid AND sc.relkind = 'S' JOIN pg_namespace sn ON sn.oid = sc.relnamespace
       WHERE d.adrelid = c.oid AND d.adnum = a.attnum LIMIT 1) AS s ON true
 WHERE n.nspname = %s AND c.relname = %s ORDER BY a.attnum
"""
_GUARDED: Final = """
SELECT c.relrowsecurity FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s
"""


def read_written(connection: Connection, written: Mapping[Table, ColumnsWritten]) -> list[WrittenTable]:
    """What is written of these tables, as they are; one that is not there has no columns."""
    with as_source_errors("reading the columns that are written"):
        return [_written(connection, table, columns) for table, columns in written.items()]


def _written(connection: Connection, table: Table, columns: ColumnsWritten) -> WrittenTable:
    found = connection.execute(_COLUMNS, table).fetchall()
    guarded = connection.execute(_GUARDED, table).fetchone()
    names = [name for name, *_ in found]
    key = [name for name, primary, *_ in found if name in columns.key or (primary and columns.with_primary_key)]
    settable = [name for name, _, _, generated, *_ in found if not generated]
    mapped = [name for name in settable if name in columns.names]
    has_value = {name for name, _, has_default, *_ in found if has_default}
    # A restored item's row has its old key, so a key column is given although it draws values.
    inserted = [name for name in settable if name in {*mapped, *key}]
    drawn = {name for name in key if name not in mapped and name in has_value}
    sequences = [(schema, name) for column, *_, schema, name in found if schema is not None and column in drawn]
    return WrittenTable(
        *table,
        selected=[name for name in names if name in {*columns.read, *key, *mapped}],
        updated=[name for name in mapped if name not in key],
        inserted=inserted,
        deletes=columns.deletes,
        sequences=sequences,
        guarded=bool(guarded and guarded[0]),
    )


# --- grants ---------------------------------------------------------------------------------------------------------


def table_grants(table: WrittenTable, role: sql.Composable) -> list[str]:
    """What the role needs of one table, its schema and its sequences."""
    rights: list[sql.Composable] = [sql.SQL("SELECT, INSERT, UPDATE")]  # while nobody could ask for its columns
    if table.selected:
        columns = (("SELECT", table.selected), ("INSERT", table.inserted), ("UPDATE", table.updated))
        rights = [_right(right, names) for right, names in columns if names]
    rights += [sql.SQL("DELETE")] if table.deletes else []
    name = sql.Identifier(table.schema, table.table)
    return [
        _said("GRANT USAGE ON SCHEMA {} TO {};", sql.Identifier(table.schema), role),
        _said("GRANT {} ON TABLE {} TO {};", sql.SQL(", ").join(rights), name, role),
        *(_said("GRANT USAGE ON SEQUENCE {} TO {};", sql.Identifier(*one), role) for one in table.sequences),
    ]


def _right(right: LiteralString, columns: Sequence[str]) -> sql.Composable:
    return sql.SQL("{} ({})").format(sql.SQL(right), sql.SQL(", ").join(map(sql.Identifier, columns)))


def _said(statement: LiteralString, *parts: sql.Composable) -> str:
    return sql.SQL(statement).format(*parts).as_string()


# --- checks ---------------------------------------------------------------------------------------------------------


def checks(connection: Connection, written: Mapping[Table, ColumnsWritten]) -> list[Check]:
    """What keeps the role of ``connection`` from writing edits; one that all is well where nothing does."""
    with as_source_errors("reading the rights of the role that writes edits"):
        row = connection.execute("SELECT current_user::text, pg_is_in_recovery()").fetchone()
    assert row is not None, "a session has a role"
    role, recovering = row
    if recovering:
        return [findings.APPLY_STANDBY()]
    tables = read_written(connection, written)
    found = _record(connection, role)
    for table in tables:
        found += _table(connection, table, role)
    if not any(one.level == "failure" for one in found):
        found.append(findings.APPLY_OK(role=role))
    return found


_RECORD_RIGHTS: Final = """
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
   AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
   AND has_table_privilege(c.oid, 'DELETE'), current_user::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""


def record_grants(connection: Connection) -> list[str]:
    """What the role of ``connection`` still needs of ``rowtide_pull.applied``; nothing where there is no such table."""
    with as_source_errors("reading the rights on the record of edits"):
        row = connection.execute(_RECORD_RIGHTS, [apply_record.SCHEMA, apply_record.TABLE]).fetchone()
    return [] if row is None or row[0] else apply_record.grants(sql.Identifier(row[1]))


def _record(connection: Connection, role: str) -> list[Check]:
    missing = apply_record.missing_statements(connection)
    if missing:
        return [findings.APPLY_RECORD_MISSING(statements="; ".join(missing))]
    grants = record_grants(connection)
    return [findings.APPLY_RECORD_RIGHTS(role=role, grants="; ".join(grants))] if grants else []


_MAY_MAKE: Final = "SELECT has_database_privilege(current_database(), 'CREATE') OR to_regnamespace(%s) IS NOT NULL"


def blockers(admin: Connection) -> list[Check]:
    """What would stop `apply`, which makes ``rowtide_pull.applied`` as the role of ``admin``."""
    missing = apply_record.missing_statements(admin)
    with as_source_errors("reading the rights of the role that makes the record of edits"):
        row = admin.execute(_MAY_MAKE, [apply_record.SCHEMA]).fetchone()
    if not missing or (row and row[0]):
        return []
    return [findings.APPLY_RECORD_MISSING(statements="; ".join(missing))]


_LACKS: Final = """
SELECT NOT has_schema_privilege(n.oid, 'USAGE'),
       ARRAY(SELECT w.name FROM unnest(%(selected)s::text[]) AS w (name)
              WHERE NOT has_column_privilege(c.oid, w.name, 'SELECT')),
       ARRAY(SELECT w.name FROM unnest(%(inserted)s::text[]) AS w (name)
              WHERE NOT has_column_privilege(c.oid, w.name, 'INSERT')),
       ARRAY(SELECT w.name FROM unnest(%(updated)s::text[]) AS w (name)
              WHERE NOT has_column_privilege(c.oid, w.name, 'UPDATE')),
       %(deletes)s AND NOT has_table_privilege(c.oid, 'DELETE'),
       ARRAY(SELECT s.relname::text FROM unnest(%(sequence_schemas)s::text[], %(sequences)s::text[]) AS w (schema, name)
               JOIN pg_namespace sn ON sn.nspname = w.schema
               JOIN pg_class s ON s.relnamespace = sn.oid AND s.relname = w.name
              WHERE NOT has_sequence_privilege(s.oid, 'USAGE'))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s AND c.relname = %(table)s
"""


def _table(connection: Connection, table: WrittenTable, role: str) -> list[Check]:
    values = {
        "schema": table.schema,
        "table": table.table,
        "selected": list(table.selected),
        "inserted": list(table.inserted),
        "updated": list(table.updated),
        "deletes": table.deletes,
        "sequence_schemas": [schema for schema, _ in table.sequences],
        "sequences": [name for _, name in table.sequences],
    }
    with as_source_errors(f"reading the rights on {table.name}"):
        row = connection.execute(_LACKS, values).fetchone()
    if row is None:
        return []  # that there is no such table is a finding of the role that reads
    enters, selected, inserted, updated, deletes, sequences = row
    lacks = [
        *(["USAGE of its schema"] if enters else []),
        *(f"{right} of {', '.join(names)}" for right, names in _named(selected, inserted, updated)),
        *(["DELETE"] if deletes else []),
        *(f"USAGE of sequence {name}" for name in sequences),
    ]
    found = []
    if lacks:
        grants = " ".join(table_grants(table, sql.Identifier(role)))
        found.append(findings.APPLY_RIGHTS(role=role, table=table.name, rights="; ".join(lacks), grants=grants))
    if table.guarded:
        found.append(findings.APPLY_GUARDED(table=table.name))
    return found


def _named(*missing: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    return [(right, names) for right, names in zip(("SELECT", "INSERT", "UPDATE"), missing, strict=True) if names]
