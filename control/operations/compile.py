"""Every sync of a definition compiled against its table as it is now.

In: a loaded definition, connections to its sources. Out: a `CompiledDefinition`, or one `DefinitionError`. Rule: all
problems of all syncs are reported together, each with its line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from connectors.postgres import preflight
from connectors.settings import Loaded
from control.operations.session import Session
from rowtide.definition import diagnostics
from rowtide.definition.diagnostics import Problem
from rowtide.definition.model import Definition
from rowtide.error_catalogue import source_errors
from rowtide.errors import DefinitionError, SourceRefused
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync, buckets_for, compile_sync

Columns = dict[str, list[SourceColumn]]
"""Per sync the columns of its table."""


@dataclass(frozen=True, slots=True)
class CompiledDefinition:
    """The syncs of a definition compiled, and the columns they were compiled from."""

    columns: Columns
    syncs: Mapping[str, CompiledSync]

    @property
    def doubts(self) -> list[str]:
        """What may go wrong with some values, a sentence each."""
        return [doubt for sync in self.syncs.values() for doubt in sync.doubts]


def read_source_columns(definition: Definition, postgres: str, connection: psycopg.Connection) -> Columns:
    """The columns of the tables of one source's syncs; an empty list for a table that is not there."""
    return {
        name: _columns_of(connection, *sync.source.schema_and_table)
        for name, sync in definition.syncs.items()
        if sync.source.postgres == postgres
    }


def _columns_of(connection: psycopg.Connection, schema: str, table: str) -> list[SourceColumn]:
    try:
        return preflight.read_columns(connection, schema, table)
    except SourceRefused as error:
        if error.code == source_errors.TABLE_MISSING.code:
            return []
        raise


def read_all_columns(session: Session) -> Columns:
    """The columns of every sync's table."""
    columns: Columns = {}
    for name in used_sources(session.definition):
        with session.source(name) as connection:
            columns |= read_source_columns(session.definition, name, connection)
    return columns


def used_sources(definition: Definition) -> list[str]:
    """The sources that some sync reads, by name."""
    return sorted({sync.source.postgres for sync in definition.syncs.values()})


def compile_known(loaded: Loaded, columns: Mapping[str, Sequence[SourceColumn]]) -> CompiledDefinition:
    """The syncs whose columns are known, compiled; DefinitionError with every problem of those that do not fit."""
    definition = loaded.definition
    buckets = buckets_for(len(definition.syncs))
    syncs: dict[str, CompiledSync] = {}
    found: list[Problem] = []
    for name, of_sync in columns.items():
        if not of_sync:
            sentence = f"there is no table {definition.syncs[name].source.table}, or this role may not see it"
            found.append(Problem(("syncs", name, "source", "table"), f"syncs.{name}: {sentence}"))
            continue
        try:
            syncs[name] = compile_sync(name, definition.syncs[name], of_sync, buckets)
        except DefinitionError as error:
            found.extend(Problem(tuple(path), sentence) for path, sentence in error.problems)
    if found:
        raise loaded.located(diagnostics.as_error(found))
    return CompiledDefinition({name: list(of_sync) for name, of_sync in columns.items()}, syncs)
