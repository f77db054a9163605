"""Column definitions: what a list's schema may hold, and how Graph shows it (CSDL `columnDefinition`).

In: the JSON a client sends. Out: `ColumnDefinition`, and the JSON of it. Rules: a column has exactly one type facet;
its internal name is encoded (`_x0020_`), cut at 32 characters and then fixed; only single values can be indexed;
uniqueness needs the index.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from graphsim.http.errors import check_properties, invalid
from graphsim.lists.characters import check_characters

FACETS = (
    "text",
    "number",
    "currency",
    "boolean",
    "dateTime",
    "choice",
    "personOrGroup",
    "lookup",
    "hyperlinkOrPicture",
    "calculated",
    "term",
    "thumbnail",
    "geolocation",
    "contentApprovalStatus",
)
_TYPES = {"personOrGroup": "user", "hyperlinkOrPicture": "url", "contentApprovalStatus": "approvalStatus"}
_PROPERTIES: dict[str, dict[str, Any]] = {
    "text": {
        "allowMultipleLines": False,
        "appendChangesToExistingText": False,
        "linesForEditing": 0,
        "maxLength": 255,
        "textType": "plain",
    },
    "number": {"decimalPlaces": "automatic", "displayAs": "number", "minimum": None, "maximum": None},
    "currency": {"locale": "en-us"},
    "boolean": {},
    "dateTime": {"displayAs": "default", "format": "dateTime"},
    "choice": {"allowTextEntry": False, "choices": [], "displayAs": "dropDownMenu"},
    "personOrGroup": {
        "allowMultipleSelection": False,
        "chooseFromType": "peopleAndGroups",
        "displayAs": "nameWithPresence",
    },
    "lookup": {
        "allowMultipleValues": False,
        "allowUnlimitedLength": False,
        "columnName": "Title",
        "listId": None,
        "primaryLookupColumnId": None,
    },
    "hyperlinkOrPicture": {"isPicture": False},
    "calculated": {"format": None, "formula": None, "outputType": None},
    "term": {"allowMultipleValues": False, "showFullyQualifiedName": False, "parentTerm": None, "termSet": None},
    "thumbnail": {},
    "geolocation": {},
    "contentApprovalStatus": {},
}
_ENUMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("text", "textType"): ("plain", "richText"),
    ("number", "decimalPlaces"): ("automatic", "none", "one", "two", "three", "four", "five"),
    ("number", "displayAs"): ("number", "percentage"),
    ("dateTime", "displayAs"): ("default", "friendly", "standard"),
    ("dateTime", "format"): ("dateOnly", "dateTime"),
    ("choice", "displayAs"): ("checkBoxes", "dropDownMenu", "radioButtons"),
}
COMMON = (
    "columnGroup",
    "description",
    "displayName",
    "enforceUniqueValues",
    "hidden",
    "indexed",
    "readOnly",
    "required",
    "defaultValue",
    "validation",
)
_DEFAULTS = {
    "number": re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?"),
    "currency": re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)"),
    "boolean": re.compile(r"0|1|true|false", re.IGNORECASE),
    "dateTime": re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?"),
}
_BOOLEANS = ("enforceUniqueValues", "hidden", "indexed", "readOnly", "required")
_ENCODED = re.compile(r"[^A-Za-z0-9_À-ɏ]")


@dataclass(slots=True)
class ColumnDefinition:
    """`facet` is the type's property name; `settings` are the facet's own properties."""

    id: str
    name: str
    facet: str
    settings: dict[str, Any]
    display_name: str
    description: str = ""
    group: str = "Custom Columns"
    indexed: bool = False
    unique: bool = False
    hidden: bool = False
    read_only: bool = False
    required: bool = False
    is_system: bool = False
    default: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    lookup_name: str = field(default="")
    stored_name: str = field(default="")
    moved_key: str = field(default="")
    is_multi: bool = field(default=False)

    def __post_init__(self) -> None:
        self.derive()

    def derive(self) -> None:
        """Derives what every write needs. Lookups and persons keep their id under `stored_name`."""
        settings = self.settings
        self.lookup_name = self.name + "LookupId" if self.facet in {"lookup", "personOrGroup"} else ""
        self.stored_name = self.lookup_name or self.name
        self.is_multi = bool(
            settings.get("allowMultipleValues")
            or settings.get("allowMultipleSelection")
            or (self.facet == "choice" and settings.get("displayAs") == "checkBoxes")
        )

    @property
    def storage_key(self) -> str:
        """The key under which items keep the value: another one than its name after a deleted column of that name."""
        return self.moved_key or self.stored_name

    def type(self) -> str:
        """The CSDL's `columnTypeKind` of the column."""
        if self.facet == "text":
            return "note" if self.settings["allowMultipleLines"] else "text"
        if self.facet == "choice":
            return "multichoice" if self.is_multi else "choice"
        return _TYPES.get(self.facet, self.facet)

    def to_json(self) -> dict[str, Any]:
        """The column as Graph answers it: facet settings that were never given are left out."""
        out: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "displayName": self.display_name,
            "description": self.description,
            "columnGroup": self.group,
            "enforceUniqueValues": self.unique,
            "hidden": self.hidden,
            "indexed": self.indexed,
            "readOnly": self.read_only,
            "required": self.required,
        }
        if self.default is not None:
            out["defaultValue"] = self.default
        if self.validation is not None:
            out["validation"] = self.validation
        if self.facet in FACETS:
            out[self.facet] = {k: v for k, v in self.settings.items() if v is not None}
        return out


