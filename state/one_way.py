"""What goes when a sync ceases to go both ways: its inbox and how far its lists are read.

In: the syncs that only push. Out: their entries, list cursors and reserved keys gone. Called by whoever applies edits,
when a definition comes into force. Rule (docs/design.md section 19): nothing waits for an edit that nobody applies any
more; an item whose row was on its way is nobody's, and stays where it is.
"""

from collections.abc import Sequence

from state import channels
from state.database import Connection

_FORGET = (
    "DELETE FROM rowtide.inbox WHERE sync = ANY (%s)",
    "DELETE FROM rowtide.list_cursor WHERE sync = ANY (%s)",
    """
    UPDATE rowtide.ledger
       SET state = 'tombstone', list_id = NULL, item_id = NULL, etag = NULL, version = 0, updated_at = now()
     WHERE sync = ANY (%s) AND state = 'arriving'
    """,
)
_IS_THERE = """
SELECT EXISTS (SELECT FROM rowtide.inbox WHERE sync = ANY (%s))
    OR EXISTS (SELECT FROM rowtide.list_cursor WHERE sync = ANY (%s))
"""


def forget(conn: Connection, syncs: Sequence[str]) -> bool:
    """Forget what these syncs have of a way back; whether there was anything."""
    [(is_there,)] = conn.execute(_IS_THERE, [list(syncs), list(syncs)]).fetchall()
    if is_there:
        with conn.transaction():
            for statement in _FORGET:
                conn.execute(statement, [list(syncs)])
            channels.notify(conn, channels.DUE, channels.to_payload(syncs))
    return bool(is_there)
