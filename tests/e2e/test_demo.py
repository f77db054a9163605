"""`rowtide demo` as a real process: it proves itself, ends cleanly however it ends, and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.workdir import PREFIX, start_time
from tests.recording import simulator_module

START_S = 120.0


def _until(true: Callable[[], Any], what: str, within_s: float = START_S) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := true()):
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.05)
    return value


class Demo:
    """One demo process."""

    def __init__(self, parent: Path, log: Path, *options: str) -> None:
        self.parent = parent
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "control.cli", "demo", "--dir", str(parent), *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
                env={**os.environ, "ROWTIDE_DEMO_SIMULATOR": simulator_module()},
            )

    def said(self) -> str:
        return self.log.read_text()

    def reached(self, text: str) -> None:
        """Wait until its view has said this."""
        _until(lambda: text in self.said() or self.process.poll() is not None, text)
        assert text in self.said(), self.said()

    def end(self, within_s: float = START_S) -> tuple[int, str]:
        """Exit code and stdout."""
        stdout, _ = self.process.communicate(timeout=within_s)
        return self.process.returncode, stdout

    def home(self) -> Path:
        [path] = self.parent.glob(f"{PREFIX}*")
        return path

    def children(self) -> list[int]:
        """Process ids of everything that the demo has recorded and that lives, and of the server's own children."""
        recorded = json.loads((self.home() / "processes.json").read_text())
        alive = [entry["pid"] for entry in recorded if start_time(entry["pid"]) == entry["started"]]
        return [*alive, *(pid for parent in alive for pid in _children_of(parent))]


def _children_of(parent: int) -> list[int]:
    shown = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, ppid in re.findall(r"(\d+)\s+(\d+)", shown) if int(ppid) == parent]


@pytest.fixture
def parent(reachable_path: Path) -> Path:
    """Where demos make their directories."""
    made = reachable_path / "demos"
    made.mkdir(mode=0o755)
    return made


@pytest.fixture
def start(parent: Path, tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts demos in the same directory; whatever is left of them ends with the test."""
    started: list[Demo] = []

    def begin(*options: str) -> Demo:
        started.append(Demo(parent, tmp_path / f"demo-{len(started)}.log", *options))
        return started[-1]

    yield begin
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
        demo.process.wait(10)
        if demo.process.stdout is not None:
            demo.process.stdout.close()


def test_a_demo_finds_no_difference_and_no_duplicate(start: Callable[..., Demo], parent: Path) -> None:
    demo = start("--seconds", "5", "--json")
    code, stdout = demo.end()
    assert code == 0, demo.said()
    document = json.loads(stdout)
    assert (document["verdict"], document["differences"], document["duplicates"]) == ("equal", 0, 0)
    assert document["committed"] > 0
    assert document["delivered"] > 0
    became = document["coalesced"] + document["delivered"] + document["waiting"] + document["parked"]
    assert document["changes"] == became, document
    assert document["suppressed"] <= document["delivered"]
    assert document["first_load"]["writes"] > 2500
    assert document["items"] == document["rows"]
    assert document["edits"]["made"] == document["edits"]["arrived"] > 0
    assert document["conflicts"]["decided"] >= 1
    assert document["conflicts"]["waiting"] == 1
    assert list(parent.iterdir()) == []


@pytest.mark.long
def test_ctrl_c_ends_the_workload_and_still_compares(start: Callable[..., Demo], parent: Path) -> None:
    demo = start("--seconds", "600", "--json")
    demo.reached("live workload")
    demo.process.send_signal(signal.SIGINT)
    code, stdout = demo.end()
    assert code == 0, demo.said()
    assert json.loads(stdout)["verdict"] == "equal"
    assert "Traceback" not in demo.said()
    assert list(parent.iterdir()) == []


def test_sigterm_while_starting_ends_at_once_and_leaves_nothing(start: Callable[..., Demo], parent: Path) -> None:
    demo = start("--json")
    _until(lambda: list(parent.glob(f"{PREFIX}*/processes.json")), "the first process")
    demo.process.send_signal(signal.SIGTERM)
    code, stdout = demo.end(20)
    assert code == 130, demo.said()
    assert json.loads(stdout)["verdict"] == "interrupted"
    assert list(parent.iterdir()) == []


@pytest.mark.long
def test_a_killed_demo_leaves_no_process_and_the_next_clears_its_directory(
    start: Callable[..., Demo], parent: Path
) -> None:
    killed = start("--json")
    killed.reached("first load")
    left, home = killed.children(), killed.home()
    assert len(left) > 3
    killed.process.kill()
    _until(lambda: not [pid for pid in left if start_time(pid) is not None], "the end of all processes", 10)
    assert home.exists()

    following = start("--json")
    _until(lambda: not home.exists(), "the killed demo's directory to go", 20)
    following.process.send_signal(signal.SIGTERM)
    following.end(20)
    assert f"cleared what a demo that was killed had left in {home}" in following.said()
    assert list(parent.iterdir()) == []
