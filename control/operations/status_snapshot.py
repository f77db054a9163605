"""Everything `rowtide status` knows, read at one moment.

In: the state database, the sources' slots, the processes' beats. Out: a `StatusSnapshot`, and the `SyncFacts` that
decide the sentence of each sync. Rule: what a source cannot be asked is None, never guessed; of processes, only the
living ones are believed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.postgres import slots
from control.operations import activity
from control.operations.activity import Rates
from control.operations.diagnosis import EditFacts, KnownProblem, SyncFacts
from control.operations.out_of_sync import WITHIN
from control.operations.session import Session, require_applied_definition
from rowtide import gauge
from rowtide.catalog import Catalog
from rowtide.error_catalogue import source_errors, status_reasons
from rowtide.errors import RowtideError
from rowtide.gauge import Minutes
from rowtide.holds import FAULT, FaultScope, Hold, covering
from rowtide.lists import HeldColumns
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.pacing import tier_of
from rowtide.reconcile import Coverage
from state import collecting, cursors, definitions, gauges, holds, inbox, lists, outbox, processes, progress
from state.database import Connection
from state.gauges import GaugeRow
from state.pulse import Silence
from state.reconcile import record as reconciles

Answer = slots.Slot | RowtideError | None
"""What a source said of its slot (None: there is none), or why it could not be asked."""


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """What the state database says, read at one moment, and what the sources answered about their slots."""

    now: datetime
    applied: definitions.AppliedDefinition
    catalog: Catalog
    states: Mapping[str, definitions.SyncState]
    holds: Sequence[Hold]
    waiting: Mapping[str, outbox.Waiting]
    progress: Mapping[str, progress.Progress]
    reconciles: Mapping[str, reconciles.Reconcile]
    processes: Sequence[processes.ProcessBeat]
    cursors: Mapping[str, cursors.SlotCursor]
    staged_at: Mapping[str, datetime]
    held: Mapping[str, HeldColumns]
    answers: Mapping[str, Answer]
    edits: Mapping[str, inbox.WaitingEntries] = field(default_factory=dict)
    unread: Mapping[str, KnownProblem] = field(default_factory=dict)
    """By list why its changes are not read."""
    gauges: Mapping[str, GaugeRow] = field(default_factory=dict)
    minutes: Mapping[str, Minutes] = field(default_factory=dict)

    def slot(self, source: str) -> slots.Slot | None:
        """The slot of a source as its server sees it; None where there is none, or no answer."""
        answer = self.answers.get(source)
        return answer if isinstance(answer, slots.Slot) else None


def read(connection: Connection, answers: Mapping[str, Answer]) -> StatusSnapshot:
    """The snapshot, from one snapshot of the database; ``answers``: what the sources said of their slots."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return _read(connection, answers)


def _read(connection: Connection, answers: Mapping[str, Answer]) -> StatusSnapshot:
    found = require_applied_definition(connection)
    [(now,)] = connection.execute("SELECT clock_timestamp()").fetchall()
    return StatusSnapshot(
        now,
        found.record,
        found.catalog,
        definitions.sync_states(connection),
        holds.read(connection),
        outbox.waiting(connection),
        progress.read(connection),
        reconciles.read_all(connection),
        processes.read(connection),
        cursors.read_slots(connection),
        cursors.read_staged_at(connection),
        lists.read_held(connection),
        answers,
        inbox.waiting(connection),
        _unread(connection),
        gauges.read(connection),
        gauges.read_minutes(connection, now, WITHIN),
    )


def _unread(connection: Connection) -> dict[str, KnownProblem]:
    cursors_of_lists = collecting.read(connection).values()
    return {
        one.list_id: _to_problem({"code": one.code, "sentence": one.sentence or ""})
        for one in cursors_of_lists
        if one.code is not None
    }


def ask_sources(session: Session) -> dict[str, Answer]:
    """What each source says of its slot."""
    definition = session.definition
    found: dict[str, Answer] = {}
    for name in definition.postgres:
        try:
            with session.source(name) as connection:
                found[name] = slots.slot_lag(connection, definition.slot(name))
        except RowtideError as error:
            found[name] = error
    return found


