"""A real Prometheus that scrapes one process each second.

In: a directory of its own, the port of the process, perhaps rules and the port of an Alertmanager. Out: `Prometheus`,
which answers queries. Rule: it is Debian's (apt.txt); where that is not installed, its tests are skipped.
"""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from demo.postgres import free_port
from tests.e2e.stack import wait_until

PROGRAM = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(PROGRAM is None, reason="needs Debian's prometheus: make deps")

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: {managers}}}]}}]}}
scrape_configs: [{{job_name: rowtide, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""


class Prometheus:
    """Runs until it is closed; ``rules`` is the text of a file of rules."""

    def __init__(self, directory: Path, port: int, rules: str = "groups: []", manager: int | None = None) -> None:
        managers = [] if manager is None else [f"127.0.0.1:{manager}"]
        (directory / "rules.yml").write_text(rules)
        (directory / "prometheus.yml").write_text(CONFIG.format(port=port, managers=managers))
        own = free_port()
        self._url = f"http://127.0.0.1:{own}/api/v1"
        words = ("--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{own}")
        with (directory / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen([PROGRAM or "", *words], cwd=directory, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        """Until it answers."""
        wait_until(self._is_up, "Prometheus answers")

    def ask(self, path: str, **parameters: object) -> Any:
        """The data of an answer of its API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)

    def _is_up(self) -> bool:
        try:
            self.ask("alerts")
        except OSError:
            return False
        return True
