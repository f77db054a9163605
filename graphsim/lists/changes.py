"""The change log of one list: which item changed last at which position, for delta.

In: one `append` per write. Out: the items changed after a position, in order of their last change, a page at a time.
Rule: an append is O(1) (entries overtaken by a newer change of the same item are swept out when they are the majority),
a page is O(page + overtaken entries passed).
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator


class ChangeLog:
    """Positions only grow; `is_last(item, position)` tells whether an entry has not been overtaken."""

    def __init__(self, is_last: Callable[[int, int], bool]) -> None:
        self._is_last = is_last
        self._positions = array("q")
        self._items = array("q")
        self._times = array("d")
        self._overtaken = 0
        self.position = 0

    def append(self, item_id: int, now: float, *, is_first: bool) -> int:
        """The position of this change; `is_first` when the item had none before."""
        self.position += 1
        self._positions.append(self.position)
        self._items.append(item_id)
        self._times.append(now)
        if not is_first:
            self._overtaken += 1
        return self.position

    def restore(self, position: int, item_id: int, time: float) -> None:
        """Called by the journal, in order of position."""
        self._positions.append(position)
        self._items.append(item_id)
        self._times.append(time)
        self.position = max(self.position, position)

    def sweep(self) -> None:
        """Called after each write: drops overtaken entries when they are more than half."""
        if self._overtaken < 4096 or self._overtaken * 2 < len(self._positions):
            return
        kept = [n for n, p in enumerate(self._positions) if self._is_last(self._items[n], p)]
        self._positions = array("q", (self._positions[n] for n in kept))
        self._items = array("q", (self._items[n] for n in kept))
        self._times = array("d", (self._times[n] for n in kept))
        self._overtaken = 0

    def newest(self) -> Iterator[int]:
        """The items that ever changed, the last changed first, each once."""
        for n in range(len(self._positions) - 1, -1, -1):
            if self._is_last(self._items[n], self._positions[n]):
                yield self._items[n]

    def position_at(self, time: float) -> int:
        """The last position whose change is not younger than `time` (visibility lag)."""
        count = bisect_right(self._times, time)
        if count == len(self._times):
            return self.position
        return self._positions[count] - 1

    def page(self, after: int, until: int, size: int) -> tuple[list[int], int, bool]:
        """Up to `size` item ids changed last in (after, until], the position reached, and whether that was all."""
        found: list[int] = []
        n = bisect_right(self._positions, after)
        while n < len(self._positions) and self._positions[n] <= until:
            if self._is_last(self._items[n], self._positions[n]):
                if len(found) == size:
                    return found, self._positions[n] - 1, False
                found.append(self._items[n])
            n += 1
        return found, until, True