def alive(snapshot: StatusSnapshot) -> list[Mapping[str, Any]]:
    """What the living processes say of themselves."""
    return [process.health for process in snapshot.processes if process.age_s <= processes.ALIVE_S]


def health_of(snapshot: StatusSnapshot, part: str, name: str) -> list[Mapping[str, Any]]:
    """What the living processes say of one source, graph or sync."""
    return [health[part][name] for health in alive(snapshot) if name in (health.get(part) or {})]


def problem_of(snapshot: StatusSnapshot, part: str, name: str) -> KnownProblem | None:
    """The problem of the first living process that has one with that graph or sync."""
    return _first(health.get("problem") for health in health_of(snapshot, part, name))


def _first(problems: Iterable[Mapping[str, str] | None]) -> KnownProblem | None:
    return next((_to_problem(problem) for problem in problems if problem), None)


def _to_problem(stored: Mapping[str, str]) -> KnownProblem:
    remedy = stored.get("remedy") or status_reasons.TRIED_AGAIN().sentence
    return KnownProblem(stored["code"], stored["sentence"], remedy)


def _problems_of_source(snapshot: StatusSnapshot, name: str) -> list[KnownProblem]:
    """What the living processes met at a source: the reader of its slot first, then every other session."""
    met = health_of(snapshot, "source", snapshot.catalog.definition.slot(name)) + health_of(snapshot, "sessions", name)
    return [_to_problem(health["problem"]) for health in met if health.get("problem")]


def source_problem(snapshot: StatusSnapshot, name: str) -> KnownProblem | None:
    """Why a source cannot be read, by the first living process that says so."""
    problems = _problems_of_source(snapshot, name)
    return next((problem for problem in problems if problem.code != source_errors.SOURCE_DIFFERS.code), None)


def source_differs(snapshot: StatusSnapshot, name: str) -> str | None:
    """What a living process says whose connection leads to another server than the source."""
    problems = _problems_of_source(snapshot, name)
    return next((problem.sentence for problem in problems if problem.code == source_errors.SOURCE_DIFFERS.code), None)


def asked_elsewhere(snapshot: StatusSnapshot, name: str) -> str | None:
    """The sentence where this very command was led to another server than the source."""
    answer = snapshot.answers.get(name)
    if isinstance(answer, RowtideError) and answer.code == source_errors.SOURCE_DIFFERS.code:
        return answer.sentence
    return None


def _due_problem(snapshot: StatusSnapshot) -> KnownProblem | None:
    return _first((health.get("due") or {}).get("problem") for health in alive(snapshot))


def definition_problem_of(process: processes.ProcessBeat) -> str | None:
    """Why the process does not work by the definition in force."""
    problem = (process.health.get("definition") or {}).get("problem")
    return None if problem is None else str(problem["sentence"])


def _definition_problem(snapshot: StatusSnapshot) -> str | None:
    living = [process for process in snapshot.processes if process.age_s <= processes.ALIVE_S]
    return next((problem for process in living if (problem := definition_problem_of(process))), None)


def _list_problem(snapshot: StatusSnapshot, sync: str) -> tuple[str, KnownProblem] | None:
    """The first list of this sync that does not move, and why."""
    # Of a list with held columns that is said which `apply` mends.
    titles = {ref.id: title for title, ref in snapshot.catalog.lists.get(sync, {}).items()}
    for health in health_of(snapshot, "graph", snapshot.catalog.everything[sync].graph):
        for list_id, problem in (health.get("lists") or {}).items():
            if list_id in titles and list_id not in snapshot.held:
                return titles[list_id], _to_problem(problem)
    # What a process left behind that has ended.
    for list_id, title in titles.items():
        if list_id not in snapshot.held and (problem := _on_record(snapshot, "list", list_id)) is not None:
            return title, problem
    return None


def _on_record(snapshot: StatusSnapshot, scope: FaultScope, object_: str) -> KnownProblem | None:
    """What is on record as failing there."""
    found = (hold for hold in snapshot.holds if (hold.scope, hold.object, hold.kind) == (scope, object_, FAULT))
    hold = next(found, None)
    return None if hold is None else _to_problem({"code": hold.code, "sentence": hold.reason, "remedy": hold.remedy})


