"""What a deletion on one side does on the other, as a compiled sync has it.

In: a definition's ``deletes``, the mapped columns, the table's columns. Out: `DeletesForward`, `DeletesBack`, and
`Problem`s with a mark that has no place. Called when a sync is compiled. Rule (docs/design.md section 10): a mark that
its column or field could never hold is refused before anything runs.
"""

from collections.abc import Mapping, Sequence

from rowtide.deciding.conflicts import DeletesBack, DeletesForward, Mark, MarkItem
from rowtide.definition.both_ways import MarkDefinition
from rowtide.definition.diagnostics import did_you_mean
from rowtide.definition.model import SyncDefinition
from rowtide.errors import RowError
from rowtide.mapping.columns import MappedColumn, SourceColumn

_PATH = ("deletes",)


def forward(definition: SyncDefinition, mapped: Sequence[MappedColumn]) -> DeletesForward:
    """What the deletion of a row does to its item."""
    policy = definition.deletes.push
    if not isinstance(policy, MarkDefinition):
        return policy
    name, text = policy.named
    [one] = [one for one in mapped if one.field == name]
    return MarkItem(name, one.canonical()(text))


def back(definition: SyncDefinition) -> DeletesBack:
    """What the deletion of an item does to its row."""
    policy = definition.deletes.pull
    return Mark(*policy.named) if isinstance(policy, MarkDefinition) else policy


def problems(
    definition: SyncDefinition, columns: Mapping[str, SourceColumn], key: Sequence[str], mapped: Sequence[MappedColumn]
) -> list[tuple[tuple[str, ...], str]]:
    """What is wrong with the marks, each with its place below the sync."""
    found: list[str | None] = []
    if isinstance(definition.deletes.push, MarkDefinition):
        found.append(_of_field(*definition.deletes.push.named, key, mapped))
    if isinstance(definition.deletes.pull, MarkDefinition):
        found.append(_of_column(definition.deletes.pull.named[0], columns, key))
    return [(_PATH, why) for why in found if why is not None]


def _of_field(name: str, text: str, key: Sequence[str], mapped: Sequence[MappedColumn]) -> str | None:
    one = next((one for one in mapped if one.field == name), None)
    if one is None:
        return f"deletes.push: mark: no column is mapped to field {name}"
    if one.column in key:
        return f"deletes.push: mark: field {name} is the row's key"
    try:
        value = one.canonical()(text)
    except (RowError, ValueError, KeyError, ArithmeticError):
        value = None
    return f"deletes.push: mark: field {name} does not take this value" if value is None else None


def _of_column(name: str, columns: Mapping[str, SourceColumn], key: Sequence[str]) -> str | None:
    column = columns.get(name)
    if column is None:
        return f"deletes.pull: mark: the table has no column '{name}'{did_you_mean(name, columns)}"
    if column.generated or column.identity_always:
        return f"deletes.pull: mark: PostgreSQL computes column {name}"
    return f"deletes.pull: mark: column {name} is part of the row's key" if name in key else None
