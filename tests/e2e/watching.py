"""A Prometheus that asks a process, an Alertmanager behind it, and somebody whom that tells.

In: a stack, the rules and routes of k8s/alerts/. Out: `Watch.firing`, the alerts that were told of and not taken back;
`Playbook`, the commands of an alert's page. Rule: rules and routes are the ones that users get, played faster: what has
to last minutes there lasts no time here, minutes that are looked back on are seconds, and a lag of seconds is late.
"""

import json
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from demo.postgres import free_port
from tests.e2e.prometheus import Prometheus
from tests.e2e.stack import Stack, wait_until

ROOT: Final = Path(__file__).parents[2]
ALERTS: Final = ROOT / "k8s/alerts"
ALERTMANAGER: Final = shutil.which("prometheus-alertmanager")
needs_alertmanager = pytest.mark.skipif(
    ALERTMANAGER is None, reason="needs Debian's prometheus-alertmanager: make deps"
)

_FASTER: Final = (
    (r"for: \d+[mh]", "for: 0s"),
    (r"\[15m\]\) > 3 and", "[90s]) > 1 and"),  # of starts, which take seconds each
    (r"(_loop_failures_total\[)15m(\]\)\)) > 3", r"\g<1>15s\2 > 1"),  # it waits longer each time
    (r"\[\d+[mh]\]", "[15s]"),
    (r"> 120", "> 5"),
    (r"(_lag_seconds\)|_wait_seconds\)|_epoch_age_seconds\)) > \d+", r"\1 > 3"),
)


def rules() -> Mapping[str, Mapping[str, Any]]:
    """The alerts of k8s/alerts/ by name."""
    [group] = YAML(typ="safe").load(ALERTS / "rowtide.rules.yml")["groups"]
    return {one["alert"]: one for one in group["rules"]}


@dataclass
class Watch:
    """What the receivers were told last of each alert, and by which of them."""

    told: dict[str, tuple[str, str, bool]] = field(default_factory=dict)
    """By fingerprint: the alert, the receiver, whether it fires."""

    def note(self, receiver: str, body: bytes) -> None:
        """What Alertmanager posts."""
        for one in json.loads(body)["alerts"]:
            self.told[one["fingerprint"]] = one["labels"]["alertname"], receiver, one["status"] == "firing"

    def firing(self) -> set[str]:
        """The alerts that fire."""
        return {name for name, _, fires in list(self.told.values()) if fires}

    def receivers(self) -> set[tuple[str, str]]:
        """Which alerts were told to whom."""
        return {(name, receiver) for name, receiver, _ in self.told.values()}


@contextmanager
def watching(stack: Stack, directory: Path) -> Iterator[Watch]:
    """The definition has a port from now on, which Prometheus asks every second."""
    scraped, manager, watch = free_port(), free_port(), Watch()
    text = stack.config.read_text()
    stack.config.write_text(re.sub(r'listen: "127\.0\.0\.1:\d+"', f'listen: "127.0.0.1:{scraped}"', text))
    with _receiver(watch) as told, _alertmanager(directory, manager, told):
        faster = (ALERTS / "rowtide.rules.yml").read_text()
        for pattern, quick in _FASTER:
            faster = re.sub(pattern, quick, faster)
        prometheus = Prometheus(directory, scraped, faster, manager)
        try:
            prometheus.wait_ready()
            yield watch
        finally:
            prometheus.close()


@contextmanager
def _alertmanager(directory: Path, port: int, told: int) -> Iterator[None]:
    """Runs with the routes of k8s/alerts/, played faster; every receiver is at ``told``."""
    routes = (ALERTS / "alertmanager.yml").read_text().replace("127.0.0.1:9095", f"127.0.0.1:{told}")
    (directory / "routes.yml").write_text(re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", routes))
    words = ("--config.file=routes.yml", "--storage.path=kept", "--cluster.listen-address=")
    with (directory / "alertmanager.log").open("wb") as log:
        command = [ALERTMANAGER or "", *words, f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_ready(port), "Alertmanager answers")
        yield
    finally:
        process.terminate()
        process.wait(20)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _receiver(watch: Watch) -> Iterator[int]:
    """Whom Alertmanager tells: the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            watch.note(self.path.strip("/"), body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


# --- playbooks ----------------------------------------------------------------------------------------------------

_FINDINGS: Final = (0, 3)
"""A command that looks has nothing to say, or findings."""
_COMMAND: Final = re.compile(r"^ *rowtide (.+)$", re.MULTILINE)


def is_act(command: str) -> bool:
    """Whether the command changes something."""
    return command.startswith(("resume", "pause", "parked retry"))


def commands_of(page: str) -> list[str]:
    """What a page of docs/playbooks/ has typed, in its order."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [command for block in blocks for command in _COMMAND.findall(block)]


@dataclass(frozen=True)
class Playbook:
    """The pages, for one sync of a stack and one of its rows."""

    stack: Stack
    sync: str
    key: str

    def look(self, alert: str, but: str) -> None:
        """Everything by which the alert's page has one look, but what its condition forbids."""
        for command in commands_of(rules()[alert]["annotations"]["playbook"]):
            if not (is_act(command) or (but and command.startswith(but))):
                done = self._type(command)
                assert done.returncode in _FINDINGS, f"{alert}, {command}: {done.stdout}{done.stderr}"
                assert done.stdout.strip() or done.returncode == 0, command

    def act(self, alert: str, command: str) -> None:
        """One command by which the alert's page mends something."""
        assert command in commands_of(rules()[alert]["annotations"]["playbook"])
        done = self._type(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def _type(self, command: str) -> subprocess.CompletedProcess[str]:
        words = command.replace("SYNC", self.sync).replace("KEY", self.key).replace("SOURCE", "erp").split()
        return self.stack.command(*words, check=False)
