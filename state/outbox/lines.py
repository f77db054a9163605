"""Survey: in which lines rows are due, and how many in each, as far as anybody counts.

In: syncs. Out: per line (sync, what its rows wait for, class) the number of rows that could be claimed now. Rule: two
probes of the index for each line; no more rows of a sync are looked at than `rowtide.turns.LITTLE`, and one of each
line, so that a million of them cost no more than a few hundred.
"""

from collections.abc import Collection

from rowtide.change import Operation
from rowtide.turns import LITTLE, Line
from state.database import Connection
from state.pg_array import text_array

READ = "read"
"""What rows wait for that have to be read from their source."""

REMOVAL = ""
"""What deletes wait for: which list their item is in is not known before the ledger is asked."""

_TO = "to "


def waits_for(op: Operation, target: str | None) -> str:
    """What a row waits for within its sync; column ``waits_for`` of the outbox is made by the same rule."""
    return READ if op == "r" else REMOVAL if target is None else f"{_TO}{target}"


def title_of(waits_for: str) -> str | None:
    """The title of the list that rows of a line wait for; None for those that wait for none."""
    return waits_for.removeprefix(_TO) if waits_for.startswith(_TO) else None


# Carried from line to line: how many rows of the sync were counted so far.
SURVEY = """
WITH RECURSIVE line AS (
    SELECT s.sync, first.waits_for, first.priority, due.count, due.count AS counted
      FROM unnest(%(syncs)s::text[]) AS s (sync)
     CROSS JOIN LATERAL (
           SELECT o.waits_for, o.priority FROM rowtide.outbox o
            WHERE o.sync = s.sync AND o.state = 'waiting' ORDER BY o.waits_for, o.priority LIMIT 1) AS first
     CROSS JOIN LATERAL (
           SELECT count(*) FROM (
                  SELECT FROM rowtide.outbox o
                   WHERE o.sync = s.sync AND o.waits_for = first.waits_for AND o.priority = first.priority
                     AND o.state = 'waiting' AND o.due_at <= now() AND (o.lease_until IS NULL OR o.lease_until < now())
                   LIMIT %(most)s) AS rows) AS due
     UNION ALL
    SELECT l.sync, next.waits_for, next.priority, due.count, l.counted + due.count
      FROM line l
     CROSS JOIN LATERAL (
           SELECT o.waits_for, o.priority FROM rowtide.outbox o
            WHERE o.sync = l.sync AND o.state = 'waiting' AND (o.waits_for, o.priority) > (l.waits_for, l.priority)
            ORDER BY o.waits_for, o.priority LIMIT 1) AS next
     CROSS JOIN LATERAL (
           SELECT count(*) FROM (
                  SELECT FROM rowtide.outbox o
                   WHERE o.sync = l.sync AND o.waits_for = next.waits_for AND o.priority = next.priority
                     AND o.state = 'waiting' AND o.due_at <= now() AND (o.lease_until IS NULL OR o.lease_until < now())
                   LIMIT greatest(1, %(most)s - l.counted)) AS rows) AS due
)
SELECT sync, waits_for, priority, count, max(counted) OVER (PARTITION BY sync) FROM line
"""


def survey(conn: Connection, syncs: Collection[str]) -> dict[Line, int]:
    """The lines of these syncs in which rows are due, with how many.

    `LITTLE` stands for a number that nobody knows: then at least so many rows of the sync are due.
    """
    rows = conn.execute(SURVEY, {"syncs": text_array(sorted(syncs)), "most": LITTLE})
    return {
        Line(sync, name, priority): count if of_sync < LITTLE else LITTLE
        for sync, name, priority, count, of_sync in rows
        if count
    }
