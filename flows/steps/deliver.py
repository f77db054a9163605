"""The delivering steps: a claimed row becomes a command or an outcome, a command becomes an outcome.

In: claimed rows. Out: outcomes for settle, keyed by lane. Rules: IO only through a port; no exception for a row that
can be handed back; nothing waits; nothing is remembered, because a row in flight belongs to its lease.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from bytewax.operators import StatefulBatchLogic

from flows.ports import ALREADY, Decisions, Lanes
from rowtide.deciding import claimed
from rowtide.deciding.hand_over import AskVersions
from rowtide.deciding.in_flight import InFlight
from rowtide.deciding.outcomes import Complete, Outcome, Release
from rowtide.deciding.records import Work
from rowtide.keys import lane_name
from rowtide.pacing import WRITE_RU

NOT_APPLIED_S = 60.0
"""Seconds that a row waits whose sync is not in the applied definition any more; the next one may have it again."""


class Planned(NamedTuple):
    """A claimed row on its way to its lane's writer: a claim in flight, or an outcome that needs no request."""

    lane: str
    step: InFlight | Outcome


class Plan:
    """Decides, for each claimed row, what to ask of Graph; rows that need nothing go straight to settle."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def __call__(self, works: Sequence[Work]) -> Iterable[tuple[str, Planned]]:
        """Keyed by graph and lane, so that one worker sends what belongs together."""
        for work in works:
            sync, key = work.desired.sync, work.desired.key
            try:
                graph, rules = self._decisions.graph_of(sync), self._decisions.rules_of(sync)
            except KeyError:  # the sync was removed since the claim
                gone = Release(work, NOT_APPLIED_S, unknown=False, reason="sync is not applied any more")
                lane = lane_name("", sync, key)
                yield lane, Planned(lane, gone)
                continue
            step = claimed.first(work, rules, self._decisions.now())
            if isinstance(step, Complete):
                step = Release(work, 0.0, unknown=False, reread=True)
            assert not isinstance(step, AskVersions), "versions are asked for after a look"
            if not isinstance(step, InFlight):
                self._decisions.refund(graph, WRITE_RU)
            lane = lane_name(graph, sync, key)
            yield lane, Planned(lane, step)


class Deliver(StatefulBatchLogic[Planned, Outcome, None]):
    """Hands claims in flight to the process-wide writer and emits their outcomes; never waits, snapshots nothing."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._lane = ""
        self._pending = 0

    def on_batch(self, values: list[Planned]) -> tuple[list[Outcome], bool]:
        """Pass outcomes on, and submit claims in flight."""
        self._lane = values[0].lane
        done: list[Outcome] = []
        begun: list[InFlight] = []
        for _, step in values:
            if isinstance(step, InFlight):
                begun.append(step)
            else:
                done.append(step)
        if begun:
            self._pending += len(begun)
            self._lanes.submit(self._lane, begun)
        return [*done, *self._completed()], False

    def on_notify(self) -> tuple[list[Outcome], bool]:
        """Completions since the last look (spurious calls find none)."""
        return self._completed(), False

    def _completed(self) -> list[Outcome]:
        done = self._lanes.completed(self._lane) if self._pending else []
        self._pending -= len(done)
        return done

    def notify_at(self) -> datetime | None:
        """At the engine's next turn while something is in flight, else never."""
        return ALREADY if self._pending else None

    def snapshot(self) -> None:
        """Nothing: what is in flight belongs to the lease."""
