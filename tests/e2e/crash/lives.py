"""What a process has done since it was started: a kill says more when the process worked than during its start.

In: the counts that `status` shows and what the source remembers of edits, before and now. Out: whether it has staged,
settled or applied, and its writes. Rule: all are written in the transactions that do the work, so a killed process has
done what they say.
"""

import subprocess
from dataclasses import dataclass

import psycopg

from tests.e2e.stack import Stack

APPLIED = "SELECT coalesce(extract(epoch FROM max(applied_at)), 0)::float8 FROM rowtide_pull.applied"
"""When the source last took a person's edit; it has no such table where no sync goes both ways."""

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
    applied_at: float = 0.0


def work_of(stack: Stack) -> Work | None:
    """The totals now; None while a database does not answer."""
    try:
        [totals] = stack.state(TOTALS)
        there = stack.sql("SELECT to_regclass('rowtide_pull.applied') IS NOT NULL") == [(True,)]
        staged, settled, writes = totals
        return Work(staged, settled, writes, stack.sql(APPLIED)[0][0] if there else 0.0)
    except psycopg.Error:
        return None


@dataclass(slots=True)
class Life:
    """One process from its start to its death."""

    roles: str
    process: subprocess.Popen[bytes]
    before: Work
    _worked: bool = False

    def has_worked(self, stack: Stack) -> bool:
        """Whether it has staged, settled or applied, each as far as it is its role."""
        now = None if self._worked else work_of(stack)
        if now is not None:
            staged = "capture" in self.roles and now.staged > self.before.staged
            delivered = now.settled > self.before.settled or now.applied_at > self.before.applied_at
            self._worked = staged or ("deliver" in self.roles and delivered)
        return self._worked

    def writes(self, stack: Stack) -> int:
        """What it has written to lists."""
        now = work_of(stack)
        return now.writes - self.before.writes if now is not None and "deliver" in self.roles else 0
