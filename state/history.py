"""What each sync did, minute by minute and hour by hour: tables ``sync_minute`` and ``sync_hour``.

In: the minutes of one incarnation of a process, as absolute values; how long hours are kept. Out: rows; the minutes or
hours of syncs, added up. Rules (docs/design.md section 23): written twice is written once; two incarnations never share
a row, and readers add them up; an hour is rolled only when no minute of it is written any more.

``n`` holds `COUNTS` in that order; the others hold how many latencies fell into each bucket: bucket i those up to
``BOUNDS_MS[i]``, the last one all above. Zeros at the end of an array are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from psycopg.rows import class_row

from state.database import Connection

COUNTS: Final = (
    "changes",
    "delivered",
    "writes",
    "suppressed",
    "parked",
    "foreign_edits",
    "pulled",
    "pull_echoes",
    "pull_parked",
    "conflicts",
    "pull_lost",
    "pull_reverted",
)
"""What ``n`` counts. Rows are kept that have this order: a new figure comes at the end, and none is taken out."""

BOUNDS_MS: Final = (
    50, 100, 200, 400, 800, 1_500, 3_000, 6_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 900_000, 3_600_000,
)  # fmt: skip
"""Upper bounds of latency buckets. Rows are kept that have these."""

WRITTEN_FOR: Final = timedelta(hours=1)
"""A minute that ended longer ago is not written any more."""
ROLLED_AFTER: Final = timedelta(hours=2)
"""An hour that ended so long ago is rolled."""
MINUTES_LIVE: Final = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class SyncMinute:
    """What one incarnation did for a sync in a minute."""

    minute: datetime
    sync: str
    incarnation: UUID
    n: Sequence[int]
    push_ms: Sequence[int]
    bulk_ms: Sequence[int]
    pull_ms: Sequence[int]


@dataclass(frozen=True, slots=True)
class Did:
    """What all processes did for a sync in the minute or hour that begins ``at``."""

    at: datetime
    sync: str
    n: list[int]
    push_ms: list[int]
    bulk_ms: list[int]
    pull_ms: list[int]

    @property
    def counts(self) -> Mapping[str, int]:
        """Every figure by its name."""
        return {name: self.n[i] if i < len(self.n) else 0 for i, name in enumerate(COUNTS)}


def to_quantile_ms(buckets: Sequence[int], share: float) -> int | None:
    """Upper bound of the bucket with the ``share`` quantile; None without latencies, or above the last bound."""
    wanted, seen = share * sum(buckets), 0
    for bound_ms, count in zip(BOUNDS_MS, buckets, strict=False):
        seen += count
        if count and seen >= wanted:
            return bound_ms
    return None


# --- minutes ------------------------------------------------------------------------------------------------------

_NAMES: Final = ("n", "push_ms", "bulk_ms", "pull_ms")
_LATER: Final = ", ".join(f"{name} = excluded.{name}" for name in _NAMES)

_WRITE = f"""
INSERT INTO rowtide.sync_minute (minute, sync, incarnation, {", ".join(_NAMES)})
SELECT minute, sync, incarnation, {", ".join(_NAMES)}
  FROM jsonb_to_recordset(%s::jsonb) AS r (minute timestamptz, sync text, incarnation uuid, n bigint[], push_ms int[],
       bulk_ms int[], pull_ms int[])
 ORDER BY minute, sync, incarnation
    ON CONFLICT (minute, sync, incarnation) DO UPDATE SET {_LATER}
"""


def write(conn: Connection, minutes: Iterable[SyncMinute]) -> None:
    """Record minutes; what was recorded of them before is replaced."""
    conn.execute(_WRITE, [orjson.dumps([_row(one) for one in minutes]).decode()])


def _row(one: SyncMinute) -> dict[str, Any]:
    figures = {name: _trimmed(getattr(one, name)) for name in _NAMES}
    return {"minute": one.minute, "sync": one.sync, "incarnation": one.incarnation, **figures}


def _trimmed(values: Sequence[int]) -> Sequence[int]:
    end = len(values)
    while end and not values[end - 1]:
        end -= 1
    return values[:end]


# --- added up -----------------------------------------------------------------------------------------------------


def _added(name: str, found: str, by: str) -> str:
    """The elements of an array column, each added up over the rows of ``found``."""
    return f"""
        LEFT JOIN (SELECT {by}, array_agg(total ORDER BY i) AS {name}
                     FROM (SELECT {by}, i, sum(v)::bigint AS total
                             FROM {found} CROSS JOIN LATERAL unnest({name}) WITH ORDINALITY AS u (v, i)
                            GROUP BY {by}, i) AS each GROUP BY {by}) AS of_{name} USING ({by})
    """


def _totals(found: str, by: str) -> str:
    """By ``by`` the sums of ``found``, a relation with the columns of a minute."""
    columns = ", ".join(f"coalesce({name}, '{{}}') AS {name}" for name in _NAMES)
    joins = "".join(_added(name, found, by) for name in _NAMES)
    return f"SELECT {by}, {columns} FROM (SELECT DISTINCT {by} FROM {found}) AS there {joins}"


# The rows of an hour are written at once. By the index, an hour at a time: two days are millions of minutes.
_OVER = """
SELECT o.hour
  FROM generate_series(date_trunc('hour', (SELECT min(minute) FROM rowtide.sync_minute), 'UTC'),
                       date_trunc('hour', now() - %(after)s, 'UTC') - interval '1 hour', interval '1 hour') AS o (hour)
 WHERE EXISTS (SELECT FROM rowtide.sync_minute AS m WHERE m.minute >= o.hour AND m.minute < o.hour + interval '1 hour')
   AND NOT EXISTS (SELECT FROM rowtide.sync_hour AS h WHERE h.hour = o.hour)
 ORDER BY o.hour
