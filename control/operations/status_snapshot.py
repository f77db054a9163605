"""Everything `rowtide status` knows, read at one moment.

In: the state database, the sources' slots, the processes' beats. Out: `Seen`, and the `Facts` that decide the sentence
of each sync. Rule: what a source cannot be asked is None, never guessed; only what a living process says counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.postgres import slots
from connectors.settings import Loaded
from control.operations.diagnosis import Facts
from control.operations.session import require_applied, source
from rowtide.catalog import Catalog
from rowtide.errors import RowtideError
from rowtide.pacing import tier_of
from state import cursors, definitions, outbox, processes, progress
from state.database import Connection
from state.reconcile import record as reconciles

STALE_S = 5.0
"""A process beats each second; one that missed five beats is not believed to be there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything the state database says, read at one moment; ``slots`` is what the sources said (None: no answer)."""

    now: datetime
    applied: definitions.Applied
    catalog: Catalog
    states: Mapping[str, definitions.SyncState]
    waiting: Mapping[str, outbox.Waiting]
    progress: Mapping[str, progress.Progress]
    reconciles: Mapping[str, reconciles.Reconcile]
    processes: Sequence[processes.Process]
    cursors: Mapping[str, cursors.SlotCursor]
    slots: Mapping[str, slots.Slot | None]


def read_seen(connection: Connection, found: Mapping[str, slots.Slot | None]) -> Seen:
    """What the state database says now."""
    applied, catalog = require_applied(connection)
    [(now,)] = connection.execute("SELECT clock_timestamp()").fetchall()
    return Seen(
        now,
        applied,
        catalog,
        definitions.sync_states(connection),
        outbox.waiting(connection),
        progress.read(connection),
        reconciles.read_all(connection),
        processes.read(connection),
        cursors.read_slots(connection),
        found,
    )


def read_slots(loaded: Loaded) -> dict[str, slots.Slot | None]:
    """Each source's slot as its server sees it; None where nobody answers."""
    definition = loaded.definition
    found: dict[str, slots.Slot | None] = {}
    for name in definition.postgres:
        try:
            with source(definition, name) as connection:
                found[name] = slots.slot_lag(connection, definition.slot(name))
        except RowtideError:
            found[name] = None
    return found


def health_of(seen: Seen, part: str, name: str) -> list[Mapping[str, Any]]:
    """What the living processes say of one source or graph."""
    alive = [process.health.get(part) or {} for process in seen.processes if process.age_s <= STALE_S]
    return [health[name] for health in alive if name in health]


def problem_of(seen: Seen, part: str, name: str) -> str | None:
    found = [health.get("problem") for health in health_of(seen, part, name)]
    return next((problem["sentence"] for problem in found if problem), None)


def _due_problem(seen: Seen) -> str | None:
    alive = [process.health.get("due") or {} for process in seen.processes if process.age_s <= STALE_S]
    return next((due["problem"]["sentence"] for due in alive if due.get("problem")), None)


def _list_problem(seen: Seen, sync: str) -> str | None:
    """What a list of this sync refuses, where its graph is otherwise well."""
    ids = {ref.id for ref in seen.catalog.lists_of(sync)}
    for health in health_of(seen, "graph", seen.catalog.syncs[sync].graph):
        for list_id, sentence in (health.get("lists") or {}).items():
            if list_id in ids:
                return str(sentence)
    return None


def gate_until(seen: Seen, graph: str) -> datetime | None:
    times = [health["gate_until"] for health in health_of(seen, "graph", graph) if health.get("gate_until")]
    return max((datetime.fromisoformat(text) for text in times), default=None)


def ru_per_minute(seen: Seen, graph: str) -> float | None:
    section = seen.catalog.definition.graph[graph]
    return None if section.quota == "off" else tier_of(section.licences).ru_per_minute * section.quota_share


def _role_seen_s(seen: Seen, role: str) -> float | None:
    return min((process.age_s for process in seen.processes if role in process.roles), default=None)


def facts_of(seen: Seen, name: str) -> Facts:
    """What decides the sentence of one sync."""
    sync, state, waits = seen.catalog.syncs[name], seen.states.get(name), seen.waiting.get(name)
    record = seen.reconciles.get(name)
    slot = seen.slots.get(sync.postgres)
    graphs = health_of(seen, "graph", sync.graph)
    return Facts(
        now=seen.now,
        state="running" if state is None else state.state,
        paused_code=None if state is None else state.reason_code,
        paused_reason=None if state is None else state.reason,
        changed_by=None if state is None else state.changed_by,
        changed_at=None if state is None else state.changed_at,
        capture_seen_s=_role_seen_s(seen, "capture"),
        deliver_seen_s=_role_seen_s(seen, "deliver"),
        stale_after_s=STALE_S,
        state_problem=_due_problem(seen),
        source=sync.postgres,
        source_problem=problem_of(seen, "source", seen.catalog.definition.slot(sync.postgres)),
        graph=sync.graph,
        graph_problem=problem_of(seen, "graph", sync.graph) or _list_problem(seen, name),
        gate_until=gate_until(seen, sync.graph),
        quota_wait_s=max((health.get("quota_wait_s") or 0.0 for health in graphs), default=0.0),
        ru_per_minute=ru_per_minute(seen, sync.graph),
        waiting=0 if waits is None else waits.waiting - waits.in_flight,
        in_flight=0 if waits is None else waits.in_flight,
        parked=0 if waits is None else waits.parked,
        observing=sync.mode == "observe",
        reconcile_state=None if record is None else record.state,
        reconcile_done=None if record is None else record.counts.get("rows", 0),
        reconcile_total=None if record is None else record.estimate or None,
        reconcile_problem=None if record is None or record.state == "done" else record.waits,
        lag_bytes=None if slot is None else slot.lag_bytes,
    )
