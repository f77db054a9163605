"""Child processes that cannot outlive this one: recorded in a working directory, ended in reverse order.

In: module names and arguments. Out: running processes, their output in files of the working directory. Rules: secrets
go to children by file only, never in arguments; no child imports from the directory that it is started in; a child has
a session of its own, so Ctrl-C reaches its parent alone, which then ends its children in order.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from demo.workdir import Workdir
from rowtide.error_catalogue import command_errors

_GRACE_S = 5.0


class Child:
    """One process; ``output`` is its stdout, ``log`` its stderr, both files."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], output: Path, log: Path) -> None:
        self.name = name
        self.process = process
        self.output = output
        self.log = log

    def check(self) -> None:
        """Raise ChildFailed with its last words when the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise command_errors.DEMO_CHILD(problem=f"{self.name} ended (exit code {code}): {self.last_words()}")

    def last_words(self, lines: int = 5) -> str:
        """The last lines that it wrote to stderr."""
        return " | ".join(self.log.read_text(errors="replace").strip().splitlines()[-lines:]) or "it said nothing"

    def wait(self, wait: Callable[[float], None], timeout_s: float) -> int:
        """Its exit code; ChildFailed when it takes longer. ``wait`` sleeps, and raises to give up."""
        deadline = time.monotonic() + timeout_s
        while (code := self.process.poll()) is None:
            if time.monotonic() > deadline:
                raise command_errors.DEMO_CHILD(
                    problem=f"{self.name} took longer than {timeout_s:.0f} s: {self.last_words()}"
                )
            wait(0.05)
        return code

    def first_line(self, wait: Callable[[float], None], timeout_s: float) -> str:
        """The first whole line of its stdout."""
        deadline = time.monotonic() + timeout_s
        while "\n" not in (text := self.output.read_text(errors="replace")):
            self.check()
            if time.monotonic() > deadline:
                raise command_errors.DEMO_CHILD(problem=f"{self.name} was not ready within {timeout_s:.0f} s")
            wait(0.02)
        return text.partition("\n")[0]

    def end(self, grace_s: float = _GRACE_S) -> None:
        """Send SIGTERM, and SIGKILL when it has not ended after ``grace_s``."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def _environment() -> dict[str, str]:
    """Our own, with this machine taken out of what a proxy serves: the simulator is here."""
    direct = {name: f"{os.environ.get(name, '')},127.0.0.1".lstrip(",") for name in ("NO_PROXY", "no_proxy")}
    return {**os.environ, **direct, "PYTHONUNBUFFERED": "1"}


class Children:
    """All child processes of one working directory."""

    def __init__(self, home: Workdir) -> None:
        self._home = home
        self._running: list[Child] = []

    def start(self, name: str, module: str, *arguments: str) -> Child:
        """Start ``python -m module arguments`` as a process that ends with this one.

        To be called from the main thread: Linux ties the child to the thread that starts it.
        """
        output, log = self._home.path / f"{name}.out", self._home.path / f"{name}.log"
        with output.open("wb") as stdout, log.open("ab") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "demo.parent_watch", str(os.getpid()), module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                env=_environment(),
            )
        child = Child(name, process, output, log)
        self._running.append(child)
        self._home.record(name, process.pid)
        return child

    def check(self, *names: str) -> None:
        """Raise ChildFailed when one of the named children has ended."""
        for child in self._running:
            if child.name in names:
                child.check()

    def forget(self, child: Child) -> None:
        """Drop a child that has ended."""
        self._running.remove(child)

    def end(self, name: str | None = None) -> None:
        """End every child, or those of that name, the youngest first."""
        for child in reversed([one for one in self._running if name in (None, one.name)]):
            child.end()
            self._running.remove(child)
