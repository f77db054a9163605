"""The recorder's figures as Prometheus metrics, served by each process itself (`connectors.listening`).

In: calls of the port `connectors.recorder.Recorder`. Out: Prometheus text on ``run.listen``. Rule: each metric is a
figure of the port, named in `connectors.metric_families`.
"""

from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from connectors.metric_families import DELIVERY, EDIT, PROCESS_COUNTS, SYNC_COUNTS, Family
from connectors.recorder import Latency, ProcessCount, SyncCount
from state.history import BOUNDS_MS

LATENCY_BUCKETS_S: Final = tuple(bound_ms / 1000 for bound_ms in BOUNDS_MS)


class PrometheusRecorder:
    """A `Recorder` whose figures are in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def to_counter(one: Family) -> Counter:
            return Counter(one.name, one.says, one.labels, registry=registry)

        def to_histogram(one: Family) -> Histogram:
            return Histogram(one.name, one.says, one.labels, buckets=LATENCY_BUCKETS_S, registry=registry)

        self._by_sync = {count: to_counter(family) for count, family in SYNC_COUNTS.items()}
        self._process = {count: to_counter(family) for count, family in PROCESS_COUNTS.items()}
        delivery, edit = to_histogram(DELIVERY), to_histogram(EDIT)
        self._latencies: dict[Latency, Callable[[str], Histogram]] = {
            Latency.PUSH: lambda sync: delivery.labels(sync, "live"),
            Latency.BULK: lambda sync: delivery.labels(sync, "bulk"),
            Latency.PULL: edit.labels,
        }

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


RECORDER: Final = PrometheusRecorder(REGISTRY)
"""The process's own recorder; each further run of the flow counts on."""
