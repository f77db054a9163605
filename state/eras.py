"""Eras: one unbroken stream of one sync each, in table ``sync``.

In: a slot's new incarnation, a sync that is routed (again). Out: eras, each opened together with a request for the
reconcile that covers what came before it. Rules (docs/design.md section 2): an era only grows, outlives retirement and
is never below the database's clock in seconds, so that a restored database draws no number twice; only positions and
xids of one sync and one era are compared; locks are taken in the order slot, sync.
"""

from collections.abc import Iterable, Sequence

from state import channels
from state.database import Connection
from state.reconcile import record

_OPEN = """
INSERT INTO rowtide.sync AS s (sync, changed_by, era, since_slot, since_incarnation, since_lsn)
SELECT name, 'capture', extract(epoch FROM clock_timestamp())::bigint, %(slot)s, %(incarnation)s, %(lsn)s
  FROM unnest(%(syncs)s::text[]) AS name ORDER BY name COLLATE "C"
    ON CONFLICT (sync) DO UPDATE
   SET era = greatest(s.era + 1, excluded.era), since_slot = excluded.since_slot,
       since_incarnation = excluded.since_incarnation, since_lsn = excluded.since_lsn, shape = NULL
 WHERE NOT s.retired
   AND NOT EXISTS (SELECT FROM rowtide.hold h WHERE (h.scope, h.object, h.kind) = ('sync', s.sync, 'capture'))
RETURNING sync, EXISTS (SELECT FROM rowtide.reconcile r WHERE r.sync = s.sync) AS loaded
"""


def open_eras(
    conn: Connection, syncs: Sequence[str], slot: str, incarnation: int, lsn: int | None, why: str
) -> list[str]:
    """Begin a new era of each of these syncs and ask for its reconcile; the caller's transaction, the slot locked.

    Its shape has to be looked at anew (`state.shapes`). ``lsn``: the stream of the sync is whole from here on (None:
    `note_since` says so later). A sync that capture passes by, or that is retired, gets no era. Returns the syncs whose
    era began.
    """
    values = {"syncs": list(syncs), "slot": slot, "incarnation": incarnation, "lsn": lsn}
    # Locked by a statement of its own, so that the next one sees the hold of a stop that had the row.
    conn.execute('SELECT FROM rowtide.sync WHERE sync = ANY (%(syncs)s) ORDER BY sync COLLATE "C" FOR UPDATE', values)
    opened = conn.execute(_OPEN, values).fetchall()
    for sync, loaded in opened:
        record.request(conn, sync, why if loaded else "first load")
    return [sync for sync, _ in opened]


def read(conn: Connection, syncs: Iterable[str]) -> dict[str, int]:
    """The present era of each of these syncs that has ever had one."""
    query = "SELECT sync, era FROM rowtide.sync WHERE sync = ANY (%s)"
    return dict(conn.execute(query, [sorted(syncs)]).fetchall())


def route(conn: Connection, syncs: Sequence[str], slot: str, incarnation: int, why: str) -> list[str]:
    """Begin eras of syncs that are read from this slot from now on; none where the slot has another incarnation."""
    with conn.transaction():
        query = "SELECT FROM rowtide.slot_cursor WHERE slot = %s AND incarnation = %s FOR SHARE"
        if conn.execute(query, [slot, incarnation]).fetchone() is None:
            return []
        opened = open_eras(conn, syncs, slot, incarnation, None, why)
        channels.notify(conn, channels.CONTROL)
    return opened


def note_since(conn: Connection, sync: str, era: int, lsn: int) -> None:
    """Note that from ``lsn`` on the era's stream has every transaction of the sync's table; an earlier note stands."""
    conn.execute(
        "UPDATE rowtide.sync SET since_lsn = %s WHERE sync = %s AND era = %s AND since_slot IS NOT NULL"
        " AND since_lsn IS NULL",
        [lsn, sync, era],
    )
