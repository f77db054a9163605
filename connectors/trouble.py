"""What a loop cannot do at the moment: how long it waits, and what the log says of it.

In: the errors and successes of one loop. Out: seconds to wait (`rowtide.backoff`); one log line when a problem appears,
when it changes, and when it ends, with the seconds that it lasted. Rules (docs/design.md section 15): an attempt is no
news, however often it fails; what every loop of a process meets at once, a state database that does not answer, is
said once for all of them.
"""

import threading
import time
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

import structlog

from rowtide.backoff import Backoff, Jitter
from rowtide.error_catalogue import state_errors
from rowtide.errors import RowtideError

log = structlog.get_logger()

MOST_SENTENCES: Final = 5
"""Of one problem so many sentences are logged: some have a number in them that is another one each time."""

Clock = Callable[[], float]


class _Voice:
    """The log lines of one problem from its begin to its end."""

    def __init__(self, begins: str, ends: str, clock: Clock, **where: object) -> None:
        self._begins, self._ends, self._where = begins, ends, where
        self._clock = clock
        self._since = 0.0
        self._said: dict[tuple[str, str], None] = {}

    def note(self, error: RowtideError, fault: Exception | None = None) -> None:
        """Say what the problem is now, if that is news."""
        if not self._said:
            self._since = self._clock()
        if self._is_news(error):
            self._said[error.code, error.sentence] = None
            more: dict[str, object] = {"remedy": error.remedy} if error.remedy else {}
            if fault is not None and fault is not error:
                more["exc_info"] = fault
            log.warning(self._begins, **self._where, code=error.code, problem=error.sentence, **more)

    def ended(self, code: str) -> None:
        """Say that it is over, if it was ever said."""
        if self._said:
            self._said.clear()
            log.info(self._ends, **self._where, code=code, after_s=round(self._clock() - self._since, 1))

    def _is_news(self, error: RowtideError) -> bool:
        """Another code is always news, also where two take turns: each is said once."""
        if all(error.code != code for code, _ in self._said):
            return True
        return (error.code, error.sentence) not in self._said and len(self._said) < MOST_SENTENCES


class _Outage:
    """What every loop asks does not answer: the first one that meets it says so, the last one that it is over."""

    def __init__(self, begins: str, ends: str, code: str, clock: Clock = time.monotonic) -> None:
        self.code = code
        self._voice = _Voice(begins, ends, clock)
        self._lock = threading.Lock()
        self._met_by: WeakSet[Trouble] = WeakSet()

    def met_by(self, trouble: "Trouble", error: RowtideError) -> None:
        """The loop of this trouble is not answered."""
        with self._lock:
            self._voice.note(error)
            self._met_by.add(trouble)

    def over_for(self, trouble: "Trouble") -> None:
        """It is answered again, or meets something else."""
        with self._lock:
            if trouble in self._met_by:
                self._met_by.discard(trouble)
                if not self._met_by:
                    self._voice.ended(self.code)


_state_database: Final = _Outage(
    "state database is away", "state database answers again", state_errors.STATE_UNREACHABLE.code
)


class Trouble:
    """The trouble of one loop, which asks it how long to wait. Not for two threads at a time."""

    def __init__(
        self, begins: str, ends: str, jitter: Jitter | None = None, clock: Clock = time.monotonic, **where: object
    ) -> None:
        """``begins`` and ``ends`` name the events of the log; ``where`` stands in each line (a slot, a graph)."""
        self.problem: RowtideError | None = None
        self._voice = _Voice(begins, ends, clock, **where)
        self._backoff = Backoff(jitter)

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
        self.problem = error
        if error.code == _state_database.code:
            _state_database.met_by(self, error)
        else:
            _state_database.over_for(self)
            self._voice.note(error, fault)

    def succeeded(self) -> None:
        """Note a success: the problem is over, and the next failure counts as the first one again."""
        self._backoff.succeeded()
        if self.problem is None:
            return
        code, self.problem = self.problem.code, None
        _state_database.over_for(self)
        self._voice.ended(code)
