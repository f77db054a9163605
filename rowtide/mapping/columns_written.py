"""What syncs that go both ways write of their tables.

In: a definition. Out: by table `ColumnsWritten`, by which rights are asked for and granted. Rule: a column that nothing
of a sync writes is in none; what an edit of a list's own column writes is (`by` and `map`), and what a deletion marks.
"""

from dataclasses import dataclass

from rowtide.definition.both_ways import MarkDefinition
from rowtide.definition.model import Definition, SyncDefinition
from rowtide.expressions import syntax


@dataclass(frozen=True, slots=True)
class ColumnsWritten:
    """``names`` are written, ``read`` are read under lock beside them; ``key`` too, and is written in inserts only.

    ``with_primary_key``: the columns of the primary key belong to ``key``.
    """

    names: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    key: frozenset[str] = frozenset()
    with_primary_key: bool = False
    deletes: bool = False

    def and_those_of(self, definition: SyncDefinition) -> "ColumnsWritten":
        """These and what one more sync writes."""
        where = () if definition.where is None else syntax.columns_of(syntax.parse(definition.where))
        key = definition.source.key or ()
        return ColumnsWritten(
            self.names | {*definition.fields, *_moving(definition), *_marking(definition)},
            self.read | {*where, *definition.sharding().columns()},
            self.key | {*key},
            self.with_primary_key or not key,
            self.deletes or definition.deletes.pull == "propagate",
        )


def _moving(definition: SyncDefinition) -> tuple[str, ...]:
    """The column that is written when a person moves an item to another list, if there is such a one."""
    lists = definition.lists
    if lists is None or lists.map is None or definition.sharding().columns() != (lists.by,):
        return ()
    return (lists.by,)


def _marking(definition: SyncDefinition) -> tuple[str, ...]:
    """The column that is written when a person deletes an item whose row stays, if there is such a one."""
    back = definition.deletes.pull
    return (back.named[0],) if isinstance(back, MarkDefinition) else ()


def columns_written(definition: Definition, postgres: str) -> dict[tuple[str, str], ColumnsWritten]:
    """Per schema and table of a source what the syncs that go both ways write of it."""
    found: dict[tuple[str, str], ColumnsWritten] = {}
    for sync in definition.syncs.values():
        if sync.source.postgres == postgres and sync.direction == "both":
            table = sync.source.schema_and_table
            found[table] = found.get(table, ColumnsWritten()).and_those_of(sync)
    return found
