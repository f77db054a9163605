"""What is wanted of a row and what is known of it.

In: an outbox row and a ledger row, as state reads them. Out: `Work`, from which push decides. Rule: plain values that
nobody changes; each type has only the fields that exist in its state.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NewType

from rowtide.change import Fields, Operation
from rowtide.position import Position

ListId = NewType("ListId", str)
ItemId = NewType("ItemId", str)
"""An item's number in its list; items of two lists may have the same number."""
ETag = NewType("ETag", str)


def version_of(etag: ETag | None) -> int:
    """The version in an item's eTag ``"<guid>,<version>"`` (with or without quotes and ``W/``); 0 when it has none."""
    if etag is None:
        return 0
    _, _, tail = etag.strip().strip('"').rpartition(",")
    return int(tail) if tail.isdigit() else 0


def is_same_item(etag: ETag | None, other: ETag | None) -> bool:
    """Whether two eTags may be of one item: False where each has a GUID, and they differ.

    The number of an item that a restore took away is given again; the GUID never is.
    """
    return etag == other or (one := _guid_of(etag)) is None or (two := _guid_of(other)) is None or one == two


def _guid_of(etag: ETag | None) -> str | None:
    """The GUID in an item's eTag, which is written with or without braces, in capitals or not; None without one."""
    if etag is None:
        return None
    head, comma, _ = etag.strip().removeprefix("W/").strip('"').rpartition(",")
    return head.strip("{}").lower() if comma else None


def is_next_version(etag: ETag, before: ETag | None) -> bool:
    """Whether ``etag`` is exactly one version above ``before`` (None: above an item that was not there)."""
    return version_of(etag) == version_of(before) + 1


# --- what may have been sent, and what is left behind -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """An attempt whose outcome is not known (yet). The claim writes it; it goes once the outcome is known.

    ``list_id`` is None for a delete, and for an upsert whose list was unknown: nothing was sent then.
    """

    token: str
    op: Operation
    list_id: ListId | None
    fields: Fields
    at: datetime


@dataclass(frozen=True, slots=True)
class LeftItem:
    """An item of this row that is still to be removed from a list the row has left.

    ``etag`` is the item's as last known, for the conditional DELETE (None: look first). ``until``: an earlier claim may
    have asked for the removal, which may arrive until then. ``base`` and ``kept``, in a two-way sync: what was last
    agreed with it, so that an edit made while the row left it is known as one.
    """

    list_id: ListId
    item_id: ItemId
    etag: ETag | None = None
    until: datetime | None = None
    base: Fields | None = None
    kept: Fields | None = None


@dataclass(frozen=True, slots=True)
class LostPost:
    """A POST to this list is unaccounted for: it may make an item until ``until``. Only a search by key finds it."""

    list_id: ListId
    until: datetime


@dataclass(frozen=True, slots=True)
class WrongKey:
    """An item that carries this row's RowtideKey and is not ours: it stays, and its key is emptied."""

    list_id: ListId
    item_id: ItemId
    etag: ETag


Leftover = LeftItem | LostPost | WrongKey


# --- what the ledger knows ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AsOf:
    """The state of the source that a pair agrees with, and the version of the mapping under which its base was made."""

    position: Position
    xid: int
    mapping_version: int


@dataclass(frozen=True, slots=True)
class PairedItem:
    """A row's item and what was last agreed of it.

    ``etag`` is None while the item's version is not known. ``base``: per field the value last agreed, as PostgreSQL
    gave it; ``kept``: only the fields SharePoint keeps otherwise, as kept there.
    """

    list_id: ListId
    item_id: ItemId
    etag: ETag | None
    base: Fields
    kept: Fields


class Standing(Enum):
    """How a pair with an item stands; the value is the ledger's word for it."""

    LIVE = "live"  # row and item say the same
    IGNORED = "ignored"  # the row is gone, the item stays where it is: the sync's choice
    KEPT = "kept"  # the row is gone, the item stays where it is: a person's choice


@dataclass(frozen=True, slots=True)
class NoItem:
    """The key has no item. ``last`` is the item it had, if any.

    ``ignored``: its row is still there, by the sync's choice, and gets no other item until it is deleted.
    """

    as_of: AsOf
    last: PairedItem | None = None
    leftovers: tuple[Leftover, ...] = ()
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """The key has an item."""

    as_of: AsOf
    item: PairedItem
    standing: Standing = Standing.LIVE
    leftovers: tuple[Leftover, ...] = ()


@dataclass(frozen=True, slots=True)
class Arriving:
    """A person made the item; its row is being inserted into PostgreSQL."""

    as_of: AsOf
    item: PairedItem
    leftovers: tuple[Leftover, ...] = ()


Pair = NoItem | Held | Arriving
"""A ledger row."""


def last_item(pair: Pair | None) -> PairedItem | None:
    """The pair's item, or the one that it had last."""
    if pair is None:
        return None
    return pair.last if isinstance(pair, NoItem) else pair.item


# --- what is wanted -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Desired:
    """A claimed outbox row: what is wanted. ``list_id`` is the target's id from the catalog (None: unknown)."""

    sync: str
    key: str
    op: Operation
    target: str | None
    list_id: ListId | None
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
        """Whether an earlier attempt may have been carried out without our knowing."""
        return bool(self.sent)


@dataclass(frozen=True, slots=True)
class Work:
    """One claimed row with what the ledger knows of it (None: nothing), on its way through plan and deliver."""

    desired: Desired
    pair: Pair | None
    only_look: bool = False
    """An edit of the row's item waits: what became of earlier attempts is looked at, and nothing is sent."""
