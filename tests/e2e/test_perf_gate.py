"""A build that was slowed on purpose closes the performance gate, which names the figure."""

from pathlib import Path

import pytest

from perf import delivery, gate
from perf.figures import Measurements

ITEMS = 600
PAUSE = "deliver.before_send=pause:0.1"
"""At each of the thirty batches, which take some ten milliseconds otherwise."""


@pytest.mark.long
@pytest.mark.latency
@pytest.mark.timeout(900)
def test_a_slowed_build_closes_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accepted, latest = tmp_path / "accepted.json", tmp_path / "latest.json"
    for path, slowed in ((accepted, ""), (latest, PAUSE)):
        figures = Measurements(slowed)
        figures.begin()
        delivery.deliver(figures, 1, ITEMS)
        figures.write(path, ["deliver"], [])
    capsys.readouterr()
    assert gate.main(["--latest", str(latest), "--accepted", str(accepted)]) == 1
    said = capsys.readouterr().out
    [line] = [line for line in said.splitlines() if line.startswith("deliver.peer_ratio")]
    assert "WORSE" in line
    assert "The gate is closed by" in said
    # The slow build can be accepted by nobody, so that it cannot become what later ones are held against.
    assert gate.main(["--accept", "--latest", str(latest), "--accepted", str(accepted)]) == 2
