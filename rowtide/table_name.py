"""How a table is written in a definition, on the command line and in sentences: ``schema.table``.

In: the text, or schema and table apart. Out: the other. Rule: a part with a dot, a blank or a double quote goes in
double quotes, with quotes inside it doubled, as in SQL; unlike SQL, a part without quotes keeps its case.
"""

import re

NAME_BYTES = 63
"""The most that PostgreSQL keeps of a name, in UTF-8."""

_PLAIN = r'[^."\s\x00\ud800-\udfff]+'
_QUOTED = r'"(?:[^"\x00\ud800-\udfff]|"")+"'
_TABLE = re.compile(f"({_PLAIN}|{_QUOTED})\\.({_PLAIN}|{_QUOTED})")


def parse(text: str) -> tuple[str, str] | None:
    """Schema and table; None when the text is no ``schema.table``, or when a part is longer than a name may be."""
    match = _TABLE.fullmatch(text)
    if match is None:
        return None
    schema, table = (_unquoted(part) for part in match.groups())
    return (schema, table) if fits(schema) and fits(table) else None


def to_text(schema: str, table: str) -> str:
    """The text that `parse` reads back as these two."""
    return f"{_quoted(schema)}.{_quoted(table)}"


def fits(name: str) -> bool:
    """Whether PostgreSQL can have something of that name."""
    return re.fullmatch(r"[^\x00\ud800-\udfff]+", name) is not None and len(name.encode()) <= NAME_BYTES


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quoted(part: str) -> str:
    return part if re.fullmatch(_PLAIN, part) else '"' + part.replace('"', '""') + '"'
