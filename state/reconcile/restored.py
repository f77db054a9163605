"""Lists that were restored to an earlier state: what shows it asks for a deep reconcile, by itself and once.

In: rows that were parked because their items are older than what was written; lists that SharePoint has not, and has
again; new items with the id of another row's item. Out: requests for deep reconciles. Rules (docs/design.md section 9):
what is noticed is in the records, so that it outlives the process; what a deep pass has begun to look at asks for no
other.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog
from psycopg import errors

from rowtide.deciding.outcomes import Outcome
from rowtide.deciding.records import Arriving, Held
from rowtide.error_catalogue import row_errors
from state import ledger, outbox
from state.database import Connection
from state.pg_array import text_array
from state.reconcile import record

log = structlog.get_logger()

_NOTICED = """
SELECT DISTINCT o.sync FROM rowtide.outbox AS o LEFT JOIN rowtide.reconcile AS r ON r.sync = o.sync
 WHERE o.state = 'parked' AND o.reason_code = %s
   AND NOT coalesce(r.deep OR (r.enumerates AND (r.state = 'running' OR o.due_at < r.started_at)), false)
 ORDER BY o.sync
"""


def ask_for_older(conn: Connection) -> list[str]:
    """Ask for a deep reconcile of each sync with rows whose items are older than what was written; those asked for.

    A sync whose next pass is to be deep, or whose last one began after these rows were looked at, is not asked again.
    """
    with conn.transaction():
        syncs = [sync for (sync,) in conn.execute(_NOTICED, [row_errors.ITEM_OLDER_THAN_KNOWN.code])]
        for sync in syncs:
            record.request(conn, sync, "items of its lists are older than what was written", deep=True)
    return syncs


def note_missing(conn: Connection, list_id: str) -> bool:
    """Record that SharePoint has not this list; False where that is on record."""
    statement = "UPDATE rowtide.list SET missing_since = now() WHERE id = %s AND missing_since IS NULL"
    return bool(conn.execute(statement, [list_id]).rowcount)


_BACK = """
UPDATE rowtide.list AS l SET missing_since = NULL
  FROM (SELECT id, missing_since FROM rowtide.list WHERE id = %s AND missing_since IS NOT NULL FOR UPDATE) AS before
 WHERE l.id = before.id
RETURNING before.missing_since
"""


def note_back(conn: Connection, sync: str, list_id: str) -> datetime | None:
    """Record that the list answers; where SharePoint had it not since a while, ask for a deep reconcile: since when."""
    with conn.transaction():
        found = conn.execute(_BACK, [list_id]).fetchone()
        if found is None:
            return None
        record.request(conn, sync, "one of its lists was away and is back", deep=True)
    return found[0]  # type: ignore[no-any-return]


_LOSE = """
UPDATE rowtide.ledger AS l SET state = 'tombstone', base = '{}', kept = '{}', updated_at = now()
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS n (sync, key, list_id, item_id)
 WHERE l.list_id = n.list_id AND l.item_id = n.item_id AND l.state IN ('live', 'arriving')
   AND (l.sync, l.key) <> (n.sync, n.key)
RETURNING l.sync
"""


def settle_reused_ids(conn: Connection, outcomes: Sequence[Outcome]) -> outbox.SettleCounts:
    """Settle; where an item has the id of another row's item, that row has lost its own, and its sync is read deep.

    A list that went back counts its items from there, so the next one gets an id that was given before. Which row an
    item belongs to is what SharePoint has just answered; the older pair is the one that is wrong.
    """
    try:
        return outbox.settle(conn, outcomes)
    except errors.UniqueViolation as error:
        if error.diag.constraint_name != ledger.ITEM_INDEX:
            raise
    items = [
        (one.work.desired.sync, one.work.desired.key, one.pair.item.list_id, one.pair.item.item_id)
        for one in outcomes
        if isinstance(one.pair, Held | Arriving)
    ]
    with conn.transaction():
        lost = conn.execute(_LOSE, [text_array(column) for column in zip(*items, strict=True)]).fetchall()
        syncs = sorted({sync for (sync,) in lost})
        for sync in syncs:
            record.request(conn, sync, "a new item has the id of another row's item", deep=True)
        counts = outbox.settle(conn, outcomes)
    log.warning("ids of items were given again: a deep reconcile is asked for", syncs=syncs, rows=len(lost))
    return counts
