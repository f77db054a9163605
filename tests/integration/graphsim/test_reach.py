"""What the simulator must reach with a million items in one list; `make perf ONLY=simulator` measures the same."""

import asyncio
from typing import Any

import pytest

from tests.integration.graphsim.reach import Measurement
from tests.recording import DIRECTORY

ITEMS = 1_000_000
MEMORY_MIB = 1024
WRITES_PER_CPU_S = 5_000
REQUEST_CPU_S = 0.2


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_million_items(simulators: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the recorder, which would read every answer too.
    monkeypatch.delenv(DIRECTORY, raising=False)
    simulator = simulators("--tier", "off").sign_in()
    token = simulator.client.headers["Authorization"]
    found = asyncio.run(Measurement(simulator.ready, token, simulator.process.pid, ITEMS).run())
    print(found)
    assert min(found.creates_per_cpu_s, found.changes_per_cpu_s) >= WRITES_PER_CPU_S
    assert found.peak_mib <= MEMORY_MIB
    assert {name: spent_s for name, spent_s in found.requests.items() if spent_s > REQUEST_CPU_S} == {}
