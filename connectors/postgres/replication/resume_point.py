"""Checks before streaming: can the server be decoded, does the slot continue where the cursor stands, where to start.

In: a replication connection, the cursor's store. Out: the `StreamStart`, in the cursor's incarnation or in a new one
that is durably open by then; or an error that says why not. Rules (docs/design.md section 2): a missing publication is
refused, because PostgreSQL 18 silently skips what it cannot publish; reconciles are requested before
anything of a new incarnation is read; under ``on_gap: stop`` nothing is healed.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import psycopg
import structlog

from connectors.postgres import slots
from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.connection import ReplicationConnection
from connectors.postgres.replication.continuity import (
    Continue,
    Cursor,
    NewIncarnation,
    System,
    continuity,
    new_incarnation,
)
from connectors.postgres.replication.slot_guard import OwnerStore, SlotGuard
from connectors.postgres.server_proof import ExpectedServer
from connectors.postgres.slots import Slot
from connectors.postgres.source_sessions import open_proven
from rowtide.error_catalogue import source_errors, sync_errors
from rowtide.errors import RowtideError
from rowtide.slot_owner import SlotOwner
from rowtide.transaction import CommittedTransaction
from state import failpoints, pulse

log = structlog.get_logger()

MIN_SERVER_VERSION: Final = 140000

_TAKEOVER_POLL_S: Final = 0.2

_SERVER: Final = (
    "SELECT current_setting('wal_level'), (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_sender_timeout'), "
    "CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_snapshot_xmax(pg_current_snapshot())::text END"
)


class CursorStore(OwnerStore, Protocol):
    """Where the slot's cursor is kept. Methods may block and raise; `advance` comes from another thread."""

    def read(self) -> Cursor | None:
        """The durable cursor."""

    def open_incarnation(self, place: SlotPosition, system: System, reason: NewIncarnation, owner: SlotOwner) -> None:
        """Durably, in one transaction: ask for reconciles and begin a new incarnation at ``place``."""

    def note_address(self, address: str) -> None:
        """Durably: where the server is reached now."""

    def advance(self, incarnation: int, lsn: int, heartbeat: int) -> None:
        """Durably: everything up to ``lsn`` is staged; ``heartbeat``: the newest one before it (0: none is new)."""

    def close(self) -> None:
        """The reader has ended."""


class ReaderStopped(Exception):
    """The reader was asked to end."""


@dataclass(frozen=True, slots=True)
class Server:
    """``sender_timeout_s`` is 0 when the server never gives up on a silent client."""

    next_xid: int
    sender_timeout_s: float


@dataclass(frozen=True, slots=True)
class StreamStart:
    """Where reading starts, and the transaction that has to be met there before anything beyond it (None: none)."""

    place: SlotPosition
    awaits: CommittedTransaction | None = None


