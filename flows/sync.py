"""The flow: its steps in order, no logic.

In: the parts of a process. Out: the Bytewax dataflow, and the names that a recovery store has to match. Rule: step ids
and partition names are constants; the two halves meet only in the outbox.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import FixedPartitionedSource

from connectors.claimer import Claimer
from connectors.outbox_io import DueInput, Settled, SettleOutput, Staged, StageOutput
from connectors.postgres.replication.reader import Reader
from connectors.postgres.replication.wal_input import WalInput
from flows.inputs import Arrived, Epochs, Inputs, of_step
from flows.ports import CaptureActs, Decisions, InForce, Lanes
from flows.steps.capture import Merge, Normalize
from flows.steps.deliver import Deliver, Plan

FLOW = "rowtide"
"""The dataflow's id: part of every step's id in a recovery store."""

INPUT = "input"
"""The one input of a process: what it hands on goes to the steps `WAL` and `DUE`."""

WAL, NORMALIZE_SHARD, MERGE, STAGE = "wal", "normalize-shard", "merge", "stage"
"""Steps of capture, once for each PostgreSQL, whose name follows: take its WAL; in one pass over the rows, map each
row's columns to fields (normalise) and find its list (shard); fold the changes of each row, by sync and bucket; write
them to the outbox."""

DUE, PLAN_RESOLVE, DELIVER, SETTLE = "due", "plan-resolve", "deliver", "settle"
"""Steps of deliver: take the claimed rows; in one decision, say what each needs, a move between lists included
(plan), and who wins when somebody else changed its item (resolve; PostgreSQL does); carry that out, by graph and lane;
record what came of it."""


@dataclass(frozen=True, slots=True)
class CaptureParts:
    """The parts of capture; ``readers`` by PostgreSQL. ``run_id``: a restored merge counts only if it has the same."""

    readers: Mapping[str, Reader]
    run_id: str
    in_force: InForce
    refresh: Callable[[], None]
    acts: CaptureActs
    staged: Staged


@dataclass(frozen=True, slots=True)
class DeliverParts:
    """The parts of deliver."""

    claimer: Claimer
    decisions: Decisions
    lanes: Lanes
    settled: Settled


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one process's flow; None for a role it does not have. All inputs end when ``stop`` is set.

    ``epochs`` is told when one closes. ``look`` is called with every look at an input: it notices when the clock of the
    engine is set back.
    """

    state_dsn: str
    stop: threading.Event
    capture: CaptureParts | None
    deliver: DeliverParts | None
    epochs: Epochs = field(default_factory=Epochs)
    look: Callable[[], None] = lambda: None

    @property
    def has_inputs(self) -> bool:
        """Whether there is anything to take in."""
        return self.deliver is not None or (self.capture is not None and bool(self.capture.readers))


def build(parts: Parts) -> Dataflow:
    """The dataflow of a process's roles."""
    flow = Dataflow(FLOW)
    arrived = op.input(INPUT, flow, inputs(parts))
    if parts.capture is not None:
        for name, reader in parts.capture.readers.items():
            capture(arrived, parts, parts.capture, name, reader)
    if parts.deliver is not None:
        deliver(arrived, parts, parts.deliver)
    return flow


def inputs(parts: Parts) -> Inputs:
    """What a process takes in: the log of each PostgreSQL, the rows that are due."""
    found: dict[str, FixedPartitionedSource[Any, Any]] = {}
    if parts.capture is not None:
        found |= {f"{WAL}-{name}": WalInput(reader, parts.stop) for name, reader in parts.capture.readers.items()}
    if parts.deliver is not None:
        found[DUE] = DueInput(parts.deliver.claimer, parts.stop)
    return Inputs(found, parts.stop, parts.epochs, parts.look)


def capture(arrived: Stream[Arrived], parts: Parts, of: CaptureParts, name: str, reader: Reader) -> None:
    """WAL -> outbox, for one PostgreSQL."""
    wal = op.flat_map_batch(f"{WAL}-{name}", arrived, of_step(f"{WAL}-{name}"))
    normalize = Normalize(name, reader.slot, of.in_force, of.refresh, of.acts)
    changes = op.flat_map_batch(f"{NORMALIZE_SHARD}-{name}", wal, normalize)
    merged = op.stateful_batch(f"{MERGE}-{name}", changes, lambda resume: Merge(of.run_id, resume))
    stage = StageOutput(parts.state_dsn, reader.settings.slot, parts.stop, of.staged)
    op.output(f"{STAGE}-{name}", merged, stage)


def deliver(arrived: Stream[Arrived], parts: Parts, of: DeliverParts) -> None:
    """Outbox -> Graph."""
    due = op.flat_map_batch(DUE, arrived, of_step(DUE))
    planned = op.flat_map_batch(PLAN_RESOLVE, due, Plan(of.decisions))
    outcomes = op.stateful_batch(DELIVER, planned, lambda _resume: Deliver(of.lanes))
    op.output(SETTLE, outcomes, SettleOutput(parts.state_dsn, parts.stop, of.settled))


def names(parts: Parts) -> list[str]:
    """Step ids and partition names as one list; a store made under other names is of no use."""
    found = [FLOW, INPUT, *inputs(parts).list_parts()]
    if parts.capture is not None:
        found += [f"{step}-{name}" for name in parts.capture.readers for step in (WAL, NORMALIZE_SHARD, MERGE, STAGE)]
    if parts.deliver is not None:
        found += [DUE, PLAN_RESOLVE, DELIVER, SETTLE]
    return found
