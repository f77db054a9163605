"""The server that a slot's changes come from, as the records know it: what every session on the source has to meet.

In: a slot. Out: its `SlotServer`. Rule: cursor and beats are read by one statement, before the server itself is looked
at, so that a server which goes on meanwhile is never taken for one that is behind.
"""

from dataclasses import dataclass

from psycopg.rows import class_row

from state.database import Connection
from state.processes import ALIVE_S


@dataclass(frozen=True, slots=True)
class SlotServer:
    """Of ``slot_cursor``: the server in the slot's present incarnation, and ``lsn``, up to which its WAL was staged.

    ``system_id`` empty: a person accepts another server, which capture has not met yet. ``address``: where capture
    reached it last. ``walsender_pid``: the server's process that sends the stream, where a living process says that it
    reads one.
    """

    slot: str
    incarnation: int
    system_id: str
    timeline: int
    lsn: int
    address: str
    walsender_pid: int | None


_READ = """
SELECT c.slot, c.incarnation, c.system_id, c.timeline, greatest(c.lsn, c.staged_lsn) AS lsn, c.address,
       (SELECT (p.health #>> ARRAY['source', c.slot, 'walsender_pid'])::int FROM rowtide.process AS p
         WHERE p.seen_at > clock_timestamp() - make_interval(secs => %(alive_s)s)
           AND p.health #>> ARRAY['source', c.slot, 'walsender_pid'] IS NOT NULL
         ORDER BY p.seen_at DESC LIMIT 1) AS walsender_pid
  FROM rowtide.slot_cursor AS c WHERE c.slot = %(slot)s
"""


def read(conn: Connection, slot: str) -> SlotServer | None:
    """The slot's server; None before its first incarnation was opened."""
    with conn.cursor(row_factory=class_row(SlotServer)) as cursor:
        return cursor.execute(_READ, {"slot": slot, "alive_s": ALIVE_S}).fetchone()
