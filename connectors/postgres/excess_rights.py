"""What the role of a session may do that Rowtide never does with it.

In: a session on a source or on the state database. Out: a finding that names the rights, ok where there are none.
Rules (docs/design.md section 11): who gets a password of ours gets what its role was granted, so that it should be
little; rights that a table needs (BYPASSRLS where it has row security) are no excess.
"""

from collections.abc import Sequence

import psycopg

from connectors.postgres.slots import Table
from rowtide import table_name
from rowtide.error_catalogue import doctor_findings as findings
from rowtide.error_catalogue.entries import Check

_ROLE = """
SELECT r.rolname::text, r.rolsuper, r.rolcreaterole, r.rolcreatedb,
       r.rolbypassrls AND NOT EXISTS (
           SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             JOIN unnest(%s::text[], %s::text[]) AS t (schema, name) ON (t.schema, t.name) = (n.nspname, c.relname)
            WHERE c.relrowsecurity),
       ARRAY(SELECT g.rolname::text FROM pg_roles g
              WHERE g.rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files',
                                  'pg_write_all_data')
                AND pg_has_role(r.oid, g.oid, 'MEMBER') ORDER BY 1)
  FROM pg_roles r WHERE r.rolname = current_user
"""

_WRITES = """
SELECT n.nspname::text, c.relname::text
  FROM unnest(%s::text[], %s::text[]) AS t (schema, name)
  JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
 WHERE has_table_privilege(c.oid, 'DELETE, TRUNCATE') OR has_any_column_privilege(c.oid, 'INSERT, UPDATE')
 ORDER BY 1, 2
"""

# What everybody may create is told by itself.
_CREATES = """
SELECT n.nspname::text FROM pg_namespace n
 WHERE (n.nspname = 'public' OR n.nspname = ANY (%s))
   AND has_schema_privilege(n.oid, 'CREATE') AND NOT has_schema_privilege('public', n.oid, 'CREATE')
 ORDER BY 1
"""


def of_reader(conn: psycopg.Connection, tables: Sequence[Table]) -> Check:
    """Of the role that reads a source: everything but replication and reading ``tables``."""
    schemas, names = [schema for schema, _ in tables], [name for _, name in tables]
    row = conn.execute(_ROLE, [schemas, names]).fetchone()
    assert row is not None, "a session has a role"
    role, is_superuser, rights = row[0], row[1], _of_server(*row[2:])
    if is_superuser:
        return findings.EXCESS_SUPERUSER(role=role)
    written = [table_name.to_text(*found) for found in conn.execute(_WRITES, [schemas, names]).fetchall()]
    created = [found for (found,) in conn.execute(_CREATES, [schemas]).fetchall()]
    rights += [f"write to {table}" for table in written]
    rights += [f"create something in schema {schema}" for schema in created]
    return findings.EXCESS(role=role, rights="; ".join(rights)) if rights else findings.EXCESS_NONE(role=role)


def of_writer(conn: psycopg.Connection) -> Check:
    """Of the role that writes people's edits: everything but what it was granted on tables, row security included."""
    row = conn.execute(_ROLE, [[], []]).fetchone()
    assert row is not None, "a session has a role"
    role, is_superuser, makes_roles, makes_databases, sees_all, member_of = row
    rights = _of_server(makes_roles, makes_databases, sees_all, member_of, "bypass row security")
    if is_superuser:
        return findings.EXCESS_SUPERUSER(role=role)
    return findings.EXCESS(role=role, rights="; ".join(rights)) if rights else findings.EXCESS_NONE(role=role)


def of_state_role(conn: psycopg.Connection, schema: str) -> Check:
    """Of the role that a command has in the state database: to be superuser or the owner of everything."""
    row = conn.execute(_ROLE, [[], []]).fetchone()
    assert row is not None, "a session has a role"
    role, is_superuser, rights = row[0], row[1], _of_server(*row[2:])
    if is_superuser:
        return findings.EXCESS_SUPERUSER(role=role)
    if rights:
        return findings.EXCESS(role=role, rights="; ".join(rights))
    query = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s AND pg_has_role(nspowner, 'USAGE'))"
    owns = conn.execute(query, [schema]).fetchone()
    return findings.EXCESS_OWNER(role=role) if owns and owns[0] else findings.EXCESS_NONE(role=role)


def _of_server(
    makes_roles: bool,
    makes_databases: bool,
    sees_all: bool,
    member_of: Sequence[str],
    bypasses: str = "bypass row security, which is on for no table",
) -> list[str]:
    held = {
        "make roles": makes_roles,
        "make databases": makes_databases,
        bypasses: sees_all,
    }
    return [*(right for right, has in held.items() if has), *(f"act as {name}" for name in member_of)]
