"""Text that a terminal or a log shows as it is, and does not obey.

In: any text, of rows, lists, servers or people. Out: the same, with the characters that act instead of being seen
written as escapes: control characters (a terminal sets its title or writes the clipboard by them, and a line break
forges a line), those that turn the direction of writing, and separators of lines. Rule: what is legible stays as it is.
"""

import re
from typing import Final

_ACTS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def legible(text: str) -> str:
    """The text on one line, and without a character that acts."""
    return _ACTS.sub(_escaped, text)


def legible_json(text: str) -> str:
    """The same for a JSON document, which means what it meant before."""
    return _ACTS.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(found[0]) or _by_number(ord(found[0]))


def _by_number(number: int) -> str:
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
