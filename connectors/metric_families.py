"""Every metric of a process: its name, its kind, its labels and what it says.

In: figures by their labels. Out: Prometheus' metrics; the families, of which docs/metrics.md is printed. Rules: names
are Prometheus' way (`rowtide_`, base units, `_total` for what only grows); labels are syncs, graphs, sources, loops,
scopes, codes and fixed words, never keys or values, so that there are no more series than things that were applied.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from connectors.recorder import ProcessCount, SyncCount

Kind = Literal["counter", "gauge", "histogram"]
Figures = Mapping[tuple[str, ...], float]
"""By the values of a family's labels."""


class Family(NamedTuple):
    """One metric and its series."""

    name: str
    kind: Kind
    says: str
    labels: tuple[str, ...] = ()


def to_metric(family: Family, figures: Figures) -> CounterMetricFamily | GaugeMetricFamily:
    """The family with these series."""
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = made(family.name, family.says, labels=family.labels)
    for labels, figure in sorted(figures.items()):
        metric.add_metric(labels, float(figure))
    return metric


def _of_sync(name: str, says: str) -> Family:
    return Family(name, "counter", says, ("sync",))


def _of_graph(name: str, kind: Kind, says: str, *more: str) -> Family:
    return Family(name, kind, says, ("graph", *more))


def _of_source(name: str, says: str) -> Family:
    return Family(name, "gauge", says, ("source",))


def _stand(name: str, says: str, *more: str) -> Family:
    return Family(name, "gauge", says, ("sync", *more))


SYNC_COUNTS: Final = {
    SyncCount.CHANGES: _of_sync("rowtide_changes_total", "Row changes staged in the outbox"),
    SyncCount.DELIVERED: _of_sync("rowtide_rows_delivered_total", "Rows settled"),
    SyncCount.WRITES: _of_sync("rowtide_list_writes_total", "Requests that changed a list"),
    SyncCount.SUPPRESSED: _of_sync("rowtide_rows_suppressed_total", "Rows that needed no write"),
    SyncCount.PARKED: _of_sync("rowtide_rows_parked_total", "Rows set aside"),
    SyncCount.FOREIGN_EDITS: _of_sync("rowtide_foreign_edits_total", "Edits of others met by a push"),
    SyncCount.PULLED: _of_sync("rowtide_edits_applied_total", "Edits of items applied to rows"),
    SyncCount.PULL_ECHOES: _of_sync("rowtide_edits_known_total", "Changes of items that said nothing new"),
    SyncCount.PULL_PARKED: _of_sync("rowtide_edits_parked_total", "Edits of items set aside"),
    SyncCount.PULL_LOST: _of_sync(
        "rowtide_edits_lost_total", "Edits that a source had lost with its history, applied again"
    ),
    SyncCount.CONFLICTS: _of_sync("rowtide_conflicts_total", "Conflicts met while edits were applied"),
    SyncCount.PULL_REVERTED: _of_sync(
        "rowtide_edits_reverted_total", "Edits that the table refused and that were taken back"
    ),
}
PROCESS_COUNTS: Final = {
    ProcessCount.MERGED: Family("rowtide_changes_merged_total", "counter", "Row changes that met a waiting row"),
    ProcessCount.REPLAYED: Family("rowtide_changes_replayed_total", "counter", "Row changes dropped as replays"),
    ProcessCount.STALE: Family(
        "rowtide_outcomes_stale_total", "counter", "Outcomes whose lease had passed to another claim"
    ),
    ProcessCount.HISTORY_LOST: Family(
        "rowtide_history_minutes_lost_total",
        "counter",
        "Minutes of a sync's history dropped while the state database was away",
    ),
}
DELIVERY: Final = Family(
    "rowtide_delivery_seconds",
    "histogram",
    "Commit in PostgreSQL (of bulk: found by a reconcile) to the write acknowledged and recorded",
    ("sync", "rows"),
)
EDIT: Final = Family("rowtide_edit_seconds", "histogram", "Edit of an item to its commit in PostgreSQL", ("sync",))

