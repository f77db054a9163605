"""Where each sync stands, and the minutes that were not good: tables ``gauge`` and ``slo_minute``.

In: what the records say of every sync (`count`, `read_lists`), the gauges made of it. Out: rows that `rowtide status`
and Prometheus show; a promise in minutes. Called by the one process with the duty (`hold`). Rules (docs/design.md
section 24): one look is one statement over what waits; a key counts once, for a person before parked before waiting
before pulling before found; minutes are by the database's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.rows import class_row

from rowtide.change import BACKFILL, BULK, INTERACTIVE, MOVE
from rowtide.error_catalogue import row_errors
from rowtide.gauge import Counted, Gauge, ListRead, Minute, Minutes
from state.database import Connection

_DUTY: Final = "SELECT pg_try_advisory_lock(hashtextextended('rowtide.gauge', 0))"
OF_ALL: Final = ""
"""The sync of the row that says of a minute that there was a look."""


def hold(conn: Connection) -> bool:
    """Take the duty for the life of this connection; False while another process has it."""
    [(held,)] = conn.execute(_DUTY).fetchall()
    return bool(held)


# --- what is counted ----------------------------------------------------------------------------------------------

# An entry without a key is a row of its own: nobody knows yet whose it is. A look reads outbox and inbox once each; the
# few entries that were set aside say of rows that wait in the outbox that a person has to be asked first.
_BY_PRIORITY: Final = ", ".join(
    f"count(*) FILTER (WHERE part = 'waiting' AND priority = {one})" for one in (INTERACTIVE, MOVE, BULK, BACKFILL)
)
_COUNT = f"""
WITH entry AS MATERIALIZED (
     SELECT sync, coalesce(key, list_id || '/' || item_id) AS key, bool_or(state <> 'waiting') AS aside,
            bool_or(state = 'conflict' OR (state = 'parked' AND code = '{row_errors.PING_PONG.code}')) AS held,
            min(greatest(least(modified_at, seen_at),
                         seen_at - make_interval(secs => coalesce(c.interval_s, 0)))) AS since
       FROM rowtide.inbox LEFT JOIN (SELECT list_id, interval_s FROM rowtide.list_cursor) AS c USING (list_id)
      GROUP BY 1, 2),
     row AS (
     SELECT o.sync, o.priority, coalesce(o.out_since, o.committed_at) AS since,
            CASE WHEN e.held OR (o.state = 'parked' AND o.hold) THEN 'held'
                 WHEN e.aside OR o.state = 'parked' THEN 'parked' ELSE 'waiting' END AS part
       FROM rowtide.outbox AS o LEFT JOIN entry AS e ON (e.sync, e.key) = (o.sync, o.key)
      UNION ALL
     SELECT e.sync, NULL, e.since, CASE WHEN e.held THEN 'held' WHEN e.aside THEN 'parked' ELSE 'pulling' END
       FROM entry AS e
      WHERE NOT EXISTS (SELECT FROM rowtide.outbox AS o WHERE (o.sync, o.key) = (e.sync, e.key))
      UNION ALL
     SELECT a.sync, NULL, NULL, 'found' FROM rowtide.reconcile_absent AS a
      WHERE NOT EXISTS (SELECT FROM rowtide.outbox AS o WHERE (o.sync, o.key) = (a.sync, a.key))
        AND NOT EXISTS (SELECT FROM entry AS e WHERE (e.sync, e.key) = (a.sync, a.key)))
SELECT sync, count(*) FILTER (WHERE part = 'waiting') AS waiting, count(*) FILTER (WHERE part = 'parked') AS parked,
       count(*) FILTER (WHERE part = 'held') AS held, count(*) FILTER (WHERE part = 'pulling') AS pulling,
       count(*) FILTER (WHERE part = 'found') AS found, min(since) FILTER (WHERE part = 'waiting') AS push_since,
       min(since) FILTER (WHERE part = 'pulling') AS pull_since,
       min(since) FILTER (WHERE part IN ('parked', 'held')) AS aside_since,
       ARRAY[{_BY_PRIORITY}] AS by_priority,
       (SELECT count(*) FROM rowtide.conflict AS c WHERE c.sync = row.sync AND c.state = 'open') AS conflicts
  FROM row GROUP BY sync
"""


def count(conn: Connection) -> dict[str, Counted]:
    """Of every sync of which something is out of sync, how many rows are."""
    rows: Sequence[tuple[Any, ...]] = conn.execute(_COUNT).fetchall()
    return {
        sync: replace(Counted(*figures), by_priority=tuple(by_priority), conflicts=conflicts)
        for sync, *figures, by_priority, conflicts in rows
    }


def read_lists(conn: Connection) -> dict[str, dict[str, ListRead]]:
    """By sync and list id how far the changes of lists are read."""
    query = """
        SELECT sync, list_id, read_until, interval_s, "full" OR suspect_since IS NOT NULL FROM rowtide.list_cursor
    """
    found: dict[str, dict[str, ListRead]] = {}
    for sync, list_id, *read in conn.execute(query).fetchall():
        found.setdefault(sync, {})[list_id] = ListRead(*read)
    return found


# --- what is written ----------------------------------------------------------------------------------------------

_WRITE = """
INSERT INTO rowtide.gauge AS g (sync, waiting, parked, held, pulling, found, oldest, push_lag_s, pull_lag_s,
       push_unknown_since, pull_unknown_since, since, as_of)
