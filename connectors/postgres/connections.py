"""Ordinary SQL connections to the source with pinned output settings, and the source's errors as ours.

In: a DSN. Out: psycopg connections in autocommit mode, or `SourceUnavailable` / `SourceRefused` with one sentence.
Rules: a value reads the same on every session, walsender or not (docs/design.md section 4); no sentence ever holds a
password or a row's value.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from rowtide.error_catalogue import source_errors
from rowtide.errors import RowtideError
from state import pulse
from state.database import NO_SEARCH_PATH, PLAIN
from state.dsn import MalformedDsn
from state.dsn import parse as parse_dsn

PINNED: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmloption": "content",
}
"""Session settings that decide how PostgreSQL prints values; a row key is canonical only under these."""

# The kernel notices a dead peer in about half a minute, whatever the application does.
_LIVENESS: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}

# PostgreSQL's words after a failed connect. There is no SQLSTATE: libpq gives only a text for a connection that was
# not made. An unknown sentence (another language) is passed on as it is, and the connect is retried.
_CONNECT: Final[tuple[tuple[str, source_errors.SourceEntry], ...]] = (
    (r"password authentication failed|no password supplied", source_errors.WRONG_PASSWORD),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", source_errors.PG_HBA),
    (r'role ".*" does not exist|is not permitted to log in', source_errors.NO_SUCH_ROLE),
    (r'database ".*" does not exist', source_errors.NO_SUCH_DATABASE),
    (
        r"permission denied to start WAL sender|must be superuser or replication role",
        source_errors.NO_REPLICATION_PRIVILEGE,
    ),
    (r"permission denied for database", source_errors.NO_CONNECT_PRIVILEGE),
    (r"server requested|did not complete authentication", source_errors.AUTHENTICATION),
    (r"SSL|certificate", source_errors.TLS),
    (
        r"too many clients|too many connections|remaining connection slots|max_wal_senders",
        source_errors.TOO_MANY_CONNECTIONS,
    ),
    (
        r"starting up|shutting down|in recovery mode|not yet accepting|not accepting connections",
        source_errors.SERVER_NOT_READY,
    ),
    (r"Connection refused|No such file", source_errors.CONNECTION_REFUSED),
    (
        r"translate host name|Name or service not known|resolve|Temporary failure in name",
        source_errors.UNKNOWN_HOST,
    ),
    (r"timeout|timed out", source_errors.CONNECT_TIMEOUT),
)


def source_conninfo(dsn: str, application: str, **more: str) -> str:
    """The DSN with pinned settings, UTF-8 and liveness added; liveness settings of the DSN itself stay."""
    found = parse_dsn(dsn)
    if isinstance(found, MalformedDsn):
        raise source_errors.DSN_INVALID(problem=found.problem)
    pins = " ".join(f"-c {name}={value}" for name, value in {**PINNED, **PLAIN}.items())
    options = f"{{}} {pins} {NO_SEARCH_PATH}"
    return found.conninfo(_LIVENESS, options, **more, application_name=application, client_encoding="UTF8")


def address(dsn: str) -> str:
    """``host:port/dbname`` of a DSN for sentences and logs; never the user's password."""
    found = parse_dsn(dsn)
    return "?" if isinstance(found, MalformedDsn) else found.address


def open_unproven(dsn: str, application: str = "rowtide") -> psycopg.Connection:
    """A new autocommit connection with the pinned settings, to whichever server answers (`source_sessions` proves it).

    Raises SourceUnavailable and SourceRefused.
    """
    try:
        return pulse.Connection.connect(source_conninfo(dsn, application), autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        raise connect_error(error, dsn) from error


@contextmanager
def as_source_errors(doing: str) -> Iterator[None]:
    """Turns psycopg's errors inside the block into ours; ``doing`` finishes "... failed while"."""
    try:
        yield
    except psycopg.Error as error:
        raise source_error(error, doing) from error


def connect_error(error: psycopg.Error, dsn: str) -> RowtideError:
    """Our error for a failed connect."""
    said = _first_sentence(str(error))
    entry = next((entry for pattern, entry in _CONNECT if re.search(pattern, said)), source_errors.CONNECT_FAILED)
    return entry(address=address(dsn), said=said)


def source_error(error: psycopg.Error, doing: str) -> RowtideError:
    """Our error for a failed statement."""
    return sqlstate_error(error.sqlstate, error.diag.message_primary or _first_sentence(str(error)), doing)


def sqlstate_error(sqlstate: str | None, said: str, doing: str) -> RowtideError:
    """Our error for a SQLSTATE and PostgreSQL's primary message (None: the connection broke)."""
    if sqlstate is None:
        return source_errors.CONNECTION_LOST(doing=doing, said=said)
    entry = next(entry for beginnings, entry in source_errors.SQLSTATES if sqlstate.startswith(beginnings))
    return entry(doing=doing, said=said, sqlstate=sqlstate)


def _first_sentence(text: str) -> str:
    """The line of libpq's text that names the reason, without the address at its begin."""
    lines = [line.strip().removeprefix("- ") for line in text.splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    line = next((one for one in lines if "failed: " in one), lines[0])
    line = line.rsplit("failed: ", 1)[-1]
    return re.sub(r"^(FATAL|ERROR):\s+", "", line).rstrip(".")
