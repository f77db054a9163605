"""Where every sync stands, as Prometheus metrics of the one process that looks.

In: the newest gauges (`rowtide.gauge.Gauge`), none where another process has the duty. Out: Prometheus text beside the
recorder's figures. Rules (docs/design.md section 24): a series is there only while this process has the duty; a figure
that is not known is left out when it would read 0, and is the least there is otherwise; names and labels are in
`connectors.metric_families`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from connectors.metric_families import STANDING, Figures, to_metric
from rowtide.gauge import Gauge

_PRIORITIES: Final = ("interactive", "move", "bulk", "backfill")
"""By the numbers of `rowtide.change`."""


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
        for family in STANDING:
            of = _FIGURES[family.name]
            yield to_metric(family, {(sync, *v): n for sync, one in gauges.items() for v, n in of(one).items()})


def _rows(one: Gauge) -> Figures:
    return _at_least({(): one.counted.rows}, known=one.unknown_since is None)


def _parts(one: Gauge) -> Figures:
    counted = one.counted
    parts: Figures = {
        ("waiting",): counted.waiting, ("parked",): counted.parked, ("held",): counted.held,
        ("pulling",): counted.pulling, ("found",): counted.found,
    }  # fmt: skip
    return _at_least(parts, known=one.unknown_since is None)


def _oldest(one: Gauge) -> Figures:
    since = one.counted.oldest
    age_s = 0.0 if since is None else max(0.0, (one.as_of - since).total_seconds())
    return _at_least({(): age_s}, known=one.unknown_since is None)


def _push_lag(one: Gauge) -> Figures:
    return _at_least({(): one.push_lag_s}, known=one.push_unknown_since is None)


def _pull_lag(one: Gauge) -> Figures:
    return {} if one.pull_lag_s is None else _at_least({(): one.pull_lag_s}, known=one.pull_unknown_since is None)


def _by_priority(one: Gauge) -> Figures:
    classes = zip(_PRIORITIES, one.counted.by_priority, strict=False)
    return _at_least({(name,): rows for name, rows in classes}, known=one.push_unknown_since is None)


def _read_age(one: Gauge) -> Figures:
    return {} if one.read_until is None else {(): max(0.0, (one.as_of - one.read_until).total_seconds())}


def _conflicts(one: Gauge) -> Figures:
    return {} if one.pull_lag_s is None else {(): float(one.counted.conflicts)}


def _held(one: Gauge) -> Figures:
    return {(kind,): 1.0 for kind in one.held_by}


def _push_known(one: Gauge) -> Figures:
    return {(): float(one.push_unknown_since is None)}


def _pull_known(one: Gauge) -> Figures:
    return {} if one.pull_lag_s is None else {(): float(one.pull_unknown_since is None)}


def _as_of(one: Gauge) -> Figures:
    return {(): one.as_of.timestamp()}


def _at_least(figures: Mapping[tuple[str, ...], float], known: bool) -> Figures:
    """The figures; of what is not known only those that are more than nothing."""
    return {labels: float(figure) for labels, figure in figures.items() if known or figure > 0}


_FIGURES: Final[Mapping[str, Callable[[Gauge], Figures]]] = {
    "rowtide_rows_out_of_sync": _rows,
    "rowtide_rows_out_of_sync_by_part": _parts,
    "rowtide_outbox_rows": _by_priority,
    "rowtide_oldest_out_of_sync_seconds": _oldest,
    "rowtide_push_lag_seconds": _push_lag,
    "rowtide_pull_lag_seconds": _pull_lag,
    "rowtide_push_known": _push_known,
    "rowtide_pull_known": _pull_known,
    "rowtide_list_read_age_seconds": _read_age,
    "rowtide_conflicts_open": _conflicts,
    "rowtide_held": _held,
    "rowtide_gauge_timestamp_seconds": _as_of,
}

METRICS: Final = GaugeMetrics(REGISTRY)
"""The process's own."""
