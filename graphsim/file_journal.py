"""`--data FILE`: everything that must outlive the process, in one SQLite file.

In: notices of what was written. Out: rows; at the next start, the tenant as it was. Rules: `flush` is one transaction
and comes before the answer is sent, so an answered write survives SIGKILL; items are rows of their own, so a write
costs the same whatever the size of the list; one process has the file, a second one is refused.
"""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Any

import orjson

from graphsim.identity.app_registrations import restore_credentials
from graphsim.identity.permissions import PermissionGrant
from graphsim.lists.columns import ColumnDefinition
from graphsim.lists.list_store import LIVE, PENDING, ListItem, SimList, Version
from graphsim.tenant import Tenant
from graphsim.webhooks.subscriptions import Subscription

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (kind TEXT, key TEXT, value BLOB, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS item (
  list TEXT, id INTEGER, version INTEGER, ui INTEGER, position INTEGER, changed REAL, state INTEGER,
  created INTEGER, modified INTEGER, author INTEGER, editor INTEGER, fields BLOB, PRIMARY KEY (list, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS version (
  list TEXT, id INTEGER, ui INTEGER, editor INTEGER, modified INTEGER, fields BLOB, PRIMARY KEY (list, id, ui)
) WITHOUT ROWID;
"""
_ITEM = "INSERT OR REPLACE INTO item VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
_VERSION = "INSERT OR REPLACE INTO version VALUES (?,?,?,?,?,?)"
FORMAT = 1
_REMOVED_AT_ONCE = 1000


def _lock(path: Path) -> int:
    """The descriptor that holds the file for this process; ValueError when another one holds it or it cannot be."""
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ValueError(f"'{path}' cannot be used as a data file: {error.strerror}") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise ValueError(f"'{path}' is in use by another simulator") from None
    return held


class FileJournal:
    """The journal in a file. `ValueError` with one sentence when the file is none of ours."""

    def __init__(self, path: Path) -> None:
        self._lock = _lock(path)
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._check_format()
        except sqlite3.Error as error:
            raise ValueError(f"'{path}' cannot be used as a data file: {error}") from None
        self._items: dict[tuple[str, int], tuple[Any, ...]] = {}
        self._versions: list[tuple[Any, ...]] = []
        self._records: dict[tuple[str, str], bytes | None] = {}
        self._gone: list[str] = []
        self.now = 0.0

    def _check_format(self) -> None:
        found = self._db.execute("SELECT value FROM record WHERE kind = 'meta' AND key = 'format'").fetchone()
        if found is None:
            self._db.execute("INSERT INTO record VALUES ('meta', 'format', ?)", (str(FORMAT),))
        elif int(found[0]) != FORMAT:
            raise sqlite3.DatabaseError(f"it has format {int(found[0])}, this simulator writes {FORMAT}")

    def count_start(self) -> int:
        """How many times the file has been opened, this time included: chance must not repeat itself."""
        found = self._db.execute("SELECT value FROM record WHERE kind = 'meta' AND key = 'starts'").fetchone()
        starts = 1 if found is None else int(found[0]) + 1
        self._db.execute("INSERT OR REPLACE INTO record VALUES ('meta', 'starts', ?)", (str(starts),))
        return starts

    def item(self, lst: SimList, item: ListItem, now: float) -> None:
        """Keeps an item, and the version that its last change made history, until `flush`."""
        self._items[(lst.id, item.id)] = (
            lst.id,
            item.id,
            item.version,
            item.ui,
            item.position,
            now,
            item.state,
            item.created,
            item.modified,
            item.author.number,
            item.editor.number,
            item.fields,
        )
        if item.history:
            last = item.history[-1]
            self._versions.append((lst.id, item.id, last.ui, last.editor.number, last.modified, last.fields))

    def list(self, lst: SimList) -> None:
        """Keeps a list's own properties and its columns until `flush`."""
        value = {
            "site_id": lst.site_id,
            "name": lst.name,
            "display_name": lst.display_name,
            "description": lst.description,
            "created": lst.created,
            "modified": lst.modified,
            "author": lst.author.number,
            "web_url": lst.web_url,
            "retired": lst.retired,
            "columns": [{name: getattr(c, name) for name in ColumnDefinition.__slots__} for c in lst.columns.values()],
        }
        self.record("list", lst.id, value)

    def list_gone(self, lst: SimList) -> None:
        """Takes a list out of the file at the next `flush`, and its items with the next ones or the next start."""
        self.record("list", lst.id, None)
        self._gone.append(lst.id)

    def record(self, kind: str, key: str, value: object | None) -> None:
        """Keeps a small thing (a person, an app, a grant, a token) under its kind and key; None removes it."""
        self._records[(kind, key)] = None if value is None else orjson.dumps(value)

    def flush(self) -> None:
        """Writes everything noted since the last flush, as one transaction."""
        if not (self._items or self._records or self._gone):
            return
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        db.executemany(_ITEM, self._items.values())
        db.executemany(_VERSION, self._versions)
        for (kind, key), value in self._records.items():
            if value is None:
                db.execute("DELETE FROM record WHERE kind = ? AND key = ?", (kind, key))
            else:
                db.execute("INSERT OR REPLACE INTO record VALUES (?,?,?)", (kind, key, value))
        self._remove_some_of_gone()
        db.execute("COMMIT")
        self._items, self._versions, self._records = {}, [], {}

    def _remove_some_of_gone(self) -> None:
        """Removes a part of the rows of deleted lists: those of a million items would take seconds at once."""
        if not self._gone:
            return
        removed = 0
        for table in ("item", "version"):
            some = f"SELECT id FROM {table} WHERE list = ? LIMIT {_REMOVED_AT_ONCE}"
            statement = f"DELETE FROM {table} WHERE list = ? AND id IN ({some})"
            removed += self._db.execute(statement, (self._gone[0], self._gone[0])).rowcount
        if not removed:
            del self._gone[0]

    def close(self) -> None:
        """Writes what is left and closes the file."""
        self.flush()
        self._db.close()
        # Last, because the first close of any descriptor of the file would end SQLite's own locks.
        os.close(self._lock)

    def records(self, kind: str) -> dict[str, Any]:
        """All records of one kind, by key."""
        rows = self._db.execute("SELECT key, value FROM record WHERE kind = ? ORDER BY key", (kind,))
        return {key: orjson.loads(value) for key, value in rows}

    def load(self, tenant: Tenant) -> None:
        """Fills the tenant; called once, before anything is served and before the command line's apps are added."""
        people = self.records("person")
        for number in sorted(people, key=int):
            tenant.people.restore(*people[number])
        for client_id, record in self.records("app").items():
            restore_credentials(tenant.add_app(client_id, record["name"]), record)
        for key, grant in self.records("grant").items():
            tenant.permissions.grants[key] = PermissionGrant(**grant)
        for subscription in self.records("subscription").values():
            tenant.subscriptions.add(Subscription(**subscription))
        for text, (client_id, expires) in self.records("token").items():
            if expires <= tenant.now():
                self.record("token", text, None)
            elif client_id in tenant.apps:
                tenant.tokens.restore(text, tenant.apps[client_id], expires)
        for table in ("item", "version"):
            self._db.execute(f"DELETE FROM {table} WHERE list NOT IN (SELECT key FROM record WHERE kind = 'list')")
        for list_id, record in self.records("list").items():
            self._load_list(tenant, list_id, record)

    def _load_list(self, tenant: Tenant, list_id: str, record: dict[str, Any]) -> None:
        people = tenant.people.by_number
        columns = {c["id"]: ColumnDefinition(**c) for c in record.pop("columns")}
        author = people[record.pop("author")]
        lst = SimList(id=list_id, author=author, columns=columns, switches=tenant.switches, **record)
        rows = self._db.execute("SELECT * FROM item WHERE list = ? ORDER BY id", (list_id,))
        changes: list[tuple[int, int, float]] = []
        for _, number, version, ui, position, changed, state, created, modified, author_no, editor_no, fields in rows:
            lst.rows.extend([None] * (number - 1 - len(lst.rows)))
            item = ListItem(number, people[author_no], created, fields)
            item.version, item.ui, item.position, item.state = version, ui, position, state
            item.modified, item.editor = modified, people[editor_no]
            lst.rows.append(item)
            lst.live += state in (LIVE, PENDING)
            changes.append((position, number, changed))
        for position, number, changed in sorted(changes):
            lst.log.restore(position, number, changed)
        self._load_versions(tenant, lst)
        lst.indexes.clear()
        lst.reindex()
        tenant.lists.add(lst)

    def _load_versions(self, tenant: Tenant, lst: SimList) -> None:
        rows = self._db.execute("SELECT * FROM version WHERE list = ? ORDER BY id, ui", (lst.id,))
        for _, number, ui, editor, modified, fields in rows:
            item = lst.rows[number - 1]
            if item is not None and ui > item.ui - tenant.switches.version_limit:
                item.history = item.history or []
                item.history.append(Version(ui, tenant.people.by_number[editor], modified, fields))
