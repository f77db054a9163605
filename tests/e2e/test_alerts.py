"""The alerts on a real process, asked by a real Prometheus: each is caused, seen to fire, and seen to clear.

Rule: the rules are those of k8s/alerts/, played faster: what has to last minutes there lasts no time here, and a lag of
seconds is late.
"""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.postgres import free_port
from tests.e2e.conftest import Simulator
from tests.e2e.stack import SYNC, Stack, wait_until

RULES = Path(__file__).parents[2] / "k8s/alerts/rowtide.rules.yml"
PROMETHEUS = shutil.which("prometheus")
ROWS = 40

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PROMETHEUS is None, reason="needs Debian's prometheus: make deps"),
]
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [fast.yml]
scrape_configs: [{{job_name: rowtide, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""
Firing = Callable[[], set[str]]
Watch = Callable[[int], Firing]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Starts a Prometheus that scrapes a port; what it gives says which alerts fire."""
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int) -> Firing:
        faster = re.sub(r"for: \d+[mh]", "for: 0s", RULES.read_text())
        faster = faster.replace("_lag_seconds) > 60", "_lag_seconds) > 3")
        (tmp_path / "fast.yml").write_text(faster)
        (tmp_path / "prometheus.yml").write_text(CONFIG.format(port=port))
        own = free_port()
        words = ("--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{own}")
        with (tmp_path / "prometheus.log").open("wb") as log:
            started.append(subprocess.Popen([PROMETHEUS or "", *words], cwd=tmp_path, stdout=log, stderr=log))

        def firing() -> set[str]:
            with urllib.request.urlopen(f"http://127.0.0.1:{own}/api/v1/alerts", timeout=10) as answer:
                found = json.load(answer)["data"]["alerts"]
            return {one["labels"]["alertname"] for one in found if one["state"] == "firing"}

        def is_up() -> bool:
            try:
                firing()
            except OSError:
                return False
            return True

        wait_until(is_up, "Prometheus answers")
        return firing

    yield start
    for one in started:
        one.terminate()
        one.wait(20)


def test_what_is_caused_alerts_and_what_is_mended_clears(
    new_simulator: Callable[..., Simulator], new_stack: Callable[..., Stack], watch: Watch
) -> None:
    simulator = new_simulator("--tier", "off")
    cautious = SYNC.replace("breaker: {share: 1.0, rows: 100000}", "breaker: {share: 0.2, rows: 500}")
    stack, port = new_stack(simulator, rows=ROWS, syncs=cautious), free_port()
    stack.config.write_text(stack.config.read_text().replace('listen: "127.0.0.1:0"', f'listen: "127.0.0.1:{port}"'))
    firing = watch(port)
    wait_until(lambda: firing() == {"RowtideNobodyLooks"}, "nobody looks where no process is")

    process = stack.start()
    wait_until(lambda: not firing() and len(stack.simulator.items()) == ROWS, "all is well once everything is there")

    stack.sql("INSERT INTO parts (id, name) VALUES (1001, repeat('x', 300))")
    wait_until(lambda: firing() == {"RowtideRowsParked"}, "a row that cannot be carried alerts")
    stack.sql("UPDATE parts SET name = 'short' WHERE id = 1001")
    wait_until(lambda: not firing(), "it is carried")

    simulator.set_faults([
        {"path": r"\$batch$", "level": "request", "probability": 1.0, "action": "status", "status": 503}
    ])  # fmt: skip
    stack.sql("INSERT INTO parts (id, name) VALUES (1002, 'late')")
    wait_until(lambda: "RowtidePushLate" in firing(), "a row that Graph does not take is late")
    stack.command("pause", "parts", "--reason", "Graph is down")
    wait_until(lambda: not firing(), "what a person holds alerts nobody")
    stack.command("resume", "parts")
    wait_until(lambda: "RowtidePushLate" in firing(), "it is late still")
    simulator.clear_faults()
    wait_until(lambda: not firing(), "it is there")

    stack.sql("DELETE FROM parts WHERE id <= 20")
    wait_until(lambda: "RowtideMassDeletion" in firing(), "a mass deletion asks")
    stack.command("resume", "parts", "--approve-deletes")
    wait_until(lambda: not firing(), "it was approved, and is carried")

    assert stack.stop(process) == 0, stack.logged()[-4000:]
    wait_until(lambda: firing() == {"RowtideNobodyLooks"}, "the process is gone, and nobody looks")
