"""The flow: its steps in order, no logic.

In: a `Runtime`. Out: the Bytewax dataflow, and the names a recovery store has to agree with. Rule: step ids and
partition names are constants (docs/design.md section 14); the two halves meet only in the outbox.
"""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from connectors.outbox_io import DueInput, SettleOutput, StageOutput
from connectors.postgres.replication.wal_input import WalInput
from flows.process import Runtime
from flows.steps import Deliver, Merge, Normalize, Plan
from rowtide.keys import LANES

FLOW = "rowtide"


def build(runtime: Runtime) -> Dataflow:
    """The dataflow of this process's roles."""
    flow = Dataflow(FLOW)
    if "capture" in runtime.roles:
        for name, reader in runtime.readers.items():
            capture(flow, runtime, name, WalInput(reader, runtime.stop))
    if "deliver" in runtime.roles:
        deliver(flow, runtime)
    return flow


def capture(flow: Dataflow, runtime: Runtime, name: str, wal_input: WalInput) -> None:
    """WAL -> outbox, for one PostgreSQL."""
    wal = op.input(f"wal-{name}", flow, wal_input)
    changes = op.flat_map_batch(f"normalize-{name}", wal, Normalize(runtime, name))
    merged = op.stateful_batch(f"merge-{name}", changes, lambda resume: Merge(runtime.run_id, resume))
    op.output(f"stage-{name}", merged, StageOutput(runtime, name))


def deliver(flow: Dataflow, runtime: Runtime) -> None:
    """Outbox -> Graph."""
    due = op.input("due", flow, DueInput(runtime.claimer, runtime.stop))
    planned = op.flat_map_batch("plan", due, Plan(runtime))
    outcomes = op.stateful_batch("deliver", planned, lambda _resume: Deliver(runtime))
    op.output("settle", outcomes, SettleOutput(runtime))


def names(runtime: Runtime) -> list[str]:
    """Step ids and partition names as one list; a store made under other names is of no use."""
    steps = [f"{step}-{name}" for name in runtime.readers for step in ("wal", "normalize", "merge", "stage")]
    lanes = [f"lane-{lane}" for lane in range(LANES)]
    return [FLOW, *sorted(runtime.roles), *steps, *lanes, "due", "plan", "deliver", "settle"]
