"""The names a row goes by: its row key, its bucket and lane, its ``RowtideKey`` in SharePoint.

In: the text of key columns as PostgreSQL prints it under the pinned session settings. Out: strings and small numbers
that never change for a row. Rule: two rows never share a ``RowtideKey``, although SharePoint compares text without case
and trims blanks (docs/design.md section 4).
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import NewType
from zlib import crc32

RowKey = NewType("RowKey", str)

ROWTIDE_KEY = "RowtideKey"
"""Internal name of the hidden, indexed, unique text column that every synced list has."""

LANES = 4
"""Lanes of the outbox: the units by which deliver is spread over workers. A constant of the stored data."""

_PLAIN = re.compile(r"[0-9a-z-]{1,64}\Z")


def row_key(values: Sequence[str]) -> RowKey:
    """Canonical text of the key columns: the value itself, or the values joined by ``|`` (``\\`` and ``|`` escaped)."""
    if len(values) == 1:
        return RowKey(values[0])
    return RowKey("|".join(value.replace("\\", "\\\\").replace("|", "\\|") for value in values))


def key_values(key: str, columns: int) -> tuple[str, ...]:
    """The texts of the key columns; the inverse of `row_key` for ``columns`` key columns."""
    if columns == 1:
        return (key,)
    values = [""]
    characters = iter(key)
    for character in characters:
        if character == "|":
            values.append("")
        else:
            values[-1] += next(characters) if character == "\\" else character
    return tuple(values)


def key_named_by(sync: str, item_key: str) -> str | None:
    """The row key that a readable ``RowtideKey`` of this sync names; None: it is of another sync, or a digest."""
    of_sync, _, key = item_key.partition(":")
    return key if of_sync == sync and _PLAIN.match(key) else None


_DIGEST_KEY = re.compile(r"#([a-z2-7]{52})\Z")


def digest_named_by(sync: str, item_key: str) -> bytes | None:
    """The SHA-256 of the row key, of which a ``RowtideKey`` of this sync is a digest; None: it is none."""
    of_sync, _, key = item_key.partition(":")
    found = _DIGEST_KEY.match(key) if of_sync == sync else None
    return None if found is None else base64.b32decode(f"{found[1].upper()}====")


_SHOWN, _DIGEST = 200, 64


def shortened(key: str) -> str:
    """A key that the state database can hold, of one that it cannot: how it begins, and a digest."""
    digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()
    return f"{key[:_SHOWN].encode('ascii', 'replace').decode().replace(chr(0), '?')}#{digest}"


def is_shortened(key: str) -> bool:
    """Whether `shortened` made this key."""
    return key[-_DIGEST - 1 :][:1] == "#"


_STAND_IN = re.compile(r"\?#[a-z2-7]{52}\Z")


def stand_in(item_key: str) -> str | None:
    """The key for the row of an item whose ``RowtideKey`` is a digest that nobody can resolve; None: it is none.

    Pairs and outbox have it in the place of a row key. The source has no row of it.
    """
    _, _, digest = item_key.partition(":")
    return f"?{digest}" if _STAND_IN.match(f"?{digest}") else None


def is_stand_in(key: str) -> bool:
    """Whether `stand_in` made this key."""
    return key.startswith("?#") and _STAND_IN.match(key) is not None


def bucket_of(key: str, buckets: int) -> int:
    """The bucket a row key falls into, 0 to ``buckets`` - 1."""
    return crc32(key.encode()) % buckets


def lane_of(sync: str, key: str) -> int:
    """The lane that a claimed row is delivered in, 0 to `LANES` - 1."""
    return crc32(f"{sync}:{key}".encode()) % LANES


def lane_name(graph: str, sync: str, key: str) -> str:
    """The flow's key for a row on its way to this graph: the lane's name."""
    return f"{graph}:{lane_of(sync, key)}"


def rowtide_key(sync: str, key: str) -> str:
    """The value of the item's ``RowtideKey``: readable for integers and UUIDs, a digest for everything else."""
    if _PLAIN.match(key):
        return f"{sync}:{key}"
    digest = base64.b32encode(hashlib.sha256(key.encode()).digest()).decode().rstrip("=").lower()
    return f"{sync}:#{digest}"
