"""Field values: from the JSON of a POST or PATCH to the form that a list keeps.

In: a list's columns and the `fields` object of a request. Out: changes by stored name (None clears). Rules:
docs/facts.md section 1.1, column by column; an unknown, read-only or wrongly typed field refuses the whole write; a
wrongly shaped lookup or person value is dropped in silence (#microsoft-graph-docs/1965); required is not enforced.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from graphsim.http.errors import general_exception, invalid, invalid_text, read_only_field, unknown_field
from graphsim.lists.characters import XML_LACKS
from graphsim.lists.columns import ColumnDefinition
from graphsim.lists.dates import to_kept_date, to_moment
from graphsim.switches import Switches, to_zone

_NOTE_UNITS, _CHOICE_UNITS = 63_999, 255
_DROPPED = object()
_WITH_DEFAULT = frozenset({"text", "number", "currency", "boolean", "dateTime", "choice"})


@dataclass(frozen=True, slots=True)
class ValueRules:
    """What judging a value needs besides its column: the switches, and whether a lookup's target exists."""

    switches: Switches
    exists: Callable[[ColumnDefinition, int], bool]


def to_changes(names: Mapping[str, ColumnDefinition], given: Mapping[str, Any], rules: ValueRules) -> dict[str, Any]:
    """The changes a `fields` object asks for; GraphError when one of them cannot be."""
    changes: dict[str, Any] = {}
    for name, value in given.items():
        column = names.get(name)
        if column is None:
            if "@" in name or rules.switches.unknown_field == "ignore":
                continue
            raise unknown_field(name)
        if column.read_only:
            if name == "ContentType":
                continue
            raise read_only_field(name)
        if column.lookup_name:
            if name == column.lookup_name:
                kept = _reference(names, column, value, given, rules)
                if kept is not _DROPPED:
                    changes[name] = kept
        elif value is None:
            changes[name] = None
        elif column.is_multi:
            changes[name] = _choices(column, value, given, rules)
        else:
            changes[name] = _to_kept(column, value, rules)
    return changes


def _to_kept(column: ColumnDefinition, value: Any, rules: ValueRules) -> Any:
    parse = _PARSERS.get(column.facet)
    if parse is None:
        raise invalid(f"Field '{column.name}' is of a type that cannot be written")
    return parse(column, value, rules.switches)


def to_default(column: ColumnDefinition, text: str, switches: Switches) -> Any:
    """What a new item gets from a column's default; GraphError 400 when an item could not hold that."""
    if column.facet not in _WITH_DEFAULT:
        raise invalid(f"Column '{column.name}' is of a type whose default values are not supported")
    value: Any = text
    if column.facet in {"number", "currency"}:
        value = int(text) if text.lstrip("-").isdecimal() and len(text) < 20 else float(text)
    elif column.facet == "boolean":
        value = text.lower() in {"1", "true"}
    kept = _PARSERS[column.facet](column, value, switches)
    return [kept] if column.is_multi and kept is not None else kept


def _wrong(column: ColumnDefinition, expected: str) -> Exception:
    return invalid(f"Field '{column.name}' has an invalid value: expected {expected}")


def _text(column: ColumnDefinition, value: Any, switches: Switches) -> Any:
    if not isinstance(value, str):
        raise _wrong(column, "a string")
    settings = column.settings
    if not value.isprintable() and XML_LACKS.search(value):
        raise invalid(f"Field '{column.name}' has characters that XML cannot hold")
    if settings["allowMultipleLines"]:
        if len(value) > _NOTE_UNITS // 2 and _utf16_units(value) > _NOTE_UNITS:
            raise invalid_text()
        if settings["textType"] == "richText" and switches.rich_text == "wrap" and not value.startswith("<div"):
            value = f'<div class="ExternalClass">{value}</div>' if value else value
    else:
        if switches.trim_text:
            value = value.strip()
        if _utf16_units(value) > settings["maxLength"]:
            raise invalid_text()
        if switches.line_breaks == "reject" and ("\n" in value or "\r" in value):
            raise invalid_text()
    if not value and switches.empty_text == "absent":
        return None
    return value


