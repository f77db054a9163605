"""Which lists of a tenant wait after failures, how long, and when one row of each is tried.

In: what Graph answers for lists, or does not. Out: seconds to wait before the rows of a list may be sent. Rules
(docs/design.md section 6): a list that refuses, or that leaves three requests in a row unanswered, waits by itself,
longer each time; when its wait is over one row is sent, and an answer to it ends the trouble.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from connectors.trouble import Trouble
from rowtide.error_catalogue.graph_errors import LIST_REFUSED, LIST_UNANSWERED
from rowtide.errors import RowtideError
from rowtide.holds import ListFault

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
    """The lists of one tenant. Used by the writer's thread; `problems`, `faults` and `waits` are for others, too."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        self._unanswered: Counter[str] = Counter()

    @property
    def problems(self) -> dict[str, RowtideError]:
        """Why single lists do not move, by list id."""
        found = ((list_id, one.trouble.problem) for list_id, one in list(self._waiting.items()))
        return {list_id: problem for list_id, problem in found if problem is not None}

    @property
    def faults(self) -> list[ListFault]:
        """The lists that fail, each with the time until it is tried again."""
        return [
            ListFault(list_id, problem.code, problem.sentence, one.trouble.failures, self._left_s(one))
            for list_id, one in list(self._waiting.items())
            if (problem := one.trouble.problem) is not None
        ]

    def restore(self, fault: ListFault) -> None:
        """Wait for a list as the process before did."""
        if fault.list_id in self._waiting:
            return
        entry = LIST_UNANSWERED if fault.code == LIST_UNANSWERED.code else LIST_REFUSED
        waiting = _Waiting(fault.list_id, self._clock)
        waiting.trouble.resume(entry.kind(fault.code, fault.sentence, entry.remedy), fault.failures)
        waiting.until = self._clock() + fault.wait_s
        self._waiting[fault.list_id] = waiting

    @property
    def waits(self) -> dict[str, float]:
        """By list that fails the seconds until one row of it may be sent."""
        return {list_id: self.wait_s(list_id) for list_id in list(self._waiting)}

    def failed(self, list_id: str, error: RowtideError) -> float:
        """The list refused or was lost; seconds that it waits. What comes while it waits already makes it no longer."""
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
        if self._waiting and list_id in self._waiting:
            self._waiting.pop(list_id).trouble.succeeded()

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
        waiting = self._waiting[list_id]
        waiting.trying, waiting.until = True, self._clock() + for_s
