"""Text that a person typed, for a column of any type that push carries as text.

In: text without line breaks of other systems, a column's type. Out: text of the column, or `Unfit`. Called by
`rowtide.mapping.back_kinds`. Rules: only one spelling of a date is taken (ISO's), because 05/06 is another day to
another reader; where the value is plain the text is the one PostgreSQL prints; types that nothing here knows (interval,
citext, ranges) pass as they are and PostgreSQL judges them.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, assert_never
from uuid import UUID

from rowtide.mapping import back_numbers
from rowtide.mapping.back_numbers import Unfit as Unfit
from rowtide.mapping.columns import SourceColumn

Read = Callable[[str], str | Unfit]

_NAME_BYTES: Final = 63
_TRUTH = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), "true"),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), "false"),
}


def as_printed(column: SourceColumn, text: str) -> str:
    """The text as the output function prints it, which keys are made of: ``::text`` has others for two types."""
    match column.family:
        case "boolean":
            return text[0]
        case "blank_padded":
            return text.ljust(column.precision or 0)
        case _:
            return text


def has_empty_text(column: SourceColumn) -> bool:
    """Whether '' is a value of the column's type."""
    return column.family in ("text", "blank_padded") or column.type_name.rpartition(".")[2] == "citext"


def reader(column: SourceColumn) -> Read:
    """The function from a text that is not empty to the column's text."""
    match column.family:
        case "text":
            return _short_name if column.type_name == "name" else _no_longer_than(column.precision)
        case "blank_padded":
            return _padded(column.precision)
        case "integer" | "numeric" | "float4" | "float8":
            return back_numbers.reader(column)
        case "boolean":
            return lambda typed: _TRUTH.get(typed.lower(), Unfit("it is neither true nor false"))
        case "date" | "timestamp" | "timestamptz":
            return _date(column)
        case "enum":
            labels = frozenset(column.enum_labels)
            unknown = Unfit(f"it is no value of PostgreSQL's enum {column.type_name}")
            return lambda typed: typed if typed in labels else unknown
        case "uuid":
            return _uuid
        case "inet":
            return _inet
        case "json":
            return _json
        case "array":
            return _array
        case "bytes" | "other":
            return _OTHERS.get(column.type_name, lambda typed: typed)
        case _:
            assert_never(column.family)


def _no_longer_than(most: int | None) -> Read:
    if most is None:
        return lambda typed: typed
    too_long = Unfit(f"it is longer than the {most} characters of the column")
    return lambda typed: typed if len(typed) <= most else too_long


def _padded(most: int | None) -> Read:
    read = _no_longer_than(most)
    return lambda typed: read(typed.rstrip(" "))


def _short_name(typed: str) -> str | Unfit:
    return typed if len(typed.encode()) <= _NAME_BYTES else Unfit(f"it is longer than {_NAME_BYTES} bytes")


# --- dates -------------------------------------------------------------------------------------------------------

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?) ?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_FAR = re.compile(r"\d{4,7}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?(\+00)?)?( BC)?", re.ASCII)
_NO_DATE = Unfit("it is no date such as 2026-01-31")
_NO_MOMENT = Unfit("it is no date and time such as 2026-01-31 14:30")
_WITH_ZONE = Unfit("the column holds no time zone")


def _date(column: SourceColumn) -> Read:
    as_date = column.family == "date"
    fraction = 6 if column.precision is None else column.precision

    def date(typed: str) -> str | Unfit:
        if typed.lower() in ("infinity", "-infinity"):
            return typed.lower()
        if _is_far(typed):
            # Beyond Python's calendar: PostgreSQL's own spelling passes, and PostgreSQL judges it.
            return typed if as_date == (":" not in typed) else _NO_DATE if as_date else _NO_MOMENT
        if as_date:
            return typed if _DATE.fullmatch(typed) and _calendar(typed) is not None else _NO_DATE
        return _moment(typed, column.family == "timestamptz", fraction)

    return date


def _is_far(typed: str) -> bool:
    return _FAR.fullmatch(typed) is not None and (typed.endswith(" BC") or typed[4] != "-")


def _moment(typed: str, zoned: bool, fraction: int) -> str | Unfit:
    found = _MOMENT.fullmatch(f"{typed} 00:00" if _DATE.fullmatch(typed) else typed)
    if found is None:
        return _NO_MOMENT
    day, time, zone = found.groups()
    if zone and not zoned:
        return _WITH_ZONE
    if len(time[9:].rstrip("0")) > fraction:
        return Unfit(f"the column holds {fraction} digits of a second")
    moment = _calendar(f"{day}T{time}{_offset(zone)}")
    if moment is None:
        return _NO_MOMENT
    shown = moment.replace(tzinfo=None).isoformat(" ")
    return (shown.rstrip("0") if moment.microsecond else shown) + ("+00" if zoned else "")


def _offset(zone: str | None) -> str:
    """An offset as Python reads it; without one a moment is in UTC, as the session is."""
    digits = re.sub(r"\D", "", zone or "")
    return f"{(zone or '+')[0]}{digits[:2]}:{digits[2:] or '00'}" if digits else "+00:00"


def _calendar(text: str) -> datetime | None:
    """The moment in UTC; None for a day or an hour that there is not."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# --- other types -------------------------------------------------------------------------------------------------


_UUID = re.compile(r"(\{?)[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}(\}?)")


def _uuid(typed: str) -> str | Unfit:
    found = _UUID.fullmatch(typed)
    if found is None or bool(found.group(1)) != bool(found.group(2)):
        return Unfit("it is no UUID")
    return str(UUID(typed))


def _inet(typed: str) -> str | Unfit:
    address, slash, bits = typed.partition("/")
    try:
        if slash and not re.fullmatch(r"[0-9]{1,3}", bits):
            raise ValueError
        kept = ipaddress.ip_interface(typed)
        if "%" in address:
            raise ValueError
    except ValueError:
        return Unfit("it is no network address")
    bits = "" if kept.network.prefixlen == kept.max_prefixlen else f"/{kept.network.prefixlen}"
    return f"{_address(kept.ip)}{bits}"


def _address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As PostgreSQL prints it: an IPv4 address within an IPv6 one keeps its points."""
    if isinstance(address, ipaddress.IPv6Address) and address.packed[:10] == bytes(10):
        before, within = address.packed[10:12], address.packed[12:]
        if before == b"\xff\xff" or (before == bytes(2) and within[:2] != bytes(2)):
            return f"::{'ffff:' if before != bytes(2) else ''}{ipaddress.IPv4Address(within)}"
    return address.compressed


def _json(typed: str) -> str | Unfit:
    def refuse(_constant: str) -> None:
        raise ValueError

    try:
        json.loads(typed, parse_int=str, parse_float=str, parse_constant=refuse)
    except (ValueError, RecursionError):
        return Unfit("it is no JSON")
    return typed


def _money(_typed: str) -> str | Unfit:
    # 12,50 is twelve and a half to one server and 1,250 to another, and neither refuses it.
    return Unfit("the server's locale decides which amount a text is to the type money; numeric has no such doubt")


def _one_byte(typed: str) -> str | Unfit:
    return typed if len(typed.encode()) == 1 else Unfit("the column holds one byte")


_OTHERS: Final[Mapping[str, Read]] = {"money": _money, '"char"': _one_byte}
"""Types of which PostgreSQL would take something else than was typed."""


def _array(typed: str) -> str | Unfit:
    return typed if typed[0] in "{[" and typed[-1] == "}" else Unfit("it is no array such as {a,b}")
