"""The source table of a sync, read page by page and key by key, and mapped.

In: a source connection, a compiled sync. Out: pages of mapped rows, each with its snapshot; which keys are gone. Rule:
the next page is read in the background while the caller judges one; a read that hangs is nobody else's wait.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from connectors.loops import Beside
from connectors.postgres import table_pages
from rowtide.error_catalogue import source_errors
from rowtide.mapping.compiled_sync import CompiledSync, Mapped
from rowtide.snapshot import Snapshot
from state.reconcile import backfill
from state.reconcile.backfill import Line

LEAST_ROWS, MOST_ROWS = 1000, 5000
_QUICK_S, _SLOW_S = 0.15, 0.6
ASKED_ROWS = 5000


@dataclass(frozen=True, slots=True)
class Read:
    """A page of the table, mapped."""

    snapshot: Snapshot
    keys: list[str]
    lines: list[Line]
    rows: int
    last: table_pages.Cursor | None
    took_s: float


class Table:
    """The source table of a sync; the next page is read in the background while the caller judges one."""

    def __init__(
        self, connection: table_pages.Connection, compiled: CompiledSync, list_id: Callable[[str], str | None]
    ) -> None:
        self.compiled = compiled
        self.keyset = table_pages.read_keyset(connection, compiled)
        self._connection = connection
        self._list_id = list_id
        self._binding = compiled.bind(compiled.select_columns)
        self._size = LEAST_ROWS
        self._ahead: tuple[tuple[table_pages.Cursor | None, table_pages.Cursor | None], Beside[Read]] | None = None

    def read(self, after: table_pages.Cursor | None, until: table_pages.Cursor | None = None) -> Read:
        """The page after ``after``; reading of the page behind it begins meanwhile."""
        if self._ahead is not None and self._ahead[0] != (after, until):
            self.rest()
        found = self._ahead[1].result() if self._ahead is not None else self._page(after, until)
        self._ahead = None
        if found.last is not None:
            behind = found.last
            self._ahead = (behind, until), Beside("rowtide-reconcile-read", lambda: self._page(behind, until))
        return found

    def rest(self) -> None:
        """Wait for what is being read ahead and forget it; the connection is free then."""
        if self._ahead is not None:
            self._ahead[1].result()
            self._ahead = None

    def abandon(self) -> None:
        """Close the connection, unless a read on it hangs: then nobody may touch it, and it ends with its thread."""
        if self._ahead is not None and not self._connection.closed:
            self._connection.cancel_safe(timeout=1.0)
        if self._ahead is None or self._ahead[1].ended(1.0):
            self._connection.close()
        self._ahead = None

    def _page(self, after: table_pages.Cursor | None, until: table_pages.Cursor | None) -> Read:
        began = time.monotonic()
        page = table_pages.read_page(self._connection, self.compiled, self.keyset, after, self._size, until)
        took_s = time.monotonic() - began
        if page.last is not None:
            # Wide rows make small pages: a page is judged while the next is read, both in memory.
            factor = 2.0 if took_s < _QUICK_S else 0.5 if took_s > _SLOW_S else 1.0
            self._size = int(min(MOST_ROWS, max(LEAST_ROWS, self._size * factor)))
        keys, lines = self.to_lines(page.rows)
        if len(set(keys)) < len(keys):
            names = ", ".join(self.compiled.key_columns)
            raise source_errors.KEY_NOT_UNIQUE(table=f"{self.compiled.schema}.{self.compiled.table}", columns=names)
        return Read(page.snapshot, keys, lines, len(page.rows), page.last, took_s)

    def to_lines(self, rows: Iterable[table_pages.Values]) -> tuple[list[str], list[Line]]:
        """Keys and lines of those rows that belong to a list."""
        # A measured hot loop: every row of a reconcile passes here.
        change_of = self._binding.change_of
        chunk_line, lists = backfill.chunk_line, {title: self._list_id(title) for title in self.compiled.titles}
        keys, lines = [], []
        for row in rows:
            key, op, target, fields, park = change_of(row)
            if park is not None:
                keys.append(key)
                lines.append(backfill.park_line(key, *park))
            elif op == "u" and target is not None and fields is not None:
                keys.append(key)
                lines.append(chunk_line(key, target, lists.get(target), fields))
        return keys, lines

    def read_rows(self, keys: Sequence[str]) -> Iterator[Read]:
        """The rows of these keys, as far as they are there; in several reads where they are wide."""
        for found in self.find(keys):
            there, lines = self.to_lines(found.rows.values())
            yield Read(found.snapshot, there, lines, len(found.rows), None, 0.0)

    def absent(self, keys: Sequence[str]) -> tuple[Snapshot, list[str]]:
        """Which of these keys have no row any more, or one that belongs to no list. Call it with nothing read ahead."""
        if self.compiled.where is None:
            self.rest()
            snapshot, there = table_pages.read_keys(self._connection, self.compiled, self.keyset, keys)
            return snapshot, [key for key in keys if key not in there]
        first: Snapshot | None = None
        there = set()
        for found in self.find(keys):
            # Of several reads the first snapshot counts: whatever a later one sees beyond it is still to be streamed.
            first = first or found.snapshot
            there |= {key for key, values in found.rows.items() if self._binding.change_of(values).op != "d"}
        return first or self.snapshot(), [key for key in keys if key not in there]

    def pages(self) -> Iterator[list[table_pages.Values]]:
        """Every row as it was read, page by page, with columns as `CompiledSync.select_columns` has them."""
        self.rest()
        after = None
        while True:
            page = table_pages.read_page(self._connection, self.compiled, self.keyset, after, MOST_ROWS)
            yield page.rows
            after = page.last
            if after is None:
                return

    def mapped(self, values: table_pages.Values) -> Mapped:
        """What becomes of a row that was read."""
        return self._binding.change_of(values)

    def find(self, keys: Sequence[str]) -> Iterator[table_pages.RowsByKey]:
        """The rows of these keys, no more at a time than a page holds."""
        self.rest()
        asked = 0
        while asked < len(keys):
            found = table_pages.read_rows(self._connection, self.compiled, self.keyset, keys[asked:])
            asked += found.asked
            yield found

    def mark(self) -> int:
        """Where the source's WAL stands; a message behind that LSN tells capture that somebody waits for it."""
        self.rest()
        return table_pages.write_mark(self._connection, self.compiled.sync)

    def snapshot(self) -> Snapshot:
        """What the source shows now."""
        self.rest()
        return table_pages.read_snapshot(self._connection)
