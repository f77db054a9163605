"""The migrations from an empty database give exactly what the metadata says."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from rowtide.errors import StateRefused
from state import database, schema
from state.database import SCHEMA
from state.tables import metadata

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
       coalesce(l.collname, ''), coalesce(pg_get_expr(d.adbin, d.adrelid), ''), coalesce(c.reloptions, '{}')
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_collation l ON l.oid = a.attcollation
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'rowtide'::regnamespace AND c.relkind = 'r' AND c.relname <> 'alembic_version'
 ORDER BY c.relname, a.attnum
"""
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE connamespace = 'rowtide'::regnamespace AND conrelid <> 'rowtide.alembic_version'::regclass ORDER BY 1, 2
"""
_INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes
 WHERE schemaname = 'rowtide' AND tablename <> 'alembic_version' ORDER BY 1, 2
"""


def shape_of(dsn: str) -> list[list[tuple[object, ...]]]:
    with psycopg.connect(dsn) as connection:
        return [connection.execute(query).fetchall() for query in (_COLUMNS, _CONSTRAINTS, _INDEXES)]


def test_upgrade_from_empty_equals_the_metadata(state_dsn: str, new_database: Callable[[str], str]) -> None:
    other = new_database("metadata")
    with schema.engine(other).begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        connection.exec_driver_sql(f"CREATE TABLE {SCHEMA}.alembic_version (version_num text)")
        metadata.create_all(connection)
    for migrated, described in zip(shape_of(state_dsn), shape_of(other), strict=True):
        assert migrated == described


def test_alembic_would_generate_nothing(state_dsn: str) -> None:
    with schema.engine(state_dsn).connect() as connection:
        options = {
            "include_schemas": True,
            "version_table_schema": SCHEMA,
            "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_upgrade_twice_changes_nothing(state_dsn: str) -> None:
    before = shape_of(state_dsn)
    assert schema.upgrade(state_dsn) == schema.newest_version()
    assert shape_of(state_dsn) == before
    # The version is read off the files' names; Alembic reads the files.
    assert (
        schema.newest_version()
        == ScriptDirectory(str(Path(schema.__file__).parents[1] / "migrations")).get_current_head()
    )


def test_check_names_what_is_missing(new_database: Callable[[str], str]) -> None:
    dsn = new_database("empty")
    assert [finding for finding in schema.check(dsn) if "missing or empty" in finding]
    schema.upgrade(dsn)
    assert [finding for finding in schema.check(dsn) if "fsync" not in finding] == []
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE rowtide.alembic_version SET version_num = '9999'")
    assert [finding for finding in schema.check(dsn) if "newer than this release" in finding]


def test_create_if_missing_creates_once(new_database: Callable[[str], str]) -> None:
    dsn = new_database("made")
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(psycopg.conninfo.make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}"')
    with pytest.raises(StateRefused) as refused:
        database.connect(dsn)
    assert refused.value.code == "state_database_missing"
    assert schema.create_if_missing(dsn)
    assert not schema.create_if_missing(dsn)
    assert not [finding for finding in schema.check(dsn) if "UTF8" in finding]
