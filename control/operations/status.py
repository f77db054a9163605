"""Where every sync stands.

In: a session. Out: a `StatusDocument`: processes, sources, graphs and syncs, each sync with one sentence that says why
it is not moving. Rule: it can be had while everything but the state database is down; what a source cannot be asked is
None, never guessed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from control.operations import status_snapshot
from control.operations.diagnosis import reason_of
from control.operations.pause import HoldDocument
from control.operations.pause import to_document as to_hold_document
from control.operations.session import Session
from control.operations.status_snapshot import StatusSnapshot
from rowtide.position import lsn_to_text
from state import processes, progress
from state.reconcile import record as reconciles


class InForceDocument(TypedDict):
    """The definition that a running flow obeys."""

    version: int
    applied_at: datetime
    applied_by: str


class ProcessDocument(TypedDict):
    """The last beat of one process. ``ready``: it works by the definition in force; else ``problem`` says why not."""

    process_id: int
    roles: list[str]
    host: str
    pid: int
    started_at: datetime
    seen_s_ago: float
    alive: bool
    ready: bool
    problem: str | None


class SourceDocument(TypedDict):
    """A source: how far its slot was read, and what it keeps."""

    slot: str
    incarnation: int | None
    lsn: str | None
    lag_bytes: int | None
    retained_bytes: int | None
    wal_status: str | None
    problem: str | None


class GraphDocument(TypedDict):
    """A tenant: what was spent there, and until when it accepts no writes."""

    ru_used: float
    ru_per_minute: float | None
    throttled: int
    gate_until: datetime | None
    problem: str | None


class PositionDocument(TypedDict):
    """A position in a source's history."""

    era: int
    lsn: str


class LatencyDocument(TypedDict):
    """Percentiles of the time from commit to Graph's answer, in milliseconds."""

    p50: float | None
    p95: float | None
    p99: float | None


class ReconcileDocument(TypedDict):
    """The newest pass over a sync."""

    state: str
    why: str
    compared: int
    estimate: int
    started_at: datetime | None
    ended_at: datetime | None
    counts: Mapping[str, int]


class ReasonDocument(TypedDict):
    """Why a sync is not moving, or that it is."""

    code: str
    sentence: str


class SyncDocument(TypedDict):
    """One sync; ``holds``: everything that holds it back, with what lifts each."""

    sync: str
    state: str
    holds: list[HoldDocument]
    position: PositionDocument | None
    lag_bytes: int | None
    lag_s: float
    waiting: int
    in_flight: int
    parked: int
    changes: int
    delivered: int
    writes: int
    suppressed: int
    foreign_edits: int
    latency_ms: LatencyDocument
    ru_used: int
    reconcile: ReconcileDocument | None
    reason: ReasonDocument


class StatusDocument(TypedDict):
    """Everything that `rowtide status` shows."""

    at: datetime
    definition: InForceDocument
    processes: list[ProcessDocument]
    sources: dict[str, SourceDocument]
    graphs: dict[str, GraphDocument]
    syncs: list[SyncDocument]


def status(session: Session) -> StatusDocument:
    """Read everything now; StateRefused before the first `apply`."""
    answers = status_snapshot.ask_sources(session)
    return to_document(session.on_state(lambda connection: status_snapshot.read(connection, answers)))


def to_document(snapshot: StatusSnapshot) -> StatusDocument:
    """The snapshot as JSON."""
    return {
        "at": snapshot.now,
        "definition": {
            "version": snapshot.applied.version,
            "applied_at": snapshot.applied.applied_at,
            "applied_by": snapshot.applied.applied_by,
        },
        "processes": [_process(process) for process in snapshot.processes],
        "sources": {name: _source(snapshot, name) for name in snapshot.catalog.definition.postgres},
        "graphs": {name: _graph(snapshot, name) for name in snapshot.catalog.definition.graph},
        "syncs": [_sync(snapshot, name) for name in snapshot.catalog.everything],
    }


