"""The state database's clock, as far as a process knows it.

In: the database's time, at the start and with each beat. Out: `now`, for leases and attempts, which it dates. Rule:
between two readings a monotonic clock counts, so that neither a wrong clock of this machine nor one that is set changes
what `now` says.
"""

import time
from datetime import datetime, timedelta

from state.database import Connection


class StateClock:
    """The state database's time at one moment and what has passed since; any thread reads it."""

    def __init__(self, server: datetime, at_s: float) -> None:
        """``server`` was the time when the monotonic clock showed ``at_s``."""
        self._known = (server, at_s)

    @classmethod
    def read(cls, connection: Connection) -> "StateClock":
        """The clock by a first reading."""
        return cls(*_ask(connection))

    def now(self) -> datetime:
        """The time by the state database."""
        server, at_s = self._known
        return server + timedelta(seconds=time.monotonic() - at_s)

    def set_by(self, connection: Connection) -> None:
        """Read the database's time again."""
        self._known = _ask(connection)


def _ask(connection: Connection) -> tuple[datetime, float]:
    """The database's time, and the monotonic clock halfway between question and answer."""
    before = time.monotonic()
    [(server,)] = connection.execute("SELECT clock_timestamp()").fetchall()
    return server, (before + time.monotonic()) / 2
