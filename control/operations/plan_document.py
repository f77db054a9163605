"""What `apply` would do, gathered from the definition, sources and tenants as they are.

In: a session, the time. Out: an `ApplyPlan`: differences, statements, work on lists, a forecast per list, what is left
alone. It is what a person says yes to, and `apply` takes it back. Rule: nothing is changed anywhere; a part that cannot
be asked is named with its reason, and the rest is still told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

import psycopg

from connectors.postgres import row_counts, slots
from control.operations import compile, list_plan
from control.operations.compile import CompiledDefinition, Tables
from control.operations.differences import differences, left_alone
from control.operations.forecast import Allowance, Forecast, ListLoad, forecast
from control.operations.session import Session, read_applied_definition
from rowtide.catalog import Catalog
from rowtide.definition.model import Definition
from rowtide.errors import DefinitionError, RowtideError, StateRefused, StateUnavailable
from rowtide.lists import KnownList, ListMark
from rowtide.pacing import tier_of
from state import instance, ledger, lists, schema
from state.database import Connection


class DefinitionPlan(TypedDict):
    """The version in force (None: none is) and what the file changes in it."""

    applied: int | None
    changes: list[str]


class SourcePlan(TypedDict):
    """The statements that a source lacks, or why it could not be asked."""

    statements: list[str]
    problem: str | None


class GraphPlan(TypedDict):
    """The lists and columns that a tenant lacks, or why it could not be asked."""

    work: list[str]
    problem: str | None


class ForecastDocument(TypedDict):
    """The first load of one list; ``deep_ru``: what comparing it item by item costs later."""

    sync: str
    list: str
    rows: int
    exact: bool
    writes: int
    ru: int
    seconds: float
    ends_at: str
    day_share: float
    deep_ru: int


class PlanDocument(TypedDict):
    """An `ApplyPlan` as JSON."""

    definition: DefinitionPlan
    state: list[str]
    sources: dict[str, SourcePlan]
    graphs: dict[str, GraphPlan]
    first_load: list[ForecastDocument]
    warnings: list[str]
    left_alone: list[str]


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """What is to be done to one source or graph; ``error``: why it could not be asked."""

    steps: Sequence[str] = ()
    error: RowtideError | None = None

    @property
    def problem(self) -> str | None:
        """The sentence of the error."""
        return None if self.error is None else self.error.sentence


@dataclass(frozen=True, slots=True)
class ApplyPlan:
    """All that `apply` would do, and the version in force that it was made against."""

    applied_version: int | None
    changes: Sequence[str]
    state: Sequence[str]
    sources: Mapping[str, PlannedWork]
    graphs: Mapping[str, PlannedWork]
    forecasts: Sequence[Forecast]
    warnings: Sequence[str]
    left_alone: Sequence[str]
    take_over: bool = False
    """Lists that another installation has marked become this one's."""

    def document(self) -> PlanDocument:
        """The plan as JSON."""
        return {
            "definition": {"applied": self.applied_version, "changes": list(self.changes)},
            "state": list(self.state),
            "sources": {
                name: {"statements": list(work.steps), "problem": work.problem} for name, work in self.sources.items()
            },
            "graphs": {name: {"work": list(work.steps), "problem": work.problem} for name, work in self.graphs.items()},
            "first_load": [_first_load(one) for one in self.forecasts],
            "warnings": list(self.warnings),
            "left_alone": list(self.left_alone),
        }


def _first_load(one: Forecast) -> ForecastDocument:
    return {
        "sync": one.load.sync,
        "list": one.load.list_title,
        "rows": one.load.rows,
        "exact": one.load.exact,
        "writes": one.writes,
        "ru": one.ru,
        "seconds": round(one.duration.total_seconds(), 1),
        "ends_at": one.ends_at.isoformat(),
        "day_share": round(one.day_share, 4),
        "deep_ru": one.deep_ru,
    }


def plan(session: Session, now: datetime, take_over: bool = False) -> ApplyPlan:
    """The plan; DefinitionError when the definition does not fit its tables."""
    definition = session.definition
    records = _read_records(session)
    answers = _ask_sources(session)
    compiled = compile.compile_known(session.loaded, answers.tables)
    mark = ListMark(records.instance, take_over)
    old = None if records.catalog is None else records.catalog.definition.to_json()
    return ApplyPlan(
        records.version,
        differences(old, definition.to_json()),
        records.findings,
        answers.work,
        {name: _ask_graph(definition, name, compiled, records.lists, mark) for name in definition.graph},
        _forecasts(definition, answers.counts, records.items, now),
        [*compiled.doubts, *_unlisted(answers.counts)],
        left_alone(records.catalog, definition),
        take_over,
    )


