"""Whether a role may make or change the publication that syncs need, before anything is changed.

In: an SQL connection as the role that publishes, a publication, its tables. Out: a failed `Check` for each right that
is missing, with the statement that grants it; who owns a table; what may be taken back afterwards. Rules: only rights
that the statements still to be run need are asked for; nobody is asked to be made a member of a role that is, or can
become, a superuser: such a role's own session makes the publication.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from connectors.postgres import slots
from connectors.postgres.connections import as_source_errors
from connectors.postgres.slots import Table
from rowtide import table_name
from rowtide.error_catalogue import doctor_findings as findings
from rowtide.error_catalogue.entries import Check

# A role that may make roles could, up to PostgreSQL 15, make itself a member of any but superusers; who may run
# programs or write files on the server is a superuser a moment later; the last three are what clouds have in its place.
_POWERFUL: Final = """EXISTS (
    SELECT FROM pg_roles r WHERE pg_has_role(o.oid, r.oid, 'MEMBER')
       AND (r.rolsuper OR r.rolcreaterole OR r.rolname IN ('pg_execute_server_program', 'pg_write_server_files',
            'pg_read_server_files', 'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')))"""

_ROLE = f"""
SELECT current_user::text, current_database()::text, pg_is_in_recovery(),
       has_database_privilege(current_database(), 'CREATE'), o.rolname::text, pg_has_role(o.oid, 'USAGE'), {_POWERFUL}
  FROM (SELECT) AS one LEFT JOIN pg_publication p ON p.pubname = %s LEFT JOIN pg_roles o ON o.oid = p.pubowner
"""

_OWNER = f"""
SELECT o.rolname::text, pg_has_role(o.oid, 'USAGE'), {_POWERFUL}, c.relrowsecurity
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner
 WHERE n.nspname = %s AND c.relname = %s
"""


@dataclass(frozen=True, slots=True)
class TableOwner:
    """Who owns a table, whether the session's role is a member of it, and whether its members can become superuser.

    ``row_security``: it is on for the table.
    """

    name: str
    is_ours: bool
    powerful: bool
    row_security: bool


def owner_of(conn: psycopg.Connection, schema: str, table: str) -> TableOwner | None:
    """The owner of a table; None when there is no such table."""
    with as_source_errors(f"reading the owner of {table_name.to_text(schema, table)}"):
        row = conn.execute(_OWNER, [schema, table]).fetchone()
    return None if row is None else TableOwner(*row)


def missing(conn: psycopg.Connection, publication: str, tables: Sequence[Table]) -> list[Check]:
    """What the role of ``conn`` lacks to make the publication carry ``tables``."""
    with as_source_errors("reading the rights of the role that publishes"):
        statements = slots.publication_statements(conn, publication, tables)
        if not statements:
            return []
        [(role, database, recovering, may_create, owner, owns, powerful)] = conn.execute(
            _ROLE, [publication]
        ).fetchall()
        if recovering:
            return [findings.STANDBY()]
        owners = {
            table: owned
            for table in slots.unpublished(conn, publication, tables)
            if (owned := owner_of(conn, *table)) is not None and not owned.is_ours
        }
        above = {one.name for one in owners.values() if one.powerful} | ({owner} if powerful and not owns else set())
        if above:
            return [
                findings.PUBLISH_ABOVE(role=role, owner=" and ".join(sorted(above)), statements="; ".join(statements))
            ]
        to = sql.Identifier(role)
        found: list[Check] = []
        if owner is None and not may_create:
            grant = _said(conn, sql.SQL("GRANT CREATE ON DATABASE {} TO {};").format(sql.Identifier(database), to))
            found.append(findings.PUBLISH_DATABASE(role=role, database=database, grant=grant))
        if owner is not None and not owns:
            grant = _said(conn, sql.SQL("GRANT {} TO {};").format(sql.Identifier(owner), to))
            found.append(findings.PUBLISH_OWNER(role=role, publication=publication, grant=grant))
        for table, of_table in owners.items():
            grant = _said(conn, sql.SQL("GRANT {} TO {};").format(sql.Identifier(of_table.name), to))
            found.append(findings.PUBLISH_TABLE(role=role, table=table_name.to_text(*table), grant=grant))
    return found


_GRANTED = """
SELECT me.rolname::text, current_database()::text,
       ARRAY(SELECT DISTINCT o.rolname::text
               FROM pg_auth_members m JOIN pg_roles o ON o.oid = m.roleid
               JOIN pg_class c ON c.relowner = o.oid JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE m.member = me.oid
                AND (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest(%s::text[], %s::text[])) ORDER BY 1),
       EXISTS (SELECT FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) a
                WHERE d.datname = current_database() AND a.grantee = me.oid AND a.grantee <> d.datdba
                  AND a.privilege_type = 'CREATE')
  FROM pg_roles me WHERE me.rolname = current_user
"""


def revocable(conn: psycopg.Connection, tables: Sequence[Table]) -> list[str]:
    """Statements that take back what was granted to the role of ``conn`` for a publication that carries ``tables`` now.

    PostgreSQL asks for these rights when a table is added, and at no other time.
    """
    with as_source_errors("reading what the role that publishes was granted"):
        query = (_GRANTED, [[schema for schema, _ in tables], [table for _, table in tables]])
        [(role, database, owners, may_create)] = conn.execute(*query).fetchall()
    taken_back = [sql.SQL("REVOKE {} FROM {};").format(sql.Identifier(owner), sql.Identifier(role)) for owner in owners]
    if may_create:
        revoke = sql.SQL("REVOKE CREATE ON DATABASE {} FROM {};")
        taken_back.append(revoke.format(sql.Identifier(database), sql.Identifier(role)))
    return [_said(conn, statement) for statement in taken_back]


def _said(conn: psycopg.Connection, statement: sql.Composed) -> str:
    return statement.as_string(conn)
