"""Lists of two-way syncs that were restored to earlier: what was agreed with their items may be newer than the items.

In: that a list shows older versions than it did; what a deep pass sees of it. Out: a new incarnation of the list, with
a deep pass asked for; entries of the inbox of which a person has to decide. Rules (docs/design.md section 19): from
when it is noticed until a deep pass that began later has ended, no row of the sync is sent and no entry of it is
applied; an item that a person changed last and that differs is never written over.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog

from state import channels, collecting, inbox
from state.database import Connection
from state.inbox import Place, Shown
from state.reconcile import record

log = structlog.get_logger()

WHY = "its list was restored to an earlier state"

_MARK = """
UPDATE rowtide.list_cursor SET suspect_since = clock_timestamp()
 WHERE list_id = %s AND sync = %s AND suspect_since IS NULL RETURNING list_id
"""


def note_restored(conn: Connection, sync: str, list_id: str) -> bool:
    """Have the list read from its beginning, as another one than it was; False where that is on record already."""
    with conn.transaction():
        if conn.execute(_MARK, [list_id, sync]).fetchone() is None:
            return False
        collecting.begin_anew(conn, collecting.read(conn)[list_id], restored=True)
        record.request(conn, sync, WHY, deep=True)
    log.warning("a list was restored: a deep reconcile is asked for", sync=sync, list_id=list_id)
    return True


def lists(conn: Connection, sync: str) -> frozenset[str]:
    """The lists of the sync that were restored, and are still to be read by a deep pass."""
    query = "SELECT list_id FROM rowtide.list_cursor WHERE sync = %s AND suspect_since IS NOT NULL"
    return frozenset(list_id for (list_id,) in conn.execute(query, [sync]).fetchall())


_END = """
UPDATE rowtide.list_cursor SET suspect_since = NULL WHERE sync = %s AND suspect_since < %s
"""


def end(conn: Connection, sync: str, began_at: datetime | None) -> None:
    """A deep pass that began then has ended: what was restored before is read."""
    if began_at is not None and conn.execute(_END, [sync, began_at]).rowcount:
        channels.notify(conn, channels.PULL, sync)
        channels.notify(conn, channels.DUE, sync)


_DOUBT = """
UPDATE rowtide.inbox AS i
   SET suspect = true, state = 'waiting', code = NULL, sentence = NULL, due_at = now(), revision = i.revision + 1
  FROM unnest(%(lists)s::text[], %(items)s::text[]) AS n (list_id, item_id)
 WHERE (i.list_id, i.item_id) = (n.list_id, n.item_id) AND NOT i.deleted
"""


def doubt(conn: Connection, sync: str, shown: Sequence[Shown]) -> None:
    """Put items of restored lists into the inbox, in the caller's transaction: a person decides where they differ."""
    inbox.put(conn, sync, shown, told=False)
    conn.execute(_DOUBT, {"lists": [one.list_id for one in shown], "items": [one.item_id for one in shown]})


def forget_owners(conn: Connection, places: Sequence[Place]) -> None:
    """Nothing is known of whose these items are: each has the number that another one had before the restore."""
    statement = """
        UPDATE rowtide.inbox AS i SET key = NULL
          FROM unnest(%s::text[], %s::text[]) AS n (list_id, item_id)
         WHERE (i.list_id, i.item_id) = (n.list_id, n.item_id)
    """
    conn.execute(statement, [[one for one, _ in places], [one for _, one in places]])
