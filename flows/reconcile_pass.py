"""One pass of a reconcile: its steps, each one durable transaction.

In: a `Reconcile` record taken up, connections to source and state database, the compiled sync. Out: the record moved
on, rows staged. Rules (docs/design.md section 9): rowtide.reconcile says which phase follows which; every row is judged
with the snapshot under which it was read; a step first looks whether the sync still runs and still has the stream with
which the pass began, and begins the pass anew where it has not.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import structlog

from connectors.postgres import table_pages
from rowtide import mass_delete
from rowtide.keys import lane_of
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.reconcile import Coverage, Phase, next_phase, why_wanted
from rowtide.snapshot import Snapshot
from state import definitions, failpoints
from state.database import Connection
from state.reconcile import backfill
from state.reconcile import record as reconcile
from state.reconcile.backfill import Ground, Line
from state.reconcile.record import Reconcile, SyncStanding

log = structlog.get_logger()
T = TypeVar("T")

LEAST_ROWS, MOST_ROWS = 1000, 5000
_QUICK_S, _SLOW_S = 0.15, 0.6
ASKED_ROWS = 5000


class Ahead(Generic[T]):
    """One call that runs ahead on a thread of its own; a daemon, so that nobody waits for a source that hangs."""

    def __init__(self, act: Callable[[], T]) -> None:
        self._act = act
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="rowtide-reconcile-read", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._act()
        except BaseException as error:
            self._error = error

    def ended(self, timeout_s: float) -> bool:
        """Whether the call is over, waiting so long for it."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def result(self) -> T:
        """What the call returned or raised, once it has."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Read:
    """A page of the table, mapped."""

    snapshot: Snapshot
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
        self._ahead: tuple[tuple[table_pages.Cursor | None, table_pages.Cursor | None], Ahead[Read]] | None = None

    def read(self, after: table_pages.Cursor | None, until: table_pages.Cursor | None = None) -> Read:
        """The page after ``after``; reading of the page behind it begins meanwhile."""
        if self._ahead is not None and self._ahead[0] != (after, until):
            self.rest()
        found = self._ahead[1].result() if self._ahead is not None else self._page(after, until)
        self._ahead = None
        if found.last is not None:
            behind = found.last
            self._ahead = (behind, until), Ahead(lambda: self._page(behind, until))
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
        return Read(page.snapshot, self._lines(page.rows), len(page.rows), page.last, took_s)

    def _lines(self, rows: Sequence[table_pages.Values]) -> list[Line]:
        # A measured hot loop: every row of a reconcile passes here.
        sync, change_of = self.compiled.sync, self._binding.change_of
        chunk_line, lists = backfill.chunk_line, {title: self._list_id(title) for title in self.compiled.titles}
        lines = []
        for row in rows:
            key, op, target, fields, park = change_of(row)
            if park is not None:
                lines.append(backfill.park_line(key, lane_of(sync, key), *park))
            elif op == "u" and target is not None and fields is not None:
                lines.append(chunk_line(key, lane_of(sync, key), target, lists.get(target), fields))
        return lines

    def absent(self, keys: Sequence[str]) -> tuple[Snapshot, list[str]]:
        """Which of these keys have no row any more, or one that belongs to no list. Call it with nothing read ahead."""
        self.rest()
        if self.compiled.where is None:
            snapshot, there = table_pages.read_keys(self._connection, self.compiled, self.keyset, keys)
        else:
            snapshot, found = table_pages.read_rows(self._connection, self.compiled, keys)
            there = {key for key, values in found.items() if self._binding.change_of(values).op != "d"}
        return snapshot, [key for key in keys if key not in there]

    def mark(self) -> int:
        """Where the source's WAL stands; a message behind that LSN tells capture that somebody waits for it."""
        self.rest()
        return table_pages.write_mark(self._connection, self.compiled.sync)

    def snapshot(self) -> Snapshot:
        """What the source shows now."""
        self.rest()
        return table_pages.read_snapshot(self._connection)