def require_server(stream: ReplicationConnection) -> Server:
    """What streaming needs to know of the server; SourceRefused when it cannot be decoded at all."""
    version = stream.sql.info.server_version
    if version < MIN_SERVER_VERSION:
        raise source_errors.SERVER_VERSION(version=version // 10000)
    wal_level, timeout_ms, next_xid = stream.query(_SERVER, "reading settings")[0]
    if wal_level != "logical":
        raise source_errors.WAL_LEVEL(wal_level=wal_level)
    return Server(int(next_xid or 0), timeout_ms / 1000)


class ResumePoint:
    """One for the life of a reader, as it remembers what it saw of the publication.

    ``applied_on`` (`ReaderSettings`) counts before the first cursor. ``tell`` is given what is waited for;
    ``publication_gap`` is set by whoever learns that the publication was missing, ``history_gap`` by whoever reads a
    stream that does not continue what was staged.
    """

    def __init__(
        self,
        slot: str,
        publication: str,
        heal: bool,
        failover: bool,
        applied_on: Callable[[], str],
        store: CursorStore,
        guard: SlotGuard,
        tell: Callable[[RowtideError], None],
        stop: threading.Event,
    ) -> None:
        self.publication_oid: int | None = None
        self.publication_gap = False
        self.history_gap = False
        self._system: System | None = None
        self._slot = slot
        self._publication = publication
        self._heal = heal
        self._failover = failover
        self._applied_on = applied_on
        self._store = store
        self._guard = guard
        self._tell = tell
        self._stop = stop

    def find_start(self, stream: ReplicationConnection, dsn: str) -> StreamStart:
        """Where to start: at the slot's position, in the cursor's incarnation or a new one.

        Waits while another reader has the slot.
        """
        while True:
            oid = slots.publication_oid(stream.sql, self._publication)
            self._system = system = stream.identify(oid or 0)
            cursor = self._store.read()
            # Of another server nothing else is worth saying.
            if cursor is not None and cursor.system_id and cursor.system_id != system.system_id:
                raise sync_errors.OTHER_SYSTEM(now=system.system_id, before=cursor.system_id)
            if cursor is None and (applied_on := self._applied_on()) not in ("", system.system_id):
                raise sync_errors.NOT_APPLIED_ON(now=system.system_id, applied=applied_on)
            owner = self._guard.come(cursor, system)
            if oid is None:
                self.publication_gap = True
                raise slots.publication_missing(self._publication)
            slot = slots.show_slot(stream.sql, self._slot)
            if slot is not None:
                slots.require_usable(stream.sql, slot)
                if slot.active_pid is not None:
                    self._guard.meet_reader(stream.sql, slot, lambda: self.open_beside(dsn, "rowtide slot owner"))
                    self._tell(slots.slot_active(stream.sql, slot))
                    if pulse.wait(self._stop, _TAKEOVER_POLL_S):
                        raise ReaderStopped
                    continue
            self._guard.begin(self._store.read())
            verdict = self._judge(cursor, system, slot)
            if isinstance(verdict, NewIncarnation):
                start = StreamStart(self._open_incarnation(verdict, system, slot, owner, dsn))
            else:
                start = StreamStart(SlotPosition(verdict.incarnation, verdict.lsn), verdict.awaits)
                if cursor is not None and cursor.address != system.address:
                    self._store.note_address(system.address)
                if cursor is not None and (cursor.owner, cursor.owner_since_lsn) != (owner.instance, owner.since_lsn):
                    self._store.note_owner(owner)
            self.publication_oid, self.publication_gap, self.history_gap = oid, False, False
            return start

    def open_beside(self, dsn: str, application: str) -> psycopg.Connection:
        """An ordinary session on the very server that the stream was found on."""
        system = self._system
        assert system is not None, "find_start comes first"
        expected = ExpectedServer(system.address, system.system_id, system.timeline, system.wal_end)
        return open_proven(dsn, application, lambda: expected)

    def verify(self, stream: ReplicationConnection, dsn: str, place: SlotPosition) -> None:
        """Return if nobody moved the slot between the check and the start; from then on only we can."""
        with contextlib.closing(self.open_beside(dsn, "rowtide check")) as conn:
            slot = slots.show_slot(conn, self._slot)
        if slot is not None and slot.active_pid == stream.backend_pid and slot.confirmed_lsn <= place.lsn:
            return
        # Most often the walsender has ended already, and says why.
        moved = source_errors.SLOT_MOVED(slot=self._slot)
        raise stream.failure(1.0) or moved

    def _judge(self, cursor: Cursor | None, system: System, slot: Slot | None) -> Continue | NewIncarnation:
        verdict = continuity(cursor, system, slot)
        if self.publication_gap and isinstance(verdict, Continue):
            # This reader missed it before the cursor could know.
            return new_incarnation(verdict.incarnation + 1, sync_errors.PUBLICATION_GAP(), recreate=True)
        if self.history_gap and isinstance(verdict, Continue):
            return new_incarnation(verdict.incarnation + 1, sync_errors.HISTORY_REPLACED())
        return verdict

    def _open_incarnation(
        self, verdict: NewIncarnation, system: System, slot: Slot | None, owner: SlotOwner, dsn: str
    ) -> SlotPosition:
        if verdict.gap and not self._heal:
            raise sync_errors.GAP(code=verdict.code, reason=verdict.reason)
        if verdict.recreate or slot is None:
            slot = self._recreate(slot, dsn)
        place = SlotPosition(verdict.incarnation, slot.confirmed_lsn)
        self._store.open_incarnation(place, system, verdict, owner)
        said = {"incarnation": verdict.incarnation, "code": verdict.code, "reason": verdict.reason}
        log.warning("new incarnation", slot=self._slot, **said)
        return place

    def _recreate(self, slot: Slot | None, dsn: str) -> Slot:
        self._tell(source_errors.SLOT_CREATION(slot=self._slot))
        with contextlib.closing(self.open_beside(dsn, "rowtide slot")) as conn:
            if slot is not None:
                slots.drop_slot(conn, self._slot)
            made = slots.ensure_slot(conn, self._slot, self._publication, self._failover)[0]
        failpoints.hit(failpoints.OPEN_AFTER_SLOT)
        return made
