"""How long a loop waits before it asks something outside again: one backoff for every loop.

In: the error of each failure. Out: seconds to wait, doubled with each failure in a row, between the bounds that
`rowtide.errors.reaction_to` gives for the error. Rule: nothing waits here and nothing reads a clock; the loop waits on
its own event, so that a stop is obeyed at once. Randomness comes in as an argument.
"""

from collections.abc import Callable
from typing import Final

from rowtide.errors import Retry, RowtideError, bounds_of

Jitter = Callable[[float, float], float]
"""Returns a number between two others, such as ``random.Random(seed).uniform``."""

SPREAD: Final = 0.25
"""With jitter, a wait is up to this share shorter or longer."""

_MOST_DOUBLINGS: Final = 30


def wait_s(bounds: Retry, failures: int, jitter: Jitter | None = None) -> float:
    """Seconds to wait after so many failures in a row (1: the first)."""
    doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
    seconds = min(bounds.most_s, bounds.first_s * 2.0**doublings)
    return seconds if jitter is None else seconds * jitter(1.0 - SPREAD, 1.0 + SPREAD)


class Backoff:
    """The failures in a row of one loop."""

    def __init__(self, jitter: Jitter | None = None) -> None:
        self.failures = 0
        self._jitter = jitter

    def failed(self, error: RowtideError) -> float:
        """Count a failure; seconds to wait before the next attempt."""
        self.failures += 1
        return wait_s(bounds_of(error), self.failures, self._jitter)

    def succeeded(self) -> None:
        """Something outside answered: the next failure counts as the first one again."""
        self.failures = 0
