"""COPY's text format, written by hand: it runs for every row of a bulk statement and of a reconcile.

In: texts. Out: fields of a line. Rule: exact for any text that PostgreSQL can hold.
"""

import re
from typing import Final

NULL: Final = "\\N"
"""A field without a value."""

_SPECIAL: Final = re.compile(r"[\\\t\n\r]")


_ESCAPE: Final = re.compile(r"\\(.)")
_CHARACTERS: Final = {"t": "\t", "n": "\n", "r": "\r"}


def unescaped(field: str) -> str:
    """The text of a field that `escaped` wrote."""
    return _ESCAPE.sub(lambda found: _CHARACTERS.get(found[1], found[1]), field)


def escaped(text: str) -> str:
    """A text as a field of a line."""
    if _SPECIAL.search(text) is None:
        return text
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
