"""Measures the simulator alone: a million items in one list.

In: a simulator without quota. Out: ``simulator.*``: creates and changes through `$batch` in a second of its processor
time, its memory, and the slowest request of all kinds. Rule: one run of some minutes, whatever the repetitions asked
for.
"""

import asyncio
import tempfile
from pathlib import Path

from perf.figures import Measurements
from tests.e2e.conftest import Simulator
from tests.integration.graphsim.reach import Measurement
from tests.interop.conftest import fetch_token

ITEMS = 1_000_000


def run(figures: Measurements, _repetitions: int) -> None:
    """Measure the reach of the simulator."""
    with tempfile.TemporaryDirectory() as place:
        simulator = Simulator(Path(place), "--tier", "off", "--switch", "secret-delay-s=0")
        try:
            token = f"Bearer {fetch_token(simulator.ready)}"
            found = asyncio.run(Measurement(simulator.ready, token, simulator.process.pid, ITEMS).run())
        finally:
            simulator.close()
    in_batches = "items of ten fields, batches of 20, 1,000,000 in one list"
    figures.add("simulator.creates_per_cpu_s", [found.creates_per_cpu_s], "items/s", in_batches)
    figures.add("simulator.changes_per_cpu_s", [found.changes_per_cpu_s], "items/s", in_batches)
    figures.add("simulator.rss_mib", [found.peak_mib], "MiB", "peak with 1,000,000 items")
    slowest = max(found.requests, key=lambda name: found.requests[name])
    spent_ms = found.requests[slowest] * 1000
    figures.add("simulator.request_ms", [spent_ms], "ms", f"its processor time for the slowest request: {slowest}")
