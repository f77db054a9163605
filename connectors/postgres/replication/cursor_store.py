"""The reader's cursor kept in the state database.

In: places from the reader's two threads. Out: rows of ``slot_cursor``; a call that begins the eras of its syncs when a
new incarnation begins. Rule: incarnation and eras begin in one transaction; otherwise a process that dies in
between would leave a gap that nothing fills.
"""

from collections.abc import Callable

from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.continuity import NewIncarnation, System
from state import cursors, failpoints
from state.cursors import SlotCursor
from state.database import Connection, Link

OpenEras = Callable[[Connection, SlotPosition, NewIncarnation], None]
"""Begins a new era of every sync of the slot; called inside the transaction that opens the incarnation."""


class StateCursorStore:
    """`connectors.postgres.replication.reader.CursorStore` over a state database."""

    def __init__(self, state_dsn: str, slot: str, open_eras: OpenEras) -> None:
        self._slot = slot
        self._open_eras = open_eras
        # One link for each thread: the slot confirmer calls `advance`, the reader the rest.
        self._reading = Link(state_dsn, "rowtide cursor")
        self._advancing = Link(state_dsn, "rowtide confirm")

    def read(self) -> SlotCursor | None:
        """The slot's cursor."""
        return self._reading.run(lambda conn: cursors.read_slot(conn, self._slot))

    def open_incarnation(self, place: SlotPosition, system: System, reason: NewIncarnation) -> None:
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

    def advance(self, incarnation: int, lsn: int) -> None:
        """Move the cursor to ``lsn``, unless it is beyond."""
        self._advancing.run(lambda conn: cursors.advance_slot(conn, self._slot, incarnation, lsn))

    def close(self) -> None:
        """Close both connections; called when both threads have ended."""
        self._reading.close()
        self._advancing.close()
