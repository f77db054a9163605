"""What a PostgreSQL column is to us, and what its value becomes in a SharePoint column and back.

In: `SourceColumn`s as the catalog describes them, values as PostgreSQL prints them under the pinned session settings,
values as Graph shows them in an item's ``fields``. Out: canonical values (what outbox and base hold) and wire values.
Rules: the stream and a SELECT of the column ``::text`` give one canonical value (booleans, blank-padded and network
types print differently there); what SharePoint cannot hold is a `RowError`, never a silent change. dateTime is whole
seconds (SharePoint keeps no more: a fraction is cut), a timestamp without zone is taken as UTC.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, assert_never

from rowtide.change import JsonValue
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowError

Kind = Literal["text", "note", "number", "boolean", "dateTime", "choice"]
Family = Literal[
    "integer", "numeric", "float4", "float8", "boolean", "text", "blank_padded", "date", "timestamp", "timestamptz",
    "uuid", "enum", "inet", "json", "array", "bytes", "other",
]  # fmt: skip
Convert = Callable[[str], JsonValue]

TEXT_LENGTH, NOTE_LENGTH = 255, 63_999
"""What a single-line and a multi-line column hold, in UTF-16 units."""
NUMBER_DIGITS = 15
"""Significant digits that survive in SharePoint's double."""
LEAST_NUMBER = 2.0**-1022
"""Nearer to 0 a double loses digits, and at last the value."""

_FAMILIES: dict[str, Family] = {
    "smallint": "integer", "integer": "integer", "bigint": "integer",
    "int2": "integer", "int4": "integer", "int8": "integer", "int": "integer",
    "numeric": "numeric", "decimal": "numeric", "real": "float4", "float4": "float4",
    "double precision": "float8", "float8": "float8", "boolean": "boolean", "bool": "boolean",
    "text": "text", "character varying": "text", "varchar": "text", "name": "text",
    "character": "blank_padded", "bpchar": "blank_padded", "char": "blank_padded",
    "date": "date", "timestamp without time zone": "timestamp", "timestamp": "timestamp",
    "timestamp with time zone": "timestamptz", "timestamptz": "timestamptz",
    "uuid": "uuid", "inet": "inet", "json": "json", "jsonb": "json", "bytea": "bytes",
}  # fmt: skip


_OIDS: dict[int, Family] = {
    16: "boolean", 17: "bytes", 19: "text", 20: "integer", 21: "integer", 23: "integer", 25: "text", 114: "json",
    700: "float4", 701: "float8", 869: "inet", 1042: "blank_padded", 1043: "text", 1082: "date", 1114: "timestamp",
    1184: "timestamptz", 1700: "numeric", 2950: "uuid", 3802: "json",
}  # fmt: skip


def family_of_oid(oid: int) -> Family:
    """The family of a built-in type; ``other`` for every other oid."""
    return _OIDS.get(oid, "other")


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of a source table.

    ``type_name`` is ``format_type`` of the type, of the base type for a domain; ``type_oid`` is ``atttypid``.
    ``key`` is its 1-based place in the primary key, 0 when it is not part of it. ``type_kind`` is ``typtype``.
    ``has_default``: PostgreSQL fills it in when an INSERT leaves it out (a default, its own or its domain's, or an
    identity). ``identity_always``: GENERATED ALWAYS AS IDENTITY, which no UPDATE may set.
    """

    name: str
    type_name: str
    type_oid: int
    not_null: bool
    key: int = 0
    key_deferrable: bool = False
    type_kind: str = "b"  # b base, e enum, d domain, c composite, r range
    enum_labels: tuple[str, ...] = ()
    generated: bool = False
    deterministic: bool = True  # of its collation: equality is equality of bytes
    has_default: bool = False
    identity_always: bool = False

    @property
    def family(self) -> Family:
        """What the type is to us, whatever its modifiers."""
        if self.type_name.endswith("[]"):
            return "array"
        if self.type_kind == "e" or self.enum_labels:
            return "enum"
        return _FAMILIES.get(re.sub(r"\([^)]*\)", "", self.type_name).strip().lower(), "other")

    @property
    def precision(self) -> int | None:
        """The first number of the type's modifier: a numeric's precision, a text's length; None when it has none."""
        match = re.search(r"\((\d+)", self.type_name)
        return int(match.group(1)) if match else None

    @property
    def scale(self) -> int:
        """The second number of the type's modifier, a numeric's digits after the point; it may be negative."""
        match = re.search(r"\(\d+,(-?\d+)\)", self.type_name)
        return int(match.group(1)) if match else 0