# --- state database -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Records:
    """What the state database knows: what is wrong with it, the definition in force, live items by sync id, lists.

    ``instance``: the id of the installation; empty while it has none, or where the records are those of another one.
    """

    findings: Sequence[str]
    version: int | None = None
    catalog: Catalog | None = None
    items: Mapping[str, int] = field(default_factory=dict)
    lists: Sequence[KnownList] = ()
    instance: str = ""


def _read_records(session: Session) -> _Records:
    try:
        findings = schema.check_version(session.state_dsn())
    except (StateUnavailable, StateRefused) as error:
        return _Records([error.sentence])
    return _Records(findings) if findings else session.on_state(_records_of)


def _records_of(connection: Connection) -> _Records:
    found = read_applied_definition(connection)
    if found is None:
        return _Records([], instance=instance.known(connection))
    items = {sync: ledger.live_count(connection, sync) for sync in found.catalog.syncs}
    known = instance.known(connection)
    return _Records([], found.record.version, found.catalog, items, lists.read(connection), known)


# --- sources --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _SourceAnswers:
    """What the sources said: tables and row counts per sync, missing statements per source."""

    tables: Tables = field(default_factory=dict)
    work: dict[str, PlannedWork] = field(default_factory=dict)
    counts: dict[str, row_counts.RowCounts] = field(default_factory=dict)


def _ask_sources(session: Session) -> _SourceAnswers:
    answers = _SourceAnswers()
    for name in session.definition.postgres:
        answers.work[name] = PlannedWork()
        try:
            _ask_source(session, name, answers)
        except DefinitionError:
            continue  # told with all others, once every source has been asked
        except RowtideError as error:
            answers.work[name] = PlannedWork(answers.work[name].steps, error)
    return answers


def _ask_source(session: Session, name: str, answers: _SourceAnswers) -> None:
    with session.source(name) as connection:
        tables = compile.read_source_tables(session.definition, name, connection)
        answers.tables |= tables
        answers.work[name] = PlannedWork(missing_statements(session.definition, name, connection))
        for sync in compile.compile_known(session.loaded, tables).syncs.values():
            answers.counts[sync.name] = row_counts.read(connection, sync)


def missing_statements(definition: Definition, name: str, connection: psycopg.Connection) -> list[str]:
    """The statements that publication and slot of a source still lack, in their order."""
    statements = slots.publication_statements(connection, definition.publication(name), definition.tables(name))
    if slots.show_slot(connection, definition.slot(name)) is None:
        statements.append(slots.slot_statement(definition.slot(name), definition.postgres[name].failover))
    return statements


def _unlisted(counts: Mapping[str, row_counts.RowCounts]) -> list[str]:
    return [
        f"syncs.{sync}: {count.unlisted:,} rows belong to no list and would be parked; give lists a default"
        for sync, count in counts.items()
        if count.unlisted
    ]


# --- graphs ---------------------------------------------------------------------------------------------------------


def _ask_graph(
    definition: Definition, name: str, compiled: CompiledDefinition, known: Sequence[KnownList], mark: ListMark
) -> PlannedWork:
    try:
        return PlannedWork(list_plan.missing_work(definition, name, compiled, known, mark))
    except RowtideError as error:
        return PlannedWork(error=error)


def allowance_of(definition: Definition, graph: str) -> Allowance:
    """What Rowtide may spend in a tenant."""
    section = definition.graph[graph]
    tier = tier_of(section.licences)
    return Allowance(tier.ru_per_minute, tier.ru_per_day, section.quota_share)


def _forecasts(
    definition: Definition, counts: Mapping[str, row_counts.RowCounts], items: Mapping[str, int], now: datetime
) -> list[Forecast]:
    """Forecasts per graph, since its lists share one allowance; a sync's live items are taken off list by list."""
    answers: list[Forecast] = []
    for graph in definition.graph:
        loads: list[ListLoad] = []
        for name, count in counts.items():
            if definition.syncs[name].target.graph == graph:
                loads += _loads(name, count, items.get(definition.id_of(name), 0))
        answers += forecast(loads, allowance_of(definition, graph), now)
    return answers


def _loads(sync: str, count: row_counts.RowCounts, live: int) -> list[ListLoad]:
    loads = []
    for title, rows in count.rows.items():
        items = min(live, rows)
        live -= items
        loads.append(ListLoad(sync, title, rows, count.exact, items))
    return loads
