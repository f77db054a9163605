"""How quickly each sync moves, in one process: what was done for it in the last seconds.

In: counts of stages, settles and passes, from any thread. Out: `rates`, for the beat. Rule: this is the evidence of
movement that `status` goes by, so it is noted only where something is durably done, and is forgotten soon.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Literal

Step = Literal["changes", "delivered", "compared"]
"""changes: of the stream, staged · delivered: rows settled · compared: rows and items that a pass has read."""

WINDOW_S: Final = 10.0
"""A sync for which nothing was done for so long does not move."""


class Pace:
    """The pace of the syncs of a process; no call waits for anything."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._done: deque[tuple[float, str, Step, int]] = deque()

    def note(self, sync: str, step: Step, count: int) -> None:
        """Add ``count`` to what was done for a sync."""
        if count > 0:
            with self._lock:
                now = self._clock()
                self._forget(now)
                self._done.append((now, sync, step, count))

    def rates(self) -> Mapping[str, Mapping[str, float]]:
        """By sync and step how many a second, as far as anything was done lately."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            done = list(self._done)
        span_s = min(WINDOW_S, max(1.0, now - self._began))
        rates: dict[str, dict[str, float]] = {}
        for _, sync, step, count in done:
            of_sync = rates.setdefault(sync, {})
            of_sync[step] = of_sync.get(step, 0.0) + count / span_s
        return rates

    def _forget(self, now: float) -> None:
        while self._done and self._done[0][0] < now - WINDOW_S:
            self._done.popleft()
