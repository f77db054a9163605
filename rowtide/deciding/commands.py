"""What deliver wants done to a list, what came of it, and what is then recorded.

In: rows claimed from the outbox with their ledger rows (`Desired`, `Pair`). Out: commands (imperative), answers (facts)
and outcomes (what settle writes). Rule: plain values; nobody mutates them.
"""

from dataclasses import dataclass, field
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


# --- commands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateItem:
    """POST an item; ``fields`` are all mapped fields, the writer adds RowtideKey."""

    list_id: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class UpdateItem:
    """PATCH only these fields, If-Match ``etag``."""

    list_id: str
    item_id: str
    etag: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class MoveItem:
    """POST the item in the new list; the old one becomes a leftover, deleted after that is settled."""

    list_id: str
    fields: Fields
    old: Leftover


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """DELETE, If-Match ``etag`` unless None (a leftover is deleted whatever it holds)."""

    list_id: str
    item_id: str
    etag: str | None


@dataclass(frozen=True, slots=True)
class LookAtItem:
    """GET the item by id with its fields."""

    list_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class LookForKey:
    """Query the list for items with this row's RowtideKey."""

    list_id: str


Command = CreateItem | UpdateItem | MoveItem | DeleteItem | LookAtItem | LookForKey


# --- answers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """An item as seen: ``fields`` are canonical values of the mapped fields (absent ones None)."""

    item_id: str
    etag: str
    fields: Fields
    by_app: bool = False  # last modified by our own application
    row_key: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """201 or 200: the write is done; ``fields`` are the mapped fields the answer shows (None: it shows none)."""

    item_id: str
    etag: str | None
    fields: Fields | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """204."""


@dataclass(frozen=True, slots=True)
class Missing:
    """404 for the item (not for its list)."""


@dataclass(frozen=True, slots=True)
class Changed:
    """412: the eTag is no longer the item's."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look saw: no item, one, or several."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class NotApplied:
    """Known not to have happened: 429, 401, a failed connect, a 409 without a change; again after ``after_s``."""

    after_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """5xx, time-out, reset, an unreadable answer: it may or may not have happened."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A 4xx that blames this row (or its list): ``code`` is Graph's or ours, ``sentence`` for the operator."""

    status: int
    code: str
    sentence: str
    duplicate: bool = False  # the answer names a violated unique column


Answer = Written | Deleted | Missing | Changed | Found | NotApplied | Unknown | Rejected


# --- outcomes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settle:
    """Known: write ``pair`` to the ledger and empty ``sent``.

    The outbox row goes if lease token and revision are still the claimed ones and ``again`` is false and
    ``pair.leftovers`` is empty; else it is released and due at once (``again``: something is left to do for it).
    ``writes`` counts requests that changed a list; 0 is a suppressed no-op. ``foreign_edit``: a person's edit was
    met and overwritten by policy.
    """

    work: Work
    pair: Pair
    writes: int = 0
    again: bool = False
    foreign_edit: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """Due again after ``after_s``. ``unknown`` keeps this claim's ``sent``; ``blame`` counts an attempt."""

    work: Work
    after_s: float
    unknown: bool
    blame: bool = False
    reason: str = ""
    pair: Pair | None = None  # when something was learnt on the way (a newer version, an adopted item): ledger too


@dataclass(frozen=True, slots=True)
class ParkRow:
    """Set aside with a code and a sentence; ``unknown`` keeps this claim's ``sent``."""

    work: Work
    code: str
    sentence: str
    unknown: bool = False
    pair: Pair | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """The row has to be read from the source before anything can be decided; handed back to `due`."""

    work: Work


Outcome = Settle | Release | ParkRow


@dataclass(slots=True)
class Counts:
    """What a settle did, for metrics."""

    delivered: int = 0
    suppressed: int = 0
    writes: int = 0
    released: int = 0
    parked: int = 0
    stale: int = 0
    foreign_edits: int = 0
    latencies_ms: list[float] = field(default_factory=list)