def to_internal_name(name: str) -> str:
    """Characters that XML names lack become `_xHHHH_`, a leading digit too; cut at 32 characters (two blogs)."""
    encoded = _ENCODED.sub(lambda m: f"_x{ord(m.group()):04x}_", name.strip())
    if encoded[:1].isdigit():
        encoded = f"_x{ord(encoded[0]):04x}_" + encoded[1:]
    return encoded[:32]


def make_column(column_id: str, given: dict[str, Any]) -> ColumnDefinition:
    """The column a client asked for; GraphError 400 when it cannot be."""
    facet, settings = _read_facet(given)
    asked = given.get("name") or given.get("displayName")
    if not isinstance(asked, str) or not asked.strip():
        raise invalid("A column needs a name")
    if len(asked) > 255:
        raise invalid("A column name has at most 255 characters")
    check_characters("A column name", asked)
    display = given.get("displayName") or asked
    column = ColumnDefinition(column_id, to_internal_name(asked), facet, settings, display)
    change_column(column, {k: v for k, v in given.items() if k in COMMON})
    return column


def change_column(column: ColumnDefinition, given: dict[str, Any]) -> None:
    """Applies a PATCH (or the common part of a POST)."""
    for name, value in given.items():
        if "@" in name or (name == "id" and value == column.id):
            continue
        if name == "name":
            if value != column.name:
                raise invalid("The internal name of a column cannot be changed")
        elif name in COMMON:
            _set_common(column, name, value)
        elif name == column.facet:
            column.settings.update(_checked_settings(column.facet, value))
        elif name in FACETS:
            if value is not None:
                raise invalid("The type of a column cannot be changed")
        else:
            raise invalid(f"Property '{name}' does not exist on a column definition")
    column.derive()
    check_index(column)


def check_index(column: ColumnDefinition) -> None:
    """GraphError 400 for an index or a uniqueness that the column's type cannot have."""
    can_index = not column.is_multi and (
        column.facet in {"number", "currency", "boolean", "dateTime", "choice", "personOrGroup", "lookup"}
        or (column.facet == "text" and not column.settings["allowMultipleLines"])
    )
    if column.indexed and not can_index:
        raise invalid(f"Column '{column.name}' is of a type that cannot be indexed")
    if column.unique and not column.indexed:
        raise invalid(f"Column '{column.name}' must be indexed to enforce unique values")
    if column.unique and column.facet == "boolean":
        raise invalid(f"Column '{column.name}' is of a type that cannot enforce unique values")


def _set_common(column: ColumnDefinition, name: str, value: Any) -> None:
    if name in _BOOLEANS:
        if not isinstance(value, bool | None):
            raise invalid(f"Property '{name}' must be true or false")
        attribute = {"enforceUniqueValues": "unique", "readOnly": "read_only"}.get(name, name)
        setattr(column, attribute, bool(value))
    elif name == "defaultValue":
        column.default = None if value is None else _checked_default(column, value)
    elif name == "validation":
        if value is not None:
            raise invalid("Validation formulas of columns are not supported")
    else:
        if not isinstance(value, str | None):
            raise invalid(f"Property '{name}' must be a string")
        check_characters(f"Property '{name}'", value or "")
        attribute = {"columnGroup": "group", "displayName": "display_name"}.get(name, name)
        setattr(column, attribute, value or ("" if name == "description" else getattr(column, attribute)))


def _checked_default(column: ColumnDefinition, given: Any) -> dict[str, Any]:
    """A default that the column's own type can hold, as text."""
    if not isinstance(given, dict):
        raise invalid("Property 'defaultValue' must be an object")
    check_properties(given, {"value", "formula"}, "defaultColumnValue")
    if given.get("formula") is not None:
        raise invalid("Default formulas of columns are not supported")
    value = given.get("value")
    if value is None:
        return {}
    pattern = _DEFAULTS.get(column.facet)
    if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
        raise invalid(f"The default value of column '{column.name}' is not one of its type")
    return {"value": value}


def _read_facet(given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    present = [name for name in FACETS if given.get(name) is not None]
    unknown = [n for n in given if n not in (*FACETS, *COMMON, "name") and "@" not in n]
    if unknown:
        raise invalid(f"Property '{unknown[0]}' does not exist on a column definition")
    if len(present) != 1:
        raise invalid("A column needs exactly one type: one of " + ", ".join(FACETS[:10]))
    facet = present[0]
    return facet, {**_PROPERTIES[facet], **_checked_settings(facet, given[facet])}


def _has_type(facet: str, name: str, value: Any) -> bool:
    """Judged by the property's own default; those without one are numbers, texts or objects."""
    default = _PROPERTIES[facet][name]
    if name in {"minimum", "maximum"}:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if name in {"parentTerm", "termSet"}:
        return isinstance(value, dict)
    return isinstance(value, str if default is None else type(default)) and isinstance(value, bool) is (
        isinstance(default, bool)
    )


def _checked_settings(facet: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise invalid(f"'{facet}' must be an object")
    out = {k: v for k, v in given.items() if "@" not in k}
    for name, value in out.items():
        if name not in _PROPERTIES[facet]:
            raise invalid(f"Property '{name}' does not exist on a {facet} column")
        if value is not None and not _has_type(facet, name, value):
            raise invalid(f"Property '{name}' of a {facet} column has a value of the wrong type")
        allowed = _ENUMS.get((facet, name))
        if allowed and value not in allowed:
            raise invalid(f"'{name}' must be one of {', '.join(allowed)}")
    choices = out.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
        raise invalid("'choices' must be a list of strings")
    check_characters("A choice", *choices)
    length = out.get("maxLength")
    if length is not None and (not isinstance(length, int) or not 1 <= length <= 255):
        raise invalid("'maxLength' must be between 1 and 255")
    return {k: v for k, v in out.items() if v is not None}
