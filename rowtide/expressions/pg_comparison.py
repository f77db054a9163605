"""Values that compare as PostgreSQL compares them.

In: a column's text as PostgreSQL prints it, a literal of an expression. Out: Python values whose ``==`` and ``<``
answer as PostgreSQL's operators of that type do (NaN, infinity, blank padding, BC included). Rule: a literal that
PostgreSQL would or might read otherwise has no value here.
"""

import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from rowtide.mapping.columns import Family

Row = Sequence[str | None]
Value = object
"""A comparable value of one family; None is NULL."""
Read = Callable[[Row], Value]


class _NotANumber:
    """PostgreSQL's NaN: equal to itself and above every number, infinity too."""

    def __eq__(self, other: object) -> bool:
        return other is self

    def __hash__(self) -> int:
        return 0

    def __lt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return other is self

    def __gt__(self, other: object) -> bool:
        return other is not self

    def __ge__(self, other: object) -> bool:
        return True


_NAN = _NotANumber()
Moment = tuple[float, ...]
"""Year (1 BC is 0), month, day, microsecond of the day; one infinite number for infinity."""
_MOMENT = re.compile(
    r"(\d{4,7})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:\+00)?)?( BC)?", re.ASCII
)  # fmt: skip


def moment(text: str) -> Moment:
    """A date or timestamp under ``TimeZone=UTC, DateStyle=ISO`` as something comparable."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return (-math.inf,) if text == "-infinity" else (math.inf,)
    year, month, day, hour, minute, second, fraction, before_christ = match.groups()
    micros = 0
    if hour is not None:
        micros = ((int(hour) * 60 + int(minute)) * 60 + int(second)) * 1_000_000 + int((fraction or "0").ljust(6, "0"))
    return (1 - int(year) if before_christ else int(year), int(month), int(day), micros)


def year_of(value: Moment) -> float:
    return value[0] if value[0] > 0 or math.isinf(value[0]) else value[0] - 1


def month_of(value: Moment) -> float | None:
    return value[1] if len(value) > 1 else None


def _decimal(text: str) -> object:
    return _NAN if text == "NaN" else Decimal(text)


def _float(text: str) -> object:
    return _NAN if text == "NaN" else float(text)


def _boolean(text: str) -> bool:
    return text in ("t", "true")


def _unpadded(text: str) -> str:
    return text.rstrip(" ")


_CONVERT: Mapping[Family, Callable[[str], Value]] = {
    "integer": int, "numeric": _decimal, "float8": _float, "boolean": _boolean, "blank_padded": _unpadded,
    "date": moment, "timestamp": moment, "timestamptz": moment,
}  # fmt: skip


def reader(family: Family, place: int) -> Read:
    """The function from a row to the comparable value at ``place``."""
    convert = _CONVERT.get(family)
    if convert is None:
        return lambda row: row[place]
    return lambda row: None if (text := row[place]) is None else convert(text)


def plain_text(family: Family, place: int) -> Callable[[Row], str | None]:
    """The function from a row to the value's text as ``::text`` gives it."""
    if family == "boolean":
        return lambda row: None if (text := row[place]) is None else ("true" if _boolean(text) else "false")
    if family == "blank_padded":
        return lambda row: None if (text := row[place]) is None else text.rstrip(" ")
    return lambda row: row[place]


def constant(value: int | Decimal | str | bool, family: Family) -> Value:
    """A literal as a value of the other side's family; None when PostgreSQL would, or might, read it otherwise."""
    found: Value = None
    if isinstance(value, str):
        found = _quoted_constant(value, family)
    elif isinstance(value, bool):
        found = value if family == "boolean" else None
    elif family in ("integer", "numeric"):
        found = value
    elif family == "float8" and math.isfinite(float(value)) and (float(value) != 0 or value == 0):
        found = float(value)
    return found


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,100}(\.\d{1,100})?", re.ASCII)


def _quoted_constant(text: str, family: Family) -> Value:
    match family:
        case "text" | "enum":
            return text
        case "blank_padded":
            return text.rstrip(" ")
        case "uuid":
            return str(uuid.UUID(text)) if _UUID.fullmatch(text) else None
        case "boolean":
            return {"t": True, "true": True, "f": False, "false": False}.get(text.lower())
        case "integer":
            return int(text) if _WHOLE.fullmatch(text) else None
        case "numeric":
            return Decimal(text) if _DECIMAL.fullmatch(text) else None
        case "float8":
            return float(text) if _DECIMAL.fullmatch(text) and math.isfinite(float(text)) else None
        case "date" | "timestamp" | "timestamptz":
            return _quoted_moment(text, family)
        case _:
            return None


_MOMENT_LITERAL = re.compile(
    r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?( ?(Z|[+-]\d\d(:\d\d)?))?)?", re.ASCII
)  # fmt: skip


def _quoted_moment(text: str, family: Family) -> Moment | None:
    if text in ("infinity", "-infinity"):
        return moment(text)
    match = _MOMENT_LITERAL.fullmatch(text)
    zone = match.group(5) if match else None
    # A date takes no time of day; a timestamp without zone would drop the zone without a word.
    if match is None or (family == "date" and match.group(1)) or (family == "timestamp" and zone):
        return None
    try:
        found = datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-").replace(" Z", "Z"))
        utc = found.astimezone(UTC) if found.tzinfo else found
    except (ValueError, OverflowError):
        return None
    micros = ((utc.hour * 60 + utc.minute) * 60 + utc.second) * 1_000_000 + utc.microsecond
    return (utc.year, utc.month, utc.day, micros)
