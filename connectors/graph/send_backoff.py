"""Whether Graph answers the writer, throttles it or fails, and how long the writer then waits.

In: the results of batches. Out: the gate of the budget, the size of the next batch, why nothing moves in the tenant;
which lists wait (`list_pauses`). Rules: a 429 closes the gate for the whole app; from the second failure in a row that
is the tenant's on all rows wait, longer each time; after a lost batch the next ones are half as large, because a single
member may have made it fail; a list that fails holds back no other list.
"""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable

from connectors.graph.batch import MEMBERS
from connectors.graph.budget import Budget
from connectors.graph.list_pauses import UNANSWERED, ListPauses
from connectors.graph.retry_after import bounded
from connectors.trouble import Trouble
from rowtide.backoff import Backoff
from rowtide.error_catalogue import graph_errors
from rowtide.errors import RowtideError
from rowtide.holds import FaultHold


class Health:
    """The health of one app in one tenant, and of its lists; `heed`, `hasten` and `forget` are for another thread."""

    def __init__(self, name: str, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._budget = budget
        self._clock = clock
        self._lock = threading.Lock()
        self._paused_until: float | None = None  # all rows wait; None: the tenant does not fail
        self._backoff = Backoff(random.Random(name).uniform)  # noqa: S311  spreads retries, guards nothing
        self._failing = Trouble("graph fails", "graph answers again", graph=name)
        self._throttling = Trouble("throttled by graph", "no longer throttled by graph", graph=name)
        self.lists = ListPauses()
        self._lost_alone: set[str] = set()
        self.batch_size = MEMBERS
        self.failures = 0
        self.throttled = 0

    @property
    def problem(self) -> RowtideError | None:
        """Why nothing moves in the tenant; None when all is well."""
        return self._throttling.problem or self._failing.problem

    @property
    def fault(self) -> FaultHold | None:
        """The fault of the tenant while all its rows wait: Graph throttles the app, or does not answer."""
        if (throttled_s := self._budget.gate.throttled_s()) > 0:
            throttled = graph_errors.GRAPH_THROTTLES(seconds=f"{throttled_s:.0f}")
            return FaultHold.of("tenant", self._name, throttled, self._budget.gate.refusals, throttled_s)
        with self._lock:
            problem, until, failures = self._failing.problem, self._paused_until, self._backoff.failures
        if problem is None or until is None:
            return None
        return FaultHold.of("tenant", self._name, problem, failures, max(0.0, until - self._clock()))

    def heed(self, fault: FaultHold) -> None:
        """Wait for the tenant as another process does."""
        if _is_gate(fault):
            self._budget.share_gate(fault.wait_s, fault.failures)
            return
        with self._lock:
            if self._paused_until is None:
                self._failing.note(fault.problem)
                self._backoff.failures = fault.failures
                self._pause(fault.wait_s)

    def hasten(self, fault: FaultHold) -> None:
        """Wait no longer than is written down by now of the same failure; a gate that others find shut is shut."""
        if _is_gate(fault):
            self._budget.share_gate(fault.wait_s, fault.failures)
            return
        with self._lock:
            until = self._clock() + fault.wait_s
            if (
                self._paused_until is not None
                and self._backoff.failures == fault.failures
                and until < self._paused_until
            ):
                self._paused_until = until
                self._budget.gate.end_pause(fault.wait_s)

    def forget(self, fault: FaultHold) -> None:
        """The tenant fails no more. A gate opens by its time: Graph has named it, and to this process maybe a later."""
        if _is_gate(fault):
            return
        self._budget.gate.end_pause(0.0)
        self._recover()

    def note_throttled(self, afters: Iterable[float | None]) -> float:
        """Closes the gate for the longest of these (None: Graph did not say). Seconds until it opens."""
        seconds = [after_s for after_s in afters if after_s is not None]
        gate_s = self._budget.close_gate(max(seconds) if seconds else None)
        self.throttled += 1
        self._throttling.note(graph_errors.GRAPH_THROTTLES(seconds=f"{gate_s:.0f}"))
        return gate_s

    def note_failure(self, error: RowtideError, sent: bool = True) -> float:
        """Notes that the tenant gives no answer; seconds to wait. What was not ``sent`` closes the gate at once."""
        with self._lock:
            pause_s = self._backoff.failed(error)
            self.failures += 1
            self._failing.note(error)
            if self._backoff.failures > 1 or not sent:
                self._pause(pause_s)
            return pause_s

    def note_asked(self, error: RowtideError, seconds: float) -> None:
        """Notes that Graph did not answer, and asks everybody to wait for so long."""
        with self._lock:
            self._backoff.failures = max(1, self._backoff.failures)
            self._failing.note(error)
            self._pause(seconds)

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until or 0.0, self._clock() + bounded(seconds))
        self._budget.gate.pause(seconds)

    def note_lost_batch(self, lists: Collection[str], error: RowtideError) -> None:
        """Notes that a batch with these lists was lost as a whole.

        The list that was alone in it is to blame, as long as no other list was lost so; else the tenant is.
        """
        if len(lists) == 1:
            self._lost_alone.update(lists)
            if len(self._lost_alone) == 1:
                self.failures += 1
                self.lists.unanswered(next(iter(lists)), error, UNANSWERED)
                return
        self.note_failure(error)

    def note_lost(self, members: int) -> None:
        """Notes that a batch of so many members was lost as a whole."""
        self.batch_size = max(1, min(self.batch_size, members) // 2)

    def note_answered(self) -> None:
        """Notes that a batch was answered, whatever its members say."""
        self.batch_size = min(MEMBERS, self.batch_size * 2)

    def note_success(self) -> None:
        """Notes that a batch was answered, and not only by refusals."""
        if self._budget.gate.left_s() > 0:
            return  # an answer to what was sent before the gate closed
        self._throttling.succeeded()
        self._recover()
        self._budget.gate.note_success()

    def _recover(self) -> None:
        with self._lock:
            self._failing.succeeded()
            self._backoff.succeeded()
            self._lost_alone.clear()
            self._paused_until = None


def _is_gate(fault: FaultHold) -> bool:
    """Whether Graph throttles the app; else it does not answer."""
    return fault.code == graph_errors.GRAPH_THROTTLES.code