"""

_ROLL = f"""
WITH found AS MATERIALIZED (
     SELECT * FROM rowtide.sync_minute WHERE minute >= %(hour)s AND minute < %(hour)s + interval '1 hour')
INSERT INTO rowtide.sync_hour (hour, sync, {", ".join(_NAMES)})
SELECT %(hour)s, t.* FROM ({_totals("found", "sync")}) AS t ORDER BY sync
    ON CONFLICT (hour, sync) DO UPDATE SET {_LATER}
"""


def roll(conn: Connection) -> int:
    """Add up the minutes of every hour that is over and not rolled yet; how many hours."""
    hours = [hour for (hour,) in conn.execute(_OVER, {"after": ROLLED_AFTER})]
    for hour in hours:
        conn.execute(_ROLL, {"hour": hour})
    return len(hours)


_PRUNE_MINUTES = """
DELETE FROM rowtide.sync_minute
 WHERE minute < date_trunc('hour', now() - %s, 'UTC')
   AND EXISTS (SELECT FROM rowtide.sync_hour AS h WHERE h.hour = date_trunc('hour', minute, 'UTC'))
"""


def prune(conn: Connection, hours_live: timedelta) -> int:
    """Forget minutes after `MINUTES_LIVE` if their hour is rolled, and hours after ``hours_live``; how many rows."""
    minutes = conn.execute(_PRUNE_MINUTES, [MINUTES_LIVE]).rowcount
    return minutes + conn.execute("DELETE FROM rowtide.sync_hour WHERE hour < now() - %s", [hours_live]).rowcount


_READ_MINUTES = f"""
WITH found AS MATERIALIZED (
     SELECT minute AS at, sync, {", ".join(_NAMES)} FROM rowtide.sync_minute
      WHERE minute >= %(since)s AND (%(sync)s::text IS NULL OR sync = %(sync)s))
SELECT * FROM ({_totals("found", "at, sync")}) AS t ORDER BY at, sync
"""

_READ_HOURS = f"""
SELECT hour AS at, sync, {", ".join(_NAMES)} FROM rowtide.sync_hour
 WHERE hour >= %(since)s AND (%(sync)s::text IS NULL OR sync = %(sync)s) ORDER BY hour, sync
"""


def read_minutes(conn: Connection, since: datetime, sync: str | None = None) -> list[Did]:
    """The minutes of a sync, or of all, that began then or later and in which anything was done; the oldest first."""
    return _read(conn, _READ_MINUTES, since, sync)


_READ_INCARNATION = f"""
WITH found AS MATERIALIZED (
     SELECT sync, {", ".join(_NAMES)} FROM rowtide.sync_minute
      WHERE minute >= date_trunc('minute', %(since)s, 'UTC') AND minute <= %(until)s AND incarnation = %(incarnation)s)
SELECT %(since)s AS at, t.* FROM ({_totals("found", "sync")}) AS t ORDER BY sync
"""


def read_incarnation(conn: Connection, incarnation: UUID, since: datetime, until: datetime) -> list[Did]:
    """What one incarnation did for each sync in all, as far as its minutes are kept."""
    with conn.cursor(row_factory=class_row(Did)) as cursor:
        values = {"incarnation": incarnation, "since": since, "until": until}
        return cursor.execute(_READ_INCARNATION.encode(), values).fetchall()


def read_hours(conn: Connection, since: datetime, sync: str | None = None) -> list[Did]:
    """The same by hours, as far as they are rolled."""
    return _read(conn, _READ_HOURS, since, sync)


def _read(conn: Connection, query: str, since: datetime, sync: str | None) -> list[Did]:
    with conn.cursor(row_factory=class_row(Did)) as cursor:
        return cursor.execute(query.encode(), {"since": since, "sync": sync}).fetchall()
