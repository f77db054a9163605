"""A walsender connection: identify the server, start streaming a slot, read messages, report positions.

In: a DSN, a slot, a publication, an LSN. Out: raw stream messages; our errors. Rules: the session prints values as
every other one does; `read` never waits (drain it until it gives None, then `wait`: napping to collect more is five
times slower, libpq reads little at a time); a status is sent whenever the caller says, also while it does not read.

psycopg has no replication support of its own, but its libpq wrapper has all that is needed; TLS, SCRAM, service
files and several hosts come with libpq.
"""

import select
import struct
import time
from collections.abc import Sequence
from typing import Any, Final, Self

import psycopg
from psycopg import sql
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from connectors.postgres.connections import address, connect_error, source_conninfo, source_error, sqlstate_error
from connectors.postgres.replication.continuity import System
from connectors.postgres.replication.pgoutput import POSTGRES_EPOCH_US, malformed
from rowtide.error_catalogue import source_errors
from rowtide.errors import RowtideError
from rowtide.position import lsn_from_text, lsn_to_text
from state import pulse

XLOG_DATA: Final = ord("w")
KEEPALIVE: Final = ord("k")

DATA_OFFSET: Final = 25
"""Length of XLogData's header: kind, start, end, time."""

# An xid of its own, as no snapshot says it: what was streamed already may not be visible yet (synchronous standbys).
# IDENTIFY_SYSTEM says up to where the WAL is flushed: a message may have been written behind it.
_NEXT_XID: Final = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN '0' ELSE pg_current_xact_id()::text END, "
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text"
)

_keepalive = struct.Struct(">xQqB").unpack
_status = struct.Struct(">cQQQqB").pack


