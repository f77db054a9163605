"""Logs each process and each command in to the state database as the role that is made for it (`state.roles`).

In: the superuser's DSN of a state database, the words of a command. Out: the DSN of its role. Rules: `apply` makes the
roles and the schema first, as a DBA and the owner would; where a test has put another DSN in place of the superuser's,
or the database has no schema yet, that DSN stays.
"""

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rowtide.errors import RowtideError
from state import database, roles, schema

PASSWORD = "of-a-role-of-the-state"
SUPERUSER = "postgres"

_MAKE = """
DO $$ BEGIN
    IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} LOGIN PASSWORD '{password}'; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
_GRANTED = """
SELECT coalesce(bool_and(has_table_privilege(rolname, 'rowtide.definition', 'SELECT')), false)
  FROM pg_roles WHERE rolname = ANY (%s) HAVING count(*) = 3
"""


class StateLogins:
    """The logins of one stack; what is known of a database is kept, so that a command costs no look more."""

    def __init__(self) -> None:
        self._granted: set[str] = set()

    def dsn(self, dsn: str, command: str) -> str:
        """The DSN with which ``rowtide`` with this command logs in where the superuser could with ``dsn``."""
        if not _is_superusers(dsn):
            return dsn
        if command == "apply" and dsn not in self._granted:
            _prepare(dsn)
        if dsn not in self._granted and not _is_granted(dsn):
            return dsn
        self._granted.add(dsn)
        return make_conninfo(dsn, user=_role_for(command), password=PASSWORD)


def _role_for(command: str) -> str:
    match command:
        case "run":
            return roles.RUN
        case "status" | "runs":
            return roles.VIEW
        case _:
            return roles.APPLY


def _is_superusers(dsn: str) -> bool:
    try:
        return conninfo_to_dict(dsn).get("user") == SUPERUSER
    except psycopg.Error:
        return False


def _prepare(dsn: str) -> None:
    """Make roles and schema, and grant each role what is its own."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            for role in roles.ROLES:
                connection.execute(_MAKE.format(role=role, password=PASSWORD).encode())
        if schema.check_version(dsn):
            schema.upgrade(dsn)
        else:
            with database.connect(dsn) as connection:
                roles.grant(connection)
    except (psycopg.Error, RowtideError):
        return  # a test whose server is away, or is another's: the command says what it thinks of that


def _is_granted(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            found = connection.execute(_GRANTED, [[roles.RUN, roles.APPLY, roles.VIEW]]).fetchone()
    except psycopg.Error:
        return False
    return found is not None and bool(found[0])