@dataclass(frozen=True, slots=True)
class ListColumn:
    """A column of a synced list, as provisioning makes it. ``Title`` is there in every list."""

    name: str
    kind: Kind
    format: str | None = None  # dateTime | dateOnly, for kind dateTime
    choices: tuple[str, ...] = ()  # for kind choice; empty: text entry is allowed

    @property
    def builtin(self) -> bool:
        """Whether every list has it already."""
        return self.name == "Title"

    @property
    def kind_shown(self) -> str:
        """Its kind in one word, as a definition says it."""
        return "dateOnly" if self.format == "dateOnly" else self.kind


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """A source column and the list column it becomes; `canonical` makes the function its values pass through."""

    column: str
    field: str
    kind: Kind
    family: Family
    format: str | None = None
    choices: tuple[str, ...] = ()
    truncate: bool = False

    @property
    def date_only(self) -> bool:
        """Whether the list column holds dates without time."""
        return self.format == "dateOnly"

    @property
    def plain_below(self) -> int:
        """A printable text shorter than this is its own canonical value (the hot path's short cut); 0: none is."""
        if self.kind not in ("text", "note", "choice") or self.choices or _plain(self.family) is not None:
            return 0
        return (NOTE_LENGTH if self.kind == "note" else TEXT_LENGTH) // 2

    def canonical(self) -> Convert:
        """The function from PostgreSQL's text (never NULL) to the canonical value; RowError when there is none."""
        match self.kind:
            case "number":
                return _number(self)
            case "boolean":
                return _TRUTH.__getitem__
            case "dateTime":
                return _date(self) if self.date_only else _moment(self)
            case "text" | "note" | "choice":
                return _text(self)
            case _:
                assert_never(self.kind)

    def to_wire(self, value: JsonValue) -> JsonValue:
        """What is written to Graph for a canonical value."""
        # Midnight UTC is the day before in the Americas, and a date-only column cuts the site's local date: ten in the
        # morning is the same day from Hawaii to New Zealand.
        return f"{value}T10:00:00Z" if self.date_only and isinstance(value, str) else value

    def from_wire(self, value: object) -> JsonValue:
        """The canonical value of what an item shows; a value of unexpected shape stays a text that equals nothing."""
        if value is None or isinstance(value, bool):
            return value
        if self.kind == "dateTime" and isinstance(value, str):
            return _moment_shown(value, self.date_only)
        if self.kind == "number" and isinstance(value, int | float):
            return value
        return value if isinstance(value, str) else str(value)

    def same(self, left: JsonValue, right: JsonValue) -> bool:
        """Whether two canonical values are the same to SharePoint.

        Empty text is no value; numbers are equal to 15 significant digits; in notes every line break is one. Blanks
        at the ends do count: where SharePoint trims them, the base keeps that apart.
        """
        if left == right:
            return isinstance(left, bool) == isinstance(right, bool)
        if left in (None, "") or right in (None, ""):
            return left in (None, "") and right in (None, "")
        if self.kind == "note" and isinstance(left, str) and isinstance(right, str):
            return _line_breaks(left) == _line_breaks(right)
        if self.kind == "number" and isinstance(left, int | float) and isinstance(right, int | float):
            return f"{left:.15g}" == f"{right:.15g}"
        return False


_FITTING: dict[Kind, frozenset[Family]] = {
    "number": frozenset({"integer", "numeric", "float4", "float8"}),
    "boolean": frozenset({"boolean"}),
    "dateTime": frozenset({"date", "timestamp", "timestamptz"}),
}


def misfit(column: SourceColumn, kind: Kind) -> str | None:
    """Why values of ``column`` cannot go into a list column of ``kind``, and what to do; None when they can."""
    if column.generated:
        return f"{column.name} is a generated column, which PostgreSQL does not publish"
    if column.family == "bytes":
        return f"{column.name} is bytea, which a list cannot show; leave it out"
    if column.family not in _FITTING.get(kind, {column.family}):
        return f"{column.name} is {column.type_name}, which is no {kind}; map it as text"
    if kind == "choice" and column.family in ("json", "array"):
        return f"{column.name} is {column.type_name}, which is no choice; map it as note"
    return None


def doubt(column: SourceColumn, kind: Kind) -> str | None:
    """What may go wrong with some values of a column that fits, and what to do; None when nothing may."""
    if kind != "number":
        return None
    exact = (
        f"{column.name} is {column.type_name}: a value with more than {NUMBER_DIGITS} significant digits does not "
        "survive in SharePoint and parks its row; map it as text if there are such"
    )
    match column.family:
        case "numeric":
            return None if (column.precision or 99) <= NUMBER_DIGITS else exact
        case "integer":
            return exact if column.type_name in ("bigint", "int8") and not column.key else None
        case "float8":
            return (
                f"{column.name} is {column.type_name}: SharePoint keeps {NUMBER_DIGITS} significant digits of a value "
                "and drops the others; map it as text if they matter"
            )
        case _:
            return None


# --- values ----------------------------------------------------------------------------------------------------

