"""Every sync of a definition compiled against its table as it is now.

In: a loaded definition, connections to its sources. Out: `CompiledSync`s and the columns they were compiled from, or
one `DefinitionError` with every problem and its line. Rule: all problems of all syncs come together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from connectors.postgres import preflight
from connectors.settings import Loaded
from control.operations.session import source
from rowtide.definition import diagnostics
from rowtide.definition.diagnostics import Problem
from rowtide.definition.model import Definition
from rowtide.errors import DefinitionError, SourceRefused
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync, buckets_for, compile_sync

Columns = dict[str, list[SourceColumn]]
"""Per sync the columns of its table."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a definition means for its tables."""

    columns: Columns
    syncs: Mapping[str, CompiledSync]

    @property
    def doubts(self) -> list[str]:
        """What may go wrong with some values."""
        return [doubt for sync in self.syncs.values() for doubt in sync.doubts]


def read_columns(definition: Definition, postgres: str, connection: psycopg.Connection) -> Columns:
    """The columns of the tables of one source's syncs; none for a table that is not there."""
    return {
        name: _columns_of(connection, *sync.source.schema_and_table)
        for name, sync in definition.syncs.items()
        if sync.source.postgres == postgres
    }


def _columns_of(connection: psycopg.Connection, schema: str, table: str) -> list[SourceColumn]:
    try:
        return preflight.read_columns(connection, schema, table)
    except SourceRefused as error:
        if error.code == "table_missing":
            return []
        raise


def read_all_columns(definition: Definition, also: Callable[[str, psycopg.Connection], None] | None = None) -> Columns:
    """The columns of every sync's table; ``also`` is called once a source while its connection is open."""
    columns: Columns = {}
    for name in sorted({sync.source.postgres for sync in definition.syncs.values()}):
        with source(definition, name) as connection:
            columns |= read_columns(definition, name, connection)
            if also is not None:
                also(name, connection)
    return columns


def compile_known(loaded: Loaded, columns: Mapping[str, Sequence[SourceColumn]]) -> Compiled:
    """The syncs whose columns are known, compiled; DefinitionError, with lines, for all that do not fit."""
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
    return Compiled({name: list(of_sync) for name, of_sync in columns.items()}, syncs)