def _unwatched(snapshot: StatusSnapshot, slot: str) -> tuple[int, str] | None:
    """For how long the living process that reads the slot has not looked at the catalog, and why."""
    found = [health["unwatched"] for health in health_of(snapshot, "source", slot) if health.get("unwatched")]
    return (int(found[0]["seconds"]), str(found[0]["sentence"])) if found else None


def _held_columns(snapshot: StatusSnapshot, sync: str) -> tuple[str, str] | None:
    """The first list of the sync of which something cannot be written, and what."""
    found = snapshot.catalog.lists.get(sync, {}).items()
    held = [(title, snapshot.held[ref.id].sentence) for title, ref in found if ref.id in snapshot.held]
    return held[0] if held else None


def gate_until(snapshot: StatusSnapshot, graph: str) -> datetime | None:
    """Until when a graph accepts no writes, as the processes know it."""
    times = [health["gate_until"] for health in health_of(snapshot, "graph", graph) if health.get("gate_until")]
    return max((datetime.fromisoformat(text) for text in times), default=None)


def ru_per_minute(snapshot: StatusSnapshot, graph: str) -> float | None:
    """Resource units a minute that Rowtide may spend in a graph; None when no quota is kept."""
    section = snapshot.catalog.definition.graph[graph]
    return None if section.quota == "off" else tier_of(section.licences).ru_per_minute * section.quota_share


def _role_seen_s(snapshot: StatusSnapshot, role: str) -> float | None:
    return min((process.moved_s for process in snapshot.processes if role in process.roles), default=None)


def _stuck(snapshot: StatusSnapshot) -> dict[str, Silence]:
    """By role the stuck loop of a process that still beats."""
    beating = [process for process in snapshot.processes if process.is_alive]
    return {role: stuck for process in beating if (stuck := process.silence) is not None for role in process.roles}


def rates_of(snapshot: StatusSnapshot, sync: str) -> Rates:
    """How quickly a sync moves."""
    return activity.rates_of(alive(snapshot), sync)


def _others_compare(snapshot: StatusSnapshot, sync: str) -> bool:
    paces = [(health.get("pace") or {}).items() for health in alive(snapshot)]
    return any(name != sync and pace.get("compared") for of_process in paces for name, pace in of_process)


def _reconcile_problem(snapshot: StatusSnapshot, sync: str) -> KnownProblem | None:
    """Why the sync's pass cannot go on: by the process that has it, else by its record."""
    record = snapshot.reconciles.get(sync)
    if record is None or record.state == "done":
        return None
    waits = None if record.waits is None else status_reasons.RECONCILE_WAITS(waits=record.waits)
    noted = None if waits is None else KnownProblem(waits.code, waits.sentence, waits.next)
    return problem_of(snapshot, "reconcile", sync) or noted


def _dark_since(snapshot: StatusSnapshot, source: str) -> datetime | None:
    """Since when nothing of a source is captured; None while its stream is heard."""
    section = snapshot.catalog.definition.postgres[source]
    staged_at = snapshot.staged_at.get(snapshot.catalog.definition.slot(source))
    seen_s = _role_seen_s(snapshot, "capture")
    if seen_s is None or seen_s > processes.ALIVE_S or source_problem(snapshot, source):
        return staged_at
    return gauge.silent_since(staged_at, snapshot.now, section.heartbeat)


def _unknown_since(snapshot: StatusSnapshot, name: str) -> datetime | None:
    """Since when it is not known what of the sync is out of sync."""
    sync, state, record = snapshot.catalog.everything[name], snapshot.states.get(name), snapshot.reconciles.get(name)
    # One that could not be compiled is held at capture.
    coverage = Coverage(state.era, sync.version) if state is not None and isinstance(sync, CompiledSync) else None
    return gauge.push_unknown_since(
        gauge.Knowledge(
            applied_at=snapshot.applied.applied_at,
            holds=covering(snapshot.holds, sync),
            reconcile_done=record is not None and record.state == "done",
            covered=None if record is None else record.covered,
            coverage=coverage,
            asked_at=None if record is None else record.requested_at,
            silent_since=_dark_since(snapshot, sync.postgres),
        )
    )


