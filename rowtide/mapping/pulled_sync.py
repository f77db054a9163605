"""A compiled sync as its way back needs it: by what entries are decided, and rows mapped forward to be compared.

In: a `CompiledSync` that goes both ways, its lists. Out: `PulledSync`: the `PullRules` for deciding, the `Row` that a
row of the source is, texts for columns. Called by the puller once for each definition. Rule (docs/design.md section
19): nothing here decides; a new item's key is told by its mapped fields, or left to the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rowtide.catalog import ListRef
from rowtide.change import Fields
from rowtide.deciding.apply import Row, RowAbsent, RowOutside, RowThere, RowUnmapped
from rowtide.deciding.conflicts import Policies, TwoWayPolicy
from rowtide.deciding.records import ListId
from rowtide.deciding.taken import PullRules
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowError
from rowtide.keys import key_values, row_key
from rowtide.mapping.backwards import Backwards, RowTexts
from rowtide.mapping.binding import Binding
from rowtide.mapping.compiled_sync import CompiledSync


@dataclass(frozen=True, slots=True, eq=False)
class PulledSync:
    """One sync, ready to be pulled. ``lists``: title -> id."""

    compiled: CompiledSync
    backwards: Backwards
    rules: PullRules
    lists: Mapping[str, ListId]
    binding: Binding

    @classmethod
    def of(cls, compiled: CompiledSync, lists: Mapping[str, ListRef]) -> "PulledSync":
        """The sync with these lists, by title."""
        backwards = Backwards(compiled)
        ids = {title: ListId(ref.id) for title, ref in lists.items()}
        names = {one.field for one in compiled.mapped}
        rules = PullRules(
            compiled.sync,
            backwards,
            compiled.version,
            Policies(compiled.conflicts.policy, _by_field(compiled)),
            compiled.deletes_back,
            rows_deletes_leave_items=compiled.deletes != "propagate",
            reverts=compiled.on_refused == "revert",
            status_field=compiled.status_field,
            push_only=frozenset(backwards.push_only),
            columns={
                ids[title]: {name: column for name, column in ref.columns.items() if name in names}
                for title, ref in lists.items()
            },
            key_of=lambda fields: _key_of(compiled, backwards, fields),
            shard_columns=_shard_columns(compiled, ids),
        )
        return cls(compiled, backwards, rules, ids, compiled.bind(compiled.select_columns))

    def row(self, values: Sequence[str | None] | None) -> Row:
        """What a row of the source is, its values as `CompiledSync.select_columns` orders them; None: there is none."""
        if values is None:
            return RowAbsent()
        mapped = self.binding.change_of(values)
        if mapped.op == "d":
            return RowOutside()
        if mapped.fields is None or mapped.target is None:
            code, sentence = mapped.park or ("", "")
            return RowUnmapped(code, sentence)
        return RowThere(self.lists.get(mapped.target), mapped.fields)

    def texts(self, fields: Fields, columns: Mapping[str, str]) -> RowTexts:
        """What an UPDATE sets; ``columns`` come before what the fields say."""
        found = self.backwards.to_row(fields)
        return RowTexts({**found.columns, **columns}, found.refused)

    def new_texts(self, fields: Fields, columns: Mapping[str, str], key: str | None) -> RowTexts:
        """What an INSERT sets; ``columns`` fill in what the fields leave empty. ``key``: the row's, once it has one.

        A key that the table gave a row which was never committed is the row's all the same: it was reserved for it.
        """
        found = self.backwards.to_new_row(fields)
        left = {name: text for name, text in columns.items() if found.columns.get(name) is None}
        names = self.compiled.key_columns
        of_key = {} if key is None else dict(zip(names, key_values(key, len(names)), strict=True))
        return RowTexts({**found.columns, **left, **of_key}, found.refused)


def _by_field(compiled: CompiledSync) -> dict[str, TwoWayPolicy]:
    fields = {one.column: one.field for one in compiled.mapped}
    return {fields[column]: policy for column, policy in compiled.conflicts.columns.items()}


def _key_of(compiled: CompiledSync, backwards: Backwards, fields: Fields) -> str | RowError | None:
    """The row key that a new item names; None where the table gives it; the error where neither can."""
    texts = backwards.to_new_row({name: value for name, value in fields.items() if name in _key_fields(compiled)})
    if texts.refused:
        why = texts.refused[0]
        return row_errors.NO_KEY(column=why.column, why=why.sentence)
    values = [texts.columns.get(column) for column in compiled.key_columns]
    given = [value for value in values if value is not None]
    if len(given) == len(values):
        return row_key(given)
    lacking = [
        column
        for column, value in zip(compiled.key_columns, values, strict=True)
        if value is None and not compiled.columns[column].has_default
    ]
    return row_errors.NO_KEY(column=lacking[0], why="it is empty, and the table gives it none") if lacking else None


def _key_fields(compiled: CompiledSync) -> frozenset[str]:
    return frozenset(one.field for one in compiled.mapped if one.column in compiled.key_columns)


def _shard_columns(compiled: CompiledSync, lists: Mapping[str, ListId]) -> dict[ListId, dict[str, str]]:
    """Of each list that exactly one value of one column leads to, that column and value."""
    values = {title: compiled.sharding.only_value(title) for title in lists}
    return {lists[title]: {value[0]: value[1]} for title, value in values.items() if value is not None}
