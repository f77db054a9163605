"""Lists that were restored to an earlier state: what shows it asks for a deep reconcile, by itself and once.

In: rows that were parked because their items are older than what was written; lists that SharePoint has not, and has
again. Out: requests for deep reconciles. Rules (docs/design.md section 9): what is noticed is in the records, so that
it outlives the process; what a deep pass has begun to look at asks for no other.
"""

from datetime import datetime

from rowtide.error_catalogue import row_errors
from state.database import Connection
from state.reconcile import record

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
