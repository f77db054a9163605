"""The mass-delete breaker, asked before each claim: which syncs may claim, and which are paused.

In: the syncs about to claim. Out: those that may. Rule: all *waiting* deletions are judged together, before the first
of them is carried out (docs/design.md section 10); a tripped breaker pauses the sync and asks a person.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from rowtide import mass_delete
from rowtide.mapping.compiled_sync import CompiledSync
from state import definitions, outbox
from state.database import Link
from state.definitions import SyncState

log = structlog.get_logger()

COUNT_AGAIN_S = 30.0
"""Seconds for which a count of pairs is used: counting a million takes a while, and about right is enough."""


class Admission:
    """Filters the syncs of each claim (`admit`)."""

    def __init__(
        self,
        compiled_of: Callable[[str], CompiledSync],
        states: Callable[[], Mapping[str, SyncState]],
    ) -> None:
        self._compiled_of = compiled_of
        self._states = states
        self._pairs: dict[str, tuple[float, int]] = {}

    def admit(self, link: Link, syncs: Sequence[str]) -> list[str]:
        """The syncs whose waiting deletions are few, or approved; others are paused."""
        judged = [sync for sync in syncs if not self._approved(sync)]
        waiting = link.run(lambda connection: outbox.waiting_deletes(connection, judged)) if judged else {}
        return [sync for sync in syncs if not waiting.get(sync) or self._may(link, sync, waiting[sync])]

    def _approved(self, sync: str) -> bool:
        state = self._states().get(sync)
        until = None if state is None else state.deletes_approved_until
        return until is not None and datetime.now(UTC) < until

    def _may(self, link: Link, sync: str, deletes: int) -> bool:
        compiled = self._compiled_of(sync)
        if compiled.deletes != "propagate" or deletes < mass_delete.FEW:
            return True
        at, pairs = self._pairs.get(sync, (-COUNT_AGAIN_S, 0))
        fresh = time.monotonic() - at > COUNT_AGAIN_S
        while True:
            if fresh:
                deletes, pairs = link.run(lambda connection: outbox.count_deletes_and_pairs(connection, sync))
                self._pairs[sync] = (time.monotonic(), pairs)
            tripped = mass_delete.judge_deletes(sync, deletes, pairs, compiled.breaker, None, datetime.now(UTC))
            if tripped is None:
                return True
            if fresh:
                break
            fresh = True  # no sync is stopped because of an old count: a first load brings thousands in a minute
        log.warning("sync paused", sync=sync, code=tripped.code, problem=tripped.sentence)
        link.run(lambda c: definitions.pause(c, [sync], tripped.code, tripped.sentence, "breaker"))
        return False
