"""Field values as an item keeps them: compact bytes, under keys that a deleted column never gives back.

In: values by stored name, columns as they come and go. Out: bytes, and values again. Rule: the values of a deleted
column stay in the bytes but are never seen again, also when a new column takes its name, because a list of a million
items is not rewritten within one request.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from graphsim.lists.columns import ColumnDefinition


def to_kept(values: dict[str, Any]) -> bytes:
    """Values as kept. Copied, because the serializer's own result holds on to its kilobytes of buffer."""
    return bytes(memoryview(orjson.dumps(values)))


class FieldCodec:
    """`retired` are the keys of deleted columns."""

    def __init__(self, retired: list[str]) -> None:
        self.retired = retired
        self._moved: dict[str, str] = {}

    def read_columns(self, columns: Iterable[ColumnDefinition]) -> None:
        """Called after every change of the columns: notes those that keep their values under another key."""
        self._moved = {c.stored_name: c.storage_key for c in columns if c.storage_key != c.stored_name}

    def admit(self, column: ColumnDefinition) -> None:
        """Gives a new column a key of its own when a deleted one had its name."""
        count = sum(key.partition("#")[0] == column.stored_name for key in self.retired)
        column.moved_key = f"{column.stored_name}#{count}" if count else ""

    def retire(self, column: ColumnDefinition) -> None:
        """Hides the values of a column that is deleted."""
        self.retired.append(column.storage_key)

    def decode(self, kept: bytes) -> dict[str, Any]:
        """The values of an item or a version by stored name; a new dictionary at each call."""
        loaded: dict[str, Any] = orjson.loads(kept)
        if not self.retired:
            return loaded
        for key in self.retired:
            loaded.pop(key, None)
        for name, key in self._moved.items():
            if key in loaded:
                loaded[name] = loaded.pop(key)
        return loaded

    def encode(self, values: dict[str, Any]) -> bytes:
        """The bytes of an item's values."""
        if self._moved:
            values = {self._moved.get(name, name): value for name, value in values.items()}
        return to_kept(values)