READINGS: Final = (
    Family("rowtide_rows_in_flight", "gauge", "Rows claimed by this process and not settled yet"),
    _of_graph("rowtide_graph_ru_total", "counter", "Resource units used"),
    _of_graph("rowtide_graph_requests_total", "counter", "Requests to Graph"),
    _of_graph("rowtide_graph_throttled_total", "counter", "Batches in which Graph refused a request with 429"),
    _of_graph("rowtide_graph_unanswered_total", "counter", "Batches that were not answered"),
    _of_graph(
        "rowtide_graph_ru_available",
        "gauge",
        "Resource units that may be spent at once; below 0: so many are owed",
        "window",
    ),
    _of_graph("rowtide_graph_gate_seconds", "gauge", "Seconds until a graph that throttled may be asked again"),
    _of_graph("rowtide_graph_quota_wait_seconds", "gauge", "Seconds until the quota lets the next row be claimed"),
    _of_graph(
        "rowtide_credential_expiry_timestamp_seconds",
        "gauge",
        "When Entra takes the app's credential no longer; no series where nobody has said so",
    ),
    _of_graph(
        "rowtide_webhook_expiry_timestamp_seconds",
        "gauge",
        "When Graph stops telling of the first list, where there are webhooks; past: it does not tell of one now",
    ),
    Family("rowtide_webhook_age_seconds", "gauge", "Seconds since Graph last notified this process of a change"),
    Family("rowtide_epoch_age_seconds", "gauge", "Seconds since the engine last closed an epoch"),
    _of_source("rowtide_source_connected", "1 while the source's changes are streamed"),
    _of_source("rowtide_heartbeat_age_seconds", "Seconds since a heartbeat was staged with everything before it"),
    _of_source("rowtide_slot_incarnation", "Which stream of the source is read: one more after each gap"),
    _of_source("rowtide_slot_lag_bytes", "WAL that the slot has not confirmed"),
    _of_source("rowtide_slot_retained_bytes", "WAL that the slot keeps on the source's disk"),
    _of_source("rowtide_slot_safe_wal_bytes", "WAL until the slot is lost; no series where the source sets no limit"),
    Family("rowtide_loop_failures_total", "counter", "Unexpected errors of a background loop", ("loop",)),
    Family("rowtide_faults", "gauge", "Lists, tables and tenants that fail and are tried again", ("scope",)),
    Family("rowtide_errors_total", "counter", "Attempts of background loops that failed, by error code", ("code",)),
)
"""Read by each process of itself (`connectors.readings`)."""

STANDING: Final = (
    _stand("rowtide_rows_out_of_sync", "Rows known to differ from their items; while one way is not known, at least"),
    _stand("rowtide_rows_out_of_sync_by_part", "The same rows by where they wait", "part"),
    _stand("rowtide_outbox_rows", "Rows that wait in the outbox, by the class in which they are served", "priority"),
    _stand("rowtide_oldest_out_of_sync_seconds", "For how long the oldest of them has differed"),
    _stand("rowtide_push_lag_seconds", "How late items are; while it is not known, at least"),
    _stand("rowtide_pull_lag_seconds", "How late rows are, of syncs of two ways; while it is not known, at least"),
    _stand("rowtide_push_known", "1 while it is known which rows differ from their items"),
    _stand("rowtide_pull_known", "1 while it is known which items differ from their rows, of syncs of two ways"),
    _stand("rowtide_list_read_age_seconds", "Since when the sync's list that was read longest ago has been read"),
    _stand("rowtide_conflicts_open", "Conflicts that wait for a person"),
    _stand("rowtide_held", "1 for each kind of hold that covers the sync", "kind"),
    _stand("rowtide_gauge_timestamp_seconds", "When the sync was looked at, by the state database's clock"),
)
"""Of the one process with the duty `gauge` (`connectors.gauge_metrics`)."""

COUNTED: Final = (*SYNC_COUNTS.values(), DELIVERY, EDIT, *PROCESS_COUNTS.values())
"""Told to the recorder (`connectors.metrics`)."""