def _still_s(snapshot: StatusSnapshot, sync: str) -> float:
    record = snapshot.reconciles.get(sync)
    if record is None:
        return (snapshot.now - snapshot.applied.applied_at).total_seconds()
    return (snapshot.now - max(record.updated_at, record.requested_at)).total_seconds()


def _edits_of(snapshot: StatusSnapshot, name: str) -> EditFacts:
    """What is known of edits of the sync's items."""
    found = snapshot.edits.get(name)
    unread = [
        snapshot.unread[ref.id] for ref in snapshot.catalog.lists.get(name, {}).values() if ref.id in snapshot.unread
    ]
    problem, not_read = problem_of(snapshot, "pull", name), unread[0] if unread else None
    if found is None:
        return EditFacts(problem=problem, unread=not_read)
    return EditFacts(
        found.waiting,
        found.parked,
        found.conflicts,
        0.0 if found.oldest is None else (snapshot.now - found.oldest).total_seconds(),
        found.why,
        found.why_parked,
        problem,
        not_read,
    )


def facts_of(snapshot: StatusSnapshot, name: str) -> SyncFacts:
    """What decides the sentence of one sync."""
    sync, state, waits = snapshot.catalog.everything[name], snapshot.states.get(name), snapshot.waiting.get(name)
    record = snapshot.reconciles.get(name)
    graphs = health_of(snapshot, "graph", sync.graph)
    oldest = None if waits is None else waits.oldest
    return SyncFacts(
        now=snapshot.now,
        sync=name,
        retired=state is not None and state.retired,
        holds=covering(snapshot.holds, sync),
        capture_seen_s=_role_seen_s(snapshot, "capture"),
        deliver_seen_s=_role_seen_s(snapshot, "deliver"),
        stuck=_stuck(snapshot),
        stale_after_s=processes.ALIVE_S,
        definition_problem=_definition_problem(snapshot),
        state_problem=_due_problem(snapshot),
        source=sync.postgres,
        source_problem=source_problem(snapshot, sync.postgres),
        source_differs=source_differs(snapshot, sync.postgres),
        unwatched=_unwatched(snapshot, snapshot.catalog.definition.slot(sync.postgres)),
        silent_since=_dark_since(snapshot, sync.postgres),
        graph=sync.graph,
        graph_problem=problem_of(snapshot, "graph", sync.graph) or _on_record(snapshot, "tenant", sync.graph),
        table_problem=_on_record(snapshot, "table", name),
        list_problem=_list_problem(snapshot, name),
        gate_until=gate_until(snapshot, sync.graph),
        gate_throttled=any(health.get("gate_throttled") for health in graphs),
        quota_wait_s=max((health.get("quota_wait_s") or 0.0 for health in graphs), default=0.0),
        ru_per_minute=ru_per_minute(snapshot, sync.graph),
        waiting=0 if waits is None else waits.waiting - waits.in_flight,
        in_flight=0 if waits is None else waits.in_flight,
        parked=0 if waits is None else waits.parked,
        oldest_s=0.0 if oldest is None else (snapshot.now - oldest).total_seconds(),
        postponed=None if waits is None or waits.why is None else (waits.postponed, waits.why),
        observing=sync.mode == "observe",
        reconcile_state=None if record is None else record.state,
        reconcile_phase=None if record is None else record.phase,
        reconcile_done=None if record is None else record.counts.get("rows", 0),
        reconcile_total=None if record is None else record.estimate or None,
        reconcile_still_s=_still_s(snapshot, name),
        others_compare=_others_compare(snapshot, name),
        reconcile_problem=_reconcile_problem(snapshot, name),
        held_columns=_held_columns(snapshot, name),
        unknown_since=_unknown_since(snapshot, name),
        rates=rates_of(snapshot, name),
        edits=_edits_of(snapshot, name),
    )
