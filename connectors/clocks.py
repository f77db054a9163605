"""This machine's clock: how it stands to a server's, and whether it was set back; and how far two servers' are apart.

In: a session on a PostgreSQL, the dates of Graph's answers. Out: a finding of `doctor`; the seconds of a step; where a
server's clock stands beside the monotonic one. Rule: nothing that runs depends on this clock (waits are monotonic;
leases and due times are the state database's; servers are compared by the monotonic clock), so its time is read here
and to reckon the life of a token, and nowhere else (tests/repository/rules.py).
"""

import time
from collections import deque
from email.utils import parsedate_to_datetime
from typing import Any, Final

import psycopg

from rowtide.error_catalogue import doctor_findings
from rowtide.error_catalogue.entries import Check

SKEW_S: Final = 2.0
"""A difference that is worth a word."""
ANSWERS: Final = 32
ANSWERS_KEPT_S: Final = 600.0
"""So many answers, and for so long, say where a server's clock stands."""


def check(connection: psycopg.Connection[Any]) -> Check:
    """What `doctor` says of this machine's clock beside the server's."""
    before = time.time()
    [(server_s,)] = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchall()
    ahead_s = (before + time.time()) / 2 - server_s
    if abs(ahead_s) < SKEW_S:
        return doctor_findings.CLOCK_OK()
    return doctor_findings.CLOCK(seconds=f"{abs(ahead_s):,.0f}", side="ahead of" if ahead_s > 0 else "behind")


def ahead_of_monotonic_s(connection: psycopg.Connection[Any]) -> float:
    """How far a PostgreSQL's clock is ahead of the monotonic one; psycopg's errors are the caller's."""
    before = time.monotonic()
    [(server_s,)] = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchall()
    return float(server_s) - (before + time.monotonic()) / 2


class AnswerClock:
    """A server's clock by the ``Date`` of its answers, which are whole seconds; any thread notes and reads.

    A date is cut to its second and comes some time after it was written: both make it too early, so that of the last
    answers the foremost counts.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=ANSWERS)

    def note(self, date: str | None) -> None:
        """An answer with this date came just now."""
        try:
            moment = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        now = time.monotonic()
        self._seen.append((now, moment - now))

    def ahead_of_monotonic_s(self) -> float | None:
        """How far it is ahead of the monotonic clock, and less than a second more; None: no answer came lately."""
        since = time.monotonic() - ANSWERS_KEPT_S
        return max((ahead_s for at, ahead_s in list(self._seen) if at >= since), default=None)


class MachineClock:
    """Notices when this machine's clock is set back; any thread may `look`."""

    def __init__(self) -> None:
        self._most_s = _ahead_s()

    def look(self) -> None:
        """Note how far it is; whoever goes by it looks as often as it does, since it may be set twice in a second."""
        self._most_s = max(self._most_s, _ahead_s())

    def set_back_s(self) -> float:
        """By how many seconds it is behind where it was at its foremost; 0 when it was not set back."""
        return max(0.0, self._most_s - _ahead_s())


def _ahead_s() -> float:
    """How far this machine's clock is ahead of the monotonic one."""
    return time.time() - time.monotonic()
