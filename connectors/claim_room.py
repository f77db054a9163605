"""How many rows of a tenant may be claimed: room for those that are in flight, shared among what they wait for.

In: claims, their ends. Out: room left, for a tenant and for each queue of it (a list; deletes of a sync). Rule
(docs/design.md section 6): a queue has no more rows in flight than there is room left for the others, so that one which
does not move leaves half of the room, a second one half of the rest, and so on. So it is with the bytes of wide rows.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from rowtide.deciding.records import Work
from rowtide.turns import Line
from state import outbox

MOST: Final = 400
"""Rows in flight of one tenant: a tenant that hangs takes up its own room only."""

MOST_BYTES: Final = 2 * outbox.MOST_BYTES
"""What these rows take, as stored: a queue has half of it."""


class Queue(NamedTuple):
    """What rows of a sync wait for, whatever their class."""

    sync: str
    waits_for: str

    @classmethod
    def of(cls, line: Line) -> "Queue":
        """The queue of a line."""
        return cls(line.sync, line.waits_for)


class _Claim(NamedTuple):
    """A claim that is not over: the queue of each row that is in flight, and about what each takes."""

    graph: str
    rows: dict[tuple[str, str], Queue]
    row_bytes: float


class ClaimRoom:
    """The room of every tenant; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[str, _Claim] = {}  # by token
        self._busy: dict[str, Counter[Queue]] = {}

    def take(self, graph: str, works: Sequence[Work], size_bytes: int = 0) -> None:
        """The rows of one claim are in flight, which take so many bytes together."""
        if not works:
            return
        rows = {}
        for work in works:
            desired = work.desired
            rows[desired.sync, desired.key] = Queue(desired.sync, outbox.waits_for(desired.op, desired.target))
        with self._lock:
            self._claims[works[0].desired.token] = _Claim(graph, rows, size_bytes / len(works))
            self._busy.setdefault(graph, Counter()).update(rows.values())

    def give_back(self, works: Iterable[Work]) -> None:
        """These rows are in flight no more; a row that is in flight of no claim of ours counts nothing."""
        with self._lock:
            for work in works:
                desired = work.desired
                claim = self._claims.get(desired.token)
                queue = None if claim is None else claim.rows.pop((desired.sync, desired.key), None)
                if claim is None or queue is None:
                    continue
                busy = self._busy[claim.graph]
                busy[queue] -= 1
                if not busy[queue]:
                    del busy[queue]
                if not claim.rows:
                    del self._claims[desired.token]

    @property
    def in_flight(self) -> int:
        """Rows in flight of all tenants."""
        with self._lock:
            return sum(len(claim.rows) for claim in self._claims.values())

    def left(self, graph: str) -> int:
        """Rows that may be claimed of the tenant."""
        with self._lock:
            return self._left(graph)

    def left_for(self, graph: str, lines: Iterable[Line]) -> Mapping[Queue, int]:
        """Rows that may be claimed of each queue of these lines, now that so much of the room is taken."""
        with self._lock:
            left, busy, sizes = self._left(graph), self._busy.get(graph, Counter[Queue]()), self._sizes(graph)
            left_bytes = MOST_BYTES - sum(sizes.values())
            return {
                queue: max(0, left - busy[queue] + 1) // 2 if sizes.get(queue, 0.0) < left_bytes else 0
                for queue in {Queue.of(line) for line in lines}
            }

    def left_bytes(self, graph: str) -> int:
        """What the next claim of the tenant may take: half of the room, and something in any case."""
        with self._lock:
            return max(1, int(MOST_BYTES - sum(self._sizes(graph).values())) // 2)

    def _sizes(self, graph: str) -> Mapping[Queue, float]:
        """The bytes in flight of each queue."""
        sizes: dict[Queue, float] = {}
        for claim in self._claims.values():
            if claim.graph == graph:
                for queue in claim.rows.values():
                    sizes[queue] = sizes.get(queue, 0.0) + claim.row_bytes
        return sizes

    def _left(self, graph: str) -> int:
        return MOST - sum(self._busy.get(graph, Counter[Queue]()).values())