VALUES (%(sync)s, %(waiting)s, %(parked)s, %(held)s, %(pulling)s, %(found)s, %(oldest)s, %(push_lag_s)s,
        %(pull_lag_s)s, %(push_unknown_since)s, %(pull_unknown_since)s, %(as_of)s, %(as_of)s)
    ON CONFLICT (sync) DO UPDATE
   SET waiting = excluded.waiting, parked = excluded.parked, held = excluded.held, pulling = excluded.pulling,
       found = excluded.found, oldest = excluded.oldest, push_lag_s = excluded.push_lag_s,
       pull_lag_s = excluded.pull_lag_s, push_unknown_since = excluded.push_unknown_since,
       pull_unknown_since = excluded.pull_unknown_since, as_of = excluded.as_of
"""

_NOTE = """
INSERT INTO rowtide.slo_minute AS m (minute, sync, verdict)
VALUES (date_trunc('minute', %(at)s), %(sync)s, %(verdict)s)
    ON CONFLICT (minute, sync) DO UPDATE SET verdict = excluded.verdict WHERE m.verdict < excluded.verdict
"""


def write(conn: Connection, at: datetime, gauges: Mapping[str, Gauge], minutes: Mapping[str, Minute]) -> None:
    """Note one look at every sync there is, in the caller's transaction; others are forgotten."""
    conn.execute("DELETE FROM rowtide.gauge WHERE sync <> ALL (%s)", [list(gauges)])
    verdicts = {OF_ALL: Minute.GOOD, **{sync: one for sync, one in minutes.items() if one is not Minute.GOOD}}
    with conn.cursor() as cursor:
        cursor.executemany(_WRITE, [_values(sync, one) for sync, one in gauges.items()])
        cursor.executemany(
            _NOTE, [{"at": at, "sync": sync, "verdict": int(one)} for sync, one in sorted(verdicts.items())]
        )


def _values(sync: str, one: Gauge) -> dict[str, Any]:
    counted = one.counted
    return {
        "sync": sync, "waiting": counted.waiting, "parked": counted.parked, "held": counted.held,
        "pulling": counted.pulling, "found": counted.found, "oldest": counted.oldest, "push_lag_s": one.push_lag_s,
        "pull_lag_s": one.pull_lag_s, "push_unknown_since": one.push_unknown_since,
        "pull_unknown_since": one.pull_unknown_since, "as_of": one.as_of,
    }  # fmt: skip


# --- what is read -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GaugeRow:
    """A row of ``gauge``: what was known of a sync at ``as_of``; ``since``: when it was looked at first."""

    sync: str
    waiting: int
    parked: int
    held: int
    pulling: int
    found: int
    oldest: datetime | None
    push_lag_s: float
    pull_lag_s: float | None
    push_unknown_since: datetime | None
    pull_unknown_since: datetime | None
    since: datetime
    as_of: datetime

    @property
    def rows(self) -> int:
        """Rows out of sync."""
        return self.waiting + self.parked + self.held + self.pulling + self.found


def read(conn: Connection) -> dict[str, GaugeRow]:
    """By sync where it stood last."""
    with conn.cursor(row_factory=class_row(GaugeRow)) as cursor:
        return {one.sync: one for one in cursor.execute("SELECT * FROM rowtide.gauge")}


_MINUTES = f"""
SELECT g.sync, ceil(extract(epoch FROM %(until)s - b.begins) / 60)::int, count(*) FILTER (WHERE m.sync = ''),
       count(*) FILTER (WHERE m.verdict = {Minute.LATE:d}), count(*) FILTER (WHERE m.verdict = {Minute.UNKNOWN:d}),
       count(*) FILTER (WHERE m.verdict = {Minute.HELD:d})
  FROM rowtide.gauge AS g
 CROSS JOIN LATERAL (SELECT greatest(date_trunc('minute', %(begins)s), date_trunc('minute', g.since)) AS begins) AS b
  LEFT JOIN rowtide.slo_minute AS m ON m.sync IN ('', g.sync) AND m.minute >= b.begins AND m.minute < %(until)s
 GROUP BY g.sync, b.begins
"""


def read_minutes(conn: Connection, now: datetime, within: timedelta) -> dict[str, Minutes]:
    """By sync its minutes within that time before the present one, which has not ended; none from before its first."""
    until = now.replace(second=0, microsecond=0)
    rows: Sequence[tuple[Any, ...]] = conn.execute(_MINUTES, {"begins": until - within, "until": until}).fetchall()
    return {sync: Minutes(max(0, total), *counts) for sync, total, *counts in rows}


def prune_minutes(conn: Connection, older_than: timedelta) -> int:
    """Forget the minutes from longer ago."""
    return conn.execute("DELETE FROM rowtide.slo_minute WHERE minute < now() - %s", [older_than]).rowcount
