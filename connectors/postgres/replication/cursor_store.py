"""The reader's cursor kept in the state database.

In: places from the reader's two threads. Out: rows of ``slot_cursor``; a call that begins the eras of its syncs when a
new incarnation begins. Rule: incarnation and eras begin in one transaction; otherwise a process that dies in
between would leave a gap that nothing fills.
"""

from collections.abc import Callable

from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.continuity import NewIncarnation, System
from connectors.postgres.replication.slot_guard import Installation
from rowtide.error_catalogue import source_errors
from rowtide.errors import RowtideError
from rowtide.holds import SLOT
from rowtide.slot_owner import SlotOwner
from state import cursors, failpoints, holds, instance, slot_server
from state.cursors import SlotCursor
from state.database import Connection, Link

OpenEras = Callable[[Connection, SlotPosition, NewIncarnation], None]
"""Begins a new era of every sync of the slot; called inside the transaction that opens the incarnation."""


class StateCursorStore:
    """`connectors.postgres.replication.reader.CursorStore` over a state database."""

    def __init__(self, state_dsn: str, slot: str, source: str, open_eras: OpenEras) -> None:
        self._slot = slot
        self._source = source
        self._open_eras = open_eras
        # One link for each thread: the slot confirmer calls `advance` and `count_heartbeat`, the reader the rest.
        self._reading = Link(state_dsn, "rowtide cursor", begin=instance.confirm)
        self._advancing = Link(state_dsn, "rowtide confirm", begin=instance.confirm)

    def read(self) -> SlotCursor | None:
        """The slot's cursor."""
        return self._reading.run(lambda conn: cursors.read_slot(conn, self._slot))

    def open_incarnation(self, place: SlotPosition, system: System, reason: NewIncarnation, owner: SlotOwner) -> None:
        """Record, all or nothing: the incarnation, the eras of its syncs, and the requests for their reconciles."""
        cursor = SlotCursor(
            slot=self._slot,
            incarnation=place.incarnation,
            lsn=place.lsn,
            system_id=system.system_id,
            timeline=system.timeline,
            staged_lsn=place.lsn,
            publication_oid=system.publication_oid,
            address=system.address,
            owner=owner.instance,
            owner_since_lsn=owner.since_lsn,
        )

        def both(conn: Connection) -> None:
            with conn.transaction():
                # Slot before syncs, as everywhere. Where another process was faster, its eras stand.
                if cursors.open_slot(conn, cursor):
                    self._open_eras(conn, place, reason)
                failpoints.hit(failpoints.OPEN_BEFORE_COMMIT)
            failpoints.hit(failpoints.OPEN_AFTER_COMMIT)

        self._reading.run(both)

    def note_address(self, address: str) -> None:
        """The slot's server is reached at ``address`` now."""
        self._reading.run(lambda conn: cursors.note_address(conn, self._slot, address))

    def installation(self) -> Installation:
        """The installation's id, and why it left the slot to another one."""
        return self._reading.run(self._installation)

    def _installation(self, conn: Connection) -> Installation:
        here, hold = instance.require(conn), holds.find(conn, "source", self._source, SLOT)
        stop = None if hold is None else source_errors.SLOT_LEFT(reason=hold.reason, source=self._source)
        return Installation(here.id, tuple(here.former), stop)

    def note_owner(self, owner: SlotOwner) -> None:
        """The slot is read by this owner."""
        self._reading.run(lambda conn: cursors.note_owner(conn, self._slot, owner.instance, owner.since_lsn))

    def stop(self, problem: RowtideError) -> None:
        """Hold the source, which a person lifts by taking the slot."""
        said = (problem.code, problem.sentence, "capture")
        self._reading.run(lambda conn: holds.place(conn, "source", self._source, SLOT, *said))

    def is_ours(self, walsender_pid: int) -> bool:
        """Whether the beat of a living process names that walsender."""
        found = self._reading.run(lambda conn: slot_server.read(conn, self._slot))
        return found is not None and found.walsender_pid == walsender_pid

    def count_heartbeat(self, incarnation: int, instance_id: str, known: int) -> int | None:
        """The number of the next heartbeat."""
        given = (self._slot, incarnation, instance_id, known)
        return self._advancing.run(lambda conn: instance.count_heartbeat(conn, *given))

    def went_back(self) -> None:
        """The records are an older copy of themselves."""
        self._reading.run(lambda conn: instance.went_back(conn, self._slot))

    def advance(self, incarnation: int, lsn: int, heartbeat: int) -> None:
        """Move the cursor to ``lsn``, unless it is beyond."""
        self._advancing.run(lambda conn: cursors.advance_slot(conn, self._slot, incarnation, lsn, heartbeat))

    def close(self) -> None:
        """Close both connections; called when both threads have ended."""
        self._reading.close()
        self._advancing.close()
