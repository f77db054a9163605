"""Connections to the state database: pinned settings, translated errors, retries in place.

In: a DSN. Out: `connect` (psycopg, autocommit), `Link` (one thread's connection, which comes back by itself). Rule: a
`Link` raises only errors of `rowtide.errors`; a deadlock or a serialization failure is retried here, never by a caller.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
import psycopg
from psycopg import errors
from psycopg.types.json import set_json_dumps, set_json_loads

from rowtide.error_catalogue import row_errors, state_errors
from rowtide.errors import RowtideError
from state import dsn, pulse

SCHEMA = "rowtide"

Connection = psycopg.Connection[Any]
T = TypeVar("T")

ATTEMPTS = 5
"""How often a transaction is tried when PostgreSQL ends it as a deadlock or serialization failure."""

# A state server that hangs must become an error, not an endless wait.
NETWORK: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

NO_SEARCH_PATH = "-c search_path="
"""The startup option by which a name without a schema is PostgreSQL's own: whoever may create a function, an operator
or a table in ``public`` could otherwise run code as us, because a better match of the arguments wins over the one in
``pg_catalog`` (CVE-2018-1058). It comes last, so that no DSN and no role's setting undoes it."""

PUBLIC_IS_OPEN = """
SELECT EXISTS (
    SELECT FROM pg_namespace n WHERE n.nspname = 'public' AND has_schema_privilege('public', n.oid, 'CREATE'))
"""
"""Whether everybody may create something in schema public: PostgreSQL 15 and newer let nobody unless told to."""

PLAIN = {
    "default_transaction_isolation": "read\\ committed",  # a blank would end the value
    "idle_session_timeout": "0",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "client_min_messages": "warning",
}
"""Settings by which a statement means what it says, whatever an administrator has set for the database or the role."""

# Plans: a queue changes its size within seconds, so no plan may outlive the sizes for which it was made. Compiling a
# plan costs more than running any of our statements. Every plan uses the index (tests of state.outbox show the plans).
_SETTINGS = {
    **PLAIN,
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "random_page_cost": "1.1",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "60s",
    # A machine that dies says nothing: the server must notice by itself before it frees the locks.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

ONE_PLAN = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
"""Settings of a connection whose statements have no plan but the one by the index, whatever the sizes.

Each is planned once. Planning costs more than running it, for a transaction of a few rows twice as much.
"""


def connect(text: str, application: str = "rowtide", settings: Mapping[str, str] | None = None) -> Connection:
    """An autocommit connection in UTC by the DSN ``text``, with our settings and ``settings``.

    Raises StateUnavailable or StateRefused.
    """
    with translated():
        return _connect(text, application, settings or {})


def _connect(text: str, application: str, own: Mapping[str, str]) -> Connection:
    settings = " ".join(f"-c {name}={value}" for name, value in {**_SETTINGS, **own}.items())
    connection = pulse.Connection.connect(conninfo(text, settings, application), autocommit=True)
    set_json_loads(orjson.loads, connection)
    set_json_dumps(orjson.dumps, connection)
    return connection


def conninfo(text: str, settings: str = "", application: str = "rowtide") -> str:
    """What to connect to the state database with, where no name is searched for; StateRefused for a malformed DSN."""
    found = dsn.parse(text)
    if isinstance(found, dsn.MalformedDsn):
        raise state_errors.STATE_DSN_INVALID(problem=found.problem)
    return found.conninfo({**NETWORK, "application_name": application}, f"{settings} {{}} {NO_SEARCH_PATH}")


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg's errors into ours at the edge of this folder."""
    try:
        yield
    except psycopg.Error as error:
        raise to_error(error) from error


def to_error(error: psycopg.Error) -> RowtideError:
    """Our error for one of psycopg's. The sentence holds PostgreSQL's first line, never a row's values."""
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
_UNPROVEN = ("SSL", "certificate", "authentication method requirement", "did not complete authentication")
_NO_ENTRY = ("authentication failed", "no pg_hba.conf entry", "no password supplied", "permission denied for database")


def _connection_error(line: str) -> RowtideError:
    if all(words in line for words in _NO_SUCH_DATABASE):
        return state_errors.STATE_DATABASE_MISSING(said=line)
    if any(words in line for words in _UNPROVEN):
        return state_errors.STATE_TLS(said=line)
    if any(words in line for words in _NO_ENTRY) or ('role "' in line and "does not exist" in line):
        return state_errors.STATE_LOGIN(said=line)
    return state_errors.STATE_UNREACHABLE(said=line)


class Link:
    """One thread's connection to the state database, made when first needed and made again after a break."""

    def __init__(
        self,
        text: str,
        application: str = "rowtide",
        settings: Mapping[str, str] | None = None,
        begin: Callable[[Connection], object] = lambda _: None,
    ) -> None:
        """``text`` is the DSN; ``settings`` come beside those that every connection has.

        ``begin`` is done first on each new connection.
        """
        self._dsn = text
        self._application = application
        self._settings = settings or {}
        self._begin = begin
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
            self._connection = self._begun()
        try:
            return work(self._connection)
        except BaseException:
            # The next caller could not use a connection that is broken or inside a transaction.
            idle = psycopg.pq.TransactionStatus.IDLE
            if self._connection.closed or self._connection.info.transaction_status != idle:
                self.close()
            raise

    def _begun(self) -> Connection:
        connection = _connect(self._dsn, self._application, self._settings)
        try:
            self._begin(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Give the connection back to the server; the next `run` makes another."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()
