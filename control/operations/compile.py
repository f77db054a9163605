"""Every sync of a definition compiled against its table as it is now.

In: a loaded definition, connections to its sources. Out: a `CompiledDefinition`, or one `DefinitionError`. Rule: all
problems of all syncs are reported together, each with its line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from connectors.postgres import table_catalog
from connectors.settings import Loaded
from control.operations.session import Session
from rowtide import table_name
from rowtide.definition import diagnostics
from rowtide.definition.diagnostics import Problem
from rowtide.definition.model import Definition
from rowtide.error_catalogue import source_errors
from rowtide.errors import DefinitionError, SourceRefused
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync, buckets_for, compile_sync
from rowtide.mapping.source_table import SourceTable

Tables = dict[str, SourceTable]
"""Per sync its table; one without columns is not there."""


@dataclass(frozen=True, slots=True)
class CompiledDefinition:
    """The syncs of a definition compiled, and the columns they were compiled from."""

    columns: Mapping[str, Sequence[SourceColumn]]
    syncs: Mapping[str, CompiledSync]
    """By name."""

    @property
    def doubts(self) -> list[str]:
        """What may go wrong with some values, a sentence each."""
        return [doubt for sync in self.syncs.values() for doubt in sync.doubts]


def read_source_tables(definition: Definition, postgres: str, connection: psycopg.Connection) -> Tables:
    """The tables of one source's syncs."""
    return {
        name: _table_of(connection, *sync.source.schema_and_table)
        for name, sync in definition.syncs.items()
        if sync.source.postgres == postgres
    }


def _table_of(connection: psycopg.Connection, schema: str, table: str) -> SourceTable:
    try:
        return table_catalog.read_table(connection, schema, table)
    except SourceRefused as error:
        if error.code == source_errors.TABLE_MISSING.code:
            name = table_name.to_text(schema, table)
            return SourceTable((), problem=f"there is no table {name}, or this role may not see it")
        if error.code == source_errors.NOT_A_TABLE.code:
            return SourceTable((), problem=error.sentence.rstrip("."))
        raise


def read_all_tables(session: Session) -> Tables:
    """Every sync's table."""
    tables: Tables = {}
    for name in used_sources(session.definition):
        with session.source(name) as connection:
            tables |= read_source_tables(session.definition, name, connection)
    return tables


def used_sources(definition: Definition) -> list[str]:
    """The sources that some sync reads, by name."""
    return sorted({sync.source.postgres for sync in definition.syncs.values()})


def compile_known(loaded: Loaded, tables: Mapping[str, SourceTable]) -> CompiledDefinition:
    """The syncs whose tables are known, compiled; DefinitionError with every problem of those that do not fit."""
    definition = loaded.definition
    buckets = buckets_for(len(definition.syncs))
    syncs: dict[str, CompiledSync] = {}
    found: list[Problem] = []
    for name, table in tables.items():
        if not table.columns:
            found.append(Problem(("syncs", name, "source", "table"), f"syncs.{name}: {table.problem}"))
            continue
        try:
            syncs[name] = compile_sync(name, definition.syncs[name], table.columns, buckets)
        except DefinitionError as error:
            found.extend(Problem(tuple(path), sentence) for path, sentence in error.problems)
        for path, why in table.misfits(definition.syncs[name]):
            found.append(Problem(("syncs", name, *path), f"syncs.{name}: {why}"))
    if found:
        raise loaded.located(diagnostics.as_error(found))
    return CompiledDefinition({name: table.columns for name, table in tables.items()}, syncs)
