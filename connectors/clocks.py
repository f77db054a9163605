"""This machine's clock: how it stands to a server's, and whether it was set back.

In: a session on a PostgreSQL. Out: a finding of `doctor`; the seconds of a step. Rule: nothing that runs depends on
this clock (waits are monotonic; leases and due times are the state database's), so its time is read here and to reckon
the life of a token, and nowhere else (tests/repository/rules.py).
"""

import time
from typing import Any, Final

import psycopg

from rowtide.error_catalogue import doctor_findings
from rowtide.error_catalogue.entries import Check

SKEW_S: Final = 2.0
"""A difference that is worth a word."""


def check(connection: psycopg.Connection[Any]) -> Check:
    """What `doctor` says of this machine's clock beside the server's."""
    before = time.time()
    [(server_s,)] = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchall()
    ahead_s = (before + time.time()) / 2 - server_s
    if abs(ahead_s) < SKEW_S:
        return doctor_findings.CLOCK_OK()
    return doctor_findings.CLOCK(seconds=f"{abs(ahead_s):,.0f}", side="ahead of" if ahead_s > 0 else "behind")


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
