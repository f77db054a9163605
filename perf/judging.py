"""What each figure has to reach, and how a new result is held against the accepted one.

In: two results documents (`perf.figures`). Out: a `Judged` for each metric, a table, whether the gate is open. Rules:
against the accepted value only what is a ratio within one run is judged, since a rate of another machine or another
hour proves nothing; a promise is judged by its own bound; every other figure is shown. What got worse than accepted,
misses its promise anew, or is not there any more closes the gate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, assert_never

from perf import machine

Relation = Literal["<", "<=", ">="]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a value has to reach."""

    relation: Relation
    value: float

    def is_met(self, value: float) -> bool:
        """Whether ``value`` reaches it."""
        match self.relation:
            case "<":
                return value < self.value
            case "<=":
                return value <= self.value
            case ">=":
                return value >= self.value
            case _:
                assert_never(self.relation)

    def __str__(self) -> str:
        return f"{self.relation} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Measured against a peer or the yardstick in the same run: may be worse than accepted by the factor ``by``."""

    better: Literal["more", "less"]
    by: float
    bound: Bound | None = None

    def limit(self, accepted: float) -> Bound:
        """What a new value has to reach."""
        return Bound(">=", accepted / self.by) if self.better == "more" else Bound("<=", accepted * self.by)


@dataclass(frozen=True, slots=True)
class Promise:
    """A figure with a bound that holds on any machine we name."""

    bound: Bound


@dataclass(frozen=True, slots=True)
class Rate:
    """Depends on the machine, its load or the peer's mood: shown with its bound, never judged."""

    bound: Bound


Rule = Ratio | Promise | Rate


def _promise(relation: Relation, value: float) -> Promise:
    return Promise(Bound(relation, value))


def _rate(relation: Relation, value: float) -> Rate:
    return Rate(Bound(relation, value))


RULES: Final[Mapping[str, Rule]] = {
    # Of one commit the peer's time alone moved these two from 0.18 to 0.41.
    "capture.one_tx.ratio": _rate(">=", 0.3),
    "capture.small_tx.ratio": _rate(">=", 0.3),
    "capture.one_tx.cpu_ratio": Ratio("less", 1.4),
    "capture.small_tx.cpu_ratio": Ratio("less", 1.4),
    "capture.vs_debezium": Ratio("more", 1.5, Bound(">=", 2.0)),
    "capture.rss_mib": _promise("<", 250),
    "deliver.items_per_s": _rate(">=", 1000),
    "deliver.peer_ratio": Ratio("more", 1.5),
    "deliver.cpu_ratio": Ratio("less", 1.4),
    "deep.items_per_s": _rate(">=", 2000),
    "deep.cpu_ratio": Ratio("less", 1.4),
    "latency.p50_ms": _promise("<=", 400),
    "latency.p95_ms": _promise("<=", 800),
    "latency.p99_ms": _promise("<=", 2000),
    "latency.overhead_p95_ms": _promise("<", 80),
    "latency.overhead_p99_ms": _promise("<", 120),
    "recording.cost_ratio": _promise("<", 0.03),
    "recording.paced_ratio": _promise("<", 0.03),
    "noop.writes": _promise("<=", 0),
    "coalescing.changes_per_write": _promise(">=", 10),
    "restart.first_write_s": _promise("<", 1.5),
    "quiet.cpu_percent": _promise("<", 10),
    "quiet.latency_p95_ms": _promise("<=", 200),
    "claim.even_ms": _promise("<", 10),
    "claim.skewed_ms": _promise("<", 10),
    "fairness.small_sync_s": _promise("<=", 15),
    "isolation.p95_ratio": _promise("<=", 2),
    "gated.neighbour_ms": _promise("<", 50),
    "peer_death.s": _promise("<", 6),
    "pull.p95_s": _promise("<", 6),
    "pull.webhook_p95_s": _promise("<", 1),
    "pull.idle_ru_per_minute": _promise("<=", 12),
    "pull.converged_ratio": _promise("<=", 1.25),
    "simulator.creates_per_cpu_s": _rate(">=", 5000),
    "simulator.changes_per_cpu_s": _rate(">=", 5000),
    "simulator.rss_mib": _promise("<=", 1024),
    "simulator.request_ms": _rate("<=", 200),
    "memory.wide_rss_mib": _promise("<", 300),
}
"""Of each metric (docs/performance.md). One that is not here is shown."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One line of the gate's table; values are None where there is none."""

    metric: str
    accepted: float | None
    now: float | None
    threshold: str
    verdict: str
    closes: bool = False
    """The gate."""
    measured: bool = True
    """Since the accepted result."""


