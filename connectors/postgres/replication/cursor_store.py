"""The reader's cursor kept in the state database.

In: places from the reader's two threads. Out: rows of ``slot_cursor``; a call into the flow when a new era begins.
Rule: asking for reconciles and opening the era are one transaction; with either alone, a process that dies in between
would leave a gap that nothing fills.
"""

from collections.abc import Callable

from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.continuity import NewEra, System
from state import cursors, failpoints
from state.cursors import SlotCursor
from state.database import Connection, Link

OnNewEra = Callable[[Connection, NewEra], None]
"""Asks for a reconcile of every sync of this source, with the connection that opens the era, inside its transaction."""


class StateCursorStore:
    """`connectors.postgres.replication.reader.CursorStore` over a state database."""

    def __init__(self, state_dsn: str, slot: str, on_new_era: OnNewEra) -> None:
        self._slot = slot
        self._on_new_era = on_new_era
        # One link a thread: `advance` is called by the keeper, the rest by the reader.
        self._reading = Link(state_dsn, "rowtide cursor")
        self._advancing = Link(state_dsn, "rowtide confirm")

    def read(self) -> SlotCursor | None:
        """The slot's cursor."""
        return self._reading.run(lambda conn: cursors.read_slot(conn, self._slot))

    def open_era(self, place: SlotPosition, system: System, reason: NewEra) -> None:
        """Reconciles are asked for and the era stands, or neither."""
        cursor = SlotCursor(
            slot=self._slot,
            era=place.era,
            lsn=place.lsn,
            system_id=system.system_id,
            timeline=system.timeline,
            staged_era=place.era,
            staged_lsn=place.lsn,
            publication_oid=system.publication_oid,
        )

        def both(conn: Connection) -> None:
            with conn.transaction():
                self._on_new_era(conn, reason)
                cursors.open_slot(conn, cursor)
                failpoints.hit(failpoints.OPEN_BEFORE_COMMIT)
            failpoints.hit(failpoints.OPEN_AFTER_COMMIT)

        self._reading.run(both)

    def advance(self, era: int, lsn: int) -> None:
        """The cursor stands at ``lsn`` or beyond."""
        self._advancing.run(lambda conn: cursors.advance_slot(conn, self._slot, era, lsn))

    def close(self) -> None:
        """Close both connections; called when both threads have ended."""
        self._reading.close()
        self._advancing.close()
