"""One list in memory: its columns, items, indexes and change log.

In: writes already judged (`items`, `schema`), reads by id, index or order. Out: `SimList`, `ListItem`. Rules: item ids
grow and are never reused; a write is O(1) and gives the item the next version and the list's next position; field
values are kept as compact JSON bytes, so that a million items fit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from graphsim.http.errors import not_unique
from graphsim.lists.changes import ChangeLog
from graphsim.lists.columns import ColumnDefinition
from graphsim.lists.field_codec import FieldCodec
from graphsim.lists.principals import Principal
from graphsim.lists.value_index import ValueIndex
from graphsim.switches import Switches

LIVE, RECYCLED, PURGED, PENDING = 0, 1, 2, 3
# Items of a deleted list that are freed at once.
_STEP = 5000


class ListItem:
    """One row: `version` is the eTag's, `ui` the version history's, `position` that of its last change."""

    __slots__ = (
        "author",
        "created",
        "editor",
        "fields",
        "history",
        "id",
        "modified",
        "position",
        "state",
        "ui",
        "version",
    )

    def __init__(self, item_id: int, author: Principal, now: int, fields: bytes) -> None:
        self.id = item_id
        self.version = 1
        self.ui = 1
        self.position = 0
        self.state = LIVE
        self.author = author
        self.editor = author
        self.created = now
        self.modified = now
        self.fields = fields
        self.history: list[Version] | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """An earlier state of an item."""

    ui: int
    editor: Principal
    modified: int
    fields: bytes


def item_guid(list_id: str, item: ListItem) -> str:
    """The item's GUID, which its eTag carries; derived, so it is the same after a restart.

    A list that was put back gives numbers again, and its items are others.
    """
    h = blake2b(f"{list_id}/{item.id}/{item.created}".encode(), digest_size=16).hexdigest()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


@dataclass
class SimList:
    """A list; `rows[id - 1]` is the item of that id, dead ones included."""

    id: str
    site_id: str
    name: str
    display_name: str
    description: str
    created: int
    modified: int
    author: Principal
    web_url: str
    columns: dict[str, ColumnDefinition] = field(default_factory=dict)
    template: str = "genericList"
    retired: list[str] = field(default_factory=list)
    switches: Switches = field(default_factory=Switches)

    def __post_init__(self) -> None:
        self.rows: list[ListItem | None] = []
        self.live = 0
        self.log = ChangeLog(self._is_last)
        self.indexes: dict[str, ValueIndex] = {}
        self.names: dict[str, ColumnDefinition] = {}
        self.unique: list[ColumnDefinition] = []
        self.defaults: dict[str, Any] = {}
        self.codec = FieldCodec(self.retired)
        self.reindex()

    def reindex(self) -> None:
        """Called after every change of the columns: derives names, defaults, uniqueness and indexes from them."""
        self.names = {c.name: c for c in self.columns.values()}
        self.names.update({c.lookup_name: c for c in self.columns.values() if c.lookup_name})
        self.unique = [c for c in self.columns.values() if c.unique]
        self.defaults = {c.stored_name: c.default for c in self.columns.values() if c.default}
        self.codec.read_columns(self.columns.values())
        wanted = {c.stored_name for c in self.columns.values() if c.indexed}
        for name in set(self.indexes) - wanted:
            del self.indexes[name]
        for name in wanted - set(self.indexes):
            self.indexes[name] = self.build_index(name)

    def build_index(self, name: str) -> ValueIndex:
        """A new index of the field, over all items but deleted ones."""
        index = ValueIndex()
        for item in self.rows:
            if item is not None and item.state in (LIVE, PENDING):
                index.add(self.values(item).get(name), item.id)
        return index

    def values(self, item: ListItem) -> dict[str, Any]:
        """The field values of an item by stored name; a new dictionary at each call."""
        return self.codec.decode(item.fields)

    def _is_last(self, item_id: int, position: int) -> bool:
        item = self.rows[item_id - 1]
        return item is not None and item.position == position

    def etag(self, item: ListItem) -> str:
        """The eTag of the item's present version, with its quotes."""
        match self.switches.etag_form:
            case "upper":
                return f'"{item_guid(self.id, item).upper()},{item.version}"'
            case "braces":
                return f'"{{{item_guid(self.id, item).upper()}}},{item.version}"'
            case "weak":
                return f'W/"{item_guid(self.id, item)},{item.version}"'
            case _:
                return f'"{item_guid(self.id, item)},{item.version}"'

    def get(self, item_id: str) -> ListItem | None:
        """The live item of an id as answers write it; None when it is dead or never was."""
        item = self.row(item_id)
        return item if item is not None and item.state == LIVE else None

    def row(self, item_id: str) -> ListItem | None:
        """The item of that id, dead ones included."""
        if not item_id.isdecimal() or len(item_id) > 12:
            return None
        number = int(item_id)
        return self.rows[number - 1] if 0 < number <= len(self.rows) else None

    def live_items(self, after: int = 0) -> Iterator[ListItem]:
        """Live items in order of id, from the first id above `after`."""
        for n in range(after, len(self.rows)):
            item = self.rows[n]
            if item is not None and item.state == LIVE:
                yield item

    def check_unique(self, values: dict[str, Any], own_id: int, switches: Switches) -> None:
        """GraphError when another live item has one of these values in a unique column."""
        for column in self.unique:
            value = values.get(column.stored_name)
            if value is not None and any(i != own_id for i in self.indexes[column.stored_name].find(value)):
                raise not_unique(column.name, value, switches)

    def insert(self, values: dict[str, Any], author: Principal, now: float) -> ListItem:
        """A new item with the next id."""
        item = ListItem(len(self.rows) + 1, author, int(now), self.codec.encode(values))
        self.rows.append(item)
        self.live += 1
        self._index_all(item.id, values)
        self._note(item, now)
        return item

    def update(self, item: ListItem, changes: dict[str, Any], editor: Principal, now: float, keep: int) -> None:
        """Overlays the changes: a new version, even when nothing differs (every PATCH makes one)."""
        before = self.values(item)
        after = {**before, **changes}
        if None in changes.values():
            after = {k: v for k, v in after.items() if v is not None}
        if keep > 1:
            history = item.history = item.history or []
            history.append(Version(item.ui, item.editor, item.modified, item.fields))
            del history[: max(0, len(history) - keep + 1)]
        item.fields = self.codec.encode(after)
        item.ui += 1
        for name, index in self.indexes.items():
            old, new = before.get(name), after.get(name)
            if old != new:
                index.discard(old, item.id)
                index.add(new, item.id)
        self._stamp(item, editor, now)

    def touch(self, item: ListItem, now: float, editor: Principal | None = None) -> None:
        """The eTag grows, fields and history stay; without ``editor`` (`SystemUpdate`) editor and time, too."""
        if editor is not None:
            self._stamp(item, editor, now)
            return
        item.version += 1
        self._note(item, now)

    def remove(self, item: ListItem, editor: Principal, now: float) -> None:
        """Puts the item into the recycle bin: its values leave the indexes, its change is seen by delta."""
        item.state = RECYCLED
        self.live -= 1
        values = self.values(item)
        for name, index in self.indexes.items():
            index.discard(values.get(name), item.id)
        self._stamp(item, editor, now)

    def restore(self, item: ListItem, editor: Principal, now: float) -> None:
        """Takes the item out of the recycle bin, as a change of its own."""
        item.state = LIVE
        self.live += 1
        self._index_all(item.id, self.values(item))
        self._stamp(item, editor, now)

    def purge(self, item: ListItem) -> None:
        """Takes the item out of the recycle bin for ever; delta still tells that it is deleted."""
        item.state = PURGED
        item.fields = b"{}"
        item.history = None

    def take_apart(self) -> Iterator[None]:
        """Frees a deleted list in steps of a few milliseconds, and the circle between the list and its log."""
        while self.rows:
            del self.rows[-_STEP:]
            yield
        while self.indexes:
            self.indexes.popitem()
            yield
        self.log = ChangeLog(lambda *_: False)

    def _stamp(self, item: ListItem, editor: Principal, now: float) -> None:
        item.version += 1
        item.editor = editor
        item.modified = int(now)
        self._note(item, now)

    def _note(self, item: ListItem, now: float) -> None:
        before = item.position
        item.position = self.log.append(item.id, now)
        if before:
            self.log.overtake(before)
        self.modified = int(now)

    def _index_all(self, item_id: int, values: dict[str, Any]) -> None:
        for name, index in self.indexes.items():
            index.add(values.get(name), item_id)
