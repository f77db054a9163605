"""Where every sync stands.

In: a session. Out: a `StatusDocument`: processes, sources, graphs and syncs. Of each sync it says what is wanted of it,
what it does, and what is wrong with it and what to do next; ``reason`` is the one sentence to read first. Rules: it can
be had while everything but the state database is down; what is not known is None, never guessed and never 0.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from control.operations import activity, diagnosis, out_of_sync, status_snapshot
from control.operations.activity import Rates
from control.operations.diagnosis import EditFacts, KnownProblem, SyncFacts
from control.operations.out_of_sync import GaugeDocument, GoodMinutesDocument, Moment, OutOfSyncDocument
from control.operations.pause import HoldDocument
from control.operations.pause import to_document as to_hold_document
from control.operations.session import Session
from control.operations.status_snapshot import StatusSnapshot
from rowtide.error_catalogue import process_errors
from rowtide.error_catalogue.entries import Said
from rowtide.position import lsn_to_text
from state import processes, progress
from state.reconcile import record as reconciles


class InForceDocument(TypedDict):
    """The definition that a running flow obeys."""

    version: int
    applied_at: datetime
    applied_by: str


class ProcessDocument(TypedDict):
    """The last beat of one process. ``ready``: it works by the definition in force, and goes on.

    Else ``problem`` says why not.
    """

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


class SaidDocument(TypedDict):
    """A code, its sentence, and what to do next (empty: nothing)."""

    code: str
    sentence: str
    next: str


class RatesDocument(TypedDict):
    """How many a second, over the last seconds."""

    changes_per_s: float
    delivered_per_s: float
    compared_per_s: float


class EditsDocument(TypedDict):
    """Edits that people made in a sync's lists and that are not in its table yet."""

    waiting: int
    parked: int
    conflicts: int
    lag_s: float


class SyncDocument(TypedDict):
    """One sync.

    ``wanted``: run, paused, held or retired; ``activity`` as in `control.operations.activity`; ``health``: what is
    wrong, or ``ok``; ``reason``: why it is not moving, or what it does; ``holds``: everything that holds it back, with
    what lifts each. ``lag_s`` (of the push) and ``eta_s`` are None where nobody can tell.
    """

    sync: str
    wanted: str
    activity: str
    health: SaidDocument
    holds: list[HoldDocument]
    position: PositionDocument | None
    lag_bytes: int | None
    lag_s: float | None
    out_of_sync: OutOfSyncDocument
    gauge: GaugeDocument | None
    minutes: GoodMinutesDocument | None
    waiting: int
    in_flight: int
    parked: int
    rates: RatesDocument
    eta_s: float | None
    changes: int
    delivered: int
    writes: int
    suppressed: int
    foreign_edits: int
    edits: EditsDocument
    latency_ms: LatencyDocument
    ru_used: int
    reconcile: ReconcileDocument | None
    reason: SaidDocument


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
    problem = status_snapshot.definition_problem_of(process) or _silence(process)
    return {
        "process_id": process.process_id,
        "roles": process.roles,
        "host": process.host,
        "pid": process.pid,
        "started_at": process.started_at,
        "seen_s_ago": round(process.age_s, 1),
        "alive": process.moved_s <= processes.ALIVE_S,
        "ready": process.age_s <= processes.ALIVE_S and problem is None,
        "problem": problem,
    }


def _silence(process: processes.ProcessBeat) -> str | None:
    stuck = process.silence
    if stuck is None:
        return None
    seconds = f"{stuck.silent_s:,.0f}"
    return process_errors.LOOP_SILENT(loop=stuck.loop, seconds=seconds, doing=stuck.doing).sentence


def _source(snapshot: StatusSnapshot, name: str) -> SourceDocument:
    slot, cursor = snapshot.slot(name), snapshot.cursors.get(snapshot.catalog.definition.slot(name))
    differs = status_snapshot.source_differs(snapshot, name) or status_snapshot.asked_elsewhere(snapshot, name)
    return {
        "slot": snapshot.catalog.definition.slot(name),
        "incarnation": None if cursor is None else cursor.incarnation,
        "lsn": None if cursor is None else lsn_to_text(cursor.lsn),
        "lag_bytes": None if slot is None else slot.lag_bytes,
        "retained_bytes": None if slot is None else slot.retained_bytes,
        "wal_status": None if slot is None else slot.wal_status,
        "problem": _sentence(status_snapshot.source_problem(snapshot, name)) or differs,
    }


