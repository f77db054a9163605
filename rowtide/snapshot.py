"""Which transactions a read of the source has seen.

In: the text of ``pg_current_snapshot()`` taken in the transaction that read. Out: `Snapshot`. Rule: a commit is in the
WAL before it is visible (docs/facts.md section 11), so the snapshot, never a position, tells whether a read is
newer than a streamed change. Xids are top-level and 64 bits wide, as the stream's are after widening.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything below ``xmin`` is over, nothing from ``xmax`` on had begun, ``xip`` was under way."""

    xmin: int
    xmax: int
    xip: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """The snapshot of PostgreSQL's notation ``xmin:xmax:xip,xip``."""
        xmin, xmax, xip = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(xid) for xid in xip.split(",") if xid))

    def sees(self, xid: int) -> bool:
        """Whether what ``xid`` committed is in this snapshot (an aborted one left nothing to see)."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.xip)
