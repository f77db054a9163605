"""One row to decide about: what is wanted of it, what is known of it, what was seen of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rowtide.change import Fields, Operation
from rowtide.deciding.answers import Item
from rowtide.deciding.in_flight import Rules
from rowtide.deciding.records import (
    AsOf,
    Desired,
    ETag,
    Held,
    ItemId,
    Leftover,
    ListId,
    PairedItem,
    Sent,
    Standing,
)
from rowtide.position import Position

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = timedelta(seconds=100)
KNOWN = Position(1, 10, 0)
"""Where the pair stands; the row wants what is above it."""
A, B, C = ListId("A"), ListId("B"), ListId("C")
ITEM, NEW = ItemId("11"), ItemId("12")


def g(version: int) -> ETag:
    """The eTag of the row's item."""
    return ETag(f'"g,{version}"')


def h(version: int) -> ETag:
    """The eTag of another item."""
    return ETag(f'"h,{version}"')


class Mapped:
    """Two text fields, ``a`` and ``b``, as they are."""

    def wire_fields(self, fields: Fields) -> Fields:
        return fields

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        return {name: value if isinstance(value := wire.get(name), str) else None for name in ("a", "b")}

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        return {
            name: value
            for name, value in desired.items()
            if (name not in base or base[name] != value) and (name not in kept or kept[name] != value)
        }


RULES = Rules(Mapped(), 7, PATIENCE)
BASE: Fields = {"a": "1", "b": "x"}
"""What was agreed of an item."""


def desired(op: Operation = "u", list_id: ListId | None = A, **changes: Any) -> Desired:
    """The row wants a=2 in list A (or ``changes``)."""
    made = Desired(
        "orders", "1", op, list_id, list_id, {"a": "2", "b": "x"} if op == "u" else {}, False, Position(1, 20, 0), 9, 7,
        1, "t", NOW + timedelta(seconds=120), 0, 0, NOW,
    )  # fmt: skip
    return replace(made, **changes)


def held(
    list_id: ListId = A,
    item_id: ItemId = ITEM,
    position: Position = KNOWN,
    mapping_version: int = 7,
    standing: Standing = Standing.LIVE,
    leftovers: tuple[Leftover, ...] = (),
    **changes: Any,
) -> Held:
    """The row has item 11 with a=1 in list A; ``changes`` are of the item."""
    item = replace(PairedItem(list_id, item_id, g(3), BASE, {}), **changes)
    return Held(AsOf(position, 5, mapping_version), item, standing, leftovers)


def sent(op: Operation = "u", list_id: ListId | None = A, age_s: float = 10, **fields: str) -> Sent:
    """An attempt of an earlier claim: the wanted values, unless ``fields`` say otherwise."""
    return Sent("s", op, list_id, {"a": "2", "b": "x", **fields} if op == "u" else {}, NOW - timedelta(seconds=age_s))


def item(version: int, item_id: str = ITEM, by_app: bool = False, **fields: str) -> Item:
    """The item as a look shows it: the base, unless ``fields`` say otherwise."""
    return Item(ItemId(item_id), g(version), {"a": "1", "b": "x", **fields}, by_app, "orders:1")
