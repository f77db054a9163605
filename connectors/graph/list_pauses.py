"""Which lists of a tenant wait after failures, how long, and when one row of each is tried.

In: what Graph answers for lists, or does not. Out: seconds to wait before the rows of a list may be sent. Rules
(docs/design.md section 6): a list that refuses, or that leaves three requests in a row unanswered, waits by itself,
longer each time; when its wait is over one row is sent, and an answer to it ends the trouble.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from connectors.trouble import Trouble
from rowtide.errors import RowtideError
from rowtide.holds import FaultHold

UNANSWERED: Final = 3
"""Requests of one list in a row without an answer, after which the list waits."""

TRYING_S: Final = 1.0
"""Seconds after which the other rows of a list come back while one of them is tried."""


class _Waiting:
    """The trouble of one list."""

    def __init__(self, list_id: str, clock: Callable[[], float]) -> None:
        self.trouble = Trouble("list fails", "list answers again", list_id=list_id)
        self.until = clock()
        self.trying = False


class ListPauses:
    """The lists of one tenant, for the writer's thread, and for the one that keeps the record."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._unanswered: Counter[str] = Counter()

    @property
    def problems(self) -> dict[str, RowtideError]:
        """Why single lists do not move, by list id."""
        found = ((list_id, one.trouble.problem) for list_id, one in list(self._waiting.items()))
        return {list_id: problem for list_id, problem in found if problem is not None}

    @property
    def faults(self) -> list[FaultHold]:
        """The lists that fail, each with the time until it is tried again."""
        return [
            FaultHold.of("list", list_id, problem, one.trouble.failures, self._left_s(one))
            for list_id, one in list(self._waiting.items())
            if (problem := one.trouble.problem) is not None
        ]

    def heed(self, fault: FaultHold) -> None:
        """Wait for a list as another process does."""
        with self._lock:
            if fault.object not in self._waiting:
                waiting = _Waiting(fault.object, self._clock)
                waiting.trouble.resume(fault.problem, fault.failures)
                waiting.until += fault.wait_s
                self._waiting[fault.object] = waiting

    def hasten(self, fault: FaultHold) -> None:
        """Wait no longer than is written down by now of the same failure."""
        with self._lock:
            waiting = self._waiting.get(fault.object)
            if waiting is not None and not waiting.trying and waiting.trouble.failures == fault.failures:
                waiting.until = min(waiting.until, self._clock() + fault.wait_s)

    def forget(self, list_id: str) -> None:
        """The list fails no more."""
        with self._lock:
            if (waiting := self._waiting.pop(list_id, None)) is not None:
                waiting.trouble.succeeded()

    @property
    def waits(self) -> dict[str, float]:
        """By list that fails the seconds until one row of it may be sent."""
        return {list_id: self.wait_s(list_id) for list_id in list(self._waiting)}

    def failed(self, list_id: str, error: RowtideError) -> float:
        """The list refused or was lost; seconds that it waits. What comes while it waits already makes it no longer."""
        with self._lock:
            waiting = self._waiting.setdefault(list_id, _Waiting(list_id, self._clock))
            now = self._clock()
            if waiting.trying or now >= waiting.until:
                waiting.until = now + waiting.trouble.failed(error)
                waiting.trying = False
            else:
                waiting.trouble.note(error)
            return waiting.until - now

    def unanswered(self, list_id: str, error: RowtideError, requests: int = 1) -> None:
        """So many requests of the list got no answer."""
        self._unanswered[list_id] += requests
        if self._unanswered[list_id] >= UNANSWERED or list_id in self._waiting:
            self.failed(list_id, error)

    def answered(self, list_id: str) -> None:
        """Graph answered for the list."""
        if self._unanswered:
            self._unanswered.pop(list_id, None)
        if self._waiting:
            self.forget(list_id)

    def is_waiting(self, list_id: str) -> bool:
        """Whether the list has failed and was not answered for since."""
        return list_id in self._waiting

    def wait_s(self, list_id: str) -> float:
        """Seconds until a row of the list may be sent; 0: now, and only one row if the list `is_waiting`."""
        waiting = self._waiting.get(list_id)
        if waiting is None:
            return 0.0
        left_s = self._left_s(waiting)
        return min(left_s, TRYING_S) if waiting.trying else left_s

    def _left_s(self, waiting: _Waiting) -> float:
        return max(0.0, waiting.until - self._clock())

    def tries(self, list_id: str, for_s: float) -> None:
        """One row of the list is sent to see whether it is answered; after ``for_s`` another one may be."""
        with self._lock:
            if (waiting := self._waiting.get(list_id)) is not None:  # else it was forgotten a moment ago
                waiting.trying, waiting.until = True, self._clock() + for_s
