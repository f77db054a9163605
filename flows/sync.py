"""The flow: its steps in order, no logic.

In: the parts of a process. Out: the Bytewax dataflow, and the names a recovery store has to agree with. Rule: step ids
and partition names are constants; the two halves meet only in the outbox.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from connectors.claimer import Claimer
from connectors.outbox_io import DueInput, Settled, SettleOutput, Staged, StageOutput
from connectors.postgres.replication.reader import Reader
from connectors.postgres.replication.wal_input import WalInput
from flows.ports import CaptureActs, Decisions, InForce, Lanes
from flows.steps.capture import Merge, Normalize
from flows.steps.deliver import Deliver, Plan
from rowtide.keys import LANES

FLOW = "rowtide"
"""The dataflow's id: part of every step's id in a recovery store."""

WAL, NORMALIZE_SHARD, MERGE, STAGE = "wal", "normalize-shard", "merge", "stage"
"""Capture, once for each PostgreSQL, whose name follows: read the WAL; map each row's columns to fields (normalise) and
find the list it belongs to (shard), which is one pass over the rows; fold the changes of each row, by sync and bucket;
write them to the outbox."""

DUE, PLAN_RESOLVE, DELIVER, SETTLE = "due", "plan-resolve", "deliver", "settle"
"""Deliver: claim rows that are due; decide what each needs, a move between lists included (plan), and who wins over an
item that somebody else changed (resolve; PostgreSQL does), which is one decision; carry it out, by graph and lane;
record what came of it."""


@dataclass(frozen=True, slots=True)
class CaptureParts:
    """What capture is made of; ``readers`` by PostgreSQL. ``run_id``: what a restored merge has to agree with."""

    readers: Mapping[str, Reader]
    run_id: str
    in_force: InForce
    refresh: Callable[[], None]
    acts: CaptureActs
    staged: Staged


@dataclass(frozen=True, slots=True)
class DeliverParts:
    """What deliver is made of."""

    claimer: Claimer
    decisions: Decisions
    lanes: Lanes
    settled: Settled


@dataclass(frozen=True, slots=True)
class Parts:
    """What the flow of one process is made of; a role it does not have is None. All inputs end when ``stop`` is set."""

    state_dsn: str
    stop: threading.Event
    capture: CaptureParts | None
    deliver: DeliverParts | None


def build(parts: Parts) -> Dataflow:
    """The dataflow of a process's roles."""
    flow = Dataflow(FLOW)
    if parts.capture is not None:
        for name, reader in parts.capture.readers.items():
            capture(flow, parts, parts.capture, name, reader)
    if parts.deliver is not None:
        deliver(flow, parts, parts.deliver)
    return flow


def capture(flow: Dataflow, parts: Parts, of: CaptureParts, name: str, reader: Reader) -> None:
    """WAL -> outbox, for one PostgreSQL."""
    wal = op.input(f"{WAL}-{name}", flow, WalInput(reader, parts.stop))
    normalize = Normalize(name, reader.slot, of.in_force, of.refresh, of.acts)
    changes = op.flat_map_batch(f"{NORMALIZE_SHARD}-{name}", wal, normalize)
    merged = op.stateful_batch(f"{MERGE}-{name}", changes, lambda resume: Merge(of.run_id, resume))
    stage = StageOutput(parts.state_dsn, reader.settings.slot, parts.stop, of.staged)
    op.output(f"{STAGE}-{name}", merged, stage)


def deliver(flow: Dataflow, parts: Parts, of: DeliverParts) -> None:
    """Outbox -> Graph."""
    due = op.input(DUE, flow, DueInput(of.claimer, parts.stop))
    planned = op.flat_map_batch(PLAN_RESOLVE, due, Plan(of.decisions))
    outcomes = op.stateful_batch(DELIVER, planned, lambda _resume: Deliver(of.lanes))
    op.output(SETTLE, outcomes, SettleOutput(parts.state_dsn, parts.stop, of.settled))


def names(parts: Parts) -> list[str]:
    """Step ids and partition names as one list; a store made under other names is of no use."""
    found = [FLOW]
    if parts.capture is not None:
        readers = parts.capture.readers.items()
        found += [f"{step}-{name}" for name, _ in readers for step in (WAL, NORMALIZE_SHARD, MERGE, STAGE)]
        found += [reader.settings.slot for _, reader in readers]
    if parts.deliver is not None:
        found += [DUE, PLAN_RESOLVE, DELIVER, SETTLE, *(f"lane-{lane}" for lane in range(LANES))]
    return found
