"""What is wrong with a sync, and the one sentence that says why it is not moving.

In: `SyncFacts`: what the state database and the processes' beats say of one sync. Out: codes, sentences and what to do
next, from `rowtide.error_catalogue.status_reasons`. Rules: `health_of` and `reason_of` are total and name the first
cause in the order in which a person would mend them; a sentence can be understood without looking anything else up;
that a sync moves is never concluded from the absence of a cause, but from what was done in the last seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from control.operations.activity import Activity, Rates, activity_of
from control.operations.pause import what_lifts
from rowtide.error_catalogue import graph_errors, status_reasons
from rowtide.error_catalogue.entries import Said
from rowtide.holds import PERSON, Hold
from state.pulse import Silence

STARTING_S = 10.0
"""Rows that have waited no longer than this may not have been claimed yet."""


@dataclass(frozen=True, slots=True)
class KnownProblem:
    """A problem as a process has met it, and what to do about it."""

    code: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class EditFacts:
    """What is known of edits that people made in a sync's lists and that are not in its table yet.

    ``problem``: why none is applied; ``unread``: why a list is not read. ``why_...``: of most of them.
    """

    waiting: int = 0
    parked: int = 0
    conflicts: int = 0
    oldest_s: float = 0.0
    why_waiting: str | None = None
    why_parked: str | None = None
    problem: KnownProblem | None = None
    unread: KnownProblem | None = None


@dataclass(frozen=True, slots=True)
class SyncFacts:
    """What is known of one sync at ``now``; problems are those of the last beat of a process."""

    now: datetime
    sync: str = ""
    retired: bool = False
    holds: tuple[Hold, ...] = ()
    capture_seen_s: float | None = None  # since a process with that role was seen to go on; None: never seen
    deliver_seen_s: float | None = None
    stuck: Mapping[str, Silence] = field(default_factory=dict)  # by role: its processes beat, and this loop is silent
    stale_after_s: float = 5.0
    definition_problem: str | None = None
    state_problem: KnownProblem | None = None
    source: str = ""
    source_problem: KnownProblem | None = None
    source_differs: str | None = None  # a process has a connection to another server than the source
    unwatched: tuple[int, str] | None = None  # for how many seconds nobody has looked at the source's catalog, and why
    silent_since: datetime | None = None  # nothing of the slot has been staged since then, not even a heartbeat
    graph: str = ""
    graph_problem: KnownProblem | None = None
    list_problem: tuple[str, KnownProblem] | None = None  # title of a list of the sync
    table_problem: KnownProblem | None = None  # why rows of its table cannot be read
    gate_until: datetime | None = None
    gate_throttled: bool = False
    quota_wait_s: float = 0.0  # until the next write may be sent
    ru_per_minute: float | None = None  # what Rowtide may spend there
    waiting: int = 0
    in_flight: int = 0
    parked: int = 0
    oldest_s: float = 0.0  # how long a waiting row has been out of sync
    postponed: tuple[int, str] | None = None  # how many rows wait for another attempt, and why most of them do
    observing: bool = False
    reconcile_state: str | None = None  # wanted | running | done; None: the first load has not begun
    reconcile_phase: str | None = None
    reconcile_done: int | None = None
    reconcile_total: int | None = None
    reconcile_still_s: float = 0.0  # since its record was last written
    others_compare: bool = False  # passes take turns
    reconcile_problem: KnownProblem | None = None
    held_columns: tuple[str, str] | None = None  # title of a list, and what of it cannot be written
    unknown_since: datetime | None = None  # what is out of sync is not known since then
    rates: Rates = field(default_factory=Rates)
    edits: EditFacts = field(default_factory=EditFacts)

    @property
    def rows_to_deliver(self) -> int:
        """Rows that wait or are under way."""
        return self.waiting + self.in_flight


def wanted_of(facts: SyncFacts) -> str:
    """What people and guards want of the sync: run, paused (by a person), held (by something else), retired."""
    if facts.retired:
        return "retired"
    if any(hold.kind == PERSON for hold in facts.holds):
        return "paused"
    return "held" if facts.holds else "run"


def activity_now(facts: SyncFacts) -> Activity:
    """What the sync does, as far as there is evidence of it."""
    alive = [seen for seen in (facts.capture_seen_s, facts.deliver_seen_s) if seen is not None]
    lives = any(seen <= facts.stale_after_s for seen in alive)
    return activity_of(facts.rates, lives, facts.rows_to_deliver > 0, facts.unknown_since is not None)


def health_of(facts: SyncFacts) -> Said:
    """What is wrong with the sync, the first that applies; ``ok`` when nothing is. A pause by a person is not wrong."""
    return _first(_WRONG, facts) or status_reasons.OK()


def reason_of(facts: SyncFacts) -> Said:
    """Why the sync is not moving, or what it does."""
    if facts.retired:
        return status_reasons.RETIRED()
    if facts.holds:
        return _held(facts.holds)
    return _first(_WRONG, facts) or _first(_DOES, facts) or status_reasons.IDLE()


Cause = Callable[[SyncFacts], Said | None]


def _first(causes: tuple[Cause, ...], facts: SyncFacts) -> Said | None:
    return next((said for cause in causes if (said := cause(facts)) is not None), None)


def _held(holds: tuple[Hold, ...]) -> Said:
    first, *others = holds
    also = (status_reasons.HELD_TOO(code=one.code, by=one.actor, why=one.reason).sentence for one in others)
    scope = "" if first.scope == "sync" else f" with {first.scope} {first.object}".rstrip()
    return status_reasons.HELD(
        code=first.code,
        scope=scope,
        by=first.actor,
        since=_clock(first.at),
        why=first.reason,
        also="".join(also),
        next=what_lifts(first),
    )


# --- what is wrong ----------------------------------------------------------------------------------------------


def _hold(facts: SyncFacts) -> Said | None:
    """What holds the sync and is no person's wish."""
    holds = tuple(hold for hold in facts.holds if hold.kind != PERSON)
    return _held(holds) if holds else None


