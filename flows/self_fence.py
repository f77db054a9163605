"""Whether this process may still send the rows that it has claimed, or others may have them by now.

In: each beat that found the process on record and its lock held. Out: `allows`, for the writers. Rule (docs/design.md
section 10): a process stops sending before anybody may give up its leases, and what it claimed before such a silence
is not sent any more. A request that is on its way then is harmless: it changes one version of an item (If-Match), or
is a POST that everybody waits for.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from state.processes import DEAD_S

HELD_S: Final = DEAD_S - 1.0
"""Seconds after the beginning of a good beat in which the process may send."""

_MARGIN: Final = timedelta(seconds=1)
"""How far a process may be wrong about the state database's time."""


class SelfFence:
    """Told by the beating thread, asked by the writers' threads."""

    def __init__(self, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic) -> None:
        """``now``: the state database's clock, by which leases are dated."""
        self._now = now
        self._monotonic = monotonic
        # The start of the last good beat. What was claimed before the other moment may be others' by now.
        self._held: tuple[float, datetime] | None = None

    def confirmed(self, began_s: float) -> None:
        """A beat that began when the monotonic clock showed ``began_s`` was good."""
        since = datetime.min.replace(tzinfo=UTC)
        if self._held is not None:
            last_s, since = self._held
            if self._monotonic() - last_s > HELD_S:
                since = self._now() + _MARGIN
        self._held = (began_s, since)

    def allows(self, claimed_at: datetime) -> bool:
        """Whether what was claimed at this time by the state database's clock may be sent."""
        if self._held is None:
            return False
        began_s, since = self._held
        return claimed_at >= since and self._monotonic() - began_s <= HELD_S
