"""What each sync has done so far: table ``progress``, counted in the transactions that do it.

In: `Counts` of a settle, changes of a stage, each inside its transaction. Out: totals and latency percentiles, for
`status`. Rules: the figures agree with outbox and ledger at every moment; a killed process loses none and counts
none twice; the row of a sync is locked last, in order of the syncs' names, and held until the commit only.

What is counted:

- ``changes``: row changes of the source's stream, each once, by the transaction that stages it. One that a newer change
  of its row has overtaken (in the merge step or in the outbox) counts; one that is read a second time after a restart
  does not count (state.outbox.staging compares positions). Rows found by a reconcile are no changes of the stream.
- ``delivered``: rows whose item a settle recorded as equal to them, unless something is left to do for them
  (``Settle.again``). An outcome whose lease had passed to another claim counts nothing.
- ``suppressed``: those settles that needed no write; ``writes``: requests that changed a list; ``foreign_edits``:
  edits of others met on the way.
- ``ru_used``: resource units of these writes. What looks cost, and writes of claims that did not end in a settle, is
  known to the running process only (``graph`` in `status`).
- ``latency``: of each delivered row, from the commit in the source to the settle.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from psycopg.rows import class_row

from rowtide.pacing import WRITE_RU
from state.database import Connection

BUCKETS = 64
"""Latency buckets: bucket i holds latencies up to `bound_ms(i)`; each is a quarter wider than the one before."""

WINDOW = timedelta(minutes=5)
"""Percentiles cover the last five to ten minutes."""


@dataclass(slots=True)
class Counts:
    """What one settle did for one sync; ``released`` and ``parked`` rows are reported, not stored."""

    delivered: int = 0
    writes: int = 0
    suppressed: int = 0
    foreign_edits: int = 0
    released: int = 0
    parked: int = 0
    latencies_s: list[float] = field(default_factory=list)
    bulk_latencies_s: list[float] = field(default_factory=list)
    """Of rows that a reconcile found."""

    @property
    def ru_used(self) -> int:
        """Resource units of the writes."""
        return WRITE_RU * self.writes


@dataclass(frozen=True, slots=True)
class Progress:
    """Totals of one sync. ``latency``: counts per bucket of the last minutes."""

    sync: str
    changes: int
    delivered: int
    writes: int
    suppressed: int
    foreign_edits: int
    ru_used: float
    latency: list[int]

    def percentile_ms(self, share: float) -> float | None:
        """The latency that ``share`` of the deliveries did not exceed; None without deliveries."""
        return percentile_ms(self.latency, share)


def bound_ms(bucket: int) -> float:
    """Upper bound of a bucket."""
    return float(1.25**bucket)


def latency_bucket(latency_ms: float) -> int:
    """The bucket a latency falls into."""
    if latency_ms <= 1.0:
        return 0
    return min(BUCKETS - 1, math.ceil(math.log(latency_ms, 1.25)))


def percentile_ms(counts: Sequence[int], share: float) -> float | None:
    """The bound of the bucket in which the ``share`` quantile lies, interpolated; None without any count."""
    wanted, seen = share * sum(counts), 0
    for bucket, count in enumerate(counts):
        if count and seen + count >= wanted:
            lower = bound_ms(bucket - 1) if bucket else 0.0
            return lower + (bound_ms(bucket) - lower) * max(0.0, wanted - seen) / count
        seen += count
    return None


ADD_CHANGES = """
INSERT INTO rowtide.progress AS p (sync, changes)
SELECT * FROM unnest(%(syncs)s::text[], %(changes)s::bigint[]) AS n (sync, changes) ORDER BY sync
    ON CONFLICT (sync) DO UPDATE SET changes = p.changes + excluded.changes, updated_at = now()
"""
"""For the transaction that stages: it names the changes of each sync."""

ADD = """
INSERT INTO rowtide.progress AS p
       (sync, delivered, writes, suppressed, foreign_edits, ru_used, latency_buckets)
SELECT sync, delivered, writes, suppressed, foreign_edits, ru_used, latency
  FROM jsonb_to_recordset(%(counts)s::jsonb) AS n (sync text, delivered bigint, writes bigint, suppressed bigint,
       foreign_edits bigint, ru_used numeric, latency bigint[])
 ORDER BY sync
    ON CONFLICT (sync) DO UPDATE
   SET delivered = p.delivered + excluded.delivered, writes = p.writes + excluded.writes,
       suppressed = p.suppressed + excluded.suppressed, foreign_edits = p.foreign_edits + excluded.foreign_edits,
       ru_used = p.ru_used + excluded.ru_used,
       latency_before = CASE WHEN p.window_at < now() - %(window)s THEN p.latency_buckets ELSE p.latency_before END,
       latency_buckets = CASE WHEN p.window_at < now() - %(window)s THEN excluded.latency_buckets
           ELSE (SELECT array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY i)
                   FROM unnest(p.latency_buckets, excluded.latency_buckets) WITH ORDINALITY AS t (a, b, i)) END,
       window_at = CASE WHEN p.window_at < now() - %(window)s THEN now() ELSE p.window_at END,
       updated_at = now()
"""
"""For a transaction's last statement, with `to_parameters` of what it did."""


def to_parameters(counts: Mapping[str, Counts]) -> dict[str, Any]:
    """What `ADD` adds for each sync."""
    rows = [_row(sync, one) for sync, one in counts.items() if one.delivered or one.writes or one.foreign_edits]
    return {"counts": orjson.dumps(rows).decode(), "window": WINDOW}


def add(conn: Connection, counts: Mapping[str, Counts]) -> None:
    """Add what was done for each sync; part of the caller's transaction, its last statement."""
    conn.execute(ADD, to_parameters(counts))


def _row(sync: str, counts: Counts) -> dict[str, Any]:
    latency = [0] * BUCKETS
    for latency_s in (*counts.latencies_s, *counts.bulk_latencies_s):
        latency[latency_bucket(latency_s * 1000)] += 1
    return {
        "sync": sync, "delivered": counts.delivered, "writes": counts.writes, "suppressed": counts.suppressed,
        "foreign_edits": counts.foreign_edits, "ru_used": counts.ru_used, "latency": latency,
    }  # fmt: skip


def read(conn: Connection) -> dict[str, Progress]:
    """Totals of every sync."""
    query = """
        SELECT sync, changes, delivered, writes, suppressed, foreign_edits, ru_used::float8 AS ru_used,
               ARRAY(SELECT coalesce(a, 0) + coalesce(b, 0)
                       FROM unnest(latency_buckets, latency_before) WITH ORDINALITY AS t (a, b, i)
                      ORDER BY i) AS latency
          FROM rowtide.progress
    """
    with conn.cursor(row_factory=class_row(Progress)) as cursor:
        return {row.sync: row for row in cursor.execute(query)}
