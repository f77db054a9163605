"""A source table as the catalog describes it, and what of it no sync can carry.

In: columns, unique keys, whether tables inherit from it. Out: `SourceTable`; `misfits`, a path and a sentence each;
`columns_read`, which columns the syncs of a source need of each table.
Rule: what only the stream would show (rows under another table's name, two rows with one key) is refused beforehand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rowtide.definition.model import Definition, SyncDefinition
from rowtide.expressions import syntax
from rowtide.mapping.columns import SourceColumn


@dataclass(frozen=True, slots=True)
class SourceTable:
    """``unique``: the columns of each unique index over all rows. ``inherited``: other tables inherit from it.

    ``problem``: why there are no columns, for what is no table, or is not there.
    """

    columns: Sequence[SourceColumn]
    unique: Sequence[frozenset[str]] = ()
    inherited: bool = False
    problem: str = ""

    def misfits(self, definition: SyncDefinition) -> list[tuple[tuple[str, ...], str]]:
        """What the sync cannot carry, beside its columns."""
        found: list[tuple[tuple[str, ...], str]] = []
        table, key = definition.source.table, definition.source.key
        if self.inherited:
            sentence = (
                "tables inherit from {0}: their rows are read with it, and their changes are not; sync each of them"
            )
            found.append((("source", "table"), sentence.format(table)))
        if key and not any(unique <= set(key) for unique in self.unique):
            sentence = "source.key: no unique index of {0} keeps ({1}) unique; two rows would share an item"
            found.append((("source", "key"), sentence.format(table, ", ".join(key))))
        return found


@dataclass(frozen=True, slots=True)
class ColumnsRead:
    """What a session has to read of a table: these columns and, ``with_primary_key``, those of the primary key."""

    names: frozenset[str] = frozenset()
    with_primary_key: bool = False

    def and_those_of(self, definition: SyncDefinition) -> "ColumnsRead":
        """These and what one more sync reads."""
        where = () if definition.where is None else syntax.columns_of(syntax.parse(definition.where))
        key = definition.source.key or ()
        names = {*definition.fields, *where, *definition.sharding().columns(), *key}
        return ColumnsRead(self.names | names, self.with_primary_key or not key)


def columns_read(definition: Definition, postgres: str) -> dict[tuple[str, str], ColumnsRead]:
    """Per schema and table of a source: the columns that its syncs read."""
    found: dict[tuple[str, str], ColumnsRead] = {}
    for sync in definition.syncs.values():
        if sync.source.postgres == postgres:
            table = sync.source.schema_and_table
            found[table] = found.get(table, ColumnsRead()).and_those_of(sync)
    return found
