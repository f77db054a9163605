"""The mass-delete breaker, asked before each claim: which syncs may claim, and which are held.

In: the syncs about to claim. Out: those that may. Rule: all *waiting* deletions that nobody has approved are judged
together, before the first of them is carried out (docs/design.md section 10); a tripped breaker holds the sync, names
these deletions and asks a person.
"""

import time
from collections.abc import Callable, Sequence

import structlog

from rowtide import mass_delete
from rowtide.holds import DELETES, HeldDeletes
from rowtide.mapping.compiled_sync import CompiledSync
from state import holds, outbox
from state.database import Link

log = structlog.get_logger()

COUNT_AGAIN_S = 30.0
"""Seconds for which a count of pairs is used: counting a million takes a while, and about right is enough."""


class Admission:
    """Filters the syncs of each claim (`admit`)."""

    def __init__(self, compiled_of: Callable[[str], CompiledSync]) -> None:
        """``compiled_of`` raises KeyError for a sync that is not applied (any more)."""
        self._compiled_of = compiled_of
        self._pairs: dict[str, tuple[float, int]] = {}

    def admit(self, link: Link, syncs: Sequence[str]) -> list[str]:
        """The syncs whose waiting deletions are few, or approved; others are held."""
        waiting = link.run(lambda connection: outbox.waiting_deletes(connection, syncs))
        return [sync for sync in syncs if not waiting.get(sync) or self._may(link, sync, waiting[sync])]

    def _may(self, link: Link, sync: str, deletes: int) -> bool:
        try:
            compiled = self._compiled_of(sync)
        except KeyError:  # not applied any more, since the claim began
            return False
        if compiled.deletes != "propagate" or deletes < mass_delete.FEW:
            return True
        at, pairs = self._pairs.get(sync, (-COUNT_AGAIN_S, 0))
        known = time.monotonic() - at <= COUNT_AGAIN_S
        if known and mass_delete.judge_deletes(sync, deletes, pairs, compiled.breaker) is None:
            return True
        # No sync is stopped because of an old count: a first load brings thousands in a minute.
        held, pairs = link.run(lambda connection: outbox.count_deletes_and_pairs(connection, sync))
        self._pairs[sync] = (time.monotonic(), pairs)
        tripped = mass_delete.judge_deletes(sync, held.count, pairs, compiled.breaker)
        if tripped is None or link.run(lambda connection: outbox.go_on_with_approved(connection, sync)):
            return True
        log.warning("sync held", sync=sync, code=tripped.code, problem=tripped.sentence)
        self._hold(link, sync, tripped.code, tripped.sentence, held)
        return False

    @staticmethod
    def _hold(link: Link, sync: str, code: str, sentence: str, held: HeldDeletes) -> None:
        link.run(lambda c: holds.place(c, "sync", sync, DELETES, code, sentence, "breaker", held))
