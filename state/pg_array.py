"""PostgreSQL array literals, written by hand where psycopg's own dumping of long lists is too slow.

In: row keys and the like. Out: the text of a ``text[]``. Rule: exact for any text.
"""

from collections.abc import Sequence


def text_array(texts: Sequence[str]) -> str:
    """The literal of a ``text[]`` with these elements."""
    if not texts:
        return "{}"
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        joined = '","'.join(text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '{"' + joined + '"}'
