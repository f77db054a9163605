"""What a sync that goes both ways asks of its table and tells about it, beyond what push does.

In: a definition, the table's columns, the key, the mapped columns. Out: `Finding`s: problems with the place in the
definition, and notes. Called when a sync is compiled; `PushOnly` also by `rowtide.mapping.backwards`. Rule
(docs/design.md section 20): what would stop every new item is a problem; what stops or turns some edits is a note, so
that nobody learns it from a refused edit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from rowtide.definition.model import SyncDefinition
from rowtide.expressions import syntax
from rowtide.mapping.columns import MappedColumn, SourceColumn

MOST_LOOKUPS: Final = 12
"""Lookup and user fields that one query of Graph shows (docs/facts.md section 1.2)."""
_LOOKUPS: Final = frozenset({"lookup", "user"})


class PushOnly(Enum):
    """Why a field travels one way: an edit of it is written back."""

    KEY = "it is part of the row's key"
    GENERATED = "PostgreSQL computes it"
    IDENTITY = "PostgreSQL numbers it (GENERATED ALWAYS AS IDENTITY)"
    LOCALE = "the server's locale decides which amount a text is (money)"
    TRUNCATED = "the item may hold only the beginning of the value (overflow: truncate)"


def push_only(mapped: MappedColumn, column: SourceColumn, key: Sequence[str]) -> PushOnly | None:
    """Why edits of the field do not go to its column; None when they do."""
    if mapped.column in key:
        return PushOnly.KEY
    if column.generated:
        return PushOnly.GENERATED
    if column.identity_always:
        return PushOnly.IDENTITY
    if column.type_name == "money":
        return PushOnly.LOCALE
    return PushOnly.TRUNCATED if mapped.truncate else None


@dataclass(frozen=True, slots=True)
class Findings:
    """``problems``: a path below the sync and a sentence each. ``notes``: sentences."""

    problems: Sequence[tuple[tuple[str, ...], str]] = ()
    notes: Sequence[str] = ()


def findings(
    definition: SyncDefinition,
    columns: Mapping[str, SourceColumn],
    key: Sequence[str],
    mapped: Sequence[MappedColumn],
) -> Findings:
    """What is to be said of a sync whose edits by people reach its table."""
    problems = [*_lookups(mapped), *_key(columns, key, {one.column for one in mapped})]
    notes = [*_one_way(mapped, columns, key), *_deciding(definition, mapped, key), *_new_rows(columns, key, mapped)]
    return Findings(problems, [*notes, *_dates(mapped, columns)])


def _lookups(mapped: Sequence[MappedColumn]) -> list[tuple[tuple[str, ...], str]]:
    count = sum(str(one.kind) in _LOOKUPS for one in mapped)
    if count <= MOST_LOOKUPS:
        return []
    sentence = f"direction both: {count} lookup and user fields are mapped, and Graph shows {MOST_LOOKUPS} at a time"
    return [(("fields",), f"{sentence}; map some of them as text")]


def _key(
    columns: Mapping[str, SourceColumn], key: Sequence[str], mapped: set[str]
) -> list[tuple[tuple[str, ...], str]]:
    return [
        (
            ("source",),
            f"direction both: nothing gives a new item a key, because column {name} is neither mapped nor filled in by "
            "PostgreSQL; map it, or give it an identity or a default",
        )
        for name in key
        if name not in mapped and not columns[name].has_default
    ]


def _one_way(mapped: Sequence[MappedColumn], columns: Mapping[str, SourceColumn], key: Sequence[str]) -> list[str]:
    return [
        f"field {one.field} goes to SharePoint only, because {why.value}; an edit of it is written back"
        for one in mapped
        if (why := push_only(one, columns[one.column], key)) is not None
    ]


def _deciding(definition: SyncDefinition, mapped: Sequence[MappedColumn], key: Sequence[str]) -> list[str]:
    fields = {one.column: one.field for one in mapped if one.column not in key}
    by = definition.sharding().columns()
    where = () if definition.where is None else syntax.columns_of(syntax.parse(definition.where))
    return [
        *(f"an edit of field {fields[one]} moves the item to the list of its new value" for one in by if one in fields),
        *(
            f"an edit of field {fields[one]} that takes the row out of where takes the item out of the list"
            for one in where
            if one in fields
        ),
        *(
            f"column {one} decides in where and no field gives it: a new item waits if its row would be outside"
            for one in where
            if one not in fields and one not in key
        ),
    ]


def _new_rows(columns: Mapping[str, SourceColumn], key: Sequence[str], mapped: Sequence[MappedColumn]) -> list[str]:
    given = {*key, *(one.column for one in mapped)}
    return [
        f"column {name} may not be NULL, and neither a field nor PostgreSQL gives it a value: new items make no rows"
        for name, column in columns.items()
        if column.not_null and name not in given and not column.has_default and not column.generated
    ]


def _dates(mapped: Sequence[MappedColumn], columns: Mapping[str, SourceColumn]) -> list[str]:
    notes = []
    for one in mapped:
        if one.kind == "dateTime" and columns[one.column].family == "date" and not one.date_only:
            notes.append(
                f"column {one.column} is a date and field {one.field} shows it with a time: the day of an edit is the "
                "day in UTC; say format: dateOnly"
            )
        elif one.date_only and columns[one.column].family != "date":
            notes.append(f"column {one.column} has a time and field {one.field} none: an edit sets midnight in UTC")
    return notes
