"""An entry that was taken to be applied, with all that is known of its row, and what is to be done with it.

In: an inbox row, the ledger and outbox rows of its pair, the source's `applied`; read in the order of
docs/design.md section 19. Out: `Taken` for `rowtide.deciding.pull`, `Apply` for `rowtide.deciding.apply`. Rule: plain
values that nobody changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from rowtide.change import Fields, Operation
from rowtide.deciding.conflicts import UNKNOWN_TIMES, Choice, Conflict, ConflictRecord, DeletesBack, Policies, Times
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.pulled import Pulled
from rowtide.deciding.records import (
    Arriving,
    ETag,
    Held,
    ItemId,
    LeftItem,
    ListId,
    NoItem,
    Pair,
    PairedItem,
    version_of,
)
from rowtide.deciding.sides import NO_BASE, Base
from rowtide.errors import RowError


@dataclass(frozen=True, slots=True)
class PullRules:
    """By what entries of one sync are applied.

    ``columns``: by list the mapped fields and the ids of their columns, as provisioned. ``push_only``: fields whose
    edit is written back. ``deletes``: what an item's deletion asks of its row; ``rows_deletes_leave_items``: a row's
    deletion leaves its item (push says `ignore` or `mark`). ``reverts``: what the table refuses of an edit is written
    over in the item, in place of being set aside. ``status_field``: where people read what became of their edits.
    ``key_of``: the row key that a new item's fields name (None: the table gives it; an error: the item cannot become
    a row). ``shard_columns``: by list the source columns' texts that put a row there, for lists that exactly one
    value leads to.
    """

    sync: str
    mapping: FieldMapping
    mapping_version: int
    policies: Policies = field(default_factory=Policies)
    deletes: DeletesBack = "propagate"
    rows_deletes_leave_items: bool = False
    reverts: bool = False
    status_field: str | None = None
    push_only: frozenset[str] = frozenset()
    columns: Mapping[ListId, Mapping[str, str]] = field(default_factory=dict)
    key_of: Callable[[Fields], str | RowError | None] = lambda _fields: None
    shard_columns: Mapping[ListId, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """A row of the source's ``rowtide_pull.applied``: what was last applied for a key, in the row's own transaction.

    ``agreed`` is the base after it; None: the item was gone, and so is what was agreed. ``key`` is None in a verdict:
    the record is the row's own.
    """

    list_id: ListId
    item_id: ItemId
    version: int
    agreed: Base | None
    key: str | None = None
    xid: int = 0
    conflicts: tuple[ConflictRecord, ...] = ()

    @property
    def place(self) -> tuple[ListId, ItemId]:
        """The item."""
        return self.list_id, self.item_id


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """The pair's outbox row, which was locked before the entry was taken.

    ``busy``: it is leased or uncertain; then nothing may be applied. ``committed_at``: of its newest change (None: it
    was read and not told, or the newest is an edit that was applied here). ``rekeyed_to``: another waiting row has its
    very position, so one change gave the row this new key.
    """

    op: Operation
    busy: bool = False
    committed_at: datetime | None = None
    rekeyed_to: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry and what is known of its pair.

    ``key``: the row key by live pair or leftover of the item, else by the item's RowtideKey; None: neither knows it.
    ``applied``: the source's record for the key, else for the item. ``twin``: an entry of another item with the row's
    RowtideKey waits. ``rounds_ended``: in every list, if the sync has several, a round ended that began after this
    entry was seen. ``absent_passed``: the row was found absent, or changed, before, and the cursor has passed the
    insert LSN read then. ``pulled``: what pull last did to the row, as the ledger has it. ``others_wait``: items
    that the row has left, or that have its RowtideKey, of which an entry waits, too.
    """

    entry: InboxEntry
    key: str | None = None
    pair: Pair | None = None
    waiting: WaitingRow | None = None
    applied: Applied | None = None
    token: str = ""
    choice: Choice | None = None
    times: Times = UNKNOWN_TIMES
    twin: bool = False
    rounds_ended: bool = True
    absent_passed: bool = False
    pulled: Pulled | None = None
    others_wait: frozenset[tuple[ListId, ItemId]] = frozenset()


class How(Enum):
    """Why an entry is applied."""

    EDIT = "a person edited the row's item"
    DELETE = "a person deleted the row's item"
    ARRIVE = "a person made the item, or brought it back"
    MOVE = "a person moved the row's item to another list"
    LEFT = "a person edited an item that its row has left"


