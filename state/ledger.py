"""What is known of each synced pair: reads of table ``ledger``.

In: a sync and row keys. Out: `Pair`s, counts, pages of keys. Rule: only settle (state.outbox) and apply write it;
positions and versions never fall.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rowtide.deciding.records import Leftover, Pair
from rowtide.position import Position
from state.database import Connection

COLUMNS = """l.state, l.list_id, l.item_id, l.etag, l.base, l.kept, l.era, l.lsn, l.ordinal, l.xid,
       l.mapping_version, l.leftovers"""


def to_pair(row: Sequence[Any]) -> Pair:
    """The pair of a row of `COLUMNS`."""
    state, list_id, item_id, etag, base, kept, era, lsn, ordinal, xid, mapping_version, leftovers = row
    return Pair(
        state=state,
        list_id=list_id,
        item_id=item_id,
        etag=etag,
        base=base,
        kept=kept,
        position=Position(era, lsn, ordinal),
        xid=xid,
        mapping_version=mapping_version,
        leftovers=tuple(leftover_from_json(one) for one in leftovers),
    )


def leftover_from_json(stored: Mapping[str, Any]) -> Leftover:
    """A leftover as the ledger keeps it."""
    until = stored.get("until")
    when = None if until is None else datetime.fromisoformat(until)
    return Leftover(stored["list_id"], stored["item_id"], when, stored.get("etag"))


def leftover_to_json(leftover: Leftover) -> dict[str, Any]:
    """A leftover as the ledger keeps it."""
    return {
        "list_id": leftover.list_id,
        "item_id": leftover.item_id,
        "until": None if leftover.until is None else leftover.until.isoformat(),
        "etag": leftover.etag,
    }


def read(conn: Connection, sync: str, keys: Sequence[str]) -> dict[str, Pair]:
    """The pairs of these keys that are known."""
    query = f"SELECT l.key, {COLUMNS} FROM rowtide.ledger l WHERE l.sync = %s AND l.key = ANY (%s)"
    return {row[0]: to_pair(row[1:]) for row in conn.execute(query, [sync, list(keys)])}


def live_count(conn: Connection, sync: str) -> int:
    """How many pairs have an item now."""
    query = "SELECT count(*) FROM rowtide.ledger WHERE sync = %s AND state = 'live'"
    [(count,)] = conn.execute(query, [sync]).fetchall()
    return int(count)


_PRUNE = """
DELETE FROM rowtide.ledger l
 WHERE l.sync = %(sync)s AND l.state = 'tombstone' AND l.updated_at < now() - %(older_than)s
   AND l.leftovers = '[]'::jsonb
   AND (l.era < %(era)s OR (l.era = %(era)s AND l.lsn < %(confirmed_lsn)s AND l.xid < %(xmin)s))
   AND NOT EXISTS (SELECT FROM rowtide.outbox o WHERE o.sync = l.sync AND o.key = l.key)
"""


def prune_tombstones(
    conn: Connection, sync: str, era: int, confirmed_lsn: int, xmin: int, older_than: timedelta
) -> int:
    """Forget tombstones that nothing can bring back any more; how many.

    ``confirmed_lsn`` of the slot's ``era``: no replay reaches below it (a commit right at it would be sent again).
    ``xmin``: the source's oldest running transaction, or a running reconcile's if that is older: no snapshot misses
    the delete.
    """
    parameters = {"sync": sync, "era": era, "confirmed_lsn": confirmed_lsn, "xmin": xmin, "older_than": older_than}
    return conn.execute(_PRUNE, parameters).rowcount
