"""Claims that wait to be sent, list by list, so that none waits behind those of another list.

In: claims in flight with their next commands. Out: the claims of a batch. Rule: lists take turns; within a list the
order is kept.
"""

from collections import deque
from collections.abc import Collection, Iterator
from typing import Generic, Protocol, TypeVar


class Listed(Protocol):
    """What waits for a list."""

    @property
    def list_id(self) -> str:
        """The list that its command is for."""


C = TypeVar("C", bound=Listed)


class ListQueues(Generic[C]):
    """Used by the writer's thread alone."""

    def __init__(self) -> None:
        self._by_list: dict[str, deque[C]] = {}

    def append(self, claim: C) -> None:
        """Put a claim at the end of its list's queue."""
        self._by_list.setdefault(claim.list_id, deque()).append(claim)

    def __len__(self) -> int:
        return sum(map(len, self._by_list.values()))

    def __iter__(self) -> Iterator[C]:
        for claims in self._by_list.values():
            yield from claims

    @property
    def lists(self) -> list[str]:
        """The lists that claims wait for; the one that was taken from last comes last."""
        return list(self._by_list)

    def take(self, lists: Collection[str], count: int) -> list[C]:
        """The first ``count`` claims of these lists, in turn."""
        taken: list[C] = []
        while len(taken) < count and (left := [list_id for list_id in lists if list_id in self._by_list]):
            share = max(1, (count - len(taken)) // len(left))
            for list_id in left:
                taken += self._take(list_id, min(share, count - len(taken)))
        return taken

    def take_all(self, list_id: str | None = None) -> list[C]:
        """Every claim of a list (None: of all)."""
        lists = self.lists if list_id is None else [list_id]
        return [claim for one in lists for claim in self._by_list.pop(one, ())]

    def _take(self, list_id: str, count: int) -> list[C]:
        waiting = self._by_list.pop(list_id)
        taken = [waiting.popleft() for _ in range(min(count, len(waiting)))]
        if waiting:
            self._by_list[list_id] = waiting  # behind the others
        return taken
