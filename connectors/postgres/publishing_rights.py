"""Whether a role may make or change the publication that syncs need, before anything is changed.

In: an SQL connection as the role that publishes, a publication, its tables. Out: a failed `Check` for each right that
is missing, with the statement that grants it. Rule: only rights that the statements still to be run need are asked for.
"""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from connectors.postgres import slots
from connectors.postgres.connections import as_source_errors
from connectors.postgres.slots import Table
from rowtide import table_name
from rowtide.error_catalogue import doctor_findings as findings
from rowtide.error_catalogue.entries import Check

_ROLE = """
SELECT current_user::text, current_database()::text, pg_is_in_recovery(),
       has_database_privilege(current_database(), 'CREATE'),
       (SELECT pg_get_userbyid(p.pubowner)::text FROM pg_publication p WHERE p.pubname = %(publication)s),
       (SELECT pg_has_role(p.pubowner, 'USAGE') FROM pg_publication p WHERE p.pubname = %(publication)s)
"""

_OWNER = """
SELECT pg_get_userbyid(c.relowner)::text, pg_has_role(c.relowner, 'USAGE')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""


def missing(conn: psycopg.Connection, publication: str, tables: Sequence[Table]) -> list[Check]:
    """What the role of ``conn`` lacks to make the publication carry ``tables``."""
    with as_source_errors("reading the rights of the role that publishes"):
        if not slots.publication_statements(conn, publication, tables):
            return []
        [(role, database, recovering, may_create, owner, owns)] = conn.execute(
            _ROLE, {"publication": publication}
        ).fetchall()
        if recovering:
            return [findings.STANDBY()]
        to = sql.Identifier(role)
        found: list[Check] = []
        if owner is None and not may_create:
            grant = _said(conn, sql.SQL("GRANT CREATE ON DATABASE {} TO {};").format(sql.Identifier(database), to))
            found.append(findings.PUBLISH_DATABASE(role=role, database=database, grant=grant))
        if owner is not None and not owns:
            grant = _said(conn, sql.SQL("GRANT {} TO {};").format(sql.Identifier(owner), to))
            found.append(findings.PUBLISH_OWNER(role=role, publication=publication, grant=grant))
        for table in slots.unpublished(conn, publication, tables):
            of_table = conn.execute(_OWNER, table).fetchone()
            if of_table is not None and not of_table[1]:
                grant = _said(conn, sql.SQL("GRANT {} TO {};").format(sql.Identifier(of_table[0]), to))
                found.append(findings.PUBLISH_TABLE(role=role, table=table_name.to_text(*table), grant=grant))
    return found


def _said(conn: psycopg.Connection, statement: sql.Composed) -> str:
    return statement.as_string(conn)
