"""Where every sync stands, as Prometheus metrics of the one process that looks.

In: the newest gauges (`rowtide.gauge.Gauge`), none where another process has the duty. Out: Prometheus text beside the
recorder's figures. Rules (docs/design.md section 24): a series is there only while this process has the duty; a figure
that is not known is left out when it would read 0, and is the least there is otherwise; ``sync`` and the five parts are
the only labels.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rowtide.gauge import Gauge


class GaugeMetrics(Collector):
    """The newest gauges; `show` from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauges: Mapping[str, Gauge] = {}
        registry.register(self)

    def show(self, gauges: Mapping[str, Gauge]) -> None:
        """Show these from now on, and no others."""
        self._gauges = dict(gauges)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads: all of one look."""
        gauges = self._gauges
        for name, help_, labels in _FAMILIES:
            family = GaugeMetricFamily(name, help_, labels=["sync", *labels])
            for sync, one in sorted(gauges.items()):
                for values, figure in _FIGURES[name](one).items():
                    family.add_metric([sync, *values], figure)
            yield family


_Figures = Mapping[tuple[str, ...], float]


def _rows(one: Gauge) -> _Figures:
    return _at_least({(): one.counted.rows}, known=one.unknown_since is None)


def _parts(one: Gauge) -> _Figures:
    counted = one.counted
    parts: _Figures = {
        ("waiting",): counted.waiting, ("parked",): counted.parked, ("held",): counted.held,
        ("pulling",): counted.pulling, ("found",): counted.found,
    }  # fmt: skip
    return _at_least(parts, known=one.unknown_since is None)


def _oldest(one: Gauge) -> _Figures:
    since = one.counted.oldest
    age_s = 0.0 if since is None else max(0.0, (one.as_of - since).total_seconds())
    return _at_least({(): age_s}, known=one.unknown_since is None)


def _push_lag(one: Gauge) -> _Figures:
    return _at_least({(): one.push_lag_s}, known=one.push_unknown_since is None)


def _pull_lag(one: Gauge) -> _Figures:
    return {} if one.pull_lag_s is None else _at_least({(): one.pull_lag_s}, known=one.pull_unknown_since is None)


def _push_known(one: Gauge) -> _Figures:
    return {(): float(one.push_unknown_since is None)}


def _pull_known(one: Gauge) -> _Figures:
    return {} if one.pull_lag_s is None else {(): float(one.pull_unknown_since is None)}


def _as_of(one: Gauge) -> _Figures:
    return {(): one.as_of.timestamp()}


def _at_least(figures: Mapping[tuple[str, ...], float], known: bool) -> _Figures:
    """The figures; of what is not known only those that are more than nothing."""
    return {labels: float(figure) for labels, figure in figures.items() if known or figure > 0}


_FIGURES: Final = {
    "rowtide_rows_out_of_sync": _rows,
    "rowtide_rows_out_of_sync_by_part": _parts,
    "rowtide_oldest_out_of_sync_seconds": _oldest,
    "rowtide_push_lag_seconds": _push_lag,
    "rowtide_pull_lag_seconds": _pull_lag,
    "rowtide_push_known": _push_known,
    "rowtide_pull_known": _pull_known,
    "rowtide_gauge_timestamp_seconds": _as_of,
}
_FAMILIES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("rowtide_rows_out_of_sync", "Rows known to differ from their items; while one way is not known, at least", ()),
    ("rowtide_rows_out_of_sync_by_part", "The same rows by where they wait", ("part",)),
    ("rowtide_oldest_out_of_sync_seconds", "For how long the oldest of them has differed", ()),
    ("rowtide_push_lag_seconds", "How late items are; while it is not known, at least", ()),
    ("rowtide_pull_lag_seconds", "How late rows are, of syncs of two ways; while it is not known, at least", ()),
    ("rowtide_push_known", "1 while it is known which rows differ from their items", ()),
    ("rowtide_pull_known", "1 while it is known which items differ from their rows, of syncs of two ways", ()),
    ("rowtide_gauge_timestamp_seconds", "When the sync was looked at, by the state database's clock", ()),
)

METRICS: Final = GaugeMetrics(REGISTRY)
"""The process's own."""
