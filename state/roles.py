"""Who may do what in the state database: the roles, and what each is granted.

In: an open connection as the schema's owner. Out: grants, to those of the roles that the server has. Rules
(docs/design.md section 11): a process that runs changes no definition; who only looks sees no row's values; what is
granted is decided here alone, anew with each upgrade of the schema.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from psycopg import sql

from state.database import SCHEMA, Connection

OWNER: Final = "rowtide_owner"
"""Owns database and schema; for `rowtide db upgrade`."""
RUN: Final = "rowtide_run"
"""For `rowtide run`: every record, but definitions only to read."""
APPLY: Final = "rowtide_apply"
"""For the commands of operators: every record, and definitions to add; none is changed or taken away."""
VIEW: Final = "rowtide_view"
"""For `rowtide status`: everything but the values of rows, and nothing to change."""
ROLES: Final = (OWNER, RUN, APPLY, VIEW)

RECORDS: Final = (
    "conflict",
    "enumeration",
    "gauge",
    "hold",
    "inbox",
    "instance",
    "ledger",
    "list",
    "list_cursor",
    "outbox",
    "process",
    "progress",
    "reconcile",
    "reconcile_absent",
    "runs",
    "seen",
    "slo_minute",
    "slot_cursor",
    "spent",
    "sync",
    "sync_hour",
    "sync_minute",
)
"""The tables that a process writes; beside them are definitions and Alembic's note of the version."""
READ_ONLY: Final = ("alembic_version", "definition")

VALUES: Final[Mapping[str, frozenset[str]]] = {
    "conflict": frozenset({"choice", "editor_name", "fields"}),
    "inbox": frozenset({"editor_email", "editor_name", "fields"}),
    "ledger": frozenset({"base", "kept", "leftovers", "pulled"}),
    "outbox": frozenset({"fields", "sent"}),
    "seen": frozenset({"fields"}),
}
"""By table the columns with values of rows, and with who edited them."""


def grant(conn: Connection) -> list[str]:
    """Give the roles that are there exactly what is theirs; their names. Nothing is done by who is not the owner."""
    query = "SELECT 1 FROM pg_namespace WHERE nspname = %s AND pg_has_role(nspowner, 'USAGE')"
    if conn.execute(query, [SCHEMA]).fetchone() is None:
        return []
    there = conn.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [[RUN, APPLY, VIEW]]).fetchall()
    found = sorted(name for (name,) in there)
    with conn.transaction():
        for role in found:
            for statement in _statements(conn, role):
                conn.execute(statement)
    return found


def _statements(conn: Connection, name: str) -> Iterator[sql.Composed]:
    schema, role = sql.Identifier(SCHEMA), sql.Identifier(name)
    yield sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(schema, role)
    yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role)
    if name == VIEW:
        yield from _seeing(conn, role)
        return
    yield sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(_tables(RECORDS), role)
    yield sql.SQL("GRANT SELECT ON {} TO {}").format(_tables(READ_ONLY), role)
    if name == APPLY:
        yield sql.SQL("GRANT INSERT ON {} TO {}").format(_tables(["definition"]), role)


def _seeing(conn: Connection, role: sql.Identifier) -> Iterator[sql.Composed]:
    whole = [table for table in (*RECORDS, *READ_ONLY) if table not in VALUES]
    yield sql.SQL("GRANT SELECT ON {} TO {}").format(_tables(whole), role)
    query = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    for table, hidden in VALUES.items():
        names = [name for (name,) in conn.execute(query, [f"{SCHEMA}.{table}"]).fetchall() if name not in hidden]
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in sorted(names))
        yield sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(columns, _tables([table]), role)


def _tables(names: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(SCHEMA, name) for name in names)
