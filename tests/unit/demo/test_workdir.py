"""The demo's directory: locked while alive, cleared when dead, and nobody else's process is ended."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from demo import workdir
from demo.workdir import Workdir
from rowtide.errors import UserError


def _until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


_MAKE_AND_STAY = "from demo.workdir import Workdir; from pathlib import Path; import sys, time; "


def _killed_demo(reachable_path: Path, then: str = "pass") -> Path:
    """What a demo leaves that made its directory and was killed."""
    code = f"{_MAKE_AND_STAY}h = Workdir.make(Path(sys.argv[1])); {then}; print(h.path, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(reachable_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    path = Path(process.stdout.readline().strip())
    process.kill()
    process.wait()
    process.stdout.close()
    return path


def test_a_directory_is_private_and_goes_with_its_demo(reachable_path: Path) -> None:
    made = Workdir.make(reachable_path)
    assert made.path.parent == reachable_path.resolve()
    assert made.path.stat().st_mode & 0o066 == 0
    secret = made.write_secret("client_secret", "s3cret")
    assert secret.stat().st_mode & 0o777 == 0o600
    made.remove()
    assert list(reachable_path.iterdir()) == []


def test_a_living_demo_is_left_alone(reachable_path: Path) -> None:
    made = Workdir.make(reachable_path)
    assert workdir.clear_dead(reachable_path) == []
    assert made.path.exists()
    made.remove()


def test_the_directory_of_a_killed_demo_is_cleared(reachable_path: Path) -> None:
    path = _killed_demo(reachable_path)
    assert path.is_dir()
    assert workdir.clear_dead(reachable_path) == [path]
    assert list(reachable_path.iterdir()) == []


def test_a_removal_cut_short_is_finished(reachable_path: Path) -> None:
    half = reachable_path / f"{workdir.PREFIX}half"
    (half / "postgres").mkdir(parents=True)
    assert workdir.clear_dead(reachable_path) == [half]


def test_recorded_processes_are_ended_before_the_directory_goes(reachable_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    path = _killed_demo(reachable_path, f"h.record('left', {left.pid})")
    assert workdir.clear_dead(reachable_path) == [path]
    assert left.wait(5) != 0


def test_a_process_that_took_over_a_recorded_id_is_left_alone(reachable_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    path = _killed_demo(reachable_path)
    (path / "processes.json").write_text(json.dumps([{"name": "flow", "pid": other.pid, "started": "long ago"}]))
    workdir.clear_dead(reachable_path)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_stranger_with_a_like_name_is_left_alone(reachable_path: Path) -> None:
    file = reachable_path / f"{workdir.PREFIX}notes"
    file.write_text("mine")
    link = reachable_path / f"{workdir.PREFIX}link"
    link.symlink_to(reachable_path)
    assert workdir.clear_dead(reachable_path) == []
    assert file.exists()
    assert link.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_root_is_told_when_the_server_could_not_enter_the_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(UserError, match="cannot be entered"):
        Workdir.make(closed)


def test_start_time_is_that_of_the_living(reachable_path: Path) -> None:
    assert workdir.start_time(os.getpid()) == workdir.start_time(os.getpid())
    process = subprocess.Popen([sys.executable, "-c", ""])
    _until(lambda: process.poll() is not None)
    assert workdir.start_time(process.pid) is None