def _process(process: processes.ProcessBeat) -> ProcessDocument:
    problem = status_snapshot.definition_problem_of(process)
    return {
        "process_id": process.process_id,
        "roles": process.roles,
        "host": process.host,
        "pid": process.pid,
        "started_at": process.started_at,
        "seen_s_ago": round(process.age_s, 1),
        "alive": process.age_s <= processes.ALIVE_S,
        "ready": process.age_s <= processes.ALIVE_S and problem is None,
        "problem": problem,
    }


def _source(snapshot: StatusSnapshot, name: str) -> SourceDocument:
    slot, cursor = snapshot.slot(name), snapshot.cursors.get(snapshot.catalog.definition.slot(name))
    of_processes = status_snapshot.source_problem(snapshot, name) or status_snapshot.source_differs(snapshot, name)
    return {
        "slot": snapshot.catalog.definition.slot(name),
        "incarnation": None if cursor is None else cursor.incarnation,
        "lsn": None if cursor is None else lsn_to_text(cursor.lsn),
        "lag_bytes": None if slot is None else slot.lag_bytes,
        "retained_bytes": None if slot is None else slot.retained_bytes,
        "wal_status": None if slot is None else slot.wal_status,
        "problem": of_processes or status_snapshot.asked_elsewhere(snapshot, name),
    }


def _graph(snapshot: StatusSnapshot, name: str) -> GraphDocument:
    health = status_snapshot.health_of(snapshot, "graph", name)
    return {
        "ru_used": sum(part.get("ru_used") or 0 for part in health),
        "ru_per_minute": status_snapshot.ru_per_minute(snapshot, name),
        "throttled": sum(part.get("throttled") or 0 for part in health),
        "gate_until": status_snapshot.gate_until(snapshot, name),
        "problem": status_snapshot.problem_of(snapshot, "graph", name),
    }


def _sync(snapshot: StatusSnapshot, name: str) -> SyncDocument:
    waits, did = snapshot.waiting.get(name), snapshot.progress.get(name)
    sync, state, record = snapshot.catalog.everything[name], snapshot.states.get(name), snapshot.reconciles.get(name)
    cursor, slot = (
        snapshot.cursors.get(snapshot.catalog.definition.slot(sync.postgres)),
        snapshot.slot(sync.postgres),
    )
    facts = status_snapshot.facts_of(snapshot, name)
    reason = reason_of(facts)
    oldest = None if waits is None else waits.oldest
    return {
        "sync": sync.name,
        "state": "retired" if facts.retired else "paused" if facts.holds else "running",
        "holds": [to_hold_document(hold) for hold in facts.holds],
        "position": None if cursor is None or state is None else {"era": state.era, "lsn": lsn_to_text(cursor.lsn)},
        "lag_bytes": None if slot is None else slot.lag_bytes,
        "lag_s": 0.0 if oldest is None else round(max((snapshot.now - oldest).total_seconds(), 0.0), 1),
        "waiting": 0 if waits is None else waits.waiting - waits.in_flight,
        "in_flight": 0 if waits is None else waits.in_flight,
        "parked": 0 if waits is None else waits.parked,
        "changes": 0 if did is None else did.changes,
        "delivered": 0 if did is None else did.delivered,
        "writes": 0 if did is None else did.writes,
        "suppressed": 0 if did is None else did.suppressed,
        "foreign_edits": 0 if did is None else did.foreign_edits,
        "latency_ms": {"p50": _latency(did, 0.5), "p95": _latency(did, 0.95), "p99": _latency(did, 0.99)},
        "ru_used": 0 if did is None else round(did.ru_used),
        "reconcile": None if record is None else _reconcile(record),
        "reason": {"code": reason.code, "sentence": reason.sentence},
    }


def _latency(did: progress.Progress | None, share: float) -> float | None:
    found = None if did is None else did.percentile_ms(share)
    return None if found is None else round(found, 1)


def _reconcile(record: reconciles.Reconcile) -> ReconcileDocument:
    return {
        "state": record.state,
        "why": record.why,
        "compared": record.counts.get("rows", 0),
        "estimate": record.estimate,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "counts": dict(record.counts),
    }
