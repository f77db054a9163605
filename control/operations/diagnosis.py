"""One sentence that says why a sync is not moving.

In: `SyncFacts`: what the state database and the processes' beats say of one sync. Out: code and sentence, from
`rowtide.error_catalogue.status_reasons`. Rule: `reason_of` is total; it names the first cause of the standstill in the
order in which a person would mend them, and its sentence can be understood without looking anything else up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rowtide.error_catalogue import status_reasons
from rowtide.error_catalogue.entries import Said
from rowtide.holds import Hold


@dataclass(frozen=True, slots=True)
class SyncFacts:
    """What is known of one sync at ``now``; problems are sentences from the last beat of a process."""

    now: datetime
    retired: bool = False
    holds: tuple[Hold, ...] = ()
    capture_seen_s: float | None = None  # age of the youngest beat of a process with that role; None: never seen
    deliver_seen_s: float | None = None
    stale_after_s: float = 5.0
    definition_problem: str | None = None
    state_problem: str | None = None
    source: str = ""
    source_problem: str | None = None
    source_differs: str | None = None  # a process has a connection to another server than the source
    unwatched: tuple[int, str] | None = None  # for how many seconds nobody has looked at the source's catalog, and why
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
    held_columns: tuple[str, str] | None = None  # title of a list, and what of it cannot be written


def reason_of(facts: SyncFacts) -> Said:
    """The first of `_CAUSES` that applies; a sync without any moves."""
    for cause in _CAUSES:
        reason = cause(facts)
        if reason is not None:
            return reason
    return status_reasons.MOVING(rows=_rows(facts.waiting), in_flight=facts.in_flight)


def _state(facts: SyncFacts) -> Said | None:
    if facts.retired:
        return status_reasons.RETIRED()
    if not facts.holds:
        return None
    first, *others = facts.holds
    also = (status_reasons.HELD_TOO(code=one.code, by=one.actor, why=one.reason).sentence for one in others)
    scope = "" if first.scope == "sync" else f" with {first.scope} {first.object}".rstrip()
    return status_reasons.HELD(
        code=first.code, scope=scope, by=first.actor, since=_clock(first.at), why=first.reason, also="".join(also)
    )


def _process(facts: SyncFacts) -> Said | None:
    for role, seen in (("capture", facts.capture_seen_s), ("deliver", facts.deliver_seen_s)):
        if seen is None:
            return status_reasons.NOT_RUNNING(role=role)
        if seen > facts.stale_after_s:
            return status_reasons.NOT_SEEN(role=role, seconds=f"{seen:,.0f}")
    return None


def _definition(facts: SyncFacts) -> Said | None:
    return status_reasons.NOT_TAKEN(problem=facts.definition_problem) if facts.definition_problem else None


def _state_database(facts: SyncFacts) -> Said | None:
    return status_reasons.STATE_PROBLEM(problem=facts.state_problem) if facts.state_problem else None


def _observing(facts: SyncFacts) -> Said | None:
    if not facts.observing:
        return None
    return status_reasons.OBSERVE(rows=_rows(facts.waiting))


def _source(facts: SyncFacts) -> Said | None:
    if not facts.source_problem:
        return None
    return status_reasons.SOURCE_PROBLEM(source=facts.source, problem=facts.source_problem)


def _source_differs(facts: SyncFacts) -> Said | None:
    if not facts.source_differs:
        return None
    return status_reasons.SOURCE_DIFFERS(source=facts.source, problem=facts.source_differs)


def _unwatched(facts: SyncFacts) -> Said | None:
    if facts.unwatched is None:
        return None
    seconds, problem = facts.unwatched
    return status_reasons.UNWATCHED(source=facts.source, seconds=f"{seconds:,}", problem=problem)


def _graph(facts: SyncFacts) -> Said | None:
    if not facts.graph_problem:
        return None
    return status_reasons.GRAPH_PROBLEM(graph=facts.graph, problem=facts.graph_problem)


def _throttled(facts: SyncFacts) -> Said | None:
    if facts.gate_until is None or facts.gate_until <= facts.now:
        return None
    return status_reasons.THROTTLED(graph=facts.graph, until=_clock(facts.gate_until))


def _reconcile_problem(facts: SyncFacts) -> Said | None:
    if not facts.reconcile_problem:
        return None
    return status_reasons.RECONCILE_PROBLEM(problem=facts.reconcile_problem)


def _quota(facts: SyncFacts) -> Said | None:
    if not facts.waiting or facts.quota_wait_s <= 0:
        return None
    limit = ""
    if facts.ru_per_minute is not None:
        limit = f": {facts.ru_per_minute:,.0f} units a minute are {facts.ru_per_minute / 120:,.1f} writes a second"
    return status_reasons.QUOTA(rows=_rows(facts.waiting), limit=limit)


def _reconcile(facts: SyncFacts) -> Said | None:
    if facts.reconcile_state not in ("wanted", "running"):
        return None
    if facts.reconcile_state == "wanted":
        return status_reasons.RECONCILE_WANTED()
    done = f"{facts.reconcile_done or 0:,}"
    total = f" of about {facts.reconcile_total:,}" if facts.reconcile_total else ""
    return status_reasons.RECONCILE(done=done, total=total, waiting=f"{facts.waiting:,}")


def _held_columns(facts: SyncFacts) -> Said | None:
    if facts.held_columns is None:
        return None
    title, problem = facts.held_columns
    return status_reasons.COLUMNS_HELD(title=title, problem=problem)


def _idle(facts: SyncFacts) -> Said | None:
    if facts.waiting or facts.in_flight:
        return None
    aside = f" {_rows(facts.parked)} parked: see `rowtide parked list`." if facts.parked else ""
    return status_reasons.IDLE(parked=aside)


_CAUSES: tuple[Callable[[SyncFacts], Said | None], ...] = (
    _state,
    _process,
    _definition,
    _state_database,
    _source,
    _source_differs,
    _graph,
    _observing,
    _throttled,
    _reconcile_problem,
    _quota,
    _unwatched,
    _held_columns,
    _reconcile,
    _idle,
)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}".strip()
