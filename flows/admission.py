"""The mass-delete breaker, asked before deletions are claimed: which syncs may carry them out, and how many.

In: the syncs whose deletions are due; what was claimed. Out: the syncs that may; whether the claimed ones may go. Rule:
all *waiting* deletions that nobody has approved are judged together, before the first of them is carried out
(docs/design.md section 10). Where few wait they are counted here; many are counted beside the claiming thread
(`flows.deletion_judge`), which claims for all the others meanwhile.
"""

from collections.abc import Callable, Collection, Mapping

from flows.deletion_judge import DeletionJudge
from rowtide.mapping.compiled_sync import CompiledSync
from state import outbox
from state.database import Link


class Admission:
    """Filters the syncs of each claim (`admit`), and what the claim has found (`may_go`)."""

    def __init__(self, compiled_of: Callable[[str], CompiledSync], judge: DeletionJudge) -> None:
        """``compiled_of`` raises KeyError for a sync that is not applied (any more)."""
        self._compiled_of = compiled_of
        self._judge = judge

    def admit(self, link: Link, syncs: Collection[str]) -> list[str]:
        """Of these syncs those that may carry deletions out; of the others the deletions are judged, or held."""
        applied = {sync: compiled for sync in syncs if (compiled := self._find(sync)) is not None}
        propagated = [sync for sync, one in applied.items() if one.carries_deletions]
        asked = [sync for sync in propagated if not self._judge.is_judged(sync)]
        if not asked:
            return list(applied)
        waiting = link.run(lambda connection: outbox.few_waiting_deletes(connection, asked))
        later = {sync for sync in asked if not self._judge.passes(applied[sync], waiting[sync])}
        if later:
            self._judge.ask(later)
        return [sync for sync in applied if sync not in later]

    def may_go(self, deletes: Mapping[str, int]) -> bool:
        """Whether so many deletions of existing items were judged, by sync; if not, all of them stay where they are.

        Between the count and the claim others may have come.
        """
        counted = {}
        for sync, count in deletes.items():
            compiled = self._find(sync)
            if compiled is not None and compiled.carries_deletions:
                counted[sync] = count
        return self._judge.take(counted)

    def _find(self, sync: str) -> CompiledSync | None:
        """None: the sync is not applied any more."""
        try:
            return self._compiled_of(sync)
        except KeyError:
            return None
