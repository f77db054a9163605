"""The recorder's figures as Prometheus metrics, served by each process itself (`connectors.listening`).

In: calls of the port `connectors.recorder.Recorder`. Out: Prometheus text on ``run.listen``. Rule: names and labels are
constants (`rowtide_` prefix, base units, syncs and graphs as labels, never keys or values); each is a figure of the
port.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from connectors.recorder import GraphReading, Latency, ProcessCount, SyncCount
from state.history import BOUNDS_MS

SYNC_COUNTS: Final = {
    SyncCount.CHANGES: ("rowtide_changes_total", "Row changes staged in the outbox"),
    SyncCount.DELIVERED: ("rowtide_rows_delivered_total", "Rows settled"),
    SyncCount.WRITES: ("rowtide_list_writes_total", "Requests that changed a list"),
    SyncCount.SUPPRESSED: ("rowtide_rows_suppressed_total", "Rows that needed no write"),
    SyncCount.PARKED: ("rowtide_rows_parked_total", "Rows set aside"),
    SyncCount.FOREIGN_EDITS: ("rowtide_foreign_edits_total", "Edits of others met by a push"),
    SyncCount.PULLED: ("rowtide_edits_applied_total", "Edits of items applied to rows"),
    SyncCount.PULL_ECHOES: ("rowtide_edits_known_total", "Changes of items that said nothing new"),
    SyncCount.PULL_PARKED: ("rowtide_edits_parked_total", "Edits of items set aside"),
    SyncCount.PULL_LOST: ("rowtide_edits_lost_total", "Edits that a source had lost with its history, applied again"),
    SyncCount.CONFLICTS: ("rowtide_conflicts_total", "Conflicts met while edits were applied"),
    SyncCount.PULL_REVERTED: ("rowtide_edits_reverted_total", "Edits that the table refused and that were taken back"),
}
PROCESS_COUNTS: Final = {
    ProcessCount.MERGED: ("rowtide_changes_merged_total", "Row changes that met a waiting row"),
    ProcessCount.REPLAYED: ("rowtide_changes_replayed_total", "Row changes dropped as replays"),
    ProcessCount.STALE: ("rowtide_outcomes_stale_total", "Outcomes whose lease had passed to another claim"),
    ProcessCount.HISTORY_LOST: (
        "rowtide_history_minutes_lost_total",
        "Minutes of a sync's history dropped while the state database was away",
    ),
}
LATENCY_BUCKETS_S: Final = tuple(bound_ms / 1000 for bound_ms in BOUNDS_MS)


class PrometheusRecorder:
    """A `Recorder` whose figures are in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._by_sync = {one: Counter(*names, ["sync"], registry=registry) for one, names in SYNC_COUNTS.items()}
        self._process = {one: Counter(*names, registry=registry) for one, names in PROCESS_COUNTS.items()}
        delivery = Histogram(
            "rowtide_delivery_seconds",
            "Commit in PostgreSQL (of bulk: found by a reconcile) to the write acknowledged and recorded",
            ["sync", "rows"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        edit = Histogram(
            "rowtide_edit_seconds",
            "Edit of an item to its commit in PostgreSQL",
            ["sync"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._latencies: dict[Latency, Callable[[str], Histogram]] = {
            Latency.PUSH: lambda sync: delivery.labels(sync, "live"),
            Latency.BULK: lambda sync: delivery.labels(sync, "bulk"),
            Latency.PULL: edit.labels,
        }
        self._in_flight = Gauge(
            "rowtide_rows_in_flight", "Rows claimed by this process and not settled yet", registry=registry
        )
        self._ru_used = Gauge(
            "rowtide_graph_ru_used", "Resource units used since the process started", ["graph"], registry=registry
        )
        self._gate_s = Gauge(
            "rowtide_graph_gate_seconds",
            "Seconds until a throttled graph may be asked again",
            ["graph"],
            registry=registry,
        )

        self._loop_failures = Gauge(
            "rowtide_loop_failures",
            "Unexpected errors of a background loop since the process started",
            ["loop"],
            registry=registry,
        )

        self._faults = Gauge(
            "rowtide_faults", "Lists, tables and tenants that fail and are tried again", ["scope"], registry=registry
        )

    def count(self, sync: str, name: SyncCount, n: int) -> None:
        """Add ``n`` to a figure of a sync."""
        self._by_sync[name].labels(sync).inc(n)

    def count_process(self, name: ProcessCount, n: int) -> None:
        """Add ``n`` to a figure of the process."""
        self._process[name].inc(n)

    def observe(self, sync: str, kind: Latency, seconds: Sequence[float]) -> None:
        """Record latencies, one for each row; at least 0 even if clocks differ."""
        if seconds:
            histogram = self._latencies[kind](sync)
            for one in seconds:
                histogram.observe(max(0.0, one))

    def read(self, in_flight: int, graphs: Mapping[str, GraphReading]) -> None:
        """Record the readings of the moment."""
        self._in_flight.set(in_flight)
        for name, reading in graphs.items():
            self._ru_used.labels(name).set(reading.ru_used)
            self._gate_s.labels(name).set(reading.gate_s)

    def read_loops(self, failures: Mapping[str, int]) -> None:
        """Record how often each loop met an unexpected error since the process started."""
        for loop, count in failures.items():
            self._loop_failures.labels(loop).set(count)

    def read_faults(self, counts: Mapping[str, int]) -> None:
        """Record how much fails at the moment, by scope."""
        for scope, count in counts.items():
            self._faults.labels(scope).set(count)


RECORDER: Final = PrometheusRecorder(REGISTRY)
"""The process's own recorder; each further run of the flow counts on."""
