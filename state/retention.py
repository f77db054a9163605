"""What is kept for a time only: ended runs, readings that were given up, tombstones of retired syncs,
conflicts.

In: how long. Out: how many rows went. Rule: only what nobody goes on with is taken; each statement may run beside
another one like it.
"""

from datetime import timedelta
from typing import Final

from state.database import Connection

ABANDONED: Final = timedelta(days=1)
"""A `rowtide diff` that was stopped goes on with what was read, if somebody runs it again within this time."""


def prune_runs(conn: Connection, older_than: timedelta) -> int:
    """Forget the runs that began longer ago, but for those that a reconcile is still in, or a process that lives."""
    query = """
        DELETE FROM rowtide.runs AS r
         WHERE r.started_at < now() - %s
           AND NOT EXISTS (SELECT FROM rowtide.reconcile AS c WHERE c.run_id = r.id AND c.state = 'running')
           AND NOT (r.kind = 'process' AND r.ended_at IS NULL AND r.seen_at > now() - interval '1 day')
    """
    return conn.execute(query, [older_than]).rowcount


_ABANDONED = """
WITH abandoned AS (
     DELETE FROM rowtide.enumeration AS e
      WHERE e.purpose = 'diff'
        AND NOT EXISTS (SELECT FROM rowtide.enumeration AS n
                         WHERE (n.sync, n.purpose) = (e.sync, e.purpose) AND n.updated_at >= now() - %s)
     RETURNING sync, list_id)
DELETE FROM rowtide.seen AS s USING abandoned AS a WHERE (s.sync, s.purpose, s.list_id) = (a.sync, 'diff', a.list_id)
"""


def prune_readings(conn: Connection) -> int:
    """Forget what a diff has read and nobody has asked for since; the number of items."""
    return conn.execute(_ABANDONED, [ABANDONED]).rowcount


def prune_conflicts(conn: Connection, older_than: timedelta) -> int:
    """Forget conflicts that were recorded longer ago, but for those that wait for a person."""
    query = "DELETE FROM rowtide.conflict WHERE state = 'closed' AND at < now() - %s"
    return conn.execute(query, [older_than]).rowcount


_RETIRED = """
DELETE FROM rowtide.ledger AS l
 USING rowtide.sync AS s
 WHERE s.sync = l.sync AND s.retired AND l.state = 'tombstone' AND l.updated_at < now() - %s
   AND l.leftovers = '[]'::jsonb
   AND NOT EXISTS (SELECT FROM rowtide.outbox AS o WHERE o.sync = l.sync AND o.key = l.key)
"""


def prune_retired(conn: Connection, older_than: timedelta) -> int:
    """Forget tombstones of retired syncs: in the era with which such a sync comes back, they count as seen."""
    return conn.execute(_RETIRED, [older_than]).rowcount
