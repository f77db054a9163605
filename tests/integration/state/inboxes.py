"""A two-way sync with hands: put, take and end entries, in a line each."""

from dataclasses import dataclass, replace
from typing import Any

from psycopg.rows import dict_row

from rowtide.change import Fields
from rowtide.deciding.inbox import Editor, InboxEntry
from rowtide.deciding.pulled import Overwritten, Pulled
from rowtide.deciding.records import AsOf, ETag, Held, ItemId, ListId, Pair, PairedItem
from rowtide.deciding.taken import Taken
from rowtide.position import Position
from state import applying, inbox, pulled
from state.applying import Lease
from state.database import Connection

LIST = ListId("list-eu")


@dataclass(slots=True)
class Inbox:
    """The inbox of one test, of sync orders and its list-eu."""

    conn: Connection
    takes: int = 0

    def open(self) -> "Inbox":
        """The sync has two ways from now on."""
        self.conn.execute("INSERT INTO rowtide.list_cursor (list_id, sync) VALUES ('list-eu', 'orders')")
        return self

    def put(self, item_id: str = "7", version: int = 2, told: bool = True, **other: Any) -> int:
        """Put an item as the list showed it, or a deleted one."""
        return inbox.put(self.conn, "orders", [shown(item_id, version, **other)], told)

    def take(self, most: int = 20, owner: str = "p0", lease_s: float = 120.0) -> list[Lease]:
        """Take due entries under a token of its own."""
        self.takes += 1
        request = applying.TakeRequest("orders", owner, f"take-{self.takes}", lease_s, most)
        return applying.take(self.conn, request)

    def take_one(self) -> Lease:
        """The one entry that is due."""
        [lease] = self.take()
        return lease

    def entry(self, item_id: str = "7") -> dict[str, Any] | None:
        """The entry of the item."""
        with self.conn.cursor(row_factory=dict_row) as cursor:
            return cursor.execute("SELECT * FROM rowtide.inbox WHERE item_id = %s", [item_id]).fetchone()

    def waiting(self, item_id: str = "7") -> dict[str, Any]:
        """The entry of the item, which is there."""
        found = self.entry(item_id)
        assert found is not None
        return found

    def make_due(self) -> None:
        """Nothing waits for its time."""
        for table in ("inbox", "outbox"):
            self.conn.execute(f"UPDATE rowtide.{table} SET due_at = now()".encode())

    def confirm(self) -> None:
        """The source was seen to have what was pulled."""
        unconfirmed = pulled.read_unconfirmed(self.conn, "orders", 100)
        pulled.confirm(self.conn, "orders", unconfirmed, pulled.PulledAgain({}, [], {}))

    def set_cursor(self, lsn: int) -> None:
        """Capture has staged everything up to there."""
        self.conn.execute("UPDATE rowtide.slot_cursor SET lsn = %s", [lsn])


def shown(item_id: str = "7", version: int = 2, **other: Any) -> inbox.Shown:
    """An item of list-eu."""
    plain = inbox.Shown(LIST, ItemId(item_id), version, ETag(f'"g,{version}"'), False, {"Title": f"v{version}"})
    if other.get("deleted"):
        plain = replace(plain, version=0, etag=None, fields={})
    return replace(plain, **other)


def wrote(lease: Lease, xid: int = 900) -> Pulled:
    """What is remembered of an edit of Title."""
    one = lease.shown
    return Pulled(one.list_id, one.item_id, one.version, "update", xid, {"Title": (Overwritten(xid, "was"),)})


def taken(lease: Lease) -> Taken:
    """The entry as the core has it; its values are canonical as they are."""
    one = lease.shown
    editor = None if one.editor_name is None else Editor(one.editor_name)
    entry = InboxEntry(
        one.list_id, one.item_id, one.version, one.etag, one.deleted, dict(one.fields), one.item_key, one.by_app,
        editor, one.modified_at, revision=lease.revision, seen_at=lease.seen_at,
    )  # fmt: skip
    return lease.taken(entry, None)


def pair_of(lease: Lease, xid: int = 900, fields: Fields | None = None) -> Pair:
    """The pair once the entry's fields are agreed."""
    one, before = lease.shown, lease.pair
    position = Position(0, 0, 0) if before is None else before.as_of.position
    base = dict(one.fields) if fields is None else fields
    return Held(AsOf(position, xid, 1), PairedItem(one.list_id, one.item_id, one.etag, base, {}))
