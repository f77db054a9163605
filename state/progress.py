"""What each sync has done so far: table ``progress``.

In: counts of a second (`Delta`), from each running process. Out: totals and latency percentiles, for `status`. Called
by flows.process and control. Rule: approximate by nature (a killed process takes its last second with it); what must
be exact is in outbox and ledger.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from psycopg.rows import class_row

from state.database import Connection

BUCKETS = 64
"""Latency buckets: bucket i holds latencies up to `bound_ms(i)`; each is a quarter wider than the one before."""

WINDOW = timedelta(minutes=5)
"""Percentiles tell of the last five to ten minutes."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one sync did since the last call."""

    sync: str
    changes: int = 0
    delivered: int = 0
    writes: int = 0
    suppressed: int = 0
    foreign_edits: int = 0
    ru_used: float = 0.0
    latencies_ms: Sequence[float] = ()


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
        """The latency that ``share`` of the deliveries did not exceed; None when there were none."""
        return percentile_ms(self.latency, share)


def bound_ms(bucket: int) -> float:
    """Upper bound of a bucket."""
    return float(1.25**bucket)


def bucket_of(latency_ms: float) -> int:
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


_ADD = """
INSERT INTO rowtide.progress AS p
       (sync, changes, delivered, writes, suppressed, foreign_edits, ru_used, latency_buckets)
VALUES (%(sync)s, %(changes)s, %(delivered)s, %(writes)s, %(suppressed)s, %(foreign_edits)s, %(ru_used)s, %(latency)s)
    ON CONFLICT (sync) DO UPDATE
   SET changes = p.changes + excluded.changes, delivered = p.delivered + excluded.delivered,
       writes = p.writes + excluded.writes, suppressed = p.suppressed + excluded.suppressed,
       foreign_edits = p.foreign_edits + excluded.foreign_edits, ru_used = p.ru_used + excluded.ru_used,
       latency_before = CASE WHEN p.window_at < now() - %(window)s THEN p.latency_buckets ELSE p.latency_before END,
       latency_buckets = CASE WHEN p.window_at < now() - %(window)s THEN excluded.latency_buckets
           ELSE (SELECT array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY i)
                   FROM unnest(p.latency_buckets, excluded.latency_buckets) WITH ORDINALITY AS t (a, b, i)) END,
       window_at = CASE WHEN p.window_at < now() - %(window)s THEN now() ELSE p.window_at END,
       updated_at = now()
"""


def add(conn: Connection, deltas: Sequence[Delta]) -> None:
    """Add up; one transaction, in the order of the syncs' names."""
    with conn.transaction():
        for delta in sorted(deltas, key=lambda one: one.sync):
            latency = [0] * BUCKETS
            for latency_ms in delta.latencies_ms:
                latency[bucket_of(latency_ms)] += 1
            conn.execute(
                _ADD,
                {
                    "sync": delta.sync,
                    "changes": delta.changes,
                    "delivered": delta.delivered,
                    "writes": delta.writes,
                    "suppressed": delta.suppressed,
                    "foreign_edits": delta.foreign_edits,
                    "ru_used": delta.ru_used,
                    "latency": latency,
                    "window": WINDOW,
                },
            )


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
