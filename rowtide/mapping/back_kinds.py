"""What a person wrote into a list column as the text of the PostgreSQL column, kind by kind.

In: canonical values of an item (`rowtide.mapping.backwards`). Out: text that the column's type reads under the pinned
session settings, as far as can be told in the form that PostgreSQL prints; None for NULL; `Unfit` with the reason.
Rule (docs/design.md section 20): nothing is rounded, cut or guessed; what PostgreSQL would change in silence is
refused. What only PostgreSQL can judge (constraints, types without rules here) is left to it.
"""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import assert_never

from rowtide.change import JsonValue
from rowtide.mapping import back_numbers, back_texts, rich_text
from rowtide.mapping.back_texts import Unfit
from rowtide.mapping.columns import NUMBER_DIGITS, MappedColumn, SourceColumn

Back = Callable[[JsonValue], str | Unfit | None]

_EMPTY = Unfit("it is empty, which the column may not be")
_NO_TEXT, _NO_NUMBER, _NO_TRUTH = Unfit("it is no text"), Unfit("it is no number"), Unfit("it is neither yes nor no")
_FORMATTED = Unfit("it has formatting, and the column holds plain text")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_NO_DATE = Unfit("it is no date")
# Half a character, which JSON can hold and UTF-8 cannot.
_SURROGATE = re.compile("[\ud800-\udfff]")


def back(mapped: MappedColumn, column: SourceColumn) -> Back:
    """The function from an item's value to the column's text."""
    empty = empty_of(column)
    match mapped.kind:
        case "number":
            convert = _number(column)
        case "boolean":
            convert = _truth
        case "dateTime":
            convert = _moment(mapped, column)
        case "text" | "note" | "choice":
            return _text(mapped, column, empty)
        case _:
            assert_never(mapped.kind)
    return lambda value: empty if value is None or value == "" else convert(value)


def empty_of(column: SourceColumn) -> str | Unfit | None:
    """What a field that was emptied is in PostgreSQL: push makes no difference between '' and NULL."""
    if not column.not_null:
        return None
    return "" if back_texts.has_empty_text(column) else _EMPTY


def _number(column: SourceColumn) -> Callable[[JsonValue], str | Unfit]:
    to_text = back_numbers.of_column(column)

    def number(value: JsonValue) -> str | Unfit:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return _NO_NUMBER
        try:
            value = float(value)
        except OverflowError:
            return _NO_NUMBER
        return to_text(Decimal(f"{value:.{NUMBER_DIGITS}g}")) if math.isfinite(value) else _NO_NUMBER

    return number


def _truth(value: JsonValue) -> str | Unfit:
    return ("true" if value else "false") if isinstance(value, bool) else _NO_TRUTH


def _moment(mapped: MappedColumn, column: SourceColumn) -> Callable[[JsonValue], str | Unfit]:
    """A canonical moment is in UTC, as the session is; a day is the site's already."""
    zone = "+00" if column.family == "timestamptz" else ""
    shape = _DAY if mapped.date_only else _MOMENT

    def moment(value: JsonValue) -> str | Unfit:
        if not isinstance(value, str) or not shape.fullmatch(value):
            return _NO_DATE
        if column.family == "date":
            return value[:10]
        return f"{value[:10]} {value[11:19] or '00:00:00'}{zone}"

    return moment


def _text(mapped: MappedColumn, column: SourceColumn, empty: str | Unfit | None) -> Back:
    read = back_texts.reader(column)
    is_text = back_texts.has_empty_text(column)

    def text(value: JsonValue) -> str | Unfit | None:
        if value is None:
            return empty
        if not isinstance(value, str) or (not value.isprintable() and _SURROGATE.search(value)):
            return _NO_TEXT
        typed = rich_text.plain(value.replace("\r\n", "\n").replace("\r", "\n")) if mapped.kind == "note" else value
        if typed is None:
            return _FORMATTED
        # SharePoint trims single lines; to other types than text, blanks at the ends mean nothing.
        if mapped.kind == "text" or not is_text:
            typed = typed.strip()
        return read(typed) if typed else empty

    return text
