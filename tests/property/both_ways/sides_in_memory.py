"""Both sides of a sync in memory: a table with its WAL and its record of applies, and lists with versions and deltas.

In: commits of people and of ours, Graph commands. Out: what each side answers. Rule: every write raises an item's
eTag and makes a version, a touch raises the eTag alone; a list keeps text without blanks at its ends; RowtideKey is
unique in a list; a failover of the source loses whole transactions, the newest first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

from rowtide.change import Fields
from rowtide.deciding.answers import Answer, Changed, Deleted, Found, Item, Missing, Rejected, Written
from rowtide.deciding.commands import Command, CreateItem, DeleteItem, LookAtItem, LookForKey, MoveItem, UpdateItem
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.item_versions import ItemVersion, ReadVersions, Versions
from rowtide.deciding.pull_steps import ListSeen, LookAtList
from rowtide.deciding.records import ETag, ItemId, ListId, version_of
from rowtide.deciding.taken import Applied
from rowtide.keys import ROWTIDE_KEY

LISTS = (ListId("A"), ListId("B"))
NAMES = ("a", "b")
Place = tuple[ListId, ItemId]
T = TypeVar("T")
START = datetime(2026, 1, 1, tzinfo=UTC)


class PlainMapping:
    """Text fields as they are."""

    def wire_fields(self, fields: Fields) -> Fields:
        return fields

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        return {name: value if isinstance(value := wire.get(name), str) else None for name in NAMES}

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        return {
            name: value
            for name, value in desired.items()
            if not (name in base and base[name] == value) and not (name in kept and kept[name] == value)
        }


def as_kept(fields: Fields) -> Fields:
    """How a list keeps text."""
    return {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}


# --- lists --------------------------------------------------------------------------------------------------------


@dataclass
class Stored:
    """An item; ``history``: each version with its author and its fields. ``modified_at``: when it was written last."""

    fields: Fields
    version: int
    by_app: bool
    key: str | None
    history: list[ItemVersion]
    modified_at: datetime = START


@dataclass
class Lists:
    """Two lists, what was changed in each in order, and what was deleted."""

    items: dict[Place, Stored] = field(default_factory=dict)
    bin: dict[Place, Stored] = field(default_factory=dict)
    changed: dict[ListId, list[ItemId]] = field(default_factory=lambda: {one: [] for one in LISTS})
    made: dict[ListId, int] = field(default_factory=dict)
    writes: int = 0
    moments: int = 0
    """Two versions of one number, of which a restore took one away, are more than a second apart."""
    on_write: Callable[[Fields, Fields], None] = lambda _before, _after: None
    """Called for what we write into an item, with its fields before and after."""

    def carry_out(self, command: Command | LookAtList | ReadVersions, key: str | None) -> Answer | ListSeen | Versions:
        """What Graph answers; ``key`` is the RowtideKey of the row that asks."""
        match command:
            case CreateItem(list_id, fields) | MoveItem(list_id, fields, _):
                if self.holder(list_id, key) is not None:
                    return Rejected(400, "invalidRequest", "duplicate value", duplicate=True)
                self.writes += 1
                item_id = self.make(list_id, as_kept(fields), True, key)
                return Written(item_id, self.etag((list_id, item_id)))
            case LookForKey(list_id):
                holder = self.holder(list_id, key)
                return Found(() if holder is None else (self.item(holder),))
            case LookAtItem(list_id, item_id):
                return Found((self.item((list_id, item_id)),)) if (list_id, item_id) in self.items else Missing()
            case UpdateItem(list_id, item_id, etag, fields):
                return self._update((list_id, item_id), etag, fields)
            case DeleteItem(list_id, item_id, etag):
                return self._delete((list_id, item_id), etag)
            case LookAtList():
                return ListSeen({name: name for name in NAMES})
            case ReadVersions(list_id, item_id):
                stored = self.items.get((list_id, item_id))
                return Missing() if stored is None else Versions(tuple(stored.history))

    def _update(self, place: Place, etag: ETag, fields: Fields) -> Answer:
        stored = self.items.get(place)
        if stored is None:
            return Missing()
        if etag != self.etag(place):
            return Changed()
        if fields.get(ROWTIDE_KEY) is not None:
            holder = self.holder(place[0], str(fields[ROWTIDE_KEY]))
            if holder not in (None, place):
                return Rejected(400, "invalidRequest", "duplicate value", duplicate=True)
        self.writes += 1
        before = stored.fields
        self.write(place, fields, True)
        self.on_write(before, stored.fields)
        return Written(place[1], self.etag(place), dict(stored.fields))

    def _delete(self, place: Place, etag: ETag) -> Answer:
        if place not in self.items:
            return Missing()
        if etag != self.etag(place):
            return Changed()
        self.writes += 1
        self.remove(place)
        return Deleted()

    def make(self, list_id: ListId, fields: Fields, by_app: bool, key: str | None) -> ItemId:
        """A new item."""
        self.made[list_id] = self.made.get(list_id, 0) + 1
        item_id = ItemId(str(self.made[list_id]))
        versions = [ItemVersion(1, by_app, dict(fields))]
        self.items[list_id, item_id] = Stored(fields, 1, by_app, key, versions, self.moment())
        self.changed[list_id].append(item_id)
        return item_id

    def write(self, place: Place, fields: Fields, by_app: bool) -> None:
        """Another version of the item."""
        stored = self.items[place]
        if ROWTIDE_KEY in fields:
            key = fields[ROWTIDE_KEY]
            stored.key = None if key is None else str(key)
        stored.fields = {**stored.fields, **as_kept({name: one for name, one in fields.items() if name in NAMES})}
        stored.version += 1
        stored.by_app = by_app
        stored.modified_at = self.moment()
        stored.history.append(ItemVersion(len(stored.history) + 1, by_app, dict(stored.fields)))
        self.changed[place[0]].append(place[1])

    def moment(self) -> datetime:
        self.moments += 1
        return START + timedelta(seconds=self.moments)

    def touch(self, place: Place) -> None:
        """SharePoint changes the item by itself: the eTag grows, and no version is made."""
        self.items[place].version += 1
        self.changed[place[0]].append(place[1])

    def remove(self, place: Place) -> None:
        """The item goes into the bin."""
        self.bin[place] = self.items.pop(place)
        self.changed[place[0]].append(place[1])

    def holder(self, list_id: ListId, key: str | None) -> Place | None:
        """The item of the list that has this RowtideKey."""
        if key is None:
            return None
        return next((one for one, stored in self.items.items() if one[0] == list_id and stored.key == key), None)

    def etag(self, place: Place) -> ETag:
        return ETag(f'"{place[0]}{place[1]},{self.items[place].version}"')

    def item(self, place: Place) -> Item:
        stored = self.items[place]
        return Item(place[1], self.etag(place), dict(stored.fields), stored.by_app, stored.key)

    def entry(self, place: Place) -> InboxEntry:
        """What a delta page shows of the item now."""
        if place not in self.items:
            return InboxEntry(*place, 0, None, True, {}, None, False, None, None)
        item, stored = self.item(place), self.items[place]
        version = version_of(item.etag)
        return InboxEntry(
            *place, version, item.etag, False, item.fields, stored.key, stored.by_app, None, stored.modified_at
        )


# --- the source ---------------------------------------------------------------------------------------------------


class SourceRow(NamedTuple):
    """A row: the list it belongs to and its fields."""

    list_id: ListId
    fields: Fields


@dataclass
class Transaction:
    """A commit: by key the row afterwards and before; the record of applies before, where it was written."""

    lsn: int
    after: dict[str, SourceRow | None]
    before: dict[str, SourceRow | None]
    records: dict[str, Applied | None]
    rekeyed: bool


@dataclass
class Source:
    """The table, its WAL, and ``rowtide_pull.applied``."""

    rows: dict[str, SourceRow] = field(default_factory=dict)
    applied: dict[str, Applied] = field(default_factory=dict)
    wal: list[Transaction] = field(default_factory=list)
    lsn: int = 0
    era: int = 1
    has_lost: bool = False
    """Whether a failover took commits along."""
    writes: int = 0

    def commit(
        self, rows: Mapping[str, SourceRow | None], record: tuple[str, Applied] | None = None, rekeyed: bool = False
    ) -> int:
        """The insert LSN after a transaction."""
        self.lsn += 1
        before = {key: self.rows.get(key) for key in rows}
        records = {} if record is None else {record[0]: self.applied.get(record[0])}
        self.wal.append(Transaction(self.lsn, dict(rows), before, records, rekeyed))
        put(self.rows, rows)
        if record is not None:
            self.applied[record[0]] = record[1]
        return self.lsn

    def fail_over(self, lost: int) -> None:
        """A standby is promoted that lacks the newest transactions."""
        for _ in range(min(lost, len(self.wal))):
            undone = self.wal.pop()
            put(self.rows, undone.before)
            put(self.applied, undone.records)
        self.lsn += 1
        self.era += 1
        self.has_lost |= lost > 0


def put(into: dict[str, T], values: Mapping[str, T | None]) -> None:
    """Values by key; None takes away what is there."""
    for key, value in values.items():
        if value is None:
            into.pop(key, None)
        else:
            into[key] = value