def _utf16_units(text: str) -> int:
    """The length as SharePoint counts it: a character beyond the basic plane is two units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _number(column: ColumnDefinition, value: Any, _switches: Switches) -> Any:
    """Doubles of 15 significant digits; `decimalPlaces` is a matter of display."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(column, "a number")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise _wrong(column, "a number that a double can hold")
    minimum, maximum = column.settings.get("minimum"), column.settings.get("maximum")
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        raise invalid(f"Field '{column.name}' is outside of the column's range")
    if type(value) is int and -1_000_000_000 < value < 1_000_000_000:
        return value
    rounded = float(f"{value:.15g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _boolean(column: ColumnDefinition, value: Any, _switches: Switches) -> Any:
    if not isinstance(value, bool):
        raise _wrong(column, "true or false")
    return value


def _choice(column: ColumnDefinition, value: Any, switches: Switches) -> Any:
    if not isinstance(value, str):
        raise _wrong(column, "a string")
    _check_choice(column, value, switches)
    return value or None


def _check_choice(column: ColumnDefinition, value: str, switches: Switches) -> None:
    settings = column.settings
    is_one_line = value.isprintable() or not (XML_LACKS.search(value) or "\n" in value or "\r" in value)
    if not is_one_line or _utf16_units(value) > _CHOICE_UNITS:
        raise invalid_text()
    if switches.choice_check and value and not settings["allowTextEntry"] and value not in settings["choices"]:
        raise invalid(f"Field '{column.name}' has no choice '{value}'")


def _choices(column: ColumnDefinition, value: Any, given: Mapping[str, Any], rules: ValueRules) -> Any:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise _wrong(column, "a list of strings")
    if given.get(column.name + "@odata.type") not in ("Collection(Edm.String)", "#Collection(String)"):
        raise invalid(
            f"Field '{column.name}' needs the annotation '{column.name}@odata.type': 'Collection(Edm.String)'"
        )
    for choice in value:
        _check_choice(column, choice, rules.switches)
    return list(dict.fromkeys(value)) or None


def _date_time(column: ColumnDefinition, value: Any, switches: Switches) -> Any:
    if not isinstance(value, str):
        raise _wrong(column, "an ISO 8601 date and time")
    date_only = column.settings["format"] == "dateOnly"
    if not date_only and _is_kept_form(value):
        return value
    zone = to_zone(switches.site_time_zone)
    try:
        moment = to_moment(value, zone)
    except ValueError:
        raise _wrong(column, "an ISO 8601 date and time") from None
    if not 1900 <= moment.year <= 8900:
        raise invalid(f"Field '{column.name}' cannot hold a date before 1900 or after 8900")
    if date_only:
        # The day is the site's; it comes back as that zone's midnight in UTC (#pnpjs/1890).
        moment = datetime.combine(moment.astimezone(zone).date(), time(), zone).astimezone(UTC)
    return to_kept_date(moment)


def _is_kept_form(value: str) -> bool:
    """Whole seconds in UTC, as dates are kept: most clients send them so."""
    if len(value) != 20 or value[-1] != "Z" or value[4] != "-" or not "1900" <= value[:4] <= "8900":
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return value[10] == "T"


def _hyperlink(column: ColumnDefinition, value: Any, switches: Switches) -> Any:
    if switches.hyperlink_write == "reject":
        raise invalid("Invalid request")
    if not isinstance(value, dict) or not isinstance(value.get("Url"), str):
        raise _wrong(column, "an object with Url and Description")
    url, text = value["Url"], value.get("Description") or value["Url"]
    if not isinstance(text, str) or XML_LACKS.search(url) or XML_LACKS.search(text):
        raise _wrong(column, "a Url and a Description that XML can hold")
    return {"Description": text, "Url": url}


_PARSERS: dict[str, Callable[[ColumnDefinition, Any, Switches], Any]] = {
    "text": _text,
    "number": _number,
    "currency": _number,
    "boolean": _boolean,
    "dateTime": _date_time,
    "choice": _choice,
    "hyperlinkOrPicture": _hyperlink,
}


def _reference(
    names: Mapping[str, ColumnDefinition],
    column: ColumnDefinition,
    value: Any,
    given: Mapping[str, Any],
    rules: ValueRules,
) -> Any:
    """A lookup or a person: `FLookupId`, a string, or a list of numbers under its annotation."""
    if column.facet == "personOrGroup" and column.name + "Id" in names:
        # A text column EmployeeId beside a person column Employee (#contrib/1457).
        raise general_exception()
    if value is None or value == "" or value == []:
        return None
    if column.is_multi:
        return _references(column, value, given, rules)
    if isinstance(value, int) and not isinstance(value, bool):
        if rules.switches.lookup_int == "reject":
            raise general_exception()
        value = str(value)
    if not isinstance(value, str) or not value.isdecimal():
        return _DROPPED
    return value if _target_exists(column, int(value), rules) else _DROPPED


def _references(column: ColumnDefinition, value: Any, given: Mapping[str, Any], rules: ValueRules) -> Any:
    annotation = given.get(column.lookup_name + "@odata.type")
    if not isinstance(value, list) or annotation not in ("Collection(Edm.Int32)", "Collection(Edm.String)"):
        return _DROPPED
    if not all(isinstance(v, int | str) and str(v).isdecimal() for v in value):
        return _DROPPED
    kept = [int(v) for v in value if _target_exists(column, int(v), rules)]
    return list(dict.fromkeys(kept)) or _DROPPED


def _target_exists(column: ColumnDefinition, number: int, rules: ValueRules) -> bool:
    if rules.exists(column, number):
        return True
    if rules.switches.lookup_missing == "reject":
        raise invalid(f"Field '{column.name}' refers to an item that does not exist")
    return False
