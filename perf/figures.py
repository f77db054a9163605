"""Collects the figures of a run and writes them to the results file.

In: measured values, several for each metric. Out: ``perf/results/latest.json``: per metric the median, unit, spread,
what it is compared with, and the commit, machine and time of its run. Rule: a metric that was not measured in this run
stays as it is in the file, so that a run of one family never loses the others.
"""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results" / "latest.json"

AT_LEAST: dict[str, tuple[float, str]] = {
    "capture.one_tx.ratio": (0.3, ">="),
    "capture.small_tx.ratio": (0.3, ">="),
    "capture.vs_debezium": (2.0, ">="),
    "capture.rss_mib": (250, "<"),
    "deliver.items_per_s": (1000, ">="),
    "deep.items_per_s": (2000, ">="),
    "latency.p50_ms": (400, "<="),
    "latency.p95_ms": (800, "<="),
    "latency.p99_ms": (2000, "<="),
    "noop.writes": (0, "<="),
    "coalescing.changes_per_write": (10, ">="),
    "restart.first_write_s": (3, "<"),
    "quiet.cpu_percent": (10, "<"),
    "quiet.latency_p95_ms": (200, "<="),
    "claim.even_ms": (10, "<"),
    "claim.skewed_ms": (10, "<"),
    "fairness.small_sync_s": (15, "<="),
    "isolation.p95_ratio": (2, "<="),
    "gated.neighbour_ms": (50, "<"),
    "peer_death.s": (6, "<"),
    "pull.p95_s": (6, "<"),
    "pull.webhook_p95_s": (1, "<"),
    "pull.idle_ru_per_minute": (12, "<="),
    "simulator.creates_per_cpu_s": (5000, ">="),
    "simulator.changes_per_cpu_s": (5000, ">="),
    "simulator.rss_mib": (1024, "<="),
    "simulator.request_ms": (200, "<="),
    "memory.wide_rss_mib": (300, "<"),
}
"""What each metric has to reach (docs/performance.md)."""


@dataclass(slots=True)
class Measurements:
    """Metrics of a run."""

    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, name: str, values: Sequence[float], unit: str, against: str) -> None:
        """Record the median of ``values`` as the metric ``name``."""
        value = median(values)
        self.metrics[name] = {
            "value": round(value, 3),
            "unit": unit,
            "spread": [round(min(values), 3), round(max(values), 3)],
            "against": against,
        }
        print(
            f"{name:32} {value:12.3f} {unit:8} [{min(values):.3f}, {max(values):.3f}]  {verdict(name, value)}",
            flush=True,
        )

    def write(self) -> None:
        """Merge into the results file."""
        before: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"metrics": {}}
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        run = {
            "commit": commit.stdout.strip(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()},"
            f" load {os.getloadavg()[1]:.1f}",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        measured = {name: {**metric, **run} for name, metric in self.metrics.items()}
        document = {"metrics": {**before["metrics"], **measured}}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def verdict(name: str, value: float) -> str:
    """Whether the figure reaches what it must."""
    if name not in AT_LEAST:
        return ""
    bound, relation = AT_LEAST[name]
    good = {">=": value >= bound, "<=": value <= bound, "<": value < bound}[relation]
    return f"{'reaches' if good else 'MISSES'} {relation} {bound:g}"
