"""Where each slot stands: table ``slot_cursor``, and where each sync's stream begins.

In: places up to which everything is staged. Out: the durable cursor that capture resumes from. Rule: within an era the
cursor never falls; the era only grows (docs/design.md section 2).
"""

from dataclasses import dataclass

from psycopg.rows import class_row

from state.database import Connection


@dataclass(frozen=True, slots=True)
class SlotCursor:
    """A row of ``slot_cursor``: the place capture resumes from, of which server and publication, what is staged."""

    slot: str
    era: int
    lsn: int
    system_id: str
    timeline: int
    staged_era: int
    staged_lsn: int
    publication_oid: int


_COLUMNS = "slot, era, lsn, system_id, timeline, staged_era, staged_lsn, publication_oid"


def read_slot(conn: Connection, slot: str) -> SlotCursor | None:
    """The slot's cursor; None before its first era was opened."""
    with conn.cursor(row_factory=class_row(SlotCursor)) as cursor:
        return cursor.execute(f"SELECT {_COLUMNS} FROM rowtide.slot_cursor WHERE slot = %s", [slot]).fetchone()


def read_slots(conn: Connection) -> dict[str, SlotCursor]:
    """Every cursor by slot."""
    with conn.cursor(row_factory=class_row(SlotCursor)) as cursor:
        return {row.slot: row for row in cursor.execute(f"SELECT {_COLUMNS} FROM rowtide.slot_cursor")}


def open_slot(conn: Connection, cursor: SlotCursor) -> None:
    """Begin a new era; an era at or above this one stands (another process was faster)."""
    conn.execute(
        """
        INSERT INTO rowtide.slot_cursor AS c (slot, era, lsn, system_id, timeline, staged_era, staged_lsn,
                                             publication_oid)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (slot) DO UPDATE
           SET era = excluded.era, lsn = excluded.lsn, system_id = excluded.system_id, timeline = excluded.timeline,
               staged_era = excluded.staged_era, staged_lsn = excluded.staged_lsn, staged_ordinal = -1,
               publication_oid = excluded.publication_oid, updated_at = now()
         WHERE c.era < excluded.era
        """,
        [
            cursor.slot,
            cursor.era,
            cursor.lsn,
            cursor.system_id,
            cursor.timeline,
            cursor.staged_era,
            cursor.staged_lsn,
            cursor.publication_oid,
        ],
    )


def advance_slot(conn: Connection, slot: str, era: int, lsn: int) -> None:
    """Everything of ``era`` up to ``lsn`` is staged; a lower place or another era changes nothing."""
    conn.execute(
        "UPDATE rowtide.slot_cursor SET lsn = %s, updated_at = now() WHERE slot = %s AND era = %s AND lsn < %s",
        [lsn, slot, era, lsn],
    )


def note_since(conn: Connection, sync: str, era: int, lsn: int) -> None:
    """From this place on every transaction of the sync's table is in its stream; an earlier note stands."""
    conn.execute(
        """
        INSERT INTO rowtide.sync AS s (sync, changed_by, since_era, since_lsn) VALUES (%s, 'capture', %s, %s)
            ON CONFLICT (sync) DO UPDATE SET since_era = excluded.since_era, since_lsn = excluded.since_lsn
         WHERE s.since_era IS NULL AND s.capture_on
        """,
        [sync, era, lsn],
    )
