"""COPY's text format, written by hand: it runs for every row of a bulk statement and of a reconcile.

In: texts. Out: fields of a line. Rule: exact for any text that PostgreSQL can hold.
"""

import re
from typing import Final

NULL: Final = "\\N"
"""A field without a value."""

_SPECIAL: Final = re.compile(r"[\\\t\n\r]")


def escaped(text: str) -> str:
    """A text as a field of a line."""
    if _SPECIAL.search(text) is None:
        return text
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
