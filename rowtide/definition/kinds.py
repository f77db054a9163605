"""How single values of a definition are written: durations, references, names, addresses, expressions.

In: scalars of the parsed YAML. Out: the types that rowtide.definition.model declares its keys with. Rule: a refusal
says what is expected and never shows the value.
"""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, ValidationInfo
from pydantic_core import PydanticCustomError

from rowtide import table_name
from rowtide.definition import diagnostics
from rowtide.errors import DefinitionError
from rowtide.expressions import syntax
from rowtide.mapping.columns import Kind

KINDS: tuple[Kind, ...] = ("text", "note", "number", "boolean", "dateTime", "choice")
KINDS_TO_COME = {"currency": "map it as number or text", "multichoice": "map it as text", "lookup": "map it as text",
                 "user": "map it as text"}  # fmt: skip
RESERVED_FIELDS = frozenset({
    "rowtidekey", "id", "contenttype", "contenttypeid", "modified", "created", "author", "editor", "authorlookupid",
    "editorlookupid", "linktitle", "linktitlenomenu", "attachments", "edit", "itemchildcount", "folderchildcount",
    "appauthor", "appeditor", "appauthorlookupid", "appeditorlookupid", "docicon", "fileref", "fileleafref",
    "fsobjtype", "guid", "order", "uniqueid", "workflowversion", "instanceid",
})  # fmt: skip
"""Columns that SharePoint or Rowtide keeps itself, in lower case, because SharePoint ignores case."""
NAME = r"[a-z][a-z0-9_-]{0,31}"
"""What the names of sources, tenants and syncs look like."""
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def is_name(key: object) -> bool:
    """Whether a key can be the name of a source, a tenant or a sync. Others are not shown: one may be a secret."""
    return re.fullmatch(NAME, str(key)) is not None


def parse_duration(text: object) -> timedelta:
    """The duration that ``<int>(ms|s|m|h|d)`` says; refused when the text is none."""
    match = re.fullmatch(r"([1-9]\d{0,8})(ms|s|m|h|d)", text) if isinstance(text, str) else None
    if match is None:
        raise PydanticCustomError("duration", "must be a duration such as 500ms, 10s, 5m, 12h or 90d")
    return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})


def duration_text(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads as ``duration``."""
    milliseconds = duration // timedelta(milliseconds=1)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _duration(value: object) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(value)


def _secret(reference: str, told: ValidationInfo) -> str:
    scheme, _, rest = reference.partition(":")
    if scheme == "vault" and rest:
        raise PydanticCustomError("secret", "vault: references are not available yet; use env:NAME or file:path")
    if scheme not in {"env", "file"} or not rest:
        raise PydanticCustomError("secret", "must be a reference (env:NAME or file:path), never the secret itself")
    if _SECRET_ITSELF.search(rest) or (scheme == "env" and not _VARIABLE.fullmatch(rest)):
        raise PydanticCustomError("secret", "must name a variable or a file after the colon, never the secret itself")
    return str(told.context[LOCATE](reference)) if told.context else reference


LOCATE = "locate"
"""What a definition is read with: a function that makes relative paths of references absolute."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SECRET_ITSELF = re.compile(r"://|password\s*=|[\r\n]")


def matching(pattern: str, sentence: str) -> AfterValidator:
    """A validator that refuses, with ``sentence``, a text that ``pattern`` does not match as a whole."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError("shape", "{sentence}", {"sentence": sentence})
        return text

    return AfterValidator(check)


def not_yet(sentence: str) -> PydanticCustomError:
    """The refusal of something that is designed and not built yet."""
    return PydanticCustomError("not_yet", "not available yet: {sentence}", {"sentence": sentence})


def to_come(instead: str) -> BeforeValidator:
    """A validator for a key that is designed and not built yet: any value is refused."""

    def refuse(value: object) -> object:
        if value is not None:
            raise not_yet(instead)
        return value

    return BeforeValidator(refuse)


def _expression(text: str) -> str:
    try:
        syntax.parse(text)
    except DefinitionError as error:
        raise PydanticCustomError("expression", "{sentence}", {"sentence": error.sentence}) from error
    return text


def _text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else value


def _table(text: str) -> str:
    if table_name.parse(text) is None:
        sentence = 'must be schema.table, such as public.orders; a part with dots or blanks goes in "double quotes"'
        raise PydanticCustomError("table", "{sentence}", {"sentence": sentence})
    return text


def _identifier(name: str) -> str:
    if not table_name.fits(name):
        raise PydanticCustomError(
            "identifier", "a name in PostgreSQL has 1 to {most} bytes", {"most": table_name.NAME_BYTES}
        )
    return name


def _field_name(name: str) -> str:
    if name.lower() in RESERVED_FIELDS:
        raise PydanticCustomError("field", "SharePoint or Rowtide keeps the column {name} itself", {"name": name})
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,31}", name):
        raise PydanticCustomError(
            "field", "a field is the API name of a column: a letter, then letters, digits and _ (at most 32)"
        )
    return name


def _kind(kind: str) -> str:
    if kind in KINDS_TO_COME:
        raise not_yet(f"kind {kind}; {KINDS_TO_COME[kind]} meanwhile")
    if kind not in KINDS:
        close = diagnostics.did_you_mean(kind, KINDS)
        raise PydanticCustomError("kind", "must be one of {kinds}{close}", {"kinds": ", ".join(KINDS), "close": close})
    return kind


Duration = Annotated[timedelta, BeforeValidator(_duration), PlainSerializer(duration_text, return_type=str)]
Secret = Annotated[str, AfterValidator(_secret)]
Expression = Annotated[str, AfterValidator(_expression)]
Plain = Annotated[str, BeforeValidator(_text)]
Url = Annotated[str, matching(r"https?://[^\s/]+(/\S*)?", "must be an address beginning with https:// or http://")]
SlotName = Annotated[str, matching(r"[a-z_][a-z0-9_]{0,62}", "must be lower-case letters, digits and _ (at most 63)")]
Identifier = Annotated[str, AfterValidator(_identifier)]
TableName = Annotated[str, AfterValidator(_table)]
Name = Annotated[str, matching(NAME, "a name is a lower-case letter, then letters, digits, - or _ (at most 32)")]
Title = Annotated[str, matching(r"\S(.{0,253}\S)?", "a list's title has 1 to 255 characters and no blanks at its ends")]
FieldName = Annotated[str, AfterValidator(_field_name)]
FieldKind = Annotated[str, AfterValidator(_kind)]
