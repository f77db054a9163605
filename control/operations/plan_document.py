"""What `apply` would do, gathered from the definition, sources and tenants as they are.

In: a session, the time. Out: an `ApplyPlan`: differences, statements, work on lists, a forecast per list, what is left
alone. It is what a person says yes to, and `apply` takes it back. Rule: nothing is changed anywhere; a part that cannot
be asked is named with its reason, and the rest is still told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TypedDict

import psycopg

from connectors import settings
from connectors.postgres import apply_record, apply_rights, preflight, publishing_rights, row_counts, slots
from connectors.postgres.preflight import WantedSource
from control.operations import compile, list_plan, polls, rewrites
from control.operations.compile import CompiledDefinition, Tables
from control.operations.differences import differences, left_alone
from control.operations.direction_changes import direction_changes
from control.operations.forecast import Allowance, Forecast, ListLoad, forecast
from control.operations.session import Session, read_applied_definition
from rowtide.catalog import FORMAT, Catalog
from rowtide.connections import TenantIdentity, tenants_of
from rowtide.definition.model import Definition, Document
from rowtide.error_catalogue import state_errors
from rowtide.error_catalogue.entries import Check
from rowtide.errors import DefinitionError, RowtideError
from rowtide.lists import KnownList, ListMark
from rowtide.mapping.columns_written import columns_written
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.mapping.source_table import columns_read
from rowtide.pacing import tier_of
from state import instance, ledger, lists, processes, schema
from state.database import Connection
from state.processes import ProcessBeat


class DefinitionPlan(TypedDict):
    """The version in force (None: none is) and what the file changes in it."""

    applied: int | None
    changes: list[str]


class SourceFault(TypedDict):
    """What would stop `apply` at a source, and what mends it."""

    sentence: str
    remedy: str


class SourcePlan(TypedDict):
    """The statements that a source lacks and what would stop `apply` there, or why it could not be asked."""

    statements: list[str]
    faults: list[SourceFault]
    problem: str | None


class GraphPlan(TypedDict):
    """The lists and columns that a tenant lacks, or why it could not be asked."""

    work: list[str]
    problem: str | None


class ForecastDocument(TypedDict):
    """What one list is still to get; ``deep_ru``: what comparing it item by item costs later.

    ``rewrites``: those of ``writes`` that go, at most, to items that are there already.
    """

    sync: str
    list: str
    rows: int
    exact: bool
    writes: int
    rewrites: int
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
    unseen: list[str]
    readers: list[str]


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """What is to be done to one source or graph; ``faults``: what would stop it; ``error``: why it was not asked.

    ``made_in``: the sites in which lists are to be made.
    """

    steps: Sequence[str] = ()
    error: RowtideError | None = None
    faults: Sequence[Check] = ()
    made_in: Sequence[str] = ()

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
    state_error: RowtideError | None = None
    """Why the state database could not be asked."""

    @property
    def unseen(self) -> list[str]:
        """The parts that could not be asked, so that the plan says nothing of them."""
        sources = [f"source {name}" for name, work in self.sources.items() if work.error is not None]
        graphs = [f"graph {name}" for name, work in self.graphs.items() if work.error is not None]
        return [*(["state database"] if self.state_error is not None else []), *sources, *graphs]

    @property
    def readers(self) -> list[str]:
        """Who can read the lists that are to be made, a sentence for each site."""
        sites = dict.fromkeys(site for work in self.graphs.values() for site in work.made_in)
        return [
            f"lists that are made in {site} have its permissions: whoever may read the site may read them, and whoever"
            " may edit it may edit them"
            for site in sites
        ]

    @property
    def clear(self) -> bool:
        """Whether everything could be asked, and nothing would stop `apply`."""
        return not self.unseen and not any(work.faults for work in self.sources.values())

    def document(self) -> PlanDocument:
        """The plan as JSON."""
        return {
            "definition": {"applied": self.applied_version, "changes": list(self.changes)},
            "state": list(self.state),
            "sources": {
                name: {
                    "statements": list(work.steps),
                    "faults": [{"sentence": one.sentence, "remedy": one.remedy} for one in work.faults],
                    "problem": work.problem,
                }
                for name, work in self.sources.items()
            },
            "graphs": {name: {"work": list(work.steps), "problem": work.problem} for name, work in self.graphs.items()},
            "first_load": [_first_load(one) for one in self.forecasts],
            "warnings": list(self.warnings),
            "left_alone": list(self.left_alone),
            "unseen": self.unseen,
            "readers": self.readers,
        }


def _first_load(one: Forecast) -> ForecastDocument:
    return {
        "sync": one.load.sync,
        "list": one.load.list_title,
        "rows": one.load.rows,
        "exact": one.load.exact,
        "writes": one.writes,
        "rewrites": one.load.rewrites,
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
    answers = _ask_sources(session, records)
    compiled = compile.compile_known(session.loaded, answers.tables)
    mark = ListMark(records.instance, take_over)
    old = None if records.catalog is None else _compared(records.catalog.definition, records.catalog.tenants)
    return ApplyPlan(
        records.version,
        differences(old, _compared(definition, tenants_of(definition))),
        records.findings,
        answers.work,
        {name: _ask_graph(definition, name, compiled, records.lists, mark) for name in definition.graph},
        _forecasts(definition, answers, records, compiled, now),
        [
            *direction_changes(None if records.catalog is None else records.catalog.definition, definition),
            *compiled.doubts,
            *polls.reckon(definition, compiled.syncs).unkept,
            *_unlisted(answers.counts),
            *records.too_old,
        ],
        left_alone(records.catalog, definition),
        take_over,
        records.error,
    )


def _compared(document: Document, tenants: Mapping[str, TenantIdentity]) -> dict[str, object]:
    """What is compared of two definitions: what is stored of them."""
    return {**document.to_json(), "tenants": {name: asdict(one) for name, one in tenants.items()}}


# --- state database -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Records:
    """What the state database knows: what is wrong with it, the definition in force, live items by sync id, lists.

    ``instance``: the id of the installation; empty while it has none, or where the records are those of another one.
    ``too_old``: processes that run and do not understand what would be applied, a sentence each.
    """

    findings: Sequence[str]
    version: int | None = None
    catalog: Catalog | None = None
    items: Mapping[str, int] = field(default_factory=dict)
    lists: Sequence[KnownList] = ()
    instance: str = ""
    error: RowtideError | None = None
    too_old: Sequence[str] = ()

    def changed(self, new: CompiledSync) -> CompiledSync | None:
        """The sync as it is in force, if it has items; None when nothing can change of them."""
        has_items = self.catalog is not None and self.items.get(new.sync, 0) > 0
        return self.catalog.syncs.get(new.sync) if has_items and self.catalog is not None else None


def _read_records(session: Session) -> _Records:
    try:
        findings = schema.check_version(session.state_dsn())
    except RowtideError as error:
        # That there is no state database yet is how everything begins; `apply --upgrade` makes it.
        begins = error.code == state_errors.STATE_DATABASE_MISSING.code
        return _Records([error.sentence], error=None if begins else error)
    return _Records(findings) if findings else session.on_state(_records_of)


def _records_of(connection: Connection) -> _Records:
    found = read_applied_definition(connection)
    if found is None:
        return _Records([], instance=instance.known(connection))
    items = {sync: ledger.live_count(connection, sync) for sync in found.catalog.syncs}
    known = instance.known(connection)
    too_old = [_too_old(one) for one in processes.read(connection) if one.is_alive and one.format < FORMAT]
    return _Records([], found.record.version, found.catalog, items, lists.read(connection), known, too_old=too_old)


def _too_old(process: ProcessBeat) -> str:
    return (
        f"process {process.pid} on {process.host} is of an older release and does not understand this definition: "
        "once it is applied the process delivers nothing until it is replaced"
    )


# --- sources --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _SourceAnswers:
    """What the sources said: tables and row counts per sync, missing statements per source."""

    tables: Tables = field(default_factory=dict)
    work: dict[str, PlannedWork] = field(default_factory=dict)
    counts: dict[str, row_counts.RowCounts] = field(default_factory=dict)
    places: dict[str, row_counts.Places | None] = field(default_factory=dict)


def _ask_sources(session: Session, records: _Records) -> _SourceAnswers:
    answers = _SourceAnswers()
    for name in session.definition.postgres:
        answers.work[name] = PlannedWork()
        try:
            _ask_source(session, name, answers, records)
        except DefinitionError:
            continue  # told with all others, once every source has been asked
        except RowtideError as error:
            answers.work[name] = replace(answers.work[name], error=error)
    return answers


def _ask_source(session: Session, name: str, answers: _SourceAnswers, records: _Records) -> None:
    with session.source(name) as connection:
        tables = compile.read_source_tables(session.definition, name, connection)
        answers.tables |= tables
        steps = missing_statements(session.definition, name, connection)
        faults = _faults(session, name, connection)
        answers.work[name] = PlannedWork(steps, faults=faults)
        if faults:
            return  # a table that cannot be read cannot be counted
        for sync in compile.compile_known(session.loaded, tables).syncs.values():
            answers.counts[sync.name] = row_counts.read(connection, sync)
            old = records.changed(sync)
            if old is not None and rewrites.needs_places(old, sync):
                answers.places[sync.name] = row_counts.read_places(connection, old, sync)


def _faults(session: Session, name: str, connection: psycopg.Connection) -> list[Check]:
    """What would stop `apply` at a source."""
    definition = session.definition
    dsn = settings.resolve_secret(definition.postgres[name].dsn)
    publication, tables = definition.publication(name), definition.tables(name)
    read = columns_read(definition, name)
    wanted = WantedSource(dsn, definition.slot(name), publication, tables, columns=read)
    found = preflight.blockers(wanted, connection)
    if slots.publication_statements(connection, publication, tables):
        with session.source(name, admin=True) as admin:
            found += publishing_rights.missing(admin, publication, tables)
    if columns_written(definition, name):
        with session.source(name, admin=True) as admin:
            found += apply_rights.blockers(admin)
    return found


def missing_statements(definition: Definition, name: str, connection: psycopg.Connection) -> list[str]:
    """The statements that publication, slot and record of edits of a source still lack, in their order."""
    statements = slots.publication_statements(connection, definition.publication(name), definition.tables(name))
    if slots.show_slot(connection, definition.slot(name)) is None:
        statements.append(slots.slot_statement(definition.slot(name), definition.postgres[name].failover))
    if columns_written(definition, name):
        statements += apply_record.missing_statements(connection)
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
        found = list_plan.missing_work(definition, name, compiled, known, mark)
        return PlannedWork(found.sentences, made_in=found.made_in)
    except RowtideError as error:
        return PlannedWork(error=error)


def allowance_of(definition: Definition, graph: str) -> Allowance:
    """What Rowtide may spend in a tenant."""
    section = definition.graph[graph]
    tier = tier_of(section.licences)
    return Allowance(tier.ru_per_minute, tier.ru_per_day, section.quota_share)


def _forecasts(
    definition: Definition, answers: _SourceAnswers, records: _Records, compiled: CompiledDefinition, now: datetime
) -> list[Forecast]:
    """Forecasts per graph, since its lists share one allowance."""
    forecasts: list[Forecast] = []
    for graph in definition.graph:
        loads: list[ListLoad] = []
        for name, count in answers.counts.items():
            sync = compiled.syncs[name]
            if sync.graph == graph:
                live = records.items.get(sync.sync, 0)
                loads += rewrites.loads(sync, count, live, records.changed(sync), answers.places.get(name))
        weights = {name: definition.syncs[name].weight for name in answers.counts}
        forecasts += forecast(loads, allowance_of(definition, graph), now, weights)
    return forecasts