def _graph(snapshot: StatusSnapshot, name: str) -> GraphDocument:
    health = status_snapshot.health_of(snapshot, "graph", name)
    return {
        "ru_used": sum(part.get("ru_used") or 0 for part in health),
        "ru_per_minute": status_snapshot.ru_per_minute(snapshot, name),
        "throttled": sum(part.get("throttled") or 0 for part in health),
        "gate_until": status_snapshot.gate_until(snapshot, name),
        "problem": _sentence(status_snapshot.problem_of(snapshot, "graph", name)),
    }


def _sentence(problem: KnownProblem | None) -> str | None:
    return None if problem is None else problem.sentence


def _sync(snapshot: StatusSnapshot, name: str) -> SyncDocument:
    did, facts = snapshot.progress.get(name), status_snapshot.facts_of(snapshot, name)
    sync, state, record = snapshot.catalog.everything[name], snapshot.states.get(name), snapshot.reconciles.get(name)
    cursor = snapshot.cursors.get(snapshot.catalog.definition.slot(sync.postgres))
    slot, row = snapshot.slot(sync.postgres), snapshot.gauges.get(name)
    standing = out_of_sync.standing_of(row, _moment(snapshot, facts))
    return {
        "sync": sync.name,
        "wanted": diagnosis.wanted_of(facts),
        "activity": diagnosis.activity_now(facts),
        "health": said_document(diagnosis.health_of(facts)),
        "holds": [to_hold_document(hold) for hold in facts.holds],
        "position": None if cursor is None or state is None else {"era": state.era, "lsn": lsn_to_text(cursor.lsn)},
        "lag_bytes": None if slot is None else slot.lag_bytes,
        "lag_s": standing.push_lag_s,
        "out_of_sync": {"rows": standing.rows, "unknown_since": standing.unknown_since},
        "gauge": out_of_sync.gauge_document(row, standing),
        "minutes": out_of_sync.minutes_document(snapshot.minutes.get(name)),
        "waiting": facts.waiting,
        "in_flight": facts.in_flight,
        "parked": facts.parked,
        "rates": _rates(facts.rates),
        "eta_s": _eta_s(facts, record),
        "changes": 0 if did is None else did.changes,
        "delivered": 0 if did is None else did.delivered,
        "writes": 0 if did is None else did.writes,
        "suppressed": 0 if did is None else did.suppressed,
        "foreign_edits": 0 if did is None else did.foreign_edits,
        "edits": _edits(facts.edits),
        "latency_ms": {"p50": _latency(did, 0.5), "p95": _latency(did, 0.95), "p99": _latency(did, 0.99)},
        "ru_used": 0 if did is None else round(did.ru_used),
        "reconcile": None if record is None else _reconcile(record),
        "reason": said_document(diagnosis.reason_of(facts)),
    }


def _edits(facts: EditFacts) -> EditsDocument:
    return {
        "waiting": facts.waiting,
        "parked": facts.parked,
        "conflicts": facts.conflicts,
        "lag_s": round(max(facts.oldest_s, 0.0), 1) if facts.waiting else 0.0,
    }


def said_document(said: Said) -> SaidDocument:
    """The sentence as JSON."""
    return {"code": said.code, "sentence": said.sentence, "next": said.next}


def _rates(rates: Rates) -> RatesDocument:
    return {
        "changes_per_s": round(rates.changes, 1),
        "delivered_per_s": round(rates.delivered, 1),
        "compared_per_s": round(rates.compared, 1),
    }


def _moment(snapshot: StatusSnapshot, facts: SyncFacts) -> Moment:
    rows, oldest_s = facts.rows_to_deliver + facts.parked, round(max(facts.oldest_s, 0.0), 1)
    return Moment(snapshot.now, rows, oldest_s, facts.unknown_since, snapshot.applied.applied_at)


def _eta_s(facts: SyncFacts, record: reconciles.Reconcile | None) -> float | None:
    if facts.holds or facts.observing or record is None:
        return None
    to_come = activity.still_to_stage(record.state, record.phase, record.counts, record.estimate)
    if to_come == 0.0 and facts.unknown_since is not None:
        return None
    return activity.eta_s(facts.rates, facts.rows_to_deliver, to_come)


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