class Pass:
    """A pass under way. Call `step` until it says that there is nothing to do now."""

    def __init__(self, state: Connection, table: Table, slot: str, record: Reconcile) -> None:
        self.record = record
        self._state = state
        self._table = table
        self._slot = slot
        self._compiled = table.compiled
        self._steps: dict[str, Callable[[SyncStanding], bool]] = {
            "mark": self._mark,
            "compare": self._compare,
            "again": self._again,
            "ask": self._ask,
            "delete": self._delete,
            "opening": self._wait_for_opening,
        }

    def step(self) -> bool:
        """Do one step; False when nothing can be done now: done, paused, not captured yet, waiting for the opening."""
        standing = reconcile.read_standing(self._state, self.record.sync, self._slot)
        if self.record.state == "done" or not standing.captured:
            return False
        coverage = Coverage(standing.era, self._compiled.version)
        if self.record.state == "wanted" or self.record.covered != coverage:
            self._begin(coverage)
        return self._steps[self.record.phase or "mark"](standing)

    def _begin(self, coverage: Coverage) -> None:
        estimate = self._table.keyset.estimate
        if self.record.state == "running":  # what the pass began with has changed
            self.record = replace(self.record, why=why_wanted(self.record.covered, coverage) or self.record.why)
        log.info("reconcile begins", sync=self.record.sync, why=self.record.why, era=coverage.era, rows_about=estimate)
        self.record = reconcile.begin(self._state, self.record, coverage, estimate)
        failpoints.hit(failpoints.RECONCILE_BEGUN)

    def _mark(self, standing: SyncStanding) -> bool:
        """Wait until the cursor is past the mark: then outbox or ledger has what was committed before it.

        So whatever the pass answers (a TRUNCATE, a gap, an older era's queue), no older change can come after it.
        """
        record = self.record
        if record.mark_lsn is None:
            self.record = reconcile.save(self._state, replace(record, mark_lsn=self._table.mark()))
            return True
        cursor_lsn = standing.cursor_lsn or 0
        if cursor_lsn < record.mark_lsn:
            if record.waits is None:
                waits = (
                    f"Capture has {record.mark_lsn - cursor_lsn:,} bytes of WAL to stage before the pass may read the "
                    "table; it needs a running process with the role capture."
                )
                self.record = reconcile.save(self._state, replace(record, waits=waits))
            return False
        # Whatever committed before the opening, or requested this pass, has an xid below the snapshot's end.
        snapshot = self._table.snapshot()
        opened = replace(record, opening_xid=snapshot.xmax, lowest_xmin=snapshot.xmin)
        self.record = reconcile.save(self._state, _enter(opened, next_phase("mark", False, False)))
        return True

    def _ground(self, snapshot: Snapshot) -> Ground:
        assert self.record.era is not None
        return Ground(self.record.sync, self.record.era, self._compiled.version, snapshot)

    def _passed(self, snapshot: Snapshot) -> bool:
        """Whether ``snapshot`` shows no transaction from before the opening under way."""
        return snapshot.xmin >= self.record.opening_xid

    def _compare(self, _standing: SyncStanding) -> bool:
        record = self.record
        found = self._table.read(_cursor(record.after_key))
        record = replace(record.counting(rows=found.rows), after_key=_stored(found.last))
        passed = self._passed(found.snapshot)
        if not passed:
            record = replace(record, unread=True, unread_until=_stored(found.last))
        if found.last is None:
            record = _enter(record, next_phase("compare", record.unread, passed))
        self._stage(record, found)
        return True

    def _again(self, _standing: SyncStanding) -> bool:
        record = self.record
        found = self._table.read(_cursor(record.after_key), _cursor(record.unread_until))
        record = replace(record.counting(rows_again=found.rows), after_key=_stored(found.last))
        if found.last is None:
            record = _enter(replace(record, unread=False, unread_until=None, read_again=True), "ask")
        self._stage(record, found)
        return True

    def _stage(self, record: Reconcile, found: Read) -> None:
        before = self.record.phase
        failpoints.hit(failpoints.RECONCILE_AFTER_READ)
        self.record = reconcile.stage_chunk(self._state, record, self._ground(found.snapshot), found.lines)
        self._say(before)

    def _ask(self, _standing: SyncStanding) -> bool:
        record = self.record
        keys: list[str] = []
        if self._compiled.deletes == "propagate":
            after = record.after_key[0] if record.after_key else None
            keys = reconcile.keys_to_ask(self._state, record.sync, record.asks_before, after, ASKED_ROWS)
        if not keys:
            self.record = reconcile.save(self._state, _enter(record, next_phase("ask", record.unread, False)))
            return True
        snapshot, absent = self._table.absent(keys)
        failpoints.hit(failpoints.RECONCILE_AFTER_READ)
        record = replace(record.counting(asked=len(keys)), after_key=[keys[-1]])
        self.record = reconcile.note_absent(self._state, record, self._ground(snapshot), absent)
        return True

    def _delete(self, standing: SyncStanding) -> bool:
        keys = reconcile.absent_keys(self._state, self.record.sync, ASKED_ROWS)
        if not keys:
            return self._end_of_deletes()
        if self._tripped(standing):
            return False
        snapshot, absent = self._table.absent(keys)
        failpoints.hit(failpoints.RECONCILE_AFTER_READ)
        ground = self._ground(snapshot)
        self.record = reconcile.stage_deletes(self._state, self.record, ground, keys, absent)
        return True

    def _tripped(self, standing: SyncStanding) -> bool:
        """Whether the breaker paused the sync; when it runs again, the source is asked anew."""
        sync, limits = self.record.sync, self._compiled.breaker
        deletes, pairs = reconcile.count_absent(self._state, sync)
        error = mass_delete.judge_deletes(sync, deletes, pairs, limits, standing.deletes_approved_until, standing.now)
        if error is None:
            return False
        log.warning("sync paused", sync=sync, code=error.code, problem=error.sentence)
        asking = replace(_enter(self.record, "ask"), waits=error.sentence)
        self.record = reconcile.forget_absent(self._state, asking)
        definitions.pause(self._state, [sync], error.code, error.sentence, "breaker")
        return True

    def _end_of_deletes(self) -> bool:
        phase = next_phase("delete", self.record.unread, False)
        if phase == "done":
            self.record = reconcile.finish(self._state, self.record)
            failpoints.hit(failpoints.RECONCILE_FINISHED)
            log.info("reconcile done", sync=self.record.sync, **self.record.counts)
            return self.record.state == "wanted"
        self.record = reconcile.save(self._state, _enter(self.record, phase))
        return True

    def _wait_for_opening(self, _standing: SyncStanding) -> bool:
        snapshot = self._table.snapshot()
        if self._passed(snapshot):
            self.record = reconcile.save(self._state, _enter(self.record, "again"))
            return True
        waits = (
            f"Transactions begun before xid {self.record.opening_xid} go on in the source (the oldest is "
            f"{snapshot.xmin}); what was read before they end is read again then."
        )
        if waits != self.record.waits:
            self.record = reconcile.save(self._state, replace(self.record, waits=waits))
        return False

    def _say(self, before: str | None) -> None:
        if self.record.phase != before:
            log.info("reconcile goes on", sync=self.record.sync, phase=self.record.phase, **self.record.counts)


def _enter(record: Reconcile, phase: Phase) -> Reconcile:
    return replace(record, phase=phase, after_key=None, waits=None)


def _cursor(stored: list[str] | None) -> table_pages.Cursor | None:
    return None if stored is None else tuple(stored)


def _stored(cursor: table_pages.Cursor | None) -> list[str] | None:
    return None if cursor is None else list(cursor)
