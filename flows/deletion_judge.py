"""Judges the waiting deletions of syncs that have many, in a thread of its own.

In: syncs whose deletions wait to be claimed. Out: verdicts (how many deletions of existing items may be carried out),
or a hold that asks a person. Called by `flows.admission`. Rule (docs/design.md section 10): a verdict lets no more
deletions through than were counted for it, and none for long. *Reason* for the thread: to count a hundred thousand
deletions takes a tenth of a second, a million pairs longer, and who claims for all lists must not wait for that.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import structlog

from connectors.loops import Loop
from connectors.trouble import Trouble
from rowtide import mass_delete
from rowtide.errors import RowtideError
from rowtide.holds import DELETES, HeldDeletes
from rowtide.mapping.compiled_sync import CompiledSync
from state import failpoints, holds, outbox, pulse
from state.database import ONE_PLAN, Link

log = structlog.get_logger()

COUNT_AGAIN_S: Final = 30.0
"""Seconds for which a count of pairs is used: counting a million takes a while, and about right is enough."""

LOOK_AGAIN_S: Final = 1.0
"""Seconds between two looks whether a sync's approved deletions are carried out."""

_REST, _MOST_S = 10, 5.0
"""A verdict stands for so many times the time that it took, and at most for the last."""


class _Finding(Enum):
    """What was found of the deletions of a sync that wait."""

    FEW = auto()
    APPROVED_FIRST = auto()  # too many, but a person's approved ones go first, and the others are not due meanwhile
    HELD = auto()


@dataclass(slots=True)
class _Verdict:
    """So many deletions of existing items may go until then."""

    until: float
    deletes: int


class DeletionJudge:
    """The thread, and what it has found, for the claiming thread."""

    def __init__(self, state_dsn: str, compiled_of: Callable[[str], CompiledSync]) -> None:
        """``compiled_of`` raises KeyError for a sync that is not applied."""
        # The sizes of yesterday would have it compare each deletion with every pair.
        self._link = Link(state_dsn, "rowtide deletions", ONE_PLAN)
        self._compiled_of = compiled_of
        self._judged: Callable[[str], None] = lambda _: None
        self._lock = threading.Lock()
        self._verdicts: dict[str, _Verdict] = {}
        self._pairs: dict[str, tuple[float, int]] = {}
        self._asked: dict[str, float] = {}  # by sync, when it is to be judged
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = Loop(failpoints.LOOP_DELETIONS, self._run, self._stop)

    def tell(self, judged: Callable[[str], None]) -> None:
        """Have this told of each sync with a verdict."""
        self._judged = judged

    def start(self) -> None:
        """Begin to judge what is asked."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; a count that is under way is cut off with its connection."""
        self._stop.set()
        self._wake.set()
        self._thread.join(0.3)
        self._link.close()

    # --- for the claiming thread --------------------------------------------------------------------------------------

    def is_judged(self, sync: str) -> bool:
        """Whether a verdict on the sync stands, even if all that it let through is gone."""
        with self._lock:
            verdict = self._verdicts.get(sync)
            return verdict is not None and time.monotonic() < verdict.until

    def passes(self, compiled: CompiledSync, deletes: int | None) -> bool:
        """Whether so many waiting deletions of existing items (None: nobody has counted them) may go as they are.

        If so it is the verdict on the next claim.
        """
        sync, breaker = compiled.sync, compiled.breaker
        if deletes is None:
            return False
        if deletes >= mass_delete.FEW or deletes > breaker.rows:
            pairs = self._known_pairs(sync)
            if pairs is None or mass_delete.judge_deletes(sync, deletes, pairs, breaker) is not None:
                return False
        with self._lock:
            self._verdicts[sync] = _Verdict(time.monotonic(), deletes)
        return True

    def take(self, deletes: Mapping[str, int]) -> bool:
        """Count these deletions against the verdicts; False if one lets fewer through: then its sync is judged anew."""
        with self._lock:
            beyond = [sync for sync, count in deletes.items() if count > self._left(sync)]
            for sync in beyond:
                self._verdicts.pop(sync, None)
            if not beyond:
                for sync, count in deletes.items():
                    self._verdicts[sync].deletes -= count
            return not beyond

    def ask(self, syncs: Collection[str]) -> None:
        """Have these syncs judged."""
        with self._lock:
            self._asked |= dict.fromkeys(syncs, 0.0)
        self._wake.set()

    def _left(self, sync: str) -> int:
        verdict = self._verdicts.get(sync)
        return 0 if verdict is None else verdict.deletes

    def _known_pairs(self, sync: str) -> int | None:
        at, pairs = self._pairs.get(sync, (-COUNT_AGAIN_S, 0))
        return pairs if time.monotonic() - at <= COUNT_AGAIN_S else None

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        trouble = Trouble("judging deletions waits", "judging deletions goes on")
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._thread.turn()
                self.judge_asked(self._link)
                trouble.succeeded()
            except RowtideError as error:
                pulse.wait(self._stop, trouble.failed(error))
            else:
                pulse.wait(self._wake, LOOK_AGAIN_S)

    def judge_asked(self, link: Link) -> None:
        """Judge the syncs of which somebody has asked that, one by one."""
        for sync in self._due():
            try:
                compiled = self._compiled_of(sync)
            except KeyError:  # not applied any more
                with self._lock:
                    self._asked.pop(sync, None)
                continue
            if self._judge(link, compiled) is not _Finding.HELD:
                self._judged(sync)

    def _due(self) -> list[str]:
        now = time.monotonic()
        with self._lock:
            return [sync for sync, at in self._asked.items() if at <= now]

    def _judge(self, link: Link, compiled: CompiledSync) -> _Finding:
        sync, began = compiled.sync, time.monotonic()
        held, pairs = link.run(lambda connection: outbox.count_deletes_and_pairs(connection, sync))
        ended = time.monotonic()
        finding = self._look_at(link, compiled, held, pairs)
        until = ended + min(max(_REST * (ended - began), LOOK_AGAIN_S), _MOST_S)
        with self._lock:
            self._pairs[sync] = (ended, pairs)
            match finding:
                case _Finding.FEW:
                    self._asked.pop(sync, None)
                    self._verdicts[sync] = _Verdict(until, held.count)
                case _Finding.APPROVED_FIRST:
                    # No claim would ask for the others before a person has been told that they are held.
                    self._asked[sync] = ended + LOOK_AGAIN_S
                    self._verdicts[sync] = _Verdict(until, 0)
                case _Finding.HELD:
                    self._asked.pop(sync, None)
                    self._verdicts.pop(sync, None)
        return finding

    def _look_at(self, link: Link, compiled: CompiledSync, held: HeldDeletes, pairs: int) -> _Finding:
        sync = compiled.sync
        tripped = mass_delete.judge_deletes(sync, held.count, pairs, compiled.breaker)
        if tripped is None:
            return _Finding.FEW
        if link.run(lambda connection: outbox.go_on_with_approved(connection, sync)):
            return _Finding.APPROVED_FIRST
        log.warning("sync held", sync=sync, code=tripped.code, problem=tripped.unquoted)
        link.run(lambda c: holds.place(c, "sync", sync, DELETES, tripped.code, tripped.sentence, "breaker", held))
        return _Finding.HELD
