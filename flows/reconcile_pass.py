"""One pass of a reconcile: its steps, each one durable transaction.

In: a `Reconcile` record taken up, connections to source and state database, the compiled sync. Out: the record moved
on, rows staged. Rules (docs/design.md section 9): rowtide.reconcile says which phase follows which; every row is judged
with the snapshot under which it was read; a step first looks whether the sync still runs and still has the stream with
which the pass began, and begins the pass anew where it has not.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from connectors.postgres import table_pages
from flows.deep_pass import DeepSteps, Lists
from flows.source_table import ASKED_ROWS, Read, Table
from rowtide import mass_delete
from rowtide.errors import SyncError
from rowtide.holds import HeldDeletes
from rowtide.reconcile import Coverage, Phase, next_phase, why_wanted
from rowtide.snapshot import Snapshot
from state import enumeration, failpoints, pulled, suspect
from state.database import Connection
from state.reconcile import record as reconcile
from state.reconcile.backfill import Ground
from state.reconcile.record import Reconcile, SyncStanding

log = structlog.get_logger()

LOST_EDITS: Final = (
    "It is looked first whether the source has lost edits that were applied to it, which needs a process with the role"
    " deliver."
)
"""Why a pass waits in a new era of a sync that goes both ways."""


class Pass:
    """A pass under way. Call `step` until it says that there is nothing to do now."""

    def __init__(self, state: Connection, table: Table, slot: str, lists: Lists, record: Reconcile) -> None:
        self.record = record
        self._state = state
        self._table = table
        self._slot = slot
        self._compiled = table.compiled
        self._deep = DeepSteps(state, table, lists)
        self._steps: dict[str, Callable[[SyncStanding], bool]] = {
            "mark": self._mark,
            "compare": self._compare,
            "again": self._again,
            "ask": self._ask,
            "delete": self._delete,
            "opening": self._wait_for_opening,
            "enumerate": self._deep_step(self._deep.enumerate),
            "round": self._deep_step(self._deep.round),
            "judge": self._judge,
        }

    def step(self) -> bool:
        """Do one step; False when nothing can be done now: done, paused, not captured yet, waiting for the opening."""
        standing = reconcile.read_standing(self._state, self._compiled, self._slot)
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
        enumeration.forget(self._state, self.record.sync, "deep")
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
        if self._awaits_lost_edits():
            return False
        # Whatever committed before the opening, or requested this pass, has an xid below the snapshot's end.
        snapshot = self._table.snapshot()
        opened = replace(record, opening_xid=snapshot.xmax, lowest_xmin=snapshot.xmin)
        self.record = reconcile.save(self._state, _enter(opened, next_phase("mark", False, False, record.enumerates)))
        return True

    def _awaits_lost_edits(self) -> bool:
        """Whether it is still to be seen what the source has lost of people's edits: they are applied again first."""
        is_pulled = self._compiled.two_ways and self._compiled.mode == "deliver"
        if not is_pulled or not pulled.has_unconfirmed(self._state, self._compiled.sync):
            return False
        if self.record.waits != LOST_EDITS:
            self.record = reconcile.save(self._state, replace(self.record, waits=LOST_EDITS))
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
        if record.enumerates:
            record = self._deep.take_up_of(record, found.keys)
        self.record = reconcile.stage_chunk(self._state, record, self._ground(found.snapshot), found.lines)
        self._say(before)

    def _ask(self, _standing: SyncStanding) -> bool:
        record = self.record
        if record.enumerates and record.after_key is None:
            record = self._deep.take_up_of_nobody(record)
        keys: list[str] = []
        if self._compiled.carries_deletions:
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

    def _delete(self, _standing: SyncStanding) -> bool:
        keys = reconcile.absent_keys(self._state, self.record.sync, ASKED_ROWS)
        if not keys:
            return self._end_of_deletes()
        held, pairs = reconcile.count_absent(self._state, self.record.sync)
        tripped = mass_delete.judge_deletes(self.record.sync, held.count, pairs, self._compiled.breaker)
        if tripped is not None:
            return self._hold(tripped, held)
        snapshot, absent = self._table.absent(keys)
        failpoints.hit(failpoints.RECONCILE_AFTER_READ)
        ground = self._ground(snapshot)
        self.record = reconcile.stage_deletes(self._state, self.record, ground, keys, absent)
        return True

    def _hold(self, error: SyncError, held: HeldDeletes) -> bool:
        """Hold the sync until a person approves what was found; held before, the source is asked anew at first."""
        if self.record.waits is not None:
            self.record = reconcile.forget_absent(self._state, _enter(self.record, "ask"))
            return True
        log.warning("sync held", sync=self.record.sync, code=error.code, problem=error.unquoted)
        self.record = reconcile.hold_deletes(
            self._state, replace(self.record, waits=error.sentence), error.code, error.sentence, held
        )
        return False

    def _end_of_deletes(self) -> bool:
        phase = next_phase("delete", self.record.unread, False, self.record.enumerates)
        if phase == "done":
            return self._finish()
        self.record = reconcile.save(self._state, _enter(self.record, phase))
        return True

    def _finish(self) -> bool:
        """End the pass; whether another one is wanted already."""
        if self.record.enumerates:
            suspect.end(self._state, self.record.sync, self.record.started_at)
        self.record = reconcile.finish(self._state, self.record)
        failpoints.hit(failpoints.RECONCILE_FINISHED)
        enumeration.forget(self._state, self.record.sync, "deep")
        log.info("reconcile done", sync=self.record.sync, **self.record.counts)
        return self.record.state == "wanted"

    def _deep_step(self, act: Callable[[Reconcile], tuple[Reconcile, bool]]) -> Callable[[SyncStanding], bool]:
        def step(_standing: SyncStanding) -> bool:
            before = self.record.phase
            self.record, worked = act(self.record)
            self._say(before)
            return worked

        return step

    def _judge(self, _standing: SyncStanding) -> bool:
        self.record, worked = self._deep.judge(self.record)
        return self._finish() if self.record.phase == "done" else worked

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
