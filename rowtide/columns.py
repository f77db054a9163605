"""What a PostgreSQL column is to us, and what its value becomes in a SharePoint column and back.

In: `SourceColumn`s as the catalog describes them, values as PostgreSQL prints them under the pinned session settings,
values as Graph shows them in an item's ``fields``. Out: canonical values (what outbox and base hold) and wire values.
Called by rowtide.mapping and rowtide.expressions. Rules: the stream and a SELECT of the column ``::text`` give one
canonical value (booleans, blank-padded and network types print differently there); what SharePoint cannot hold is a
`RowError`, never a silent change. dateTime is whole seconds (SharePoint keeps no more: a fraction is cut), a timestamp
without zone is taken as UTC.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from rowtide.change import JsonValue
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


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of a source table.

    ``type_name`` is ``format_type`` of the type, of the base type for a domain; ``type_oid`` is ``atttypid``.
    ``key`` is its 1-based place in the primary key, 0 when it is not part of it. ``type_kind`` is ``typtype``.
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
        """The declared precision of a numeric; None when it has none."""
        match = re.search(r"\((\d+)", self.type_name)
        return int(match.group(1)) if match else None


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
