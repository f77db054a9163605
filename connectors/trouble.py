"""What a loop cannot do at the moment: how long it waits, and what the log says of it.

In: the errors and successes of one loop. Out: seconds to wait (`rowtide.backoff`); one log line when a problem appears,
when it changes, and when it ends, with the seconds that it lasted. Rule (docs/design.md section 15): an attempt is no
news, however often it fails.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog

from rowtide.backoff import Backoff, Jitter
from rowtide.errors import RowtideError

log = structlog.get_logger()

MOST_SENTENCES: Final = 5
"""Of one problem so many sentences are logged: some have a number in them that is another one each time."""


class Trouble:
    """The trouble of one loop, which asks it how long to wait. Not for two threads at a time."""

    def __init__(
        self,
        begins: str,
        ends: str,
        jitter: Jitter | None = None,
        clock: Callable[[], float] = time.monotonic,
        **where: object,
    ) -> None:
        """``begins`` and ``ends`` name the events of the log; ``where`` stands in each line (a slot, a graph)."""
        self.problem: RowtideError | None = None
        self._begins, self._ends, self._where = begins, ends, where
        self._backoff = Backoff(jitter)
        self._clock = clock
        self._since = 0.0
        self._said: set[tuple[str, str]] = set()

    @property
    def failures(self) -> int:
        """How many attempts in a row have failed."""
        return self._backoff.failures

    def resume(self, error: RowtideError, failures: int) -> None:
        """Go on with a problem that was there before, after so many failures in a row."""
        self.note(error)
        self._backoff.failures = failures

    def failed(self, error: RowtideError, fault: Exception | None = None) -> float:
        """Note a failure; seconds to wait before the next attempt. A ``fault`` of our own is logged with its stack."""
        self.note(error, fault)
        return self._backoff.failed(error)

    def note(self, error: RowtideError, fault: Exception | None = None) -> None:
        """Note what the problem is now, for a loop that has a pace of its own."""
        if self.problem is None:
            self._since = self._clock()
        self.problem = error
        if self._is_news(error):
            self._said.add((error.code, error.sentence))
            more: dict[str, object] = {"remedy": error.remedy} if error.remedy else {}
            if fault is not None and fault is not error:
                more["exc_info"] = fault
            log.warning(self._begins, **self._where, code=error.code, problem=error.sentence, **more)

    def succeeded(self) -> None:
        """Note a success: the problem is over, and the next failure counts as the first one again."""
        self._backoff.succeeded()
        if self.problem is None:
            return
        code, self.problem = self.problem.code, None
        self._said.clear()
        log.info(self._ends, **self._where, code=code, after_s=round(self._clock() - self._since, 1))

    def _is_news(self, error: RowtideError) -> bool:
        """Another code is always news, also where two take turns: each is said once."""
        if all(error.code != code for code, _ in self._said):
            return True
        return (error.code, error.sentence) not in self._said and len(self._said) < MOST_SENTENCES
