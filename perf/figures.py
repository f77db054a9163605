"""Collects the figures of a run and writes them to the results files.

In: measured values, several for each metric. Out: ``perf/results/latest.json`` (per metric the median, unit, spread,
number of repetitions, what it is compared with, and the commit, machine and time of its run), and the run by itself in
``perf/results/runs/``. Rule: a metric that was not measured in this run stays as it is in latest.json, so that a run of
one family never loses the others.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from perf import machine
from perf.judging import verdict

Points = Sequence[tuple[float, float]]

RESULTS = Path(__file__).parent / "results" / "latest.json"
SLOWED = RESULTS.with_name("slowed.local.json")
"""Where a run goes that was slowed on purpose: it never becomes the newest result."""


@dataclass(slots=True)
class Measurements:
    """Metrics of a run. ``slowed``: failpoints that every process of it has, as `tests.failpoints` reads them."""

    slowed: str = ""
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    up_to: int = 1_000_000
    """The largest size that a curve goes to."""
    run: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> None:
        """Note when, of what and on which machine the next family is measured."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.run = {"at": now, "commit": machine.commit(), "machine": machine.facts()}
        if self.slowed:
            self.run["slowed"] = self.slowed

    def add(self, name: str, values: Sequence[float], unit: str, against: str) -> None:
        """Record the median of ``values`` as the metric ``name``."""
        value = median(values)
        self.metrics[name] = {
            "value": _rounded(value),
            "unit": unit,
            "spread": [_rounded(min(values)), _rounded(max(values))],
            "repetitions": len(values),
            "against": against,
            **self.run,
        }
        print(
            f"{name:32} {value:12.3f} {unit:8} [{min(values):.3f}, {max(values):.3f}]  {verdict(name, value)}",
            flush=True,
        )

    def add_curve(self, name: str, axes: tuple[str, str], series: Mapping[str, Points], against: str) -> None:
        """Record a curve for perf/README.md: ``axes`` are what x and y say."""
        points = {label: [[x, round(y, 3)] for x, y in points] for label, points in series.items()}
        self.curves[name] = {"axes": list(axes), "series": points, "against": against, **self.run}
        for label, found in points.items():
            print(f"{name:32} {label}: {', '.join(f'{x:g}: {y:g}' for x, y in found)}", flush=True)

    def write(self, path: Path, done: Sequence[str], failed: Sequence[str]) -> None:
        """Merge into the results file at ``path``; ``done`` and ``failed`` are families."""
        before = read(path) if path.exists() else {"metrics": {}}
        still = [name for name in before.get("failed", []) if name not in done and name not in failed]
        document = {
            "metrics": {**before["metrics"], **self.metrics},
            "curves": {**before.get("curves", {}), **self.curves},
            "failed": sorted([*still, *failed]),
        }
        replace(path, json.dumps(document, indent=1, sort_keys=True) + "\n")

    def keep(self, directory: Path) -> None:
        """Write this run by itself, named for its time and commit."""
        if self.metrics or self.curves:
            name = f"{self.run['at'][:19].replace(':', '')}-{self.run['commit'].replace('+', '-changed')}.json"
            document = {"metrics": self.metrics, "curves": self.curves}
            replace(directory / name, json.dumps(document, indent=1, sort_keys=True) + "\n")


def _rounded(value: float) -> float:
    return round(value, 3 if abs(value) >= 1 else 5)


def read(path: Path) -> dict[str, Any]:
    """A results document."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def replace(path: Path, text: str) -> None:
    """Give a file another text at once: a run that is interrupted leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)
