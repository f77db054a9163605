"""Who owns a table and whether row security guards it: what the DBA's script has to know.

In: an SQL connection to the source. Out: owner and a flag.
"""

import psycopg

from connectors.postgres.connections import translated


def owner_of(connection: psycopg.Connection, schema: str, table: str) -> tuple[str | None, bool]:
    """The owning role (None: there is no such table) and whether row security is on."""
    with translated(f"reading the owner of {schema}.{table}"):
        row = connection.execute(
            "SELECT pg_get_userbyid(c.relowner)::text, c.relrowsecurity FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
            [schema, table],
        ).fetchone()
    return (None, False) if row is None else (row[0], bool(row[1]))
