"""The working directory of a demo: private, locked while its demo lives, cleared by the next demo after a kill.

In: where to make it. Out: a `Workdir`: a path, and a record of the processes started from it. Rules: the directory
appears under its final name only when its lock is held, so a directory whose lock is free has no living demo; a
recorded process is ended only if its start time is the recorded one, since process ids are used again.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from rowtide.error_catalogue import command_errors

PREFIX = "rowtide-demo-"
_HALF_MADE = f".{PREFIX}"
_HALF_MADE_AGE_S = 600.0
_LOCK, _RECORD = "lock", "processes.json"


class RecordedProcess(TypedDict):
    """A process that was started from a working directory; ``started`` as `start_time` says it."""

    name: str
    pid: int
    started: str | None


class Workdir:
    """A working directory, made by `make` and deleted by `remove`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._processes: list[RecordedProcess] = []

    @classmethod
    def make(cls, parent: Path | None = None) -> "Workdir":
        """A new locked directory under ``parent``, by default where temporary files go."""
        where = parent or Path(tempfile.gettempdir())
        where.mkdir(parents=True, exist_ok=True)
        where = where.resolve()
        _check_reachable(where)
        # Under a hidden name until it is locked: another demo that clears up now does not take it for a dead one's.
        hidden = Path(tempfile.mkdtemp(prefix=_HALF_MADE, dir=where))
        # The embedded server runs as another user when we are root: that user passes through, and lists nothing.
        hidden.chmod(0o711 if os.geteuid() == 0 else 0o700)
        lock = os.open(hidden / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = where / hidden.name.removeprefix(".")
        hidden.rename(path)
        return cls(path, lock)

    def record(self, name: str, pid: int) -> None:
        """Note a process that must not outlive this directory, for `clear_dead` after a kill."""
        self._processes.append({"name": name, "pid": pid, "started": start_time(pid)})
        scratch = self.path / f"{_RECORD}.new"
        scratch.write_text(json.dumps(self._processes))
        scratch.replace(self.path / _RECORD)

    def write_secret(self, name: str, text: str) -> Path:
        """Write a file that only its owner can read; its path."""
        path = self.path / name
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as stream:
            stream.write(text)
        return path

    def remove(self) -> None:
        """Delete the directory and release its lock."""
        _delete(self.path)
        os.close(self._lock)


def _check_reachable(where: Path) -> None:
    if os.geteuid() == 0 and not all(part.stat().st_mode & 0o001 for part in [where, *where.parents]):
        raise command_errors.DEMO_DIRECTORY(path=where)


def clear_dead(parent: Path | None = None) -> list[Path]:
    """End the processes and delete the directories of killed demos under ``parent``; what was deleted."""
    where = (parent or Path(tempfile.gettempdir())).resolve()
    removed = []
    for path in sorted(where.glob(f"{PREFIX}*")) if where.is_dir() else []:
        with contextlib.suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.geteuid() and _clear(path):
                removed.append(path)
    for path in where.glob(f"{_HALF_MADE}*") if where.is_dir() else []:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_uid == os.geteuid() and time.time() - path.stat().st_mtime > _HALF_MADE_AGE_S:
                _delete(path)
    return removed


def _clear(path: Path) -> bool:
    """Delete one demo's directory unless its demo lives; whether it was deleted."""
    with _unless_locked(path / _LOCK) as dead:
        if dead:
            end_recorded(path)
            _delete(path)
        return dead


@contextlib.contextmanager
def _unless_locked(lock: Path) -> Iterator[bool]:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield True  # a removal that was cut short
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def read_recorded(path: Path) -> list[RecordedProcess]:
    """The processes recorded in a working directory; none where the record is missing or cut short."""
    try:
        found: list[RecordedProcess] = json.loads((path / _RECORD).read_text())
    except (FileNotFoundError, ValueError):
        return []
    return found


def end_recorded(path: Path) -> None:
    """SIGKILL the recorded processes of a demo's directory that still run, and wait until they are gone."""
    recorded = read_recorded(path)
    left = [entry for entry in recorded if entry["started"] and start_time(entry["pid"]) == entry["started"]]
    for entry in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(entry["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and any(start_time(e["pid"]) == e["started"] for e in left):
        time.sleep(0.02)


def start_time(pid: int) -> str | None:
    """When a process started, in the system's own spelling; None when there is none (or only a zombie)."""
    try:
        # After the command name, which may hold anything, in parentheses: state is field 3, start time field 22.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if words[0] == "Z" else words[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def _delete(path: Path) -> None:
    """Remove a tree even while a dying server still writes into it."""
    deadline = time.monotonic() + 5.0
    shutil.rmtree(path, ignore_errors=True)
    while path.exists():
        shutil.rmtree(path, ignore_errors=time.monotonic() < deadline)
        time.sleep(0.05)
