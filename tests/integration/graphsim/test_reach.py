"""What the simulator must reach with a million items in one list.

What it does is weighed by what making an item costs on the same machine; `make perf ONLY=simulator` has the seconds.
"""

import asyncio
from typing import Any

import pytest

from tests.integration.graphsim.reach import Measurement
from tests.recording import DIRECTORY

ITEMS = 1_000_000
MEMORY_MIB = 1024
CHANGE_COSTS = 2.0
REQUEST_COSTS = 3_500.0
"""No request may cost more than making so many items: none walks through a million of them."""


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_million_items(simulators: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the recorder, which would read every answer too.
    monkeypatch.delenv(DIRECTORY, raising=False)
    simulator = simulators("--tier", "off").sign_in()
    token = simulator.client.headers["Authorization"]
    found = asyncio.run(Measurement(simulator.ready, token, simulator.process.pid, ITEMS).run())
    print(found)
    assert found.peak_mib <= MEMORY_MIB
    assert found.creates_per_cpu_s / found.changes_per_cpu_s <= CHANGE_COSTS
    costs = {name: spent_s * found.creates_per_cpu_s for name, spent_s in found.requests.items()}
    assert {name: items for name, items in costs.items() if items > REQUEST_COSTS} == {}
