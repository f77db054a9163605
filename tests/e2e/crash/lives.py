"""What a process has done since it was started: a kill says more when the process worked than during its start.

In: the counts that `status` shows, before and now. Out: whether it has staged or settled, and its writes. Rule: counts
are written in the transactions that do the work, so a killed process has done what they say.
"""

import subprocess
from dataclasses import dataclass

import psycopg

from tests.e2e.stack import Stack

TOTALS = (
    "SELECT coalesce(sum(changes), 0)::bigint, coalesce(sum(delivered), 0)::bigint, coalesce(sum(writes), 0)::bigint"
    " FROM rowtide.progress"
)


@dataclass(frozen=True, slots=True)
class Work:
    """Totals of all syncs."""

    staged: int = 0
    settled: int = 0
    writes: int = 0


def work_of(stack: Stack) -> Work | None:
    """The totals now; None while the state database does not answer."""
    try:
        [totals] = stack.state(TOTALS)
    except psycopg.Error:
        return None
    return Work(*totals)


@dataclass(slots=True)
class Life:
    """One process from its start to its death."""

    roles: str
    process: subprocess.Popen[bytes]
    before: Work
    _worked: bool = False

    def has_worked(self, stack: Stack) -> bool:
        """Whether it has staged or settled, each as far as it is its role."""
        now = None if self._worked else work_of(stack)
        if now is not None:
            staged = "capture" in self.roles and now.staged > self.before.staged
            self._worked = staged or ("deliver" in self.roles and now.settled > self.before.settled)
        return self._worked

    def writes(self, stack: Stack) -> int:
        """What it has written to lists."""
        now = work_of(stack)
        return now.writes - self.before.writes if now is not None and "deliver" in self.roles else 0
