"""Child processes run modules, end with their parent for whatever reason it ends, and tell why they failed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.children import Child, Children
from demo.workdir import Workdir, start_time
from rowtide.errors import ChildFailed


@pytest.fixture
def children(reachable_path: Path) -> Iterator[Children]:
    """Children of a directory of their own."""
    made = Workdir.make(reachable_path)
    children = Children(made)
    yield children
    children.end()
    made.remove()


def _until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def _server(children: Children) -> Child:
    return children.start("server", "http.server", "--bind", "127.0.0.1", "0")


def test_a_child_runs_a_module_with_its_arguments(children: Children) -> None:
    child = children.start("zip", "zipfile", "--help")
    assert child.first_line(time.sleep, 10).startswith("usage:")
    assert child.wait(time.sleep, 10) == 0


def test_a_child_runs_nothing_of_the_directory_that_it_starts_in(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who may write there waits for whoever runs the demo."""
    proof = tmp_path / "proof"
    for name in ("zipfile.py", "demo.py", "ctypes.py"):
        (tmp_path / name).write_text(f"open({str(proof)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    child = children.start("zip", "zipfile", "--help")
    assert child.wait(time.sleep, 10) == 0, child.last_words()
    assert not proof.exists()


def test_a_child_that_ends_is_reported_with_its_last_words(children: Children) -> None:
    child = children.start("broken", "zipfile", "--no-such-option")
    _until(lambda: child.process.poll() is not None)
    with pytest.raises(ChildFailed, match=r"broken ended \(exit code 2\).*required"):
        children.check("broken")


def test_children_end_on_request(children: Children) -> None:
    child = _server(children)
    assert "Serving" in child.first_line(time.sleep, 10)
    children.end()
    assert child.process.returncode is not None


_PARENT = """
import sys, time
from pathlib import Path
from demo.children import Children
from demo.workdir import Workdir
child = Children(Workdir.make(Path(sys.argv[1]))).start("server", "http.server", "--bind", "127.0.0.1", "0")
child.first_line(time.sleep, 20)
print(child.process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_dies_with_its_parent(reachable_path: Path, signum: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", _PARENT, str(reachable_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert start_time(child) is not None
    process.send_signal(signum)
    process.wait(10)
    process.stdout.close()
    _until(lambda: start_time(child) is None, 5)


def test_a_child_whose_parent_is_gone_already_does_not_begin() -> None:
    command = [sys.executable, "-m", "demo.parent_watch", "999999999", "http.server"]
    assert subprocess.run(command, timeout=20).returncode == 1
