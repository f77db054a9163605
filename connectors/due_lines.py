"""What waits and is due, as a claiming thread last surveyed it.

In: syncs whose rows may have become due, by the news of `state.channels.DUE`; what claims took. Out: lines with how
many rows may be claimed of each. Rules (docs/design.md section 6): after news only the syncs that it names are
surveyed, now and then all; surveys take a tenth of the time at most, unless one takes half a second.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from rowtide.deciding.records import Work
from rowtide.turns import LITTLE, Line
from state import outbox
from state.database import Link

EVERY_S: Final = 0.5
"""Seconds between two surveys of everything: rows become due by the clock, and news may be lost."""

_REST: Final = 9
"""After a survey so many times its own time passes before the next one of its kind."""

_MOST_REST_S: Final = 5.0
"""But no more seconds: a survey that took long has waited for the state database, which says nothing of the next."""


class DueLines:
    """Of one thread; only `news` is for others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[Line, int] = {}
        self._lock = threading.Lock()
        self._named: set[str] = set()
        self._named_after = 0.0
        self._any = False
        self._all_after = 0.0
        self._all_at = 0.0

    def news(self, syncs: frozenset[str] | None) -> None:
        """Rows of these syncs (None: of any) may have become due."""
        with self._lock:
            self._any |= syncs is None
            self._named |= syncs or set()

    def survey(self, link: Link, syncs: Collection[str]) -> None:
        """Look at what the news names, or at all of ``syncs``, if it is time for that."""
        began = self._clock()
        everything, asked = self._take(syncs, began)
        if not everything and not asked:
            return
        try:
            found = link.run(lambda connection: outbox.survey(connection, asked)) if asked else {}
        except BaseException:
            self.news(None)
            raise
        ended = self._clock()
        rest_s = min(_MOST_REST_S, _REST * (ended - began))
        if everything:
            self._all_after, self._all_at = ended + rest_s, ended + max(EVERY_S, rest_s)
        self._named_after = ended if everything else ended + rest_s
        kept = {line: rows for line, rows in self._due.items() if not everything and line.sync not in asked}
        self._due = kept | found

    def _take(self, syncs: Collection[str], now: float) -> tuple[bool, set[str]]:
        """Whether everything is surveyed now; the syncs to look at."""
        with self._lock:
            if now >= self._all_at or (self._any and now >= self._all_after):
                self._any, self._named = False, set()
                return True, set(syncs)
            if now < self._named_after:
                return False, set()
            asked, self._named = self._named & set(syncs), set()
            return False, asked

    def wait_s(self) -> float:
        """Seconds until the next survey is due."""
        with self._lock:
            ends = [self._all_at]
            if self._any:
                ends.append(self._all_after)
            if self._named:
                ends.append(self._named_after)
        return max(0.0, min(ends) - self._clock())

    def of(self, syncs: Collection[str]) -> dict[Line, int]:
        """The lines of these syncs in which rows are due to be sent."""
        return {line: rows for line, rows in self._due.items() if line.sync in syncs and line.waits_for != outbox.READ}

    def to_read(self) -> set[str]:
        """The syncs in which rows are due to be read from the source, as far as the surveys since the last call say."""
        found = {line.sync for line in self._due if line.waits_for == outbox.READ}
        if found:
            self._due = {line: rows for line, rows in self._due.items() if line.waits_for != outbox.READ}
        return found

    def took(self, asked: Mapping[Line, int], works: Iterable[Work]) -> None:
        """A claim asked for so many rows of each line, and got these: a line that gave fewer has no more."""
        got = Counter(_line_of(work) for work in works)
        for line, rows in asked.items():
            left = 0 if got[line] < rows else self._due.get(line, 0)
            if left < LITTLE:
                left -= got[line]
            if left > 0:
                self._due[line] = left
            else:
                self._due.pop(line, None)

    def drop_deletes(self, sync: str) -> None:
        """No deletion of the sync is due until the next survey."""
        kept = {line: rows for line, rows in self._due.items() if (line.sync, line.waits_for) != (sync, outbox.REMOVAL)}
        self._due = kept


def _line_of(work: Work) -> Line:
    desired = work.desired
    return Line(desired.sync, outbox.waits_for(desired.op, desired.target), desired.priority)
