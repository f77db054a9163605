"""Whether Graph answers the writer, throttles it or fails, and how long the writer then waits.

In: the results of batches. Out: the gate of the budget, the size of the next batch, one sentence why nothing moves.
Rules: a 429 closes the gate for the whole app; from the second failure in a row on all rows wait, longer each time;
after a lost batch the next ones are half as large, because a single member may have made it fail.
"""

import random
from collections.abc import Iterable

from connectors.graph.batch import MEMBERS
from connectors.graph.budget import Budget
from connectors.trouble import Trouble
from rowtide.error_catalogue import graph_errors
from rowtide.errors import RowtideError


class Health:
    """The health of one app in one tenant; ``lists``: why single lists do not move, by list id."""

    def __init__(self, name: str, budget: Budget) -> None:
        self._budget = budget
        jitter = random.Random(name).uniform  # noqa: S311  spreads retries, guards nothing
        self._failing = Trouble("graph fails", "graph answers again", jitter, graph=name)
        self._throttling = Trouble("throttled by graph", "no longer throttled by graph", graph=name)
        self.problem: str | None = None
        self.lists: dict[str, str] = {}
        self.batch_size = MEMBERS
        self.failures = 0
        self.throttled = 0

    def note_throttled(self, afters: Iterable[float | None]) -> float:
        """Closes the gate for the longest of these (None: Graph did not say). Seconds until it opens."""
        seconds = [after_s for after_s in afters if after_s is not None]
        gate_s = self._budget.close_gate(max(seconds) if seconds else None)
        self.throttled += 1
        throttles = graph_errors.GRAPH_THROTTLES(seconds=f"{gate_s:.0f}")
        self._throttling.note(throttles)
        self.problem = throttles.sentence
        return gate_s

    def note_failure(self, error: RowtideError, sent: bool = True) -> float:
        """Notes a batch without an answer; seconds to wait. A batch that was not ``sent`` closes the gate at once."""
        pause_s = self._failing.failed(error)
        self.failures += 1
        self.problem = error.sentence
        if self._failing.failures > 1 or not sent:
            self._budget.pause(pause_s)
        return pause_s

    def note_lost(self, members: int) -> None:
        """Notes that a batch of so many members was lost as a whole."""
        self.batch_size = max(1, min(self.batch_size, members) // 2)

    def note_answered(self) -> None:
        """Notes that a batch was answered, whatever its members say."""
        self.batch_size = min(MEMBERS, self.batch_size * 2)

    def note_success(self) -> None:
        """Notes that a batch was answered, and not only by refusals."""
        if self._budget.gate_s() > 0:
            return  # an answer to what was sent before the gate closed
        self._failing.succeeded()
        self._throttling.succeeded()
        self.problem = None
        self._budget.note_success()
