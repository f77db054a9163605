"""Connections to the state database: pinned settings, translated errors, retries in place, migrations.

In: a DSN. Out: `connect` (psycopg, autocommit), `Link` (one thread's connection that comes back by itself), `engine`,
`upgrade`, `check`, `create_if_missing`; `execute` runs a SQLAlchemy Core statement on a psycopg connection. Rule: what
leaves a `Link` is an error of `rowtide.errors`; a deadlock or a serialization failure is retried here, never by a
caller.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_dumps, set_json_loads

from rowtide.error_catalogue import row_errors, state_errors
from rowtide.errors import RowtideError, StateRefused

if TYPE_CHECKING:
    # SQLAlchemy and Alembic take a second to import; a running flow, which has to be back quickly, needs neither.
    import sqlalchemy
    from alembic.config import Config

SCHEMA = "rowtide"

Connection = psycopg.Connection[Any]
T = TypeVar("T")

ATTEMPTS = 5
"""How often a transaction is tried when PostgreSQL ends it as a deadlock or serialization failure."""

# A state server that hangs must become an error, not a wait without end.
_NETWORK: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

# Plans: a queue changes its size within seconds, so no plan may outlive the sizes it was made for, and compiling a
# plan costs more than running any of ours. The index is always the answer (state.outbox: tests show the plans).
_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "client_min_messages": "warning",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "random_page_cost": "1.1",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "60s",
    # A machine that dies says nothing: the server must find out by itself before its locks are free.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

_UPGRADE = "run `rowtide db upgrade`"


def connect(dsn: str, application: str = "rowtide") -> Connection:
    """An autocommit connection in UTC with our settings; raises StateUnavailable or StateRefused."""
    with translated():
        return _connect(dsn, application)


def _connect(dsn: str, application: str) -> Connection:
    given = conninfo_to_dict(dsn)
    settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
    options = f"{settings} {given.pop('options', '')}".strip()
    given.setdefault("application_name", application)
    connection = psycopg.connect(make_conninfo(**{**_NETWORK, **given, "options": options}), autocommit=True)
    set_json_loads(orjson.loads, connection)
    set_json_dumps(orjson.dumps, connection)
    return connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg's errors into ours at the edge of this folder."""
    try:
        yield
    except psycopg.Error as error:
        raise to_error(error) from error


