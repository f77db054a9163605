"""The way back: what a person wrote into an item, as the values of a row.

In: a compiled sync; an item's ``fields`` as Graph shows them. Out: canonical values as push would have them, texts for
the row's columns, `RefusedEdit`s. Called for every entry of the inbox. Rules (docs/design.md section 20): each field by
itself becomes a valid text or a refusal, never something else than was typed; two values that become the same row are
the same (blanks at the ends, digits beyond the fifteenth, the time of a day), so that such a difference is learnt and
is no edit. A `Backwards` stands for the sync where deciding asks for a `FieldMapping`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rowtide.change import Fields, JsonValue
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowError
from rowtide.keys import row_key
from rowtide.mapping import back_kinds, back_texts
from rowtide.mapping.back_kinds import Back
from rowtide.mapping.back_texts import Unfit
from rowtide.mapping.columns import Convert, MappedColumn, SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.mapping.two_ways import PushOnly, push_only


@dataclass(frozen=True, slots=True)
class RefusedEdit:
    """Why an item's field cannot be in its column; the sentence shows no value."""

    field: str
    column: str
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class RowTexts:
    """Texts by column (None: NULL) of the fields that have one, and what is to be said of the others."""

    columns: dict[str, str | None]
    refused: tuple[RefusedEdit, ...] = ()


_NO_KEY = "it is empty, and a new row needs it as its key"


class Backwards:
    """A compiled sync read from right to left. Fields that are not mapped are left out everywhere."""

    __slots__ = ("_fields", "_sync", "push_only")

    def __init__(self, sync: CompiledSync) -> None:
        self._sync = sync
        self._fields = {
            one.field: _Field(one, column, one.canonical(), back_kinds.back(one, column))
            for one in sync.mapped
            if (column := sync.columns[one.column])
        }
        self.push_only: Mapping[str, PushOnly] = {
            one.field: why
            for one in sync.mapped
            if (why := push_only(one, sync.columns[one.column], sync.key_columns)) is not None
        }
        """The fields that an edit does not take to the row, each with the reason. Those of the key are in new rows."""

    def canonical(self, raw: Mapping[str, object], held: Collection[str] = ()) -> Fields:
        """Every mapped field of an item's raw ``fields`` as push would have sent it; None for those it lacks.

        A value that cannot be in its column stays as it is shown. ``held``: fields whose columns are not what they
        were (`rowtide.lists.HeldColumns`); nobody has emptied them, and they are left out.
        """
        return {name: one.canonical(one.shown(raw.get(name))) for name, one in self._fields.items() if name not in held}

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        """`canonical`, by the name that deciding knows."""
        return self.canonical(wire)

    def wire_fields(self, fields: Fields) -> dict[str, JsonValue]:
        """The ``fields`` object of a POST or PATCH; the status field is none of the mapping's, and goes as it is."""
        status = self._sync.status_field
        return {**self._sync.wire_fields(fields), **({status: fields[status]} if status in fields else {})}

    def same(self, field: str, left: JsonValue, right: JsonValue) -> bool:
        """Whether two canonical values of a field become the same row and the same item; a field not mapped does."""
        one = self._fields.get(field)
        return one is None or one.same(left, right)

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        """Fields of ``desired`` that are the same neither as the base's value nor as the kept one.

        With an item's fields as ``desired`` these are a person's edits. A field that the base lacks differs; a field
        that is not mapped any more does not.
        """
        return {
            name: value
            for name, value in desired.items()
            if name in self._fields
            and not (name in base and self.same(name, value, base[name]))
            and not (name in kept and self.same(name, value, kept[name]))
        }

    def to_row(self, fields: Fields) -> RowTexts:
        """What an UPDATE sets for these fields, push-only ones included: leaving those out is the caller's part."""
        return self._to_texts(fields)

    def to_new_row(self, fields: Fields) -> RowTexts:
        """What an INSERT sets for a new item with these fields; an empty field whose column has a default is left out.

        So is a column that no INSERT may set.
        """
        given = {
            name: value
            for name, value in fields.items()
            if (one := self._fields.get(name)) is not None
            and not (value in (None, "") and one.column.has_default)
            and not one.column.generated
        }
        return self._to_texts(given)

    def key_of(self, fields: Fields) -> str | RowError | None:
        """The row key that a new item's fields name; None: PostgreSQL gives (a part of) it. RowError: nothing does."""
        texts: list[str | None] = []
        for name in self._sync.key_columns:
            one = next((one for one in self._fields.values() if one.column.name == name), None)
            text = None if one is None else one.key_text(fields.get(one.mapped.field))
            if isinstance(text, RowError):
                return text
            texts.append(text)
        return None if None in texts else row_key([text for text in texts if text is not None])

    def _to_texts(self, fields: Fields) -> RowTexts:
        columns: dict[str, str | None] = {}
        refused: list[RefusedEdit] = []
        for name, value in fields.items():
            if (one := self._fields.get(name)) is None:
                continue
            text = one.text(value)
            if isinstance(text, RowError):
                refused.append(RefusedEdit(name, one.column.name, text.code, text.sentence))
            else:
                columns[one.column.name] = text
        return RowTexts(columns, tuple(refused))


@dataclass(frozen=True, slots=True)
class _Field:
    mapped: MappedColumn
    column: SourceColumn
    forward: Convert
    back: Back

    def shown(self, raw: object) -> JsonValue:
        """The canonical value of what an item shows; what no kind of ours is becomes a list, which no column takes."""
        return [json.dumps(raw, default=str)] if isinstance(raw, list | dict) else self.mapped.from_wire(raw)

    def text(self, value: JsonValue) -> str | RowError | None:
        """The column's text, which push can carry in turn; or why there is none."""
        text = self.back(value)
        if isinstance(text, Unfit):
            return row_errors.EDIT_UNREPRESENTABLE(field=self.mapped.field, column=self.column.name, why=text.why)
        try:
            if text is not None:
                self.forward(text)
        except RowError as error:
            return error
        return text

    def key_text(self, value: JsonValue) -> str | RowError | None:
        """The part of a new row's key; None: PostgreSQL fills it in."""
        text = self.text(value) if value is not None else ""
        if text:
            return text if isinstance(text, RowError) else back_texts.as_printed(self.column, text)
        if self.column.has_default:
            return None
        return row_errors.EDIT_UNREPRESENTABLE(field=self.mapped.field, column=self.column.name, why=_NO_KEY)

    def canonical(self, value: JsonValue) -> JsonValue:
        """What push sends once the value is in the row; the value itself when it cannot be there."""
        text = self.text(value)
        return value if isinstance(text, RowError) else None if text is None else self.forward(text)

    def same(self, left: JsonValue, right: JsonValue) -> bool:
        return self.mapped.same(left, right) or self.mapped.same(self.canonical(left), self.canonical(right))