class ReplicationConnection:
    """One connection to a walsender of the slot's database."""

    def __init__(self, conn: psycopg.Connection, address: str = "") -> None:
        self.sql = conn
        self._address = address
        self._pgconn = conn.pgconn
        self._get = conn.pgconn.get_copy_data
        self._poll = select.poll()

    @classmethod
    def connect(cls, dsn: str, application: str) -> Self:
        """A new connection with the pinned settings; SourceUnavailable or SourceRefused when there is none."""
        conninfo = source_conninfo(dsn, application, replication="database")
        try:
            connection = pulse.Connection.connect(conninfo, autocommit=True, prepare_threshold=None)
            return cls(connection, address(dsn))
        except psycopg.Error as error:
            raise connect_error(error, dsn) from error

    @property
    def backend_pid(self) -> int:
        """The walsender's process id."""
        return self._pgconn.backend_pid

    def close(self) -> None:
        """Close the socket; the server lets go of the slot. No position is confirmed by it."""
        self.sql.close()

    def query(self, statement: str | sql.Composable, doing: str) -> Sequence[tuple[Any, ...]]:
        """Rows of a query without parameters (a walsender takes only simple queries), before streaming starts."""
        try:
            return self.sql.execute(statement).fetchall()  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise source_error(error, doing) from error

    def identify(self, publication_oid: int = 0) -> System:
        """System identifier, timeline, end of WAL, next xid, beside what the caller knows of the publication."""
        doing = "identifying the server"
        system_id, timeline, wal_end, *_ = self.query("IDENTIFY_SYSTEM", doing)[0]
        [(next_xid, written)] = self.query(_NEXT_XID, doing)
        end = lsn_from_text(wal_end)
        written_lsn = max(end, lsn_from_text(written or "0/0"))
        return System(str(system_id), int(timeline), end, publication_oid, int(next_xid), self._address, written_lsn)

    def start(self, slot: str, publication: str, lsn: int) -> None:
        """Begin streaming transactions that commit at ``lsn`` or later.

        A position below the slot's own is silently moved up by the server: whoever must not miss anything checks.
        """
        command = (
            f"START_REPLICATION SLOT {sql.Identifier(slot).as_string()} LOGICAL {lsn_to_text(lsn)} "
            f"(proto_version '1', publication_names {_walsender_text(sql.Identifier(publication))}, messages 'true')"
        )
        try:
            result = self.sql.execute(command).pgresult
        except psycopg.Error as error:
            raise _stream_error(error.sqlstate, error.diag.message_primary or "no reason given") from error
        if result is None or result.status != ExecStatus.COPY_BOTH:
            raise source_errors.STREAM_FAILED()
        self._pgconn.nonblocking = 1
        self._poll.register(self._pgconn.socket, select.POLLIN)

    def watch(self, descriptor: int) -> None:
        """Let readability of ``descriptor`` end a `wait` too."""
        self._poll.register(descriptor, select.POLLIN)

    def read(self) -> bytes | memoryview | None:
        """The next message that has arrived, None when there is none (or not a whole one) in libpq's buffer."""
        length, data = self._get(1)
        if length > 0:
            return data
        if length == 0:
            return None
        raise self._ended()

    def receive(self) -> None:
        """Take what the socket holds into libpq's buffer, without waiting."""
        try:
            self._pgconn.consume_input()
        except psycopg.Error as error:
            raise self._broken() from error

    def wait(self, timeout_s: float) -> None:
        """Return when something is readable, or after ``timeout_s``, or sooner: each turn of the caller ticks."""
        self._poll.poll(max(0, int(min(timeout_s, pulse.TURN_S) * 1000)))

    def send_status(self, received: int, confirmed: int, now_us: int) -> None:
        """Report positions: ``received`` as written, ``confirmed`` as flushed (what the slot may forget)."""
        moment = now_us - POSTGRES_EPOCH_US
        try:
            self._pgconn.put_copy_data(_status(b"r", max(received, confirmed), confirmed, confirmed, moment, 0))
            self._pgconn.flush()
        except psycopg.Error as error:
            raise self._broken() from error

    def failure(self, within_s: float) -> RowtideError | None:
        """Why the stream has ended, if it ends ``within_s``; whatever it still brings until then is thrown away."""
        deadline = time.monotonic() + within_s
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                self.receive()
                while self.read() is not None:
                    pass
                self.wait(left_s)
        except RowtideError as error:
            return error
        return None

    def _ended(self) -> RowtideError:
        """Why the stream ended: the server's error if it sent one."""
        try:
            result = self._pgconn.get_result()
        except psycopg.Error:
            result = None
        if result is not None and result.status == ExecStatus.FATAL_ERROR:
            return _stream_error(_field(result, DiagnosticField.SQLSTATE), _primary(result))
        if result is not None:
            return source_errors.STREAM_ENDED()
        return self._broken()

    def _broken(self) -> RowtideError:
        said = self._pgconn.get_error_message("utf-8").strip().splitlines()
        reason = said[-1].strip() if said else "connection lost"
        return source_errors.STREAM_BROKEN(said=reason.rstrip("."))


def _walsender_text(name: sql.Identifier) -> str:
    """The name as a string of the replication grammar, which knows no E'' for backslashes."""
    return "'" + name.as_string().replace("'", "''") + "'"


def read_keepalive(message: bytes | memoryview) -> tuple[int, bool]:
    """End of WAL as far as the walsender has read it, and whether it wants an answer at once."""
    try:
        wal_end, _, wants_reply = _keepalive(message)
    except struct.error as error:
        raise malformed(message, "a keepalive has another length") from error
    return wal_end, bool(wants_reply)


def _field(result: PGresult, field: DiagnosticField) -> str:
    return (result.error_field(field) or b"").decode(errors="replace")


def _primary(result: PGresult) -> str:
    return _field(result, DiagnosticField.MESSAGE_PRIMARY) or "no reason given"


def _stream_error(sqlstate: str | None, said: str) -> RowtideError:
    """Our error for what the server said when it refused or ended a stream."""
    for beginnings, entry in source_errors.STREAM_SQLSTATES:
        if sqlstate is not None and sqlstate.startswith(beginnings):
            return entry(said=said)
    return sqlstate_error(sqlstate, said, "streaming")
