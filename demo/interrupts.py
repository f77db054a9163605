"""Ctrl-C, SIGTERM and a closed terminal: counted when they come, acted on only where that is safe.

In: signals. Out: waits that end early and raise `Interrupted`. Rule: a handler only counts, so that clearing up is
never cut short; the first Ctrl-C ends the workload and the demo still compares, a second one (or SIGTERM, or SIGHUP)
ends it at once.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AT_ONCE = 2


class Interrupted(Exception):
    """A person wants the demo to end now."""


class Interrupts:
    """How often somebody asked for the end; ``patience`` is how many requests the present phase ignores."""

    def __init__(self) -> None:
        self.count = 0
        self.patience = 0
        self._news = threading.Event()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Count signals instead of ending, for the length of the block."""
        before = {signum: signal.signal(signum, self._note) for signum in _SIGNALS}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self.count += 1 if signum == signal.SIGINT else _AT_ONCE
        self._news.set()

    @property
    def asked(self) -> bool:
        """Whether anybody has asked for the end."""
        return self.count > 0

    def check(self) -> None:
        """Raise `Interrupted` when there were more requests than the phase ignores."""
        if self.count > self.patience:
            raise Interrupted

    def wait(self, seconds: float) -> None:
        """Sleep until the time is over or somebody asks for the end; raises as `check` does."""
        deadline = time.monotonic() + seconds
        self.check()
        while (left := deadline - time.monotonic()) > 0:
            self._news.clear()
            self.check()
            if self._news.wait(left):
                self.check()
                return
