"""Ctrl-C, SIGTERM and a closed terminal: counted when they come, acted on only where that is safe.

In: signals. Out: waits that end early and raise `Interrupted`. Rules: a handler only counts, so that clearing up is
never cut short, and takes no lock, because the thread that it interrupts may hold it; the first Ctrl-C ends the
workload and the demo still compares, a second one (or SIGTERM, or SIGHUP) ends it at once.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AT_ONCE = 2
_TURN_S = 0.05
"""Seconds between two looks at the count."""


class Interrupted(Exception):
    """A person wants the demo to end now."""


class Interrupts:
    """How often somebody asked for the end; ``patience`` is how many requests the present phase ignores."""

    def __init__(self) -> None:
        self.count = 0
        self.patience = 0

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
        deadline, before = time.monotonic() + seconds, self.count
        self.check()
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _TURN_S))
            self.check()
            if self.count > before:
                return
