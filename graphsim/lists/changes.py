"""The change log of one list: which item changed last at which position, for delta.

In: one `append` per write, and `overtake` for the item's change before. Out: the items changed after a position, in
order of their last change, a page at a time. Rules: the entries stand in blocks, and a block of which more than half
is overtaken is shrunk, so that neither a write nor a page ever passes more than a few thousand entries, however long
the list is and however often its items changed.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice

_BLOCK = 2048
_IsLast = Callable[[int, int], bool]


class _Block:
    """Entries in order of position; `overtaken` counts those whose item has changed again."""

    __slots__ = ("items", "overtaken", "positions", "times")

    def __init__(self) -> None:
        self.positions = array("q")
        self.items = array("q")
        self.times = array("d")
        self.overtaken = 0

    def __len__(self) -> int:
        return len(self.positions)

    def append(self, position: int, item_id: int, time: float) -> None:
        self.positions.append(position)
        self.items.append(item_id)
        self.times.append(time)

    def last_time(self) -> float:
        return self.times[-1]

    def without_overtaken(self, is_last: _IsLast) -> "_Block":
        kept = _Block()
        for position, item_id, time in zip(self.positions, self.items, self.times, strict=True):
            if is_last(item_id, position):
                kept.append(position, item_id, time)
        return kept

    def extend(self, other: "_Block") -> None:
        self.positions.extend(other.positions)
        self.items.extend(other.items)
        self.times.extend(other.times)


class ChangeLog:
    """Positions only grow; `is_last(item, position)` tells whether an entry has not been overtaken."""

    def __init__(self, is_last: _IsLast) -> None:
        self._is_last = is_last
        self._blocks: list[_Block] = []
        self._firsts: list[int] = []
        self.position = 0

    def append(self, item_id: int, now: float) -> int:
        """The position of this change."""
        self.restore(self.position + 1, item_id, now)
        return self.position

    def restore(self, position: int, item_id: int, time: float) -> None:
        """Called by the journal, in order of position."""
        if not self._blocks or len(self._blocks[-1]) >= _BLOCK:
            self._blocks.append(_Block())
            self._firsts.append(position)
        self._blocks[-1].append(position, item_id, time)
        self.position = position

    def overtake(self, position: int) -> None:
        """Called when an item has a newer position than this one."""
        n = bisect_right(self._firsts, position) - 1
        block = self._blocks[n]
        block.overtaken += 1
        if block.overtaken * 2 > len(block) and block is not self._blocks[-1]:
            self._shrink(n)

    def _shrink(self, n: int) -> None:
        """Drops the overtaken entries of a block; what is left joins the block before it, where there is room."""
        kept = self._blocks[n].without_overtaken(self._is_last)
        if kept and not (n > 0 and len(self._blocks[n - 1]) + len(kept) <= _BLOCK):
            self._blocks[n], self._firsts[n] = kept, kept.positions[0]
            return
        if kept:
            self._blocks[n - 1].extend(kept)
        del self._blocks[n], self._firsts[n]

    def newest(self) -> Iterator[int]:
        """The items that ever changed, the last changed first, each once."""
        for block in reversed(self._blocks):
            for position, item_id in zip(reversed(block.positions), reversed(block.items), strict=True):
                if self._is_last(item_id, position):
                    yield item_id

    def position_at(self, time: float) -> int:
        """The last position whose change is not younger than `time` (visibility lag)."""
        n = bisect_right(self._blocks, time, key=_Block.last_time)
        if n == len(self._blocks):
            return self.position
        block = self._blocks[n]
        return block.positions[bisect_right(block.times, time)] - 1

    def page(self, after: int, until: int, size: int) -> tuple[list[int], int, bool]:
        """Up to `size` item ids changed last in (after, until], the position reached, and whether that was all."""
        found: list[int] = []
        for position, item_id in self._entries(after):
            if position > until:
                break
            if self._is_last(item_id, position):
                if len(found) == size:
                    return found, position - 1, False
                found.append(item_id)
        return found, until, True

    def _entries(self, after: int) -> Iterator[tuple[int, int]]:
        n = max(0, bisect_right(self._firsts, after) - 1)
        for block in islice(self._blocks, n, None):
            start = bisect_right(block.positions, after)
            yield from zip(islice(block.positions, start, None), islice(block.items, start, None), strict=True)
