"""The gate of a tenant: until when nothing is asked of it, and whether Graph has said so itself.

In: refusals of quota, waits after silence, what other processes have put on record. Out: seconds until it opens. Rules
(docs/facts.md section 4): a 429 closes it for all threads, until the later of Retry-After and the window's reset;
nothing that comes from outside shuts it for more than an hour.
"""

import random
import threading
from collections.abc import Callable

from connectors.graph.retry_after import bounded
from rowtide import backoff
from rowtide.errors import THROTTLED


class Gate:
    """For any thread."""

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        self.refusals = 0
        """How often in a row Graph has refused quota."""
        self._clock = clock
        self._jitter = random.Random(seed)  # noqa: S311  spreads retries, guards nothing
        self._lock = threading.Lock()
        self._throttled_until = 0.0
        self._paused_until = 0.0

    def left_s(self) -> float:
        """Seconds until it opens; 0 when it is open."""
        return max(0.0, max(self._throttled_until, self._paused_until) - self._clock())

    def throttled_s(self) -> float:
        """Seconds for which Graph has refused quota from now on; for the rest of them nobody answered."""
        return max(0.0, self._throttled_until - self._clock())

    def close(self, seconds: float | None) -> float:
        """Close it because Graph refuses quota, for ``seconds``, or longer each time where it names none; how long."""
        with self._lock:
            if not seconds:  # to ask again at once would earn the next refusal
                seconds = backoff.wait_s(THROTTLED, self.refusals + 1, self._jitter.uniform)
            self.refusals += 1
            seconds = bounded(seconds)
            self._throttled_until = max(self._throttled_until, self._clock() + seconds)
            return seconds

    def share(self, seconds: float, refusals: int) -> bool:
        """Keep it as it is on record after so many refusals: closed for ``seconds``. Whether it is closed anew.

        It is never shut for less than what Graph has said to this process, unless the record speaks of that very
        refusal: then a person has ended the wait.
        """
        with self._lock:
            until = self._clock() + bounded(seconds)
            if refusals == self.refusals:
                self._throttled_until = min(self._throttled_until, until)
                return False
            if until <= self._throttled_until:
                return False
            self.refusals, self._throttled_until = refusals, until
            return True

    def note_success(self) -> None:
        """Note an answer that was no refusal."""
        self.refusals = 0

    def pause(self, seconds: float) -> None:
        """Close it because Graph or its token endpoint does not answer."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + bounded(seconds))

    def end_pause(self, seconds: float) -> None:
        """Let it open after ``seconds``, or as soon as Graph no longer throttles the app."""
        with self._lock:
            self._paused_until = min(self._paused_until, self._clock() + seconds)
