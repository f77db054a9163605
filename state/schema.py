"""The schema of the state database: creates the database, upgrades the schema, says what does not fit.

In: a DSN. Out: `create_if_missing`, `upgrade`, `check`, `check_version`. Rule: SQLAlchemy and Alembic are imported by
migrations only: they take half a second, and commands and flows have to be there quickly.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors, sql
from psycopg.rows import dict_row

from rowtide.error_catalogue import state_errors
from rowtide.errors import StateRefused
from state import database, roles
from state import dsn as dsns
from state.database import SCHEMA, Connection, connect, to_error, translated

if TYPE_CHECKING:
    import sqlalchemy
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_UPGRADE = "run `rowtide db upgrade`"


def engine(dsn: str) -> "sqlalchemy.Engine":
    """A SQLAlchemy engine without a pool, for migrations and tools."""
    import sqlalchemy

    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(database.conninfo(dsn)),
        poolclass=sqlalchemy.NullPool,
    )


def upgrade(dsn: str) -> str:
    """Bring the schema to the newest version (creating it) and return that version. The database has to be there.

    Roles that the server has get what is theirs (`state.roles`).
    """
    from alembic import command

    with _unwrapped(), engine(dsn).begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    with connect(dsn) as granting, translated():
        roles.grant(granting)
    return newest_version()


def newest_version() -> str:
    """The schema version this release works with: that of the last migration, whose file begins with it."""
    return max(path.name[:4] for path in (_MIGRATIONS / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def _config() -> "Config":
    # By path, not by import: state stays below everything, the migrations import the tables.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


@contextmanager
def _unwrapped() -> Iterator[None]:
    """`translated` for code that goes through SQLAlchemy, which wraps psycopg's errors in its own."""
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise to_error(error.orig) from error
        raise
    except psycopg.Error as error:
        raise to_error(error) from error


def create_if_missing(dsn: str) -> bool:
    """Create the database of ``dsn`` (UTF-8, locale C) if the server lacks it; True if it was created."""
    try:
        connect(dsn).close()
    except StateRefused as error:
        if error.code != state_errors.STATE_DATABASE_MISSING.code:
            raise
    else:
        return False
    given = dsns.parse_or_none(dsn)
    assert given is not None, "it was connected to just now"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    with connect(given.of_database("postgres")) as connection, translated():
        try:
            connection.execute(statement.format(sql.Identifier(given.database or "rowtide")))
        except errors.DuplicateDatabase:  # another process was faster
            return False
    return True


def check(dsn: str) -> list[str]:
    """What is wrong with the state database, one sentence for each problem."""
    with connect(dsn) as connection, translated():
        findings = [*check_version(dsn), *_check_settings(connection)]
    return findings


def check_version(dsn: str) -> list[str]:
    """Why this release cannot work with the schema as it is; empty when it can."""
    with connect(dsn) as connection, translated():
        found = _read_version(connection)
    newest = newest_version()
    if found is None:
        return [f"schema {SCHEMA} is missing or empty: {_UPGRADE}"]
    if found < newest:
        return [f"schema {SCHEMA} has version {found}, this release needs {newest}: {_UPGRADE}"]
    if found > newest:
        return [f"schema {SCHEMA} has version {found}, newer than this release ({newest}): run the newer release"]
    return []


def require(connection: Connection) -> None:
    """StateRefused when the schema is missing or older than this release needs; a newer one is its neighbour's."""
    found, newest = _read_version(connection), newest_version()
    if found is None:
        raise state_errors.STATE_SCHEMA(finding=f"schema {SCHEMA} is missing or empty")
    if found < newest:
        raise state_errors.STATE_SCHEMA(finding=f"schema {SCHEMA} has version {found}, this release needs {newest}")


def _read_version(connection: Connection) -> str | None:
    """The version that Alembic has noted; None where it has noted none. Read without Alembic, which loads slowly."""
    try:
        row = connection.execute(f"SELECT version_num FROM {SCHEMA}.alembic_version").fetchone()
    except errors.UndefinedTable:
        return None
    return None if row is None else str(row[0])


def public_is_open(connection: Connection) -> bool:
    """Whether everybody may create functions in schema public of the state database."""
    row = connection.execute(database.PUBLIC_IS_OPEN).fetchone()
    return bool(row and row[0])


_SETTINGS_QUERY = """
SELECT current_setting('server_version_num')::int AS server, current_setting('server_encoding') AS encoding,
       current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       to_regnamespace('rowtide') IS NULL OR has_schema_privilege('rowtide', 'USAGE') AS usage,
       has_database_privilege(current_database(), 'TEMP') AS temporary
"""


def _check_settings(connection: Connection) -> list[str]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_SETTINGS_QUERY).fetchone() or {}
    findings = []
    if row["server"] < 140000:
        findings.append(f"the state server is PostgreSQL {row['server'] // 10000}: 14 is the oldest that works")
    if row["encoding"] != "UTF8":
        findings.append(f"the state database has encoding {row['encoding']}: create it with UTF8")
    if row["fsync"] != "on" or row["full_page_writes"] != "on":
        findings.append("the state server runs without fsync or full_page_writes: a power cut can lose records")
    if not row["usage"]:
        findings.append(f"the role may not use schema {SCHEMA}: grant usage and all privileges on its tables")
    if not row["temporary"]:
        findings.append("the role may not create temporary tables: grant TEMPORARY on the state database")
    return findings
