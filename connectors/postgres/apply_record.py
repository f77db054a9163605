"""The table ``rowtide_pull.applied`` in a source: what was pulled into which row, in that row's own transaction.

In: sessions on a source. Out: its DDL and grants, the records of rows and items; records written, and pruned. Rules
(docs/design.md section 21): a record shares its fate with the row it speaks of, a failover included; it is in no
publication of ours, and where a publication is for all tables, capture passes over it as over every table that no sync
names; statements are qualified to the operator, since they run under the search path of the customer's triggers.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import psycopg
from psycopg import sql

from connectors.postgres.apply_acts import AppliedEdit, EditPlace, EditRecord
from connectors.postgres.connections import as_source_errors
from state.pulled import OldEdit

Connection = psycopg.Connection[Any]

SCHEMA: Final = "rowtide_pull"
TABLE: Final = "applied"

DDL: Final = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{TABLE} ("
    "sync text, key text, list_id text NOT NULL, item_id text NOT NULL, version bigint NOT NULL, base jsonb, "
    "xid bigint NOT NULL, conflicts jsonb NOT NULL, applied_at timestamptz NOT NULL, PRIMARY KEY (sync, key))",
    f"CREATE INDEX IF NOT EXISTS applied_item ON {SCHEMA}.{TABLE} (sync, list_id, item_id)",
)
"""What makes the table where it is missing; nobody but its owner may use it after that."""

KEPT: Final = timedelta(days=7)
"""For how long a record stays at least: a standby that lacks the edit may be promoted."""


def grants(role: sql.Composable) -> list[str]:
    """What the role that applies edits needs of the table: to read and write its rows, nothing more."""
    return [
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(SCHEMA), role).as_string(),
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {} TO {}")
        .format(sql.Identifier(SCHEMA, TABLE), role)
        .as_string(),
    ]


_PRESENT: Final = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = %s AND c.relname = wanted.name)
  FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (name, place) ORDER BY place
"""


def missing_statements(connection: Connection) -> list[str]:
    """The DDL that is still to be run; empty where the table is there."""
    with as_source_errors(f"looking for {SCHEMA}.{TABLE}"):
        found = connection.execute(_PRESENT, [SCHEMA, [TABLE, "applied_item"]]).fetchall()
    there, indexed = (bool(one) for (one,) in found)
    return list(DDL) if not there else list(DDL[2:]) if not indexed else []


def ensure(connection: Connection, grants: Sequence[str] = ()) -> list[str]:
    """Make the table where it is missing, and give ``grants`` if it is its role's own; the statements that were run."""
    statements = missing_statements(connection)
    with as_source_errors(f"making {SCHEMA}.{TABLE}"), connection.transaction():
        for statement in statements:
            connection.execute(statement)
        row = connection.execute(_IS_OURS, [SCHEMA, TABLE]).fetchone()
        given = list(grants) if row and row[0] else []
        for statement in given:
            connection.execute(statement)
    return [*statements, *given]


_IS_OURS: Final = """
SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s
"""


# --- one row --------------------------------------------------------------------------------------------------------

_COLUMNS: Final = "a.sync, a.key, a.list_id, a.item_id, a.version, a.base::text, a.xid, a.conflicts::text"

_READ: Final = f"""
SELECT {_COLUMNS} FROM {SCHEMA}.{TABLE} AS a
 WHERE a.sync OPERATOR(pg_catalog.=) %s::pg_catalog.text
   AND (a.key OPERATOR(pg_catalog.=) %s::pg_catalog.text
        OR (a.list_id OPERATOR(pg_catalog.=) %s::pg_catalog.text
            AND a.item_id OPERATOR(pg_catalog.=) %s::pg_catalog.text))
 ORDER BY a.version FOR UPDATE
"""


