"""The mass-delete breaker, asked before deletions are claimed: which syncs may carry them out, and which are held.

In: the syncs whose deletions are due. Out: those that may. Rule: all *waiting* deletions that nobody has approved are
judged together, before the first of them is carried out (docs/design.md section 10); a tripped breaker holds the sync,
names these deletions and asks a person.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto

import structlog

from rowtide import mass_delete
from rowtide.holds import DELETES, HeldDeletes
from rowtide.mapping.compiled_sync import CompiledSync
from state import holds, outbox
from state.database import Link

log = structlog.get_logger()

COUNT_AGAIN_S = 30.0
"""Seconds for which a count of pairs is used: counting a million takes a while, and about right is enough."""

_QUICK_S, _REST, _MOST_S = 0.02, 10, 5.0
"""A verdict that took longer than the first stands for so many times its own time, at most the last."""


LOOK_AGAIN_S = 1.0
"""Seconds between two looks whether a sync's approved deletions are carried out."""


class _Finding(Enum):
    """What was found of the deletions of a sync that wait."""

    FEW = auto()
    APPROVED_FIRST = auto()  # too many, but a person's approved ones go first, and the others are not due meanwhile
    HELD = auto()


@dataclass(slots=True)
class _Verdict:
    """So many deletions were judged and may go until then, without being counted again."""

    until: float
    deletes: int


class Admission:
    """Filters the syncs of each claim (`admit`), and judges what waits behind approved deletions (`look_again`)."""

    def __init__(self, compiled_of: Callable[[str], CompiledSync]) -> None:
        """``compiled_of`` raises KeyError for a sync that is not applied (any more)."""
        self._compiled_of = compiled_of
        self._pairs: dict[str, tuple[float, int]] = {}
        self._verdicts: dict[str, _Verdict] = {}
        self._look_again_at: dict[str, float] = {}

    def admit(self, link: Link, deletes: Mapping[str, int]) -> list[str]:
        """Of some syncs, each about to carry out so many deletions, those whose waiting ones are few, or approved.

        The others are held.
        """
        applied = {sync: compiled for sync in deletes if (compiled := self._find(sync)) is not None}
        judged = [sync for sync in applied if not self._is_judged(applied[sync], deletes[sync])]
        held = self._judge(link, {sync: applied[sync] for sync in judged}) if judged else set()
        return [sync for sync in applied if sync not in held]

    def look_again(self, link: Link, syncs: Collection[str]) -> None:
        """Of these syncs judge those anew of which approved deletions were to go first.

        The others are not due meanwhile, so no claim would ask before a person has been told that they are held.
        """
        now = time.monotonic()
        due = [sync for sync, at in self._look_again_at.items() if at <= now]
        if applied := {sync: one for sync in due if sync in syncs and (one := self._find(sync)) is not None}:
            self._judge(link, applied)
        self._look_again_at = {sync: at for sync, at in self._look_again_at.items() if at > now}

    def _is_judged(self, compiled: CompiledSync, deletes: int) -> bool:
        verdict = self._verdicts.get(compiled.sync)
        if compiled.deletes != "propagate":
            return True
        if verdict is None or verdict.deletes < deletes or time.monotonic() > verdict.until:
            return False
        verdict.deletes -= deletes
        return True

    def _judge(self, link: Link, syncs: Mapping[str, CompiledSync]) -> set[str]:
        """Those of the syncs that are held now."""
        began = time.monotonic()
        most = {sync: mass_delete.enough(self._known_pairs(sync), one.breaker) for sync, one in syncs.items()}
        waiting = link.run(lambda connection: outbox.waiting_deletes(connection, most))
        found = {sync: self._look_at(link, compiled, waiting[sync]) for sync, compiled in syncs.items()}
        took_s = time.monotonic() - began
        if took_s > _QUICK_S:
            until = began + min(_REST * took_s, _MOST_S)
            few = [sync for sync, finding in found.items() if finding is _Finding.FEW]
            self._verdicts |= {sync: _Verdict(until, waiting[sync]) for sync in few}
        later = [sync for sync, finding in found.items() if finding is _Finding.APPROVED_FIRST]
        self._look_again_at |= dict.fromkeys(later, time.monotonic() + LOOK_AGAIN_S)
        return {sync for sync, finding in found.items() if finding is _Finding.HELD}

    def _find(self, sync: str) -> CompiledSync | None:
        """None: the sync is not applied any more."""
        try:
            return self._compiled_of(sync)
        except KeyError:
            return None

    def _known_pairs(self, sync: str) -> int | None:
        at, pairs = self._pairs.get(sync, (-COUNT_AGAIN_S, 0))
        return pairs if time.monotonic() - at <= COUNT_AGAIN_S else None

    def _look_at(self, link: Link, compiled: CompiledSync, deletes: int) -> _Finding:
        sync, pairs = compiled.sync, self._known_pairs(compiled.sync)
        if deletes < mass_delete.FEW and deletes <= compiled.breaker.rows:
            return _Finding.FEW
        if pairs is not None and mass_delete.judge_deletes(sync, deletes, pairs, compiled.breaker) is None:
            return _Finding.FEW
        # No sync is stopped because of an old count: a first load brings thousands in a minute.
        held, pairs = link.run(lambda connection: outbox.count_deletes_and_pairs(connection, sync))
        self._pairs[sync] = (time.monotonic(), pairs)
        tripped = mass_delete.judge_deletes(sync, held.count, pairs, compiled.breaker)
        if tripped is None:
            return _Finding.FEW
        if link.run(lambda connection: outbox.go_on_with_approved(connection, sync)):
            return _Finding.APPROVED_FIRST
        log.warning("sync held", sync=sync, code=tripped.code, problem=tripped.sentence)
        self._hold(link, sync, tripped.code, tripped.sentence, held)
        return _Finding.HELD

    @staticmethod
    def _hold(link: Link, sync: str, code: str, sentence: str, held: HeldDeletes) -> None:
        link.run(lambda c: holds.place(c, "sync", sync, DELETES, code, sentence, "breaker", held))
