"""What is wanted of a row and what is known of it.

In: an outbox row and a ledger row, as state reads them. Out: `Work`, from which push decides. Rule: plain values;
nobody changes them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from rowtide.change import Fields, Operation
from rowtide.position import Position

ListId = NewType("ListId", str)
ItemId = NewType("ItemId", str)
ETag = NewType("ETag", str)


def version_of(etag: str) -> int:
    """The version in an item's eTag ``"<guid>,<version>"`` (with or without quotes and ``W/``); 0 when it has none."""
    _, _, tail = etag.strip().strip('"').rpartition(",")
    return int(tail) if tail.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Sent:
    """An attempt whose outcome is not known (yet): the claim writes it, only knowledge empties it."""

    token: str
    op: Operation
    list_id: str | None
    fields: Fields | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Leftover:
    """An item of this row that is still to be removed from a list it has left.

    ``item_id`` None: a POST to that list is unaccounted for until ``until``; only looks by RowtideKey find it.
    ``etag`` is the item's as last known, for the conditional DELETE (None: look first).
    """

    list_id: str
    item_id: str | None
    until: datetime | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A ledger row: what is known of a synced pair.

    ``base``: per field the value last agreed, as PostgreSQL gave it; ``kept``: only the fields SharePoint keeps
    otherwise, as kept there. ``item_id`` and ``etag`` are None when the key never had an item (or it is unknown).
    """

    state: str  # arriving | live | tombstone | ignored | kept
    list_id: str | None
    item_id: str | None
    etag: str | None
    base: Fields
    kept: Fields
    position: Position
    xid: int
    mapping_version: int
    leftovers: tuple[Leftover, ...] = ()

    @property
    def live(self) -> bool:
        """Whether the row has an item now."""
        return self.state == "live" and self.item_id is not None


@dataclass(frozen=True, slots=True)
class Desired:
    """A claimed outbox row: what should be so. ``list_id`` is the target resolved by the catalog (None: unknown)."""

    sync: str
    key: str
    op: Operation
    target: str | None
    list_id: str | None
    fields: Fields
    partial: bool
    position: Position
    xid: int
    mapping_version: int
    revision: int
    token: str
    lease_until: datetime
    priority: int
    attempts: int
    committed_at: datetime
    sent: tuple[Sent, ...] = ()  # earlier attempts only; not the one this claim wrote for itself

    @property
    def uncertain(self) -> bool:
        """Whether an earlier attempt may have happened without our knowing."""
        return bool(self.sent)


@dataclass(frozen=True, slots=True)
class Work:
    """One claimed row with what the ledger knows of it, on its way through plan and deliver."""

    desired: Desired
    pair: Pair | None
