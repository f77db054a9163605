"""The state database's clock, as far as a process knows it.

In: the server's time, once a second. Out: `now`, for leases and attempts, which the database dates. Rule: if this
machine's clock is wrong by a minute, only the offset changes.
"""

from datetime import UTC, datetime, timedelta


class StateClock:
    """This machine's clock with an offset; any thread reads it."""

    def __init__(self) -> None:
        self._offset = timedelta(0)

    def now(self) -> datetime:
        """The time by the state database."""
        return datetime.now(UTC) + self._offset

    def set(self, server: datetime, round_trip_s: float) -> None:
        """Take over the server's time, which has just arrived; half of the round trip counts as the way back."""
        self._offset = server - datetime.now(UTC) + timedelta(seconds=round_trip_s / 2)
