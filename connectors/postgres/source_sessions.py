"""The only place where sessions on a source are opened: each proves its server before anything else is done on it.

In: a source's DSN and slot, what the records say of the slot's server. Out: proven connections, or SourceUnavailable
``source_differs``; the problem of each source, for `status`. Rules (docs/design.md section 2): a proof is made once a
connection; a connection is of one incarnation of the slot, because in the next one the source may be another server.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import psycopg

from connectors.postgres.connections import address, open_unproven
from connectors.postgres.server_proof import ExpectedServer, differs, prove
from rowtide.errors import RowtideError, StateRefused, StateUnavailable
from state import slot_server
from state.database import Link
from state.slot_server import SlotServer

PROBLEM_KEPT_S = 60.0
"""Seconds after which a problem that nobody has met again is not shown any more."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a source is reached now, and the slot whose server it has to be.

    ``system_id``: of the server that `apply` has met (empty: not known), which counts until there is a cursor.
    """

    dsn: str = field(repr=False)
    slot: str
    system_id: str = ""


def open_proven(dsn: str, application: str, expect: Callable[[], ExpectedServer | None]) -> psycopg.Connection:
    """A new connection to the expected server (`server_proof.prove`)."""
    connection = open_unproven(dsn, application)
    try:
        prove(connection, address(dsn), expect)
    except BaseException:
        connection.close()
        raise
    return connection


APPLIED: Final = "where `rowtide apply` was run"
"""How a sentence names the server of which there is no cursor yet."""


def server_to_read(server: SlotServer | None, dsn: str, system_id: str = "") -> ExpectedServer | None:
    """What a session that reads or writes rows has to meet: before the first cursor the server with ``system_id``."""
    if server is None:
        return ExpectedServer(APPLIED, system_id) if system_id else None
    if not server.system_id:
        problem = "a person has accepted another server, which capture has not begun to read yet"
        raise differs(address(dsn), server.address, problem)
    return ExpectedServer(
        server.address, server.system_id, server.timeline, server.lsn, server.slot, server.walsender_pid
    )


def server_to_set_up(server: SlotServer | None) -> ExpectedServer | None:
    """What a session has to meet that sets a source up, or looks at it: it comes before the slot, and after a restore.

    So only the system id counts; what has become of the slot and the WAL is for capture to judge.
    """
    if server is None or not server.system_id:
        return None
    return ExpectedServer(server.address, server.system_id)


class Records(Protocol):
    """What is on record of the servers of slots."""

    def read(self, slot: str) -> SlotServer | None:
        """The slot's server; None before its first incarnation was opened."""

    def close(self) -> None:
        """Nobody reads for now."""


class StateRecords:
    """`Records` over a state database."""

    def __init__(self, state_dsn: str, application: str) -> None:
        self._link = Link(state_dsn, application)

    def read(self, slot: str) -> SlotServer | None:
        """The slot's server."""
        return self._link.run(lambda connection: slot_server.read(connection, slot))

    def close(self) -> None:
        """Let the connection go; the next read makes another."""
        self._link.close()


@dataclass(slots=True)
class _Session:
    connection: psycopg.Connection
    stream: tuple[int, str] | None
    """The incarnation and the server it was proven for; None: before the first."""


class SourceSessions:
    """One thread's sessions by name of the source, opened when first asked for. Only `cancel` is for other threads."""

    def __init__(self, application: str, find: Callable[[str], Source], records: Records) -> None:
        """``find`` and ``records`` are asked each time, so that a mended DSN and a new stream are found."""
        self._application = application
        self._find = find
        self._records = records
        self._sessions: dict[str, _Session] = {}
        self._problems: dict[str, tuple[RowtideError, float]] = {}

    def get(self, name: str) -> psycopg.Connection:
        """A proven session on the source. After an error on it call `failed`."""
        try:
            connection = self._proven(name)
        except RowtideError as error:
            self.failed(name, error)
            raise
        self._problems.pop(name, None)
        return connection

    def _proven(self, name: str) -> psycopg.Connection:
        source, session = self._find(name), self._sessions.get(name)
        server = self._records.read(source.slot)
        stream = None if server is None else (server.incarnation, server.system_id)
        if session is not None and not session.connection.closed and session.stream == stream:
            return session.connection
        self.drop(name)

        def expect() -> ExpectedServer | None:
            return server_to_read(self._records.read(source.slot), source.dsn, source.system_id)

        opened = _Session(open_proven(source.dsn, self._application, expect), stream)
        self._sessions[name] = opened
        return opened.connection

    def failed(self, name: str, error: RowtideError) -> None:
        """Close the session; the error is the source's problem until a session is had again."""
        self.drop(name)
        if not isinstance(error, StateUnavailable | StateRefused):
            self._problems[name] = error, time.monotonic()

    def problems(self) -> Mapping[str, RowtideError]:
        """Why sources could not be had, by name, as far as it was met lately."""
        since = time.monotonic() - PROBLEM_KEPT_S
        return {name: error for name, (error, at) in dict(self._problems).items() if at > since}

    def cancel(self) -> None:
        """Give up whatever is under way on the sessions."""
        for session in list(self._sessions.values()):
            if not session.connection.closed:
                session.connection.cancel_safe(timeout=0.5)

    def drop(self, name: str) -> None:
        """Close the session on that source, if there is one."""
        session = self._sessions.pop(name, None)
        if session is not None:
            with suppress(psycopg.Error):
                session.connection.close()

    def close(self) -> None:
        """Close every session; `get` opens them again."""
        for name in list(self._sessions):
            self.drop(name)
        self._records.close()