_TRUTH: dict[str, JsonValue] = {"t": True, "f": False, "true": True, "false": False}
# Characters that XML 1.0, and so SharePoint, cannot carry.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def _unrepresentable(mapped: MappedColumn, why: str) -> RowError:
    return row_errors.TYPE_UNREPRESENTABLE(column=mapped.column, field=mapped.field, why=why)


def _plain(family: Family) -> Convert | None:
    """The function that makes the text of ``::text`` and of the output function one; None where they agree."""
    match family:
        case "boolean":
            return {"t": "true", "f": "false", "true": "true", "false": "false"}.__getitem__
        case "blank_padded":
            return lambda text: text.rstrip(" ")
        case "inet":
            return lambda text: text.removesuffix("/128" if ":" in text else "/32")
        case _:
            return None


def _is_longer(text: str, most: int) -> bool:
    """Whether the text has more UTF-16 units; they are counted only where characters alone do not tell."""
    return len(text) > most or len(text) + sum(character > "\uffff" for character in text) > most


def _text(mapped: MappedColumn) -> Convert:
    most = NOTE_LENGTH if mapped.kind == "note" else TEXT_LENGTH
    # A character is one or two UTF-16 units: below this many no counting is needed.
    surely = most // 2
    choices = frozenset(mapped.choices)

    def checked(text: str) -> JsonValue:
        if len(text) > surely and _is_longer(text, most):
            if not mapped.truncate:
                raise row_errors.VALUE_TOO_LONG(column=mapped.column, field=mapped.field, most=most, kind=mapped.kind)
            text = text[:most].encode("utf-16-le")[: 2 * most].decode("utf-16-le", "ignore")
        if not text.isprintable() and _ILLEGAL.search(text):
            raise _unrepresentable(mapped, "the text has control characters, which SharePoint does not hold")
        if choices and text not in choices:
            raise row_errors.NOT_A_CHOICE(column=mapped.column, field=mapped.field)
        return text

    plain = _plain(mapped.family)
    if plain is None:
        return checked
    return lambda text: checked(str(plain(text)))


def _number(mapped: MappedColumn) -> Convert:
    too_long = f"a number with more than {NUMBER_DIGITS} significant digits does not survive in SharePoint"
    too_small = "a number this close to 0 does not survive in SharePoint"

    def approximate(text: str) -> JsonValue:
        value = float(text)
        if math.isfinite(value):
            return value
        raise _unrepresentable(mapped, "not a number and infinity are no numbers in SharePoint")

    def exact(text: str) -> JsonValue:
        if len(text) <= NUMBER_DIGITS:
            try:
                return float(text) if "." in text else int(text)
            except ValueError:
                return approximate(text)
        if len(text.lstrip("-").replace(".", "").strip("0")) > NUMBER_DIGITS:
            raise _unrepresentable(mapped, too_long)
        value = approximate(text)
        if isinstance(value, float) and abs(value) < LEAST_NUMBER and text.strip("-0."):
            raise _unrepresentable(mapped, too_small)
        return value

    return approximate if mapped.family in ("float4", "float8") else exact


_DAYS_KEPT = 4096
_NO_DATE = "infinity, and dates before 1900 or after 8900, are no dates in SharePoint"


def _moment(mapped: MappedColumn) -> Convert:
    days: set[str] = set()  # known to be within range: rows of one day come together

    def moment(text: str) -> JsonValue:
        # 2026-01-01 10:00:00[.123456][+00], or a date alone; BC ends in C.
        day = text[:10]
        if day not in days:
            if not (day[4:5] == "-" and text[10:11] in ("", " ") and "1900" <= day[:4] <= "8900"):
                raise _unrepresentable(mapped, _NO_DATE)
            if len(days) >= _DAYS_KEPT:
                days.clear()
            days.add(day)
        if text[-1] == "C":
            raise _unrepresentable(mapped, _NO_DATE)
        return f"{day}T{text[11:19]}Z" if len(text) > 18 else f"{day}T00:00:00Z"

    return moment


def _date(mapped: MappedColumn) -> Convert:
    def date(text: str) -> JsonValue:
        if text[10:11] in ("", " ") and text[4:5] == "-" and "1900" <= text[:4] <= "8900" and not text.endswith("BC"):
            return text[:10]
        raise _unrepresentable(mapped, _NO_DATE)

    return date


def _moment_shown(text: str, date_only: bool) -> JsonValue:
    """A dateTime as Graph shows it, as canonical text."""
    if not date_only and len(text) == 20 and text[10] == "T" and text[19] == "Z":
        return text
    try:
        # SharePoint may show seven digits of a second, one more than Python reads.
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return text
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if not date_only:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    # The site's local midnight in UTC: 10:00 of that day in Hawaii, 11:00 of the day before in New Zealand's summer.
    return (moment + timedelta(hours=13)).strftime("%Y-%m-%d")


def _line_breaks(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
