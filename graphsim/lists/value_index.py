"""The index of one column: items by value, and the values in order.

In: a value added or taken away with each write of an item. Out: the items of a value, of a range or without a value;
all items in order of their value. Rules: text is the same without case and surrounding blanks (ee536168); a write costs
microseconds at a million items, a look-up as much as it finds.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import islice
from typing import Any

_BLOCK = 1000


def to_index_key(value: Any) -> Any:
    """The form in which values are compared."""
    return value.strip().casefold() if isinstance(value, str) else value


class _SortedKeys:
    """Distinct keys in order, in blocks short enough to insert into."""

    def __init__(self) -> None:
        self._blocks: list[list[Any]] = []
        self._firsts: list[Any] = []

    def add(self, key: Any) -> None:
        if not self._blocks:
            self._blocks.append([key])
            self._firsts.append(key)
            return
        n = max(0, bisect_right(self._firsts, key) - 1)
        block = self._blocks[n]
        insort(block, key)
        self._firsts[n] = block[0]
        if len(block) > 2 * _BLOCK:
            self._blocks[n : n + 1] = [block[:_BLOCK], block[_BLOCK:]]
            self._firsts[n : n + 1] = [block[0], block[_BLOCK]]

    def discard(self, key: Any) -> None:
        n = max(0, bisect_right(self._firsts, key) - 1)
        block = self._blocks[n]
        del block[bisect_left(block, key)]
        if block:
            self._firsts[n] = block[0]
        else:
            del self._blocks[n], self._firsts[n]

    def up_from(self, key: Any = None, *, after: bool = False) -> Iterator[Any]:
        """Keys from `key` on, itself left out with `after`; all without a key."""
        if key is None:
            for block in self._blocks:
                yield from block
            return
        n = max(0, bisect_right(self._firsts, key) - 1)
        for m in range(n, len(self._blocks)):
            block = self._blocks[m]
            start = 0 if m > n else (bisect_right if after else bisect_left)(block, key)
            yield from islice(block, start, None)

    def down_from(self, key: Any = None) -> Iterator[Any]:
        """Keys from `key` downwards, itself included; all without a key."""
        n = len(self._blocks) - 1 if key is None else max(0, bisect_right(self._firsts, key) - 1)
        for m in range(n, -1, -1):
            block = self._blocks[m]
            stop = bisect_right(block, key) if key is not None and m == n else len(block)
            yield from reversed(block[:stop])


class ValueIndex:
    """Item ids by value; a single id is kept bare, because most values of a key are unique."""

    __slots__ = ("_ids", "_keys", "_missing", "missing_count")

    def __init__(self) -> None:
        self._ids: dict[Any, int | set[int]] = {}
        self._keys = _SortedKeys()
        self._missing = bytearray()
        self.missing_count = 0

    def add(self, value: Any, item_id: int) -> None:
        """Notes the value that an item holds; None is noted too."""
        if value is None:
            self._set_missing(item_id, 1)
            return
        key = to_index_key(value)
        held = self._ids.get(key)
        if held is None:
            self._ids[key] = item_id
            self._keys.add(key)
        elif isinstance(held, set):
            held.add(item_id)
        elif held != item_id:
            self._ids[key] = {held, item_id}

    def discard(self, value: Any, item_id: int) -> None:
        """Takes an item away from a value it no longer holds."""
        if value is None:
            self._set_missing(item_id, 0)
            return
        key = to_index_key(value)
        held = self._ids.get(key)
        if isinstance(held, set):
            held.discard(item_id)
        if held == item_id or held == set():
            del self._ids[key]
            self._keys.discard(key)

    def _set_missing(self, item_id: int, flag: int) -> None:
        if len(self._missing) <= item_id:
            self._missing.extend(bytes(max(item_id + 1 - len(self._missing), len(self._missing) // 8)))
        self.missing_count += flag - self._missing[item_id]
        self._missing[item_id] = flag

    def find(self, value: Any) -> list[int]:
        """Ids of the items that hold a value, in order."""
        held = self._ids.get(to_index_key(value))
        if held is None:
            return []
        return sorted(held) if isinstance(held, set) else [held]

    def count(self, value: Any) -> int:
        """How many items hold a value; None: how many hold none."""
        if value is None:
            return self.missing_count
        held = self._ids.get(to_index_key(value))
        return 0 if held is None else len(held) if isinstance(held, set) else 1

    def has_shared(self) -> bool:
        """Whether any value is held by more than one item."""
        return any(isinstance(held, set) and len(held) > 1 for held in self._ids.values())

    def find_missing(self, after: int = 0) -> Iterator[int]:
        """Ids of the items without a value, in order, above `after`."""
        at = self._missing.find(1, after + 1)
        while at >= 0:
            yield at
            at = self._missing.find(1, at + 1)

    def find_range(self, operator: str, value: Any, most: int) -> list[int] | None:
        """Ids of the items in a range (gt ge lt le startswith), in order; None when there are more than `most`."""
        key = to_index_key(value) if operator != "startswith" else value
        found: list[int] = []
        for held in self._range(operator, key):
            ids = self._ids[held]
            if (len(ids) if isinstance(ids, set) else 1) + len(found) > most:
                return None
            found.extend(ids if isinstance(ids, set) else (ids,))
        return sorted(found)

    def _range(self, operator: str, key: Any) -> Iterator[Any]:
        if operator in {"gt", "ge"}:
            return self._keys.up_from(key, after=operator == "gt")
        if operator == "startswith":
            return _while(self._keys.up_from(key), lambda held: held.startswith(key))
        below = (lambda held: held < key) if operator == "lt" else (lambda held: held <= key)
        return _while(self._keys.up_from(), below)

    def in_order(self, after: tuple[Any, int] | None, *, descending: bool) -> Iterator[int]:
        """All ids by value, then by id, behind the place `after` (key, id); items without a value come first."""
        place = (None, 0) if after is None and not descending else after
        if not descending and place is not None and place[0] is None:
            yield from self.find_missing(place[1])
            place = None
        if place is None or place[0] is not None:
            yield from self._by_key(place, descending)
        if descending:
            yield from self.find_missing(place[1] if place is not None and place[0] is None else 0)

    def _by_key(self, place: tuple[Any, int] | None, descending: bool) -> Iterator[int]:
        start = None if place is None else place[0]
        for key in self._keys.down_from(start) if descending else self._keys.up_from(start):
            ids = self._ids[key]
            least = place[1] if place is not None and key == start else 0
            if not isinstance(ids, set):
                if ids > least:
                    yield ids
                continue
            # A set of numbers comes nearly in order, so a million ids are sorted within some fifty milliseconds.
            yield from sorted([i for i in ids if i > least])


def _while(keys: Iterator[Any], is_in: Any) -> Iterator[Any]:
    for key in keys:
        if not is_in(key):
            return
        yield key