def _process(facts: SyncFacts) -> Said | None:
    for role, seen in (("capture", facts.capture_seen_s), ("deliver", facts.deliver_seen_s)):
        if seen is None:
            return status_reasons.NOT_RUNNING(role=role)
        if seen > facts.stale_after_s and (stuck := facts.stuck.get(role)) is not None:
            seconds = f"{stuck.silent_s:,.0f}"
            return status_reasons.LOOP_STUCK(role=role, loop=stuck.loop, seconds=seconds, doing=stuck.doing)
        if seen > facts.stale_after_s:
            return status_reasons.NOT_SEEN(role=role, seconds=f"{seen:,.0f}")
    return None


def _definition(facts: SyncFacts) -> Said | None:
    return status_reasons.NOT_TAKEN(problem=facts.definition_problem) if facts.definition_problem else None


def _state_database(facts: SyncFacts) -> Said | None:
    met = facts.state_problem
    if met is None:
        return None
    return status_reasons.STATE_PROBLEM(code=met.code, problem=met.sentence, next=met.remedy)


def _source(facts: SyncFacts) -> Said | None:
    met = facts.source_problem
    if met is None:
        return None
    return status_reasons.SOURCE_PROBLEM(code=met.code, source=facts.source, problem=met.sentence, next=met.remedy)


def _source_differs(facts: SyncFacts) -> Said | None:
    if not facts.source_differs:
        return None
    return status_reasons.SOURCE_DIFFERS(source=facts.source, problem=facts.source_differs)


def _silent(facts: SyncFacts) -> Said | None:
    if facts.silent_since is None:
        return None
    return status_reasons.CAPTURE_SILENT(source=facts.source, since=_clock(facts.silent_since))


def _unwatched(facts: SyncFacts) -> Said | None:
    if facts.unwatched is None:
        return None
    seconds, problem = facts.unwatched
    return status_reasons.UNWATCHED(source=facts.source, seconds=f"{seconds:,}", problem=problem)


def _graph(facts: SyncFacts) -> Said | None:
    met = facts.graph_problem
    if met is None or met.code == graph_errors.GRAPH_THROTTLES.code:
        return None
    return status_reasons.GRAPH_PROBLEM(code=met.code, graph=facts.graph, problem=met.sentence, next=met.remedy)


def _throttled(facts: SyncFacts) -> Said | None:
    if facts.gate_until is None or facts.gate_until <= facts.now or not facts.gate_throttled:
        return None
    return status_reasons.THROTTLED(graph=facts.graph, until=_clock(facts.gate_until))


def _list(facts: SyncFacts) -> Said | None:
    if facts.list_problem is None:
        return None
    title, met = facts.list_problem
    return status_reasons.LIST_PROBLEM(code=met.code, title=title, problem=met.sentence, next=met.remedy)


def _table(facts: SyncFacts) -> Said | None:
    met = facts.table_problem
    if met is None:
        return None
    return status_reasons.TABLE_PROBLEM(code=met.code, problem=met.sentence, next=met.remedy)


def _gate(facts: SyncFacts) -> Said | None:
    if not facts.rows_to_deliver or facts.gate_until is None or facts.gate_until <= facts.now or facts.gate_throttled:
        return None
    rows = _rows(facts.rows_to_deliver)
    return status_reasons.GATE(graph=facts.graph, until=_clock(facts.gate_until), rows=rows)


def _reconcile_problem(facts: SyncFacts) -> Said | None:
    met = facts.reconcile_problem
    if met is None:
        return None
    if met.code == status_reasons.RECONCILE_WAITS.code:
        return status_reasons.RECONCILE_WAITS(waits=met.sentence)
    return status_reasons.RECONCILE_PROBLEM(code=met.code, problem=met.sentence, next=met.remedy)


def _reconcile_stands(facts: SyncFacts) -> Said | None:
    still = facts.reconcile_state != "done" and facts.reconcile_still_s > STARTING_S
    if not still or facts.holds or facts.others_compare or facts.rates.compared > 0:
        return None
    done, total = _compared(facts)
    seconds = f"{facts.reconcile_still_s:,.0f}"
    phase = facts.reconcile_phase or "not begun"
    return status_reasons.RECONCILE_STANDS(phase=phase, seconds=seconds, done=done, total=total)


