"""Every metric of Rowtide in one place, served by each process itself.

In: counts that lower layers return; callers record them here. Out: Prometheus text on ``run.listen``. Rule: names and
labels are constants (`rowtide_` prefix, base units, syncs and graphs as labels, never keys or values).
"""

import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server

from state.outbox import SettleCounts, StageCounts

log = structlog.get_logger()

CHANGES = Counter("rowtide_changes_total", "Row changes staged in the outbox", ["sync"])
MERGED = Counter("rowtide_changes_merged_total", "Row changes that met a waiting row", [])
DROPPED = Counter("rowtide_changes_replayed_total", "Row changes dropped as replays", [])
STALE = Counter("rowtide_outcomes_stale_total", "Outcomes whose lease had passed to another claim", [])
DELIVERED = Counter("rowtide_rows_delivered_total", "Rows settled", ["sync"])
WRITES = Counter("rowtide_list_writes_total", "Requests that changed a list", ["sync"])
SUPPRESSED = Counter("rowtide_rows_suppressed_total", "Rows that needed no write", ["sync"])
PARKED = Counter("rowtide_rows_parked_total", "Rows set aside", ["sync"])
FOREIGN_EDITS = Counter("rowtide_foreign_edits_total", "Edits of others met by a push", ["sync"])
LATENCY = Histogram(
    "rowtide_delivery_seconds",
    "Commit in PostgreSQL to the write acknowledged and recorded",
    ["sync"],
    buckets=(0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 15, 30, 60, 120, 300, 900, 3600),
)
RU_USED = Gauge("rowtide_graph_ru_used", "Resource units used since the process started", ["graph"])
GATE = Gauge("rowtide_graph_gate_seconds", "Seconds until a throttled graph may be asked again", ["graph"])
IN_FLIGHT = Gauge("rowtide_rows_in_flight", "Rows claimed by this process and not settled yet")

_served: set[str] = set()


def count_staged(counts: StageCounts) -> None:
    """Count what a stage did."""
    MERGED.inc(counts.merged)
    DROPPED.inc(counts.dropped)
    for sync, changes in counts.new.items():
        CHANGES.labels(sync).inc(changes)


def count_settled(counts: SettleCounts) -> None:
    """Count what a settle did."""
    STALE.inc(counts.stale)
    for sync, did in counts.by_sync.items():
        DELIVERED.labels(sync).inc(did.delivered)
        WRITES.labels(sync).inc(did.writes)
        SUPPRESSED.labels(sync).inc(did.suppressed)
        FOREIGN_EDITS.labels(sync).inc(did.foreign_edits)
        PARKED.labels(sync).inc(did.parked)
        for latency_s in did.latencies_s:
            LATENCY.labels(sync).observe(latency_s)


def serve(listen: str) -> None:
    """Serve ``/metrics`` at ``address:port`` (once a process); a taken port is said and does no harm."""
    if listen in _served:
        return
    address, _, port = listen.rpartition(":")
    try:
        start_http_server(int(port), address or "127.0.0.1", registry=REGISTRY)
        _served.add(listen)
    except OSError as error:
        log.warning("metrics not served", listen=listen, problem=error.strerror)
