"""Our own heartbeats as the stream shows them, until everything before them is staged.

In: heartbeats where they stand in the stream (the reader's thread), places that are staged (the slot confirmer's). Out:
the newest heartbeat that a place is beyond, which is noted with the cursor. Rule: one counts as staged only when the
cursor has passed it: what was committed before it is then in the outbox (docs/design.md section 24).
"""

from collections import deque
from typing import Final

MOST: Final = 1000
"""While the cursor cannot be written, the oldest are forgotten."""


class HeardHeartbeats:
    """One for the life of a reader; those of an earlier stream are forgotten when the next one begins."""

    def __init__(self) -> None:
        self._heard: deque[tuple[int, int]] = deque(maxlen=MOST)

    def begin(self) -> None:
        """A stream begins: what the one before it has shown is shown again, or is void."""
        self._heard.clear()

    def hear(self, lsn: int, number: int) -> None:
        """The stream has shown the heartbeat of this number at ``lsn``."""
        self._heard.append((lsn, number))

    def before(self, lsn: int) -> int:
        """The number of the newest one that everything up to ``lsn`` includes; 0: none is new."""
        return max((number for at, number in tuple(self._heard) if at <= lsn), default=0)

    def noted(self, number: int) -> None:
        """That one is on record; it and those before it are of no use any more."""
        while self._heard and self._heard[0][1] <= number:
            self._heard.popleft()