def _postponed(facts: SyncFacts) -> Said | None:
    if facts.postponed is None:
        return None
    rows, why = facts.postponed
    return status_reasons.ROWS_POSTPONED(rows=_rows(rows), why=why)


def _held_columns(facts: SyncFacts) -> Said | None:
    if facts.held_columns is None:
        return None
    title, problem = facts.held_columns
    return status_reasons.COLUMNS_HELD(title=title, problem=problem)


def _not_moving(facts: SyncFacts) -> Said | None:
    expected = facts.rows_to_deliver and not facts.observing and not facts.holds and facts.quota_wait_s <= 0
    if not expected or facts.rates.delivered > 0 or facts.oldest_s <= STARTING_S:
        return None
    rows, seconds = _rows(facts.rows_to_deliver), f"{facts.oldest_s:,.0f}"
    return status_reasons.NOT_MOVING(rows=rows, seconds=seconds, window=f"{STARTING_S:g}")


def _parked(facts: SyncFacts) -> Said | None:
    return status_reasons.PARKED(rows=_rows(facts.parked), sync=facts.sync) if facts.parked else None


def _edits_problem(facts: SyncFacts) -> Said | None:
    edits = facts.edits
    if (met := edits.problem) is not None:
        return status_reasons.EDITS_PROBLEM(code=met.code, problem=met.sentence, next=met.remedy)
    if (met := edits.unread) is not None:
        return status_reasons.EDITS_UNREAD(code=met.code, problem=met.sentence, next=met.remedy)
    return None


def _edits_aside(facts: SyncFacts) -> Said | None:
    edits = facts.edits
    if edits.parked:
        why = edits.why_parked or "see `rowtide parked list`"
        return status_reasons.EDITS_PARKED(edits=_edits(edits.parked), why=why, sync=facts.sync)
    return status_reasons.CONFLICTS_OPEN(edits=_edits(edits.conflicts)) if edits.conflicts else None


_WRONG: tuple[Cause, ...] = (
    _hold,
    _process,
    _definition,
    _state_database,
    _source,
    _source_differs,
    _graph,
    _list,
    _table,
    _throttled,
    _gate,
    _reconcile_problem,
    _silent,
    _reconcile_stands,
    _held_columns,  # why rows are postponed, where a column is gone
    _postponed,
    _unwatched,
    _edits_problem,
    _not_moving,
    _parked,
    _edits_aside,
)


# --- what it does -----------------------------------------------------------------------------------------------


def _observing(facts: SyncFacts) -> Said | None:
    return status_reasons.OBSERVE(rows=_rows(facts.waiting)) if facts.observing else None


def _quota(facts: SyncFacts) -> Said | None:
    if not facts.waiting or facts.quota_wait_s <= 0:
        return None
    limit = ""
    if facts.ru_per_minute is not None:
        limit = f": {facts.ru_per_minute:,.0f} units a minute are {facts.ru_per_minute / 120:,.1f} writes a second"
    return status_reasons.QUOTA(rows=_rows(facts.waiting), limit=limit)


def _reconcile(facts: SyncFacts) -> Said | None:
    if facts.reconcile_state is None:
        return status_reasons.FIRST_LOAD()
    if facts.reconcile_state == "done":
        return None
    if facts.reconcile_state == "wanted":
        return status_reasons.RECONCILE_WANTED()
    done, total = _compared(facts)
    return status_reasons.RECONCILE(done=done, total=total, waiting=f"{facts.waiting:,}")


def _moving(facts: SyncFacts) -> Said | None:
    if not facts.rows_to_deliver or facts.rates.delivered <= 0:
        return None
    rate = f"{facts.rates.delivered:,.1f}"
    return status_reasons.MOVING(rows=_rows(facts.waiting), in_flight=facts.in_flight, rate=rate)


def _starting(facts: SyncFacts) -> Said | None:
    if not facts.rows_to_deliver:
        return None
    return status_reasons.STARTING(rows=_rows(facts.rows_to_deliver), seconds=f"{facts.oldest_s:,.0f}")


def _unknown(facts: SyncFacts) -> Said | None:
    return status_reasons.UNKNOWN(since=_clock(facts.unknown_since)) if facts.unknown_since is not None else None


def _edits_wait(facts: SyncFacts) -> Said | None:
    edits = facts.edits
    if not edits.waiting:
        return None
    why = f": {edits.why_waiting}" if edits.why_waiting else ""
    return status_reasons.EDITS_WAIT(edits=_edits(edits.waiting), seconds=f"{edits.oldest_s:,.0f}", why=why)


_DOES: tuple[Cause, ...] = (_observing, _quota, _reconcile, _moving, _starting, _edits_wait, _unknown)


def _compared(facts: SyncFacts) -> tuple[str, str]:
    total = f" of about {facts.reconcile_total:,}" if facts.reconcile_total else ""
    return f"{facts.reconcile_done or 0:,}", total


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _edits(count: int) -> str:
    return "1 edit" if count == 1 else f"{count:,} edits"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}".strip()
