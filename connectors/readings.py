"""What one process reads of itself at a moment, and how Prometheus sees it.

In: once a second a `ProcessReading`. Out: Prometheus text beside the recorder's counts. Rules: a reading is absolute
and replaces the one before, so that a graph or a source that is gone leaves no series; totals count since the process
started; what is not known has no series. Names and labels are in `connectors.metric_families`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from connectors.metric_families import READINGS, Figures, to_metric


@dataclass(frozen=True, slots=True)
class GraphReading:
    """One graph. Totals since the process started; units that may be spent at once, by window; seconds of waiting.

    ``throttled``: batches in which Graph refused a request with 429; ``unanswered``: batches without an answer.
    ``quota_wait_s`` is our own quota's wait, with the gate's. ``credential_ends``: None where nobody has said so.
    """

    ru_used: float
    requests: int
    throttled: int
    unanswered: int
    minute_ru: float
    day_ru: float
    gate_s: float
    quota_wait_s: float
    credential_ends: datetime | None


@dataclass(frozen=True, slots=True)
class WebhookReading:
    """By graph when Graph stops telling of its first list, as this process saw it last; the last notification's age.

    A list that has no subscription ended when it was looked at. ``age_s`` None: nobody has notified this process yet.
    """

    ends: Mapping[str, datetime]
    age_s: float | None


@dataclass(frozen=True, slots=True)
class SlotReading:
    """A slot as its source showed it with the last heartbeat. ``safe_wal_bytes`` None: the source sets no limit."""

    lag_bytes: int
    retained_bytes: int
    safe_wal_bytes: int | None


@dataclass(frozen=True, slots=True)
class SourceReading:
    """One source, as far as it is known: ``incarnation`` 0, ``heartbeat_age_s`` None, ``slot`` None are not, yet."""

    connected: bool
    incarnation: int
    heartbeat_age_s: float | None
    slot: SlotReading | None


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """A process at one moment: rows claimed and not settled, graphs and sources by name, failures of loops by loop.

    ``faults``: what fails at the moment and is tried again, by scope; ``errors``: failed attempts of loops, by code.
    ``epoch_age_s``: None where the process takes nothing in. ``webhooks``: None where nobody is to notify it.
    """

    in_flight: int = 0
    graphs: Mapping[str, GraphReading] = field(default_factory=dict)
    sources: Mapping[str, SourceReading] = field(default_factory=dict)
    loop_failures: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    epoch_age_s: float | None = None
    webhooks: WebhookReading | None = None


class Readings(Collector):
    """The newest reading; `show` from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reading = ProcessReading()
        registry.register(self)

    def show(self, reading: ProcessReading) -> None:
        """Show this one from now on."""
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads: all of one moment."""
        figures = _to_figures(self._reading)
        for family in READINGS:
            yield to_metric(family, figures[family.name])


def _to_figures(one: ProcessReading) -> Mapping[str, Figures]:
    graphs, sources = one.graphs.items(), one.sources.items()
    hooks = one.webhooks or WebhookReading({}, None)
    slots = [(name, source.slot) for name, source in sources if source.slot is not None]
    return {
        "rowtide_rows_in_flight": {(): one.in_flight},
        "rowtide_graph_ru_total": {(name,): graph.ru_used for name, graph in graphs},
        "rowtide_graph_requests_total": {(name,): graph.requests for name, graph in graphs},
        "rowtide_graph_throttled_total": {(name,): graph.throttled for name, graph in graphs},
        "rowtide_graph_unanswered_total": {(name,): graph.unanswered for name, graph in graphs},
        "rowtide_graph_ru_available": {
            (name, window): ru
            for name, graph in graphs
            for window, ru in (("minute", graph.minute_ru), ("day", graph.day_ru))
        },
        "rowtide_graph_gate_seconds": {(name,): graph.gate_s for name, graph in graphs},
        "rowtide_graph_quota_wait_seconds": {(name,): graph.quota_wait_s for name, graph in graphs},
        "rowtide_credential_expiry_timestamp_seconds": {
            (name,): graph.credential_ends.timestamp() for name, graph in graphs if graph.credential_ends is not None
        },
        "rowtide_webhook_expiry_timestamp_seconds": {(name,): at.timestamp() for name, at in hooks.ends.items()},
        "rowtide_webhook_age_seconds": {} if hooks.age_s is None else {(): hooks.age_s},
        "rowtide_epoch_age_seconds": {} if one.epoch_age_s is None else {(): one.epoch_age_s},
        "rowtide_source_connected": {(name,): float(source.connected) for name, source in sources},
        "rowtide_heartbeat_age_seconds": {
            (name,): source.heartbeat_age_s for name, source in sources if source.heartbeat_age_s is not None
        },
        "rowtide_slot_incarnation": {(name,): source.incarnation for name, source in sources if source.incarnation},
        "rowtide_slot_lag_bytes": {(name,): slot.lag_bytes for name, slot in slots},
        "rowtide_slot_retained_bytes": {(name,): slot.retained_bytes for name, slot in slots},
        "rowtide_slot_safe_wal_bytes": {
            (name,): slot.safe_wal_bytes for name, slot in slots if slot.safe_wal_bytes is not None
        },
        "rowtide_loop_failures_total": {(loop,): count for loop, count in one.loop_failures.items()},
        "rowtide_faults": {(scope,): count for scope, count in one.faults.items()},
        "rowtide_errors_total": {(code,): count for code, count in one.errors.items()},
    }


READING: Final = Readings(REGISTRY)
"""The process's own."""
