"""What a loop cannot do at the moment: how long it waits, and what the log says of it.

In: the errors and successes of one loop. Out: seconds to wait (`rowtide.backoff`); one log line when a problem appears,
when it changes, and when it ends, with the seconds that it lasted; how often which error was met (`errors`). Rules
(docs/design.md section 15): an attempt is no news, however often it fails; what every loop of a process meets at once,
a state database or a source that does not answer, is said once for all of them.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final
from weakref import WeakSet

import structlog

from rowtide.backoff import Backoff, Jitter
from rowtide.error_catalogue import source_errors, state_errors
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
            self._said[error.code, error.unquoted] = None
            more: dict[str, object] = {"remedy": error.remedy} if error.remedy else {}
            if fault is not None and fault is not error:
                more["exc_info"] = fault
            log.warning(self._begins, **self._where, code=error.code, problem=error.unquoted, **more)

    def ended(self, code: str) -> None:
        """Say that it is over, if it was ever said."""
        if self._said:
            self._said.clear()
            log.info(self._ends, **self._where, code=code, after_s=round(self._clock() - self._since, 1))

    def has_said(self, code: str) -> bool:
        """Whether a problem of this code was said since it all began."""
        return any(code == said for said, _ in self._said)

    def _is_news(self, error: RowtideError) -> bool:
        """Another code is always news, also where two take turns: each is said once."""
        if not self.has_said(error.code):
            return True
        return (error.code, error.unquoted) not in self._said and len(self._said) < MOST_SENTENCES


class _Outage:
    """What many loops ask does not answer: the first one that meets it says so, the last one that it is over."""

    def __init__(
        self, begins: str, ends: str, codes: Collection[str], *, by_code: bool = False, **where: object
    ) -> None:
        """``by_code``: another sentence is no news, because it says what a loop was about to do."""
        self.codes = codes
        self._by_code = by_code
        self._code = ""
        self._voice = _Voice(begins, ends, time.monotonic, **where)
        self._lock = threading.Lock()
        self._met_by: WeakSet[Trouble] = WeakSet()

    def met_by(self, trouble: "Trouble", error: RowtideError) -> None:
        """The loop of this trouble is not answered."""
        with self._lock:
            if not (self._by_code and self._voice.has_said(error.code)):
                self._voice.note(error)
            self._code = error.code
            self._met_by.add(trouble)

    def over_for(self, trouble: "Trouble") -> None:
        """It is answered again, or meets something else."""
        with self._lock:
            if trouble in self._met_by:
                self._met_by.discard(trouble)
                if not self._met_by:
                    self._voice.ended(self._code)


_state_database: Final = _Outage(
    "state database is away", "state database answers again", {state_errors.STATE_UNREACHABLE.code}
)

_sources: Final[dict[str, _Outage]] = {}
_sources_lock: Final = threading.Lock()


def _source(name: str) -> _Outage:
    """The outage of the source of this name, whether there is one or not."""
    with _sources_lock:
        if name not in _sources:
            _sources[name] = _Outage(
                "source is away", "source answers again", source_errors.AWAY, by_code=True, source=name
            )
        return _sources[name]


_met: Final[Counter[str]] = Counter()
_met_lock: Final = threading.Lock()


def errors() -> Mapping[str, int]:
    """How many attempts of the process's loops have failed, by error code."""
    with _met_lock:
        return dict(_met)


class Trouble:
    """The trouble of one loop, which asks it how long to wait. Not for two threads at a time."""

    def __init__(
        self,
        begins: str,
        ends: str,
        jitter: Jitter | None = None,
        clock: Clock = time.monotonic,
        source: str = "",
        **where: object,
    ) -> None:
        """``begins`` and ``ends`` name the events of the log; ``where`` stands in each line (a slot, a graph).

        ``source``: the PostgreSQL that the loop asks, if it asks one.
        """
        self.problem: RowtideError | None = None
        self._outages = [_state_database, _source(source)] if source else [_state_database]
        self._voice = _Voice(begins, ends, clock, **where, **({"source": source} if source else {}))
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
        with _met_lock:
            _met[error.code] += 1
        met = next((outage for outage in self._outages if error.code in outage.codes), None)
        for outage in self._outages:
            if outage is not met:
                outage.over_for(self)
        if met is None:
            self._voice.note(error, fault)
        else:
            met.met_by(self, error)

    def succeeded(self) -> None:
        """Note a success: the problem is over, and the next failure counts as the first one again."""
        self._backoff.succeeded()
        if self.problem is None:
            return
        code, self.problem = self.problem.code, None
        for outage in self._outages:
            outage.over_for(self)
        self._voice.ended(code)
