"""Whose turn it is: how rows that may go are shared out among classes, syncs and the lines of each.

In: lines with how many rows wait in each, and for how many rows there is room. Out: how many rows of each line go. Who
calls: the claiming thread before each claim, and the forecast, which asks for all rows at once. Rules (docs/design.md
section 6):

- Each row comes from the highest class that waits; while others wait, every tenth row comes from one of those, in turn.
- Within a class every other row comes from the sync that has the least left to do, if that is little; the rest by
  turns, which syncs have in proportion to their weight. Within a sync its lines take turns.

Turns are remembered from call to call, because a claim is often for one row.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

LOWER_EVERY: Final = 10
"""One in so many rows comes from a lower class that waits."""

LITTLE: Final = 200
"""A sync with fewer rows left than this is nearly done. Nobody counts further than this."""

N = TypeVar("N", int, str)


class Line(NamedTuple):
    """What rows wait in: a sync, what they wait for within it, and their class (`rowtide.change`; 0 is the highest)."""

    sync: str
    waits_for: str
    priority: int


class Turns:
    """The turns of one tenant. Not for two threads at a time."""

    def __init__(self, little: int = LITTLE) -> None:
        """``little``: for a caller whose rows stand for several rows each."""
        self._little = little
        self._rows = 0
        self._lower: _Round[int] = _Round()
        self._classes: dict[int, _ClassTurns] = defaultdict(_ClassTurns)

    def allot(self, waiting: Mapping[Line, int], rows: int, weights: Mapping[str, int]) -> dict[Line, int]:
        """How many of ``rows`` rows go to each line; ``weights`` by sync, 1 for one that is not named."""
        order = self.order(waiting, weights)
        return dict(Counter(line for _, line in zip(range(rows), order, strict=False)))

    def order(self, waiting: Mapping[Line, int], weights: Mapping[str, int]) -> Iterator[Line]:
        """The line of each waiting row, in the order in which the rows go."""
        room = _Room(waiting)
        while room.classes:
            priority = self._next_class(room)
            line = self._classes[priority].next(priority, room, weights, self._little)
            room.take(line)
            self._rows += 1
            yield line

    def _next_class(self, room: "_Room") -> int:
        highest, *lower = sorted(room.classes)
        if lower and self._rows % LOWER_EVERY == LOWER_EVERY - 1:
            return self._lower.next(dict.fromkeys(lower, 1))
        return highest


class _ClassTurns:
    """The turns within one class."""

    def __init__(self) -> None:
        self._rows = 0
        self._syncs: _Round[str] = _Round()
        self._lines: dict[str, _Round[str]] = defaultdict(_Round)

    def next(self, priority: int, room: "_Room", weights: Mapping[str, int], little: int) -> Line:
        waiting = room.classes[priority]
        self._rows += 1
        sync = None
        if self._rows % 2:
            sync = min((sync for sync in waiting if room.left[sync] < little), key=room.least, default=None)
        if sync is None:
            sync = self._syncs.next({one: weights.get(one, 1) for one in waiting})
        lines = waiting[sync]
        only = next(iter(lines)) if len(lines) == 1 else self._lines[sync].next(dict.fromkeys(lines, 1))
        return Line(sync, only, priority)


class _Round(Generic[N]):
    """Turns in proportion to weights; who was away has saved nothing up."""

    def __init__(self) -> None:
        self._now = 0.0
        self._next_at: dict[N, float] = {}

    def next(self, weights: Mapping[N, int]) -> N:
        """Who is next among the names of ``weights``."""
        known, now = self._next_at, self._now
        _, name = min((max(known.get(one, now), now), one) for one in weights)
        self._now = max(known.get(name, now), now)
        known[name] = self._now + 1.0 / weights[name]
        if len(known) > 2 * len(weights):
            self._next_at = {one: at for one, at in known.items() if at > self._now}
        return name


class _Room:
    """The rows that wait: by class, sync and line; and of each sync in all."""

    def __init__(self, waiting: Mapping[Line, int]) -> None:
        self.classes: dict[int, dict[str, dict[str, int]]] = {}
        self.left: Counter[str] = Counter()
        for line, rows in waiting.items():
            if rows > 0:
                self.classes.setdefault(line.priority, {}).setdefault(line.sync, {})[line.waits_for] = rows
                self.left[line.sync] += rows

    def least(self, sync: str) -> tuple[int, str]:
        """By this syncs are compared: what is left of them."""
        return self.left[sync], sync

    def take(self, line: Line) -> None:
        """One row less."""
        syncs = self.classes[line.priority]
        lines = syncs[line.sync]
        lines[line.waits_for] -= 1
        self.left[line.sync] -= 1
        if not lines[line.waits_for]:
            del lines[line.waits_for]
            if not lines:
                del syncs[line.sync]
                if not syncs:
                    del self.classes[line.priority]