def read_for_update(
    connection: Connection, sync: str, place: EditPlace
) -> tuple[AppliedEdit | None, AppliedEdit | None]:
    """The record of the row, and the newest one of the item; both are locked. psycopg's errors are the caller's."""
    found = [_edit(row) for row in connection.execute(_READ, [sync, place.key, place.list_id, place.item_id])]
    of_row = next((one for one in found if one.key == place.key), None)
    of_item = [one for one in found if (one.list_id, one.item_id) == (place.list_id, place.item_id)]
    return of_row, of_item[-1] if of_item else None


_WRITE: Final = f"""
INSERT INTO {SCHEMA}.{TABLE} AS a (sync, key, list_id, item_id, version, base, conflicts, xid, applied_at)
VALUES (%s, %s, %s, %s, %s, %s, %s,
        pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8, pg_catalog.clock_timestamp())
    ON CONFLICT (sync, key) DO UPDATE
   SET list_id = EXCLUDED.list_id, item_id = EXCLUDED.item_id, version = EXCLUDED.version, base = EXCLUDED.base,
       conflicts = EXCLUDED.conflicts, xid = EXCLUDED.xid, applied_at = EXCLUDED.applied_at
RETURNING a.xid
"""


def write(connection: Connection, sync: str, key: str, place: EditPlace, record: EditRecord) -> int:
    """Write the record of a row; the transaction's xid, in 64 bits. psycopg's errors are the caller's."""
    base = None if record.base is None else json.dumps(record.base)
    values = [sync, key, place.list_id, place.item_id, record.version, base, json.dumps(list(record.conflicts))]
    row = connection.execute(_WRITE, values).fetchone()
    assert row is not None, "an upsert returns its row"
    return int(row[0])


def _edit(row: Sequence[Any]) -> AppliedEdit:
    sync, key, list_id, item_id, version, base, xid, conflicts = row
    return AppliedEdit(
        sync,
        key,
        list_id,
        item_id,
        int(version),
        None if base is None else json.loads(base),
        int(xid),
        tuple(json.loads(conflicts)),
    )


# --- many rows ------------------------------------------------------------------------------------------------------


def read_many(connection: Connection, sync: str, keys: Sequence[str]) -> dict[str, AppliedEdit]:
    """The records of these rows, as far as there are any, by key."""
    query = f"SELECT {_COLUMNS} FROM {SCHEMA}.{TABLE} AS a WHERE a.sync = %s AND a.key = ANY (%s)"
    with as_source_errors(f"reading {SCHEMA}.{TABLE}"):
        found = [_edit(row) for row in connection.execute(query, [sync, list(keys)])]
    return {one.key: one for one in found}


_OLD: Final = f"""
SELECT key, list_id, item_id, version FROM {SCHEMA}.{TABLE}
 WHERE sync = %s AND key > %s AND applied_at < clock_timestamp() - %s::interval ORDER BY key LIMIT %s
"""


def read_old(
    connection: Connection, sync: str, after: str = "", limit: int = 1000, kept: timedelta = KEPT
) -> list[OldEdit]:
    """Records older than ``kept``: the next ``limit`` above the key ``after``, in key order."""
    with as_source_errors(f"reading {SCHEMA}.{TABLE}"):
        return [OldEdit(*row) for row in connection.execute(_OLD, [sync, after, kept, limit])]


_PRUNE: Final = f"""
DELETE FROM {SCHEMA}.{TABLE} AS a USING unnest(%s::text[], %s::bigint[]) AS old (key, version)
 WHERE a.sync = %s AND a.key = old.key AND a.version = old.version
   AND a.applied_at < clock_timestamp() - %s::interval
"""


def prune(connection: Connection, sync: str, old: Sequence[OldEdit], kept: timedelta = KEPT) -> int:
    """Delete these records, as far as nothing newer was applied since they were read; how many went.

    The caller has cleared their counterparts in the ledger before (`state.pulled.clear`).
    """
    values = [[one.key for one in old], [one.version for one in old], sync, kept]
    with as_source_errors(f"pruning {SCHEMA}.{TABLE}"):
        return connection.execute(_PRUNE, values).rowcount