@dataclass(frozen=True, slots=True)
class SourceRefusal:
    """Why the table did not take what an entry says; ``sentence`` is shown to people."""

    kind: Conflict
    sentence: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An entry that is to be applied to row ``key``, in one transaction of the source.

    ``key``: None while the row is still to be inserted and the table gives it its key. ``entry`` is what of it is
    believed. ``base``: what was last agreed with the item. ``pair`` is the ledger's. ``row_key``: the row's new key,
    where it was given one that the ledger does not know yet. ``refused``: it was tried and the table did not take it;
    the row stays, and the item is made what the row says.
    """

    taken: Taken
    how: How
    key: str | None
    entry: InboxEntry
    base: Base
    row_key: str | None = None
    refused: SourceRefusal | None = None

    @property
    def at(self) -> str | None:
        """The key of the row to read and write."""
        return self.row_key or self.key

    @property
    def pair(self) -> Pair | None:
        """What the ledger knows of the row."""
        return self.taken.pair


def place(item: PairedItem | LeftItem) -> tuple[ListId, ItemId]:
    """The item, whose number is its list's own."""
    return item.list_id, item.item_id


def known_base(taken: Taken) -> Base:
    """What was last agreed with the pair's item: the newer of ledger and `applied`."""
    applied, pair = taken.applied, taken.pair
    if pair is not None and not isinstance(pair, NoItem):
        own = pair.item
        if applied is None or not (is_ahead(applied, pair, taken.pulled) or is_moved_already(taken)):
            return Base(own.base, own.kept)
        return applied.agreed or NO_BASE
    if applied is not None and applied.place == taken.entry.place:
        return applied.agreed or NO_BASE
    return NO_BASE


def is_ahead(applied: Applied, pair: Held | Arriving, pulled: Pulled | None) -> bool:
    """Whether the source says more of the pair's item than the ledger does."""
    if applied.place != place(pair.item):
        return False
    if isinstance(pair, Arriving):
        return True
    return applied.version > version_of(pair.item.etag) and not is_on_record(applied, pulled)


def is_moved_already(taken: Taken) -> bool:
    """Whether an earlier try took the entry's item for the row's own in place of the pair's, and nobody noted it."""
    applied, pair, at = taken.applied, taken.pair, taken.entry.place
    if applied is None or applied.agreed is None or applied.place != at or not isinstance(pair, Held):
        return False
    if place(pair.item) == at or left_item(pair, taken.entry) is not None or is_on_record(applied, taken.pulled):
        return False
    return taken.pulled is None or taken.pulled.xid < applied.xid


def is_on_record(applied: Applied, pulled: Pulled | None) -> bool:
    """Whether the ledger has all that the source's record says.

    Then the record says nothing of what came after it: a list that was restored shows lower versions than it names.
    """
    return pulled is not None and (pulled.place, pulled.version, pulled.xid) == (
        applied.place,
        applied.version,
        applied.xid,
    )


def known_version(taken: Taken) -> int:
    """The version of the entry's item up to which every edit is in PostgreSQL; 0 where nothing is known."""
    applied, pair, at = taken.applied, taken.pair, taken.entry.place
    left = left_item(pair, taken.entry)
    ledger = 0
    if left is not None:
        ledger = version_of(left.etag)
    elif pair is not None and not isinstance(pair, NoItem) and place(pair.item) == at:
        ledger = version_of(pair.item.etag)
    if applied is None or applied.place != at or (isinstance(pair, Held) and is_on_record(applied, taken.pulled)):
        return ledger
    return max(ledger, applied.version)


def is_own(pair: Pair | None, entry: InboxEntry) -> bool:
    """Whether the entry is of the pair's own item."""
    return pair is not None and not isinstance(pair, NoItem) and place(pair.item) == entry.place


def left_item(pair: Pair | None, entry: InboxEntry) -> LeftItem | None:
    """The leftover of the pair that the entry is of, if it is of one."""
    leftovers = () if pair is None else pair.leftovers
    return next((one for one in leftovers if isinstance(one, LeftItem) and place(one) == entry.place), None)


def etag_of_version(etag: ETag | None, version: int) -> ETag | None:
    """The eTag of another version of the same item."""
    if etag is None:
        return None
    head, comma, tail = etag.rpartition(",")
    digits = tail.rstrip('"')
    return ETag(f"{head}{comma}{version}{tail[len(digits) :]}") if digits.isdigit() else None


# --- how a base is written beside a row ---------------------------------------------------------------------------

_KEPT = ":kept"
"""No field of a list has a colon in its name."""


def to_stored(base: Base) -> Fields:
    """A base as one object of fields, as `applied` holds it."""
    return {**base.agreed, **{f"{name}{_KEPT}": value for name, value in base.kept.items()}}


def from_stored(stored: Fields) -> Base:
    """The base that `to_stored` wrote."""
    kept = {name.removesuffix(_KEPT): value for name, value in stored.items() if name.endswith(_KEPT)}
    return Base({name: value for name, value in stored.items() if not name.endswith(_KEPT)}, kept)
