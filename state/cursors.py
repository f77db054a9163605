"""Where each slot stands: table ``slot_cursor``.

In: places up to which everything is staged. Out: the durable cursor that capture resumes from. Rule: within an
incarnation the cursor never falls; the incarnation only grows (docs/design.md section 2).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from psycopg.rows import class_row

from rowtide.transaction import CommittedTransaction
from state.database import Connection


@dataclass(frozen=True, slots=True)
class SlotCursor:
    """A row of ``slot_cursor``: where capture resumes, of which server and publication, and what is staged.

    ``incarnation``: one unbroken stream of the slot. ``staged_lsn``: the highest commit LSN staged in it, of the
    transaction ``staged_xid`` committed at ``staged_committed_us`` (None: nothing was staged in it yet). ``system_id``
    empty: a person accepts whichever server answers next. ``address``: where the server was reached last. ``owner``:
    the installation that reads it since the source's WAL ended at ``owner_since_lsn`` (empty: it comes to it anew).
    ``heartbeat``: the number of the newest one.
    """

    slot: str
    incarnation: int
    lsn: int
    system_id: str
    timeline: int
    staged_lsn: int
    publication_oid: int
    staged_xid: int | None = None
    staged_committed_us: int | None = None
    address: str = ""
    owner: str = ""
    owner_since_lsn: int = 0
    heartbeat: int = 0

    @property
    def staged(self) -> CommittedTransaction | None:
        """The transaction staged last; None before the first of the incarnation."""
        if self.staged_xid is None or self.staged_committed_us is None:
            return None
        return CommittedTransaction(self.staged_lsn, self.staged_xid, self.staged_committed_us)


CLOCK_US = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""The state database's clock, in microseconds."""

_COLUMNS = (
    "slot, incarnation, lsn, system_id, timeline, staged_lsn, publication_oid, staged_xid, staged_committed_us,"
    " address, owner, owner_since_lsn, heartbeat"
)


def read_slot(conn: Connection, slot: str) -> SlotCursor | None:
    """The slot's cursor; None before its first incarnation was opened."""
    with conn.cursor(row_factory=class_row(SlotCursor)) as cursor:
        return cursor.execute(f"SELECT {_COLUMNS} FROM rowtide.slot_cursor WHERE slot = %s", [slot]).fetchone()


def read_slots(conn: Connection) -> dict[str, SlotCursor]:
    """Every cursor by slot."""
    with conn.cursor(row_factory=class_row(SlotCursor)) as cursor:
        return {row.slot: row for row in cursor.execute(f"SELECT {_COLUMNS} FROM rowtide.slot_cursor")}


def read_staged_at(conn: Connection) -> dict[str, datetime]:
    """When each slot's cursor moved last; a stream without changes moves it by its heartbeats."""
    return dict(conn.execute("SELECT slot, updated_at FROM rowtide.slot_cursor").fetchall())


def read_heard_at(conn: Connection) -> dict[str, datetime]:
    """By slot when the newest heartbeat was written that is staged: what was committed before is staged, too."""
    query = """
        SELECT slot, to_timestamp(heartbeat_staged / 1000000.0) FROM rowtide.slot_cursor WHERE heartbeat_staged > 0
    """
    return dict(conn.execute(query).fetchall())


def open_slot(conn: Connection, cursor: SlotCursor) -> bool:
    """Begin a new incarnation. False when there is one at or above it already: another process was faster."""
    result = conn.execute(
        """
        INSERT INTO rowtide.slot_cursor AS c (slot, incarnation, lsn, system_id, timeline, staged_lsn, publication_oid,
               address, owner, owner_since_lsn)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (slot) DO UPDATE
           SET incarnation = excluded.incarnation, lsn = excluded.lsn, system_id = excluded.system_id,
               timeline = excluded.timeline, staged_lsn = excluded.staged_lsn, staged_ordinal = -1,
               staged_xid = NULL, staged_committed_us = NULL, publication_oid = excluded.publication_oid,
               address = excluded.address, owner = excluded.owner, owner_since_lsn = excluded.owner_since_lsn,
               updated_at = now()
         WHERE c.incarnation < excluded.incarnation
        """,
        [
            cursor.slot,
            cursor.incarnation,
            cursor.lsn,
            cursor.system_id,
            cursor.timeline,
            cursor.staged_lsn,
            cursor.publication_oid,
            cursor.address,
            cursor.owner,
            cursor.owner_since_lsn,
        ],
    )
    return result.rowcount == 1


def accept_system(conn: Connection, slot: str) -> bool:
    """Accept the next server that answers as the slot's, in a new incarnation. False: the slot is unknown."""
    query = "UPDATE rowtide.slot_cursor SET system_id = '', updated_at = now() WHERE slot = %s"
    return conn.execute(query, [slot]).rowcount == 1


def note_address(conn: Connection, slot: str, address: str) -> None:
    """Record where the slot's server is reached."""
    query = "UPDATE rowtide.slot_cursor SET address = %s, updated_at = now() WHERE slot = %s"
    conn.execute(query, [address, slot])


def note_owner(conn: Connection, slot: str, instance: str, lsn: int) -> None:
    """Record which installation reads the slot, and where the source's WAL ended when it came to it."""
    query = "UPDATE rowtide.slot_cursor SET owner = %s, owner_since_lsn = %s, updated_at = now() WHERE slot = %s"
    conn.execute(query, [instance, lsn, slot])


def forget_owner(conn: Connection, slot: str) -> None:
    """Have the installation come to the slot anew with its next stream, as the one that came last."""
    note_owner(conn, slot, "", 0)


class CountedHeartbeat(NamedTuple):
    """The numbers of the heartbeat that was on record, and of the next one."""

    before: int
    number: int


def count_heartbeat(conn: Connection, slot: str, incarnation: int, instance: str) -> CountedHeartbeat | None:
    """The next heartbeat; None where the records are not ``instance``'s, or the slot's stream is another.

    Its number grows, and is never below the database's clock in microseconds, so that restored records draw none a
    second time.
    """
    query = f"""
        WITH known AS (
             SELECT slot, heartbeat FROM rowtide.slot_cursor
              WHERE slot = %(slot)s AND incarnation = %(incarnation)s AND owner = %(instance)s
                AND EXISTS (SELECT FROM rowtide.instance WHERE id = %(instance)s) FOR UPDATE)
        UPDATE rowtide.slot_cursor AS c SET heartbeat = greatest(known.heartbeat + 1, {CLOCK_US})
          FROM known WHERE c.slot = known.slot RETURNING known.heartbeat, c.heartbeat
    """
    row = conn.execute(query, {"slot": slot, "incarnation": incarnation, "instance": instance}).fetchone()
    return None if row is None else CountedHeartbeat(*row)


def advance_slot(conn: Connection, slot: str, incarnation: int, lsn: int, heartbeat: int = 0) -> None:
    """Record that ``incarnation`` is staged up to ``lsn``; a lower LSN or another incarnation changes nothing.

    ``heartbeat``: the number of the newest one before ``lsn`` (0: none is new).
    """
    conn.execute(
        """
        UPDATE rowtide.slot_cursor
           SET lsn = %s, heartbeat_staged = greatest(heartbeat_staged, %s), updated_at = now()
         WHERE slot = %s AND incarnation = %s AND lsn < %s
        """,
        [lsn, heartbeat, slot, incarnation, lsn],
    )
