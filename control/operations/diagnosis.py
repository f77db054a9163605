"""One sentence that says why a sync is not moving.

In: `SyncFacts`: what the state database and the processes' beats say of one sync. Out: a `Reason`: code and sentence.
Rule: `reason_of` is total; it names the first cause of the standstill in the order in which a person would mend them,
and its sentence can be understood without looking anything else up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Reason:
    """Why nothing moves, or that it does: a stable code and a sentence."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class SyncFacts:
    """What is known of one sync at ``now``; problems are sentences from the last beat of a process."""

    now: datetime
    state: str = "running"
    paused_code: str | None = None
    paused_reason: str | None = None
    changed_by: str | None = None
    changed_at: datetime | None = None
    capture_seen_s: float | None = None  # age of the youngest beat of a process with that role; None: never seen
    deliver_seen_s: float | None = None
    stale_after_s: float = 5.0
    state_problem: str | None = None
    source: str = ""
    source_problem: str | None = None
    graph: str = ""
    graph_problem: str | None = None
    gate_until: datetime | None = None
    quota_wait_s: float = 0.0  # until the next write may be sent
    ru_per_minute: float | None = None  # what Rowtide may spend there
    waiting: int = 0
    in_flight: int = 0
    parked: int = 0
    observing: bool = False
    reconcile_state: str | None = None  # wanted | running | done
    reconcile_done: int | None = None
    reconcile_total: int | None = None
    reconcile_problem: str | None = None
    lag_bytes: int | None = None


def reason_of(facts: SyncFacts) -> Reason:
    """The first of `_CAUSES` that applies; a sync without any moves."""
    for cause in _CAUSES:
        reason = cause(facts)
        if reason is not None:
            return reason
    return Reason("moving", f"{_rows(facts.waiting)} waiting, {facts.in_flight} in flight.")


def _state(facts: SyncFacts) -> Reason | None:
    if facts.state == "retired":
        return Reason("retired", "The sync is no longer in the applied definition; its records are kept.")
    if facts.state != "paused":
        return None
    since = f" since {_clock(facts.changed_at)}" if facts.changed_at else ""
    why = f": {facts.paused_reason}" if facts.paused_reason else "."
    return Reason(facts.paused_code or "paused", f"Paused by {facts.changed_by or 'Rowtide'}{since}{why}")


def _process(facts: SyncFacts) -> Reason | None:
    for role, seen in (("capture", facts.capture_seen_s), ("deliver", facts.deliver_seen_s)):
        if seen is None:
            return Reason("not_running", f"No process with the role {role} runs; start one with `rowtide run`.")
        if seen > facts.stale_after_s:
            return Reason(
                "not_running", f"The process with the role {role} was last seen {seen:,.0f} s ago; is it still there?"
            )
    return None


def _state_database(facts: SyncFacts) -> Reason | None:
    return Reason("state_problem", facts.state_problem) if facts.state_problem else None


def _observing(facts: SyncFacts) -> Reason | None:
    if not facts.observing:
        return None
    return Reason("observe", f"The sync only observes (mode: observe): {_rows(facts.waiting)} would be written.")


def _source(facts: SyncFacts) -> Reason | None:
    if not facts.source_problem:
        return None
    return Reason("source_problem", f"PostgreSQL {facts.source}: {facts.source_problem}")


def _graph(facts: SyncFacts) -> Reason | None:
    if not facts.graph_problem:
        return None
    return Reason("graph_problem", f"Graph {facts.graph}: {facts.graph_problem}")


def _throttled(facts: SyncFacts) -> Reason | None:
    if facts.gate_until is None or facts.gate_until <= facts.now:
        return None
    return Reason("throttled", f"Graph {facts.graph} throttles the app; writes go on at {_clock(facts.gate_until)}.")


def _reconcile_problem(facts: SyncFacts) -> Reason | None:
    if not facts.reconcile_problem:
        return None
    return Reason("reconcile_problem", f"The reconcile cannot go on: {facts.reconcile_problem}")


def _quota(facts: SyncFacts) -> Reason | None:
    if not facts.waiting or facts.quota_wait_s <= 0:
        return None
    limit = ""
    if facts.ru_per_minute is not None:
        limit = f": {facts.ru_per_minute:,.0f} units a minute are {facts.ru_per_minute / 120:,.1f} writes a second"
    return Reason("quota", f"{_rows(facts.waiting)} waiting for quota{limit}.")


def _reconcile(facts: SyncFacts) -> Reason | None:
    if facts.reconcile_state not in ("wanted", "running"):
        return None
    if facts.reconcile_state == "wanted":
        return Reason("reconcile", "A reconcile is asked for and begins shortly.")
    done = f"{facts.reconcile_done or 0:,}"
    total = f" of about {facts.reconcile_total:,}" if facts.reconcile_total else ""
    return Reason("reconcile", f"Reconcile in progress: {done}{total} rows compared, {facts.waiting:,} waiting.")


def _idle(facts: SyncFacts) -> Reason | None:
    if facts.waiting or facts.in_flight:
        return None
    aside = f" {_rows(facts.parked)} parked: see `rowtide parked list`." if facts.parked else ""
    return Reason("idle", f"Nothing is waiting.{aside}")


_CAUSES: tuple[Callable[[SyncFacts], Reason | None], ...] = (
    _state,
    _process,
    _state_database,
    _source,
    _graph,
    _observing,
    _throttled,
    _reconcile_problem,
    _quota,
    _reconcile,
    _idle,
)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}".strip()
