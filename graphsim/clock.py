"""The simulator's time: every module asks this clock, so a test can move it and a history can be replayed.

In: a source of seconds since 1970 (the system's by default). Out: seconds, and Graph's text form of an instant. Rule:
the time never goes back.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

# The beginning of the year 8000; dates of lists end in 8900.
_LAST = 190_288_396_800.0


class Clock:
    """Seconds since 1970, moved forward at will by `advance`."""

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._offset_s = 0.0
        self._last = 0.0

    def now(self) -> float:
        """Seconds since 1970, never less than at the call before."""
        self._last = max(self._last, self._source() + self._offset_s)
        return self._last

    def advance(self, seconds: float) -> None:
        """Moves the time forward, as if the seconds had passed; ValueError for a time that no calendar has."""
        if self.now() + seconds > _LAST:
            raise ValueError("the clock goes up to the year 8000")
        self._offset_s += max(0.0, seconds)


@lru_cache(maxsize=4096)
def to_text(second: int) -> str:
    """`2026-01-01T00:00:00Z`: lists show whole seconds."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