def verdict(name: str, value: float) -> str:
    """Whether the figure reaches what it must, by itself."""
    bound = _bound_of(RULES.get(name))
    return "" if bound is None else f"{'reaches' if bound.is_met(value) else 'MISSES'} {bound}"


def _bound_of(rule: Rule | None) -> Bound | None:
    return None if rule is None else rule.bound


def compare(accepted: Mapping[str, Any], latest: Mapping[str, Any]) -> list[Judged]:
    """Every metric of either document, in order of their names."""
    before, now = accepted["metrics"], latest["metrics"]
    return [_judge(name, before.get(name), now.get(name)) for name in sorted(before.keys() | now.keys())]


def _judge(name: str, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Judged:
    accepted = None if before is None else float(before["value"])
    if now is None:
        return Judged(name, accepted, None, "", "MISSING: it was measured once", closes=True, measured=False)
    value = float(now["value"])
    if before is not None and before["at"] == now["at"]:
        return Judged(name, accepted, value, "", "not measured since", measured=False)
    rule = RULES.get(name)
    match rule:
        case None:
            return Judged(name, accepted, value, "", "shown")
        case Rate(bound=bound):
            reached = "reaches" if bound.is_met(value) else "misses"
            return Judged(name, accepted, value, f"({bound})", f"shown; {reached} its bound here")
        case Promise(bound=bound):
            return _by_bound(name, accepted, value, bound)
        case Ratio():
            return _by_ratio(name, accepted, value, rule)
        case _:
            assert_never(rule)


def _by_bound(name: str, accepted: float | None, value: float, bound: Bound) -> Judged:
    if bound.is_met(value):
        return Judged(name, accepted, value, str(bound), "kept")
    if accepted is not None and not bound.is_met(accepted):
        return Judged(name, accepted, value, str(bound), "missed, as accepted")
    return Judged(name, accepted, value, str(bound), "MISSED", closes=True)


def _by_ratio(name: str, accepted: float | None, value: float, rule: Ratio) -> Judged:
    if rule.bound is not None and not rule.bound.is_met(value):
        return _by_bound(name, accepted, value, rule.bound)
    if accepted is None:
        return Judged(name, None, value, f"by {rule.by:g}", "new")
    limit = rule.limit(accepted)
    threshold = f"{limit.relation} {limit.value:.3f}"
    if not limit.is_met(value):
        times = max(value, accepted) / min(value, accepted) if min(value, accepted) > 0 else float("inf")
        return Judged(name, accepted, value, threshold, f"WORSE, {times:.2f} times", closes=True)
    is_better = value > accepted if rule.better == "more" else value < accepted
    return Judged(name, accepted, value, threshold, "better" if is_better else "within")


def is_open(lines: Sequence[Judged], latest: Mapping[str, Any]) -> bool:
    """Whether a change may pass: something was measured, nothing closes the gate, no family failed."""
    return any(line.measured for line in lines) and not any(line.closes for line in lines) and not latest.get("failed")


def table(lines: Sequence[Judged]) -> str:
    """The comparison as text, what closes the gate first; metrics that were not measured since are one line."""
    shown = sorted((line for line in lines if line.measured or line.closes), key=lambda line: not line.closes)
    cells = [("metric", "accepted", "now", "threshold", "verdict")]
    cells += [(one.metric, _number(one.accepted), _number(one.now), one.threshold, one.verdict) for one in shown]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    rest = [line.metric for line in lines if line not in shown]
    if rest:
        text.append(f"not measured since: {', '.join(rest)}")
    return "\n".join(text)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def closing(lines: Sequence[Judged], accepted: Mapping[str, Any], latest: Mapping[str, Any]) -> str:
    """What the table comes to, in sentences."""
    sentences = []
    before, now = accepted["metrics"], latest["metrics"]
    measured = [line.metric for line in lines if line.measured]
    common = [name for name in measured if name in before]
    if any(not machine.is_same(before[name].get("machine"), now[name].get("machine")) for name in common):
        sentences.append("Some accepted figures are of another machine: only ratios and promises say something.")
    missed = sum(line.verdict == "missed, as accepted" for line in lines)
    if missed:
        sentences.append(f"{missed} promises are missed, as in the accepted result.")
    if latest.get("failed"):
        sentences.append(f"Families that failed: {', '.join(latest['failed'])}.")
    if not measured:
        sentences.append("Nothing was measured since the accepted result: run `make perf` first.")
    names = [line.metric for line in lines if line.closes]
    if names:
        sentences.append(f"The gate is closed by {', '.join(names)}.")
    elif is_open(lines, latest):
        sentences.append(f"The gate is open: {len(measured)} figures were compared.")
    return "\n".join(sentences)