def to_error(error: psycopg.Error) -> RowtideError:
    """The error of our tree for one of psycopg's; sentences hold PostgreSQL's first line, never a row's values."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    match error:
        case errors.UndefinedTable() | errors.UndefinedColumn() | errors.InvalidSchemaName():
            return state_errors.STATE_SCHEMA_MISSING(said=line)
        case errors.InsufficientPrivilege():
            return state_errors.STATE_PRIVILEGE(said=line, schema=SCHEMA)
        case errors.InvalidCatalogName():
            return state_errors.STATE_DATABASE_MISSING(said=line)
        case psycopg.DataError() | psycopg.IntegrityError() | errors.ProgramLimitExceeded():
            # The first line of these may quote a value of the row.
            return row_errors.STATE_REFUSES_ROW(refusal=error.sqlstate)
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return _connection_error(line)
        case _:
            return state_errors.STATE_REFUSED(said=line)


# libpq gives no SQLSTATE for a connection that was refused, only words.
_NO_SUCH_DATABASE = ('database "', "does not exist")
_NO_ENTRY = ("authentication failed", "no pg_hba.conf entry", "no password supplied", "permission denied for database")


def _connection_error(line: str) -> RowtideError:
    if all(words in line for words in _NO_SUCH_DATABASE):
        return state_errors.STATE_DATABASE_MISSING(said=line)
    if any(words in line for words in _NO_ENTRY) or ('role "' in line and "does not exist" in line):
        return state_errors.STATE_LOGIN(said=line)
    return state_errors.STATE_UNREACHABLE(said=line)


class Link:
    """One thread's connection to the state database, made when first needed and made again after a break."""

    def __init__(self, dsn: str, application: str = "rowtide") -> None:
        self._dsn = dsn
        self._application = application
        self._connection: Connection | None = None

    def run(self, work: Callable[[Connection], T]) -> T:
        """The result of ``work(connection)``; ``work`` holds whole transactions, since it may be run again.

        Raises StateUnavailable, StateRefused or RowError. A deadlock or serialization failure is tried again at
        once, up to `ATTEMPTS` times.
        """
        with translated():
            for _ in range(ATTEMPTS - 1):
                try:
                    return self._once(work)
                except (errors.DeadlockDetected, errors.SerializationFailure):
                    continue
            return self._once(work)

    def _once(self, work: Callable[[Connection], T]) -> T:
        if self._connection is None or self._connection.closed:
            self._connection = _connect(self._dsn, self._application)
        try:
            return work(self._connection)
        except BaseException:
            # A connection left broken or inside a transaction is of no use to the next caller.
            idle = psycopg.pq.TransactionStatus.IDLE
            if self._connection.closed or self._connection.info.transaction_status != idle:
                self.close()
            raise

    def close(self) -> None:
        """Give the connection back to the server; the next `run` makes another."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()


def execute(connection: Connection, statement: "sqlalchemy.ClauseElement") -> list[DictRow]:
    """Run a Core statement on a psycopg connection: its rows as dictionaries, none for a statement without rows."""
    from sqlalchemy.dialects.postgresql.psycopg import dialect

    compiled = statement.compile(dialect=dialect())  # type: ignore[no-untyped-call]
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(str(compiled).encode(), compiled.params)
        return cursor.fetchall() if cursor.description is not None else []


def engine(dsn: str) -> "sqlalchemy.Engine":
    """A SQLAlchemy engine without a pool, for migrations and tools."""
    import sqlalchemy

    given = conninfo_to_dict(dsn)
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(make_conninfo(**{**_NETWORK, **given})),
        poolclass=sqlalchemy.NullPool,
    )


def upgrade(dsn: str) -> str:
    """Bring the schema to the newest version (creating it) and return that version. The database has to be there."""
    from alembic import command

    with _unwrapped(), engine(dsn).begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return newest_version()


def newest_version() -> str:
    """The schema version this release works with."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config() -> "Config":
    # By path, not by import: state stays below everything, the migrations import the tables.
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent.parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
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
    """Create the database of ``dsn`` (UTF-8, locale C) if the server lacks it; whether it was created."""
    try:
        connect(dsn).close()
    except StateRefused as error:
        if error.code != state_errors.STATE_DATABASE_MISSING.code:
            raise
    else:
        return False
    name = conninfo_to_dict(dsn).get("dbname") or conninfo_to_dict(dsn).get("user") or "rowtide"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    with connect(make_conninfo(dsn, dbname="postgres")) as connection, translated():
        try:
            connection.execute(statement.format(sql.Identifier(str(name))))
        except errors.DuplicateDatabase:  # another process was faster
            return False
    return True


def check(dsn: str) -> list[str]:
    """What is wrong with the state database, a sentence each; empty when nothing is."""
    with connect(dsn) as connection, translated():
        findings = [*check_version(dsn), *_check_settings(connection)]
    return findings


def check_version(dsn: str) -> list[str]:
    """What keeps this release from working with the schema as it is; empty when it fits."""
    from alembic.runtime.migration import MigrationContext

    with _unwrapped(), engine(dsn).connect() as connection:
        options = {"version_table_schema": SCHEMA}
        found = MigrationContext.configure(connection, opts=options).get_current_revision()
    newest = newest_version()
    if found is None:
        return [f"schema {SCHEMA} is missing or empty: {_UPGRADE}"]
    if found < newest:
        return [f"schema {SCHEMA} has version {found}, this release needs {newest}: {_UPGRADE}"]
    if found > newest:
        return [f"schema {SCHEMA} has version {found}, newer than this release ({newest}): run the newer release"]
    return []


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
