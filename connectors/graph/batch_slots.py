"""Which claims the next batch takes, so that no list takes up the room of the others.

In: the batches under way, the claims that wait list by list. Out: the claims of the next batch. Rules (docs/design.md
section 6): few batches are under way at once; a batch has one list, and lists share one only when more of them have
claims than slots are free; a list has half the slots, if the tenant has others; a batch that is slow takes up no slot,
and its list gets no other.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from connectors.graph.answers import Claim
from connectors.graph.list_queues import ListQueues

IN_FLIGHT: Final = 4
"""Batches under way at once: Graph advises few concurrent requests."""

SLOW_S: Final = 2.0
"""Seconds after which a batch without an answer is slow."""

OPEN: Final = 16
"""Batches under way at once, slow ones included."""


@dataclass(slots=True)
class Batch:
    """A batch under way; ``sent_at`` by the loop's clock, None while it waits for its window."""

    claims: Sequence[Claim]
    lists: frozenset[str]
    sent_at: float | None = None

    def is_slow(self, now: float) -> bool:
        """Whether it was sent and has had no answer for long."""
        return self.sent_at is not None and now - self.sent_at >= SLOW_S


class BatchSlots:
    """The batches under way of one tenant, by the task that carries each out."""

    def __init__(self) -> None:
        self.under_way: dict[asyncio.Task[None], Batch] = {}
        self.hanging: frozenset[str] = frozenset()
        """The lists of slow batches, as of the last look; for any thread."""
        self._lists: set[str] = set()

    def begin(self, task: asyncio.Task[None], claims: Sequence[Claim]) -> None:
        """The task carries these claims out."""
        self.under_way[task] = Batch(claims, frozenset(claim.list_id for claim in claims))

    def look(self, now: float) -> Sequence[Batch]:
        """The batches that are slow by now; their lists are those that hang."""
        slow = [batch for batch in self.under_way.values() if batch.is_slow(now)]
        self.hanging = frozenset(list_id for batch in slow for list_id in batch.lists)
        return slow

    def take(self, queue: ListQueues[Claim], most: int, now: float) -> list[Claim]:
        """Up to ``most`` claims for the next batch; none when there is no slot for what waits."""
        slow = self.look(now)
        free = IN_FLIGHT - (len(self.under_way) - len(slow))
        if free <= 0 or len(self.under_way) >= OPEN or not queue:
            return []
        lists = self._may_send(queue.lists)
        return queue.take(lists if len(lists) > free else lists[:1], most)

    def _may_send(self, lists: Sequence[str]) -> list[str]:
        busy = Counter(list_id for batch in self.under_way.values() for list_id in batch.lists)
        if len(self._lists) < 2:  # more of them make no difference
            self._lists.update(lists)
        most = IN_FLIGHT if len(self._lists) < 2 else IN_FLIGHT // 2
        return [list_id for list_id in lists if list_id not in self.hanging and busy[list_id] < most]
