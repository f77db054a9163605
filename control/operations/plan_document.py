"""What `apply` would do, gathered from the definition, sources and tenants as they are.

In: a loaded definition, the time. Out: a `Proposal`: differences, statements, list work, a forecast per list, what is
left alone. Rule: nothing is changed anywhere; what cannot be asked is named with its reason, and the rest is still
told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from connectors.postgres import row_counts, slots
from connectors.settings import Loaded
from control.operations import compile, list_plan
from control.operations.compile import Columns, Compiled
from control.operations.differences import differences, left_alone
from control.operations.forecast import Forecast, Limits, Load, forecast
from control.operations.session import on_state, read_applied, source, state_dsn
from rowtide.catalog import Catalog
from rowtide.definition.model import Definition
from rowtide.errors import DefinitionError, RowtideError, StateRefused, StateUnavailable
from rowtide.pacing import tier_of
from state import database, ledger
from state.database import Connection


@dataclass(slots=True)
class Part:
    """What is to be done to one source or graph; ``error``: why it could not be asked."""

    work: list[str] = field(default_factory=list)
    error: RowtideError | None = None

    @property
    def problem(self) -> str | None:
        """The sentence of the error."""
        return None if self.error is None else self.error.sentence


@dataclass(frozen=True, slots=True)
class Proposal:
    """All that `apply` would do."""

    applied_version: int | None
    changes: Sequence[str]
    state: Sequence[str]
    sources: Mapping[str, Part]
    graphs: Mapping[str, Part]
    forecasts: Sequence[Forecast]
    warnings: Sequence[str]
    left_alone: Sequence[str]

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "definition": {"applied": self.applied_version, "changes": list(self.changes)},
            "state": list(self.state),
            "sources": {
                name: {"statements": part.work, "problem": part.problem} for name, part in self.sources.items()
            },
            "graphs": {name: {"work": part.work, "problem": part.problem} for name, part in self.graphs.items()},
            "first_load": [_load(one) for one in self.forecasts],
            "warnings": list(self.warnings),
            "left_alone": list(self.left_alone),
        }


def _load(one: Forecast) -> dict[str, Any]:
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
    }


@dataclass(slots=True)
class _Known:
    """What the state database knows already."""

    findings: list[str]
    version: int | None = None
    catalog: Catalog | None = None
    live: Mapping[str, int] = field(default_factory=dict)


def make(loaded: Loaded, now: datetime) -> Proposal:
    """The proposal; DefinitionError when the definition does not fit its tables."""
    definition = loaded.definition
    known = _known(loaded)
    columns, sources, counts = _ask_sources(loaded)
    found = compile.compile_known(loaded, columns)
    old = None if known.catalog is None else known.catalog.definition.to_json()
    return Proposal(
        known.version,
        differences(old, definition.to_json()),
        known.findings,
        sources,
        {name: _ask_graph(definition, name, found) for name in definition.graph},
        _forecasts(definition, counts, known.live, now),
        [*found.doubts, *_unlisted(counts)],
        left_alone(known.catalog, definition),
    )


def _known(loaded: Loaded) -> _Known:
    try:
        findings = database.check_version(state_dsn(loaded))
    except (StateUnavailable, StateRefused) as error:
        return _Known([error.sentence])
    return _Known(findings) if findings else on_state(loaded, _read_known)


def _read_known(connection: Connection) -> _Known:
    applied = read_applied(connection)
    if applied is None:
        return _Known([])
    catalog = applied[1]
    return _Known(
        [], applied[0].version, catalog, {sync: ledger.live_count(connection, sync) for sync in catalog.syncs}
    )


# --- sources --------------------------------------------------------------------------------------------------------


def _ask_sources(loaded: Loaded) -> tuple[Columns, dict[str, Part], dict[str, row_counts.Census]]:
    definition = loaded.definition
    columns: Columns = {}
    parts = {name: Part() for name in definition.postgres}
    counts: dict[str, row_counts.Census] = {}
    for name, part in parts.items():
        try:
            with source(definition, name) as connection:
                here = compile.read_columns(definition, name, connection)
                columns |= here
                part.work = source_work(definition, name, connection)
                for sync in compile.compile_known(loaded, here).syncs.values():
                    counts[sync.sync] = row_counts.take(connection, sync)
        except DefinitionError:
            continue  # told with all others, once every source has been asked
        except RowtideError as error:
            part.error = error
    return columns, parts, counts


def source_work(definition: Definition, name: str, connection: psycopg.Connection) -> list[str]:
    """The statements that publication and slot still lack, in their order."""
    work = slots.publication_statements(connection, definition.publication(name), definition.tables(name))
    if slots.show_slot(connection, definition.slot(name)) is None:
        work.append(slots.slot_statement(definition.slot(name), definition.postgres[name].failover))
    return work


def _unlisted(counts: Mapping[str, row_counts.Census]) -> list[str]:
    return [
        f"syncs.{sync}: {count.unlisted:,} rows belong to no list and would be parked; give lists a default"
        for sync, count in counts.items()
        if count.unlisted
    ]


# --- graphs ---------------------------------------------------------------------------------------------------------


def _ask_graph(definition: Definition, name: str, found: Compiled) -> Part:
    try:
        return Part(list_plan.work(definition, name, found))
    except RowtideError as error:
        return Part(error=error)


def limits_of(definition: Definition, graph: str) -> Limits:
    """What Rowtide may spend in a tenant."""
    section = definition.graph[graph]
    tier = tier_of(section.licences)
    return Limits(tier.ru_per_minute, tier.ru_per_day, section.quota_share)


def _forecasts(
    definition: Definition, counts: Mapping[str, row_counts.Census], live: Mapping[str, int], now: datetime
) -> list[Forecast]:
    """Per graph, since its lists share one allowance; items that are there already are taken off list by list."""
    answers: list[Forecast] = []
    for graph in definition.graph:
        loads: list[Load] = []
        for name, count in counts.items():
            if definition.syncs[name].target.graph == graph:
                loads += _loads(name, count, live.get(name, 0))
        answers += forecast(loads, limits_of(definition, graph), now)
    return answers


def _loads(sync: str, count: row_counts.Census, live: int) -> list[Load]:
    loads = []
    for title, rows in count.rows.items():
        items = min(live, rows)
        live -= items
        loads.append(Load(sync, title, rows, count.exact, items))
    return loads
