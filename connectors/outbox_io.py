"""Bytewax's input and outputs over the outbox: `stage` and `settle` write it, `due` reads it.

In: change batches, outcomes. Out: claimed rows. Rule: `write_batch` returns only after its commit (that is what makes
an epoch's end mean "staged"), so these two outputs are the only steps that may block; they are `FixedPartitionedSink`s
with one partition of a constant name, because the engine's recovery probe follows no other kind.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from connectors.claimer import Claimer
from connectors.trouble import Trouble
from rowtide.change import ChangeBatch
from rowtide.deciding.outcomes import Outcome, ParkRow
from rowtide.error_catalogue import row_errors
from rowtide.errors import Refused, RowError, Unavailable
from rowtide.keys import LANES
from state import outbox, pulse
from state.database import ONE_PLAN, Connection, Link
from state.reconcile.restored import settle_reused_ids

T = TypeVar("T")

Staged = Callable[[outbox.StageCounts], None]
Settled = Callable[[Sequence[Outcome], outbox.SettleCounts], None]


class Stopped(Exception):
    """The process was asked to end while an output was waiting for the state database."""


def until_answered(stop: threading.Event, act: Callable[[], T], what: str) -> T:
    """The result of ``act``, tried again until the state database answers; `Stopped` when asked to end."""
    trouble = Trouble(f"{what} waits", f"{what} goes on")
    while True:
        pulse.tick()
        try:
            done = act()
        except (Unavailable, Refused) as error:
            if pulse.wait(stop, trouble.failed(error)):
                raise Stopped from error
        else:
            trouble.succeeded()
            return done


class StagePartition(StatefulSinkPartition[ChangeBatch, None]):
    """Commits each activation's changes to the outbox."""

    def __init__(self, state_dsn: str, slot: str, stop: threading.Event, staged: Staged) -> None:
        self._link = Link(state_dsn, "rowtide stage", ONE_PLAN)
        self._slot = slot
        self._stop = stop
        self._staged = staged

    def write_batch(self, values: list[ChangeBatch]) -> None:
        """Return when everything is durable (a row the database refuses is parked by `outbox.stage`)."""
        self._staged(until_answered(self._stop, lambda: self._link.run(lambda c: self._stage(c, values)), "stage"))

    def _stage(self, connection: Connection, batches: Sequence[ChangeBatch]) -> outbox.StageCounts:
        return outbox.stage(connection, self._slot, batches)

    def snapshot(self) -> None:
        """Nothing to remember."""

    def close(self) -> None:
        """Let the connection go."""
        self._link.close()


class StageOutput(FixedPartitionedSink[ChangeBatch, None]):
    """The outbox as an output for one slot's changes; ``staged`` is told what each commit did."""

    def __init__(self, state_dsn: str, slot: str, stop: threading.Event, staged: Staged) -> None:
        self._state_dsn = state_dsn
        self._slot = slot
        self._stop = stop
        self._staged = staged

    def list_parts(self) -> list[str]:
        """One partition: a batch is one transaction."""
        return ["stage"]

    def part_fn(self, item_key: str) -> int:
        """Always that partition."""
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> StagePartition:
        """The partition; its state is in PostgreSQL."""
        return StagePartition(self._state_dsn, self._slot, self._stop, self._staged)


class SettlePartition(StatefulSinkPartition[Outcome, None]):
    """Commits each activation's outcomes to ledger and outbox."""

    def __init__(self, state_dsn: str, stop: threading.Event, settled: Settled) -> None:
        self._link = Link(state_dsn, "rowtide settle", ONE_PLAN)
        self._stop = stop
        self._settled = settled

    def write_batch(self, values: list[Outcome]) -> None:
        """Return when everything is durable."""
        self._settle(values)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        settle = partial(settle_reused_ids, outcomes=outcomes)
        try:
            counts = until_answered(self._stop, lambda: self._link.run(settle), "settle")
        except RowError as error:
            if len(outcomes) > 1:
                half = len(outcomes) // 2
                self._settle(outcomes[:half])
                self._settle(outcomes[half:])
            elif isinstance(outcomes[0], ParkRow):
                raise
            else:
                refused = row_errors.SETTLE_REFUSED(sentence=error.sentence)
                self._settle([ParkRow(outcomes[0].work, refused.code, refused.sentence, unknown=True)])
        else:
            self._settled(outcomes, counts)

    def snapshot(self) -> None:
        """Nothing to remember."""

    def close(self) -> None:
        """Let the connection go."""
        self._link.close()


class SettleOutput(FixedPartitionedSink[Outcome, None]):
    """The outbox as an output for outcomes; ``settled`` is told what each commit did."""

    def __init__(self, state_dsn: str, stop: threading.Event, settled: Settled) -> None:
        self._state_dsn = state_dsn
        self._stop = stop
        self._settled = settled

    def list_parts(self) -> list[str]:
        """One partition: a batch is one transaction."""
        return ["settle"]

    def part_fn(self, item_key: str) -> int:
        """Always that partition."""
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> SettlePartition:
        """The partition; its state is in PostgreSQL."""
        return SettlePartition(self._state_dsn, self._stop, self._settled)


class DuePartition(StatefulSourcePartition[Any, None]):
    """One lane of the outbox; drains the rows that the claiming thread has put there."""

    def __init__(self, claimer: Claimer, lane: int, stop: threading.Event) -> None:
        self._claimer = claimer
        self._lane = lane
        self._stop = stop
        claimer.own(lane)

    def next_batch(self) -> list[Any]:
        """The lane's claimed rows, or nothing; never blocks."""
        if self._stop.is_set():
            raise StopIteration
        return self._claimer.take(self._lane)

    def snapshot(self) -> None:
        """Nothing: a claimed row belongs to its lease."""


class DueInput(FixedPartitionedSource[Any, None]):
    """The outbox as an input, one partition for each lane."""

    def __init__(self, claimer: Claimer, stop: threading.Event) -> None:
        self._claimer = claimer
        self._stop = stop

    def list_parts(self) -> list[str]:
        """The lanes; any process may own any of them."""
        return [f"lane-{lane}" for lane in range(LANES)]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> DuePartition:
        """The lane's partition."""
        return DuePartition(self._claimer, int(for_part.removeprefix("lane-")), self._stop)
