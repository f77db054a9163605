"""Deletions of items on their way to rows: what a person has to let through first.

In: a sync, an item that its list says is gone. Out: what is known of this deletion and of those of the last hour.
Called by the puller before it deletes a row. Rule (docs/design.md section 19): a deletion that nobody has told needs
a person's word, and so do very many; `parked retry` is that word, for the entries that it names as they are then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rowtide.deciding.records import ItemId, ListId
from state.database import Connection

WINDOW: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DeletionBack:
    """``inferred``: the list was read whole and does not show the item; nobody has told of its deletion.

    ``approved``: a person has let it through. ``deletes``: how many wait without that, and were carried out lately, of
    ``pairs`` that the sync had.
    """

    inferred: bool
    approved: bool
    deletes: int
    pairs: int


_READ = """
WITH done AS (SELECT count(*) AS n FROM rowtide.ledger
               WHERE sync = %(sync)s AND state = 'tombstone' AND updated_at > now() - %(window)s
                 AND pulled ->> 'op' = 'delete')
SELECT i.inferred, i.approved,
       (SELECT count(*) FROM rowtide.inbox WHERE sync = %(sync)s AND deleted AND NOT approved) + done.n,
       (SELECT count(*) FROM rowtide.ledger WHERE sync = %(sync)s AND state = 'live') + done.n
  FROM done, rowtide.inbox AS i WHERE (i.list_id, i.item_id) = (%(list_id)s, %(item_id)s)
"""


def read(conn: Connection, sync: str, list_id: ListId, item_id: ItemId) -> DeletionBack:
    """What is known of the deletion of an item; one that is not in the inbox any more is not approved."""
    values = {"sync": sync, "list_id": list_id, "item_id": item_id, "window": WINDOW}
    row = conn.execute(_READ, values).fetchone()
    return DeletionBack(True, False, 0, 0) if row is None else DeletionBack(*row)


# --- what a pass over the source finds --------------------------------------------------------------------------

_INFER = """
INSERT INTO rowtide.inbox (list_id, item_id, sync, version, deleted, inferred, key)
SELECT l.list_id, l.item_id, l.sync, 0, true, true, l.key
  FROM rowtide.ledger AS l WHERE l.sync = %s AND l.key = ANY (%s) AND l.state = 'live'
    ON CONFLICT (list_id, item_id) DO NOTHING
"""


def infer(conn: Connection, sync: str, keys: Sequence[str]) -> int:
    """Note that the items of these rows were not in their lists; how many are news."""
    return conn.execute(_INFER, [sync, list(keys)]).rowcount
