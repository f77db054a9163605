"""Reconciles syncs: first load, re-sync and repair by one mechanism, in a thread beside the flow or from a command.

In: the applied definition and sync states (`View`), the records of state.reconcile.record, sessions on sources. Out:
rows in the outbox, records moved on, runs. Rules: a sync that its last pass does not cover (never loaded, a new era,
changes that passed by, another mapping) is reconciled without being asked; a source that fails or hangs, or a pass that
waits, delays no other sync.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from connectors.loops import Loop
from connectors.pace import Pace
from connectors.postgres import table_pages
from connectors.postgres.source_sessions import SourceSessions
from connectors.trouble import Trouble
from flows import tidying
from flows.applied_view import View
from flows.deep_pass import Lists
from flows.reconcile_pass import Pass
from flows.source_table import ASKED_ROWS, Table
from rowtide.catalog import Catalog
from rowtide.error_catalogue import process_errors, status_reasons
from rowtide.errors import RowtideError, StateUnavailable, SyncError
from rowtide.holds import places
from rowtide.reconcile import Coverage, why_wanted
from state import database, definitions, failpoints, processes, pulse
from state.database import Connection
from state.reconcile import backfill
from state.reconcile import record as reconcile
from state.reconcile.backfill import Differences, Ground
from state.reconcile.record import Reconcile, SyncStanding

log = structlog.get_logger()

SLICE_S = 5.0
"""Seconds after which a sync gives way to the others."""
IDLE_S = 0.5
MARK_S = 0.05
"""Seconds between two looks at a pass that has set its mark a moment ago: capture meets it at once, or is behind."""
MARK_FOR_S = 2.0
TIDY_S = 3600.0
"""Seconds between two removals of what is over (flows.tidying); the first one comes a minute after the start."""
SOURCE = "rowtide reconcile"
"""The name of its sessions, on sources and state database."""
_NEEDS = {"mark": "capture", "enumerate": "deliver", "round": "deliver"}
"""Phases that end only while a process with this role runs."""


@dataclass(slots=True)
class _Standstill:
    """Why a sync's reconcile cannot go on, and when it is tried again."""

    trouble: Trouble
    until: float = 0.0


class Reconciler:
    """Reconciles in one background thread of the process."""

    def __init__(
        self, state_dsn: str, owner: str, view: Callable[[], View], sessions: SourceSessions, pace: Pace
    ) -> None:
        self._state_dsn = state_dsn
        self._owner = owner
        self._view = view
        self._sessions = sessions
        self._pace = pace
        self._state: Connection | None = None
        self._records: dict[str, Reconcile] = {}
        self._standstills: dict[str, _Standstill] = {}
        self._untidied: dict[str, Trouble] = {}
        self._next_tidy = time.monotonic() + 60.0
        self._stop = threading.Event()
        self._thread = Loop(failpoints.LOOP_RECONCILE, self._run, self._stop)

    def start(self) -> None:
        """Begin to reconcile what is wanted."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; the next process reads again what was read and not staged."""
        self._stop.set()
        self._sessions.cancel()
        self._thread.join(1.0)

    def health(self) -> dict[str, Any]:
        """Per sync that is being reconciled: rows compared, rows expected, why it stands still (state.processes)."""
        health_by_sync = {}
        for sync, record in dict(self._records).items():
            standstill = self._standstills.get(sync)
            error = standstill.trouble.problem if standstill is not None else None
            if record.state == "done" and error is None:
                continue
            problem = None if error is None else _document(error.code, error.sentence, error.remedy)
            if problem is None and record.waits:
                waits = status_reasons.RECONCILE_WAITS(waits=record.waits)
                problem = _document(waits.code, waits.sentence, waits.next)
            health_by_sync[sync] = {
                "done": record.counts.get("rows", 0),
                "total": record.estimate or None,
                "phase": record.phase,
                "problem": problem,
            }
        return health_by_sync

    def _run(self) -> None:
        trouble = Trouble("reconcile waits", "reconcile goes on again")
        worked_at = time.monotonic()
        while not self._stop.is_set():
            worked, wait_s = False, IDLE_S
            try:
                self._thread.turn()
                worked = self._round()
                if worked:
                    worked_at = time.monotonic()
                elif self._awaits_mark() and time.monotonic() < worked_at + MARK_FOR_S:
                    wait_s = MARK_S
                trouble.succeeded()
            except Exception as error:
                self._close()
                self._thread.count(error)
                name = type(error).__name__
                problem = error if isinstance(error, RowtideError) else process_errors.RECONCILE_FAILED(error=name)
                wait_s = trouble.failed(problem, error)
            if not worked:
                pulse.wait(self._stop, wait_s)
        self._close()

    def _awaits_mark(self) -> bool:
        """Whether a pass waits for capture to meet its mark."""
        return any(record.state == "running" and record.phase == "mark" for record in self._records.values())

    def _round(self) -> bool:
        """Give each sync that wants one a slice; True if anything was done."""
        view = self._view()
        state = self._connect()
        with database.translated():
            wanted = wanted_syncs(state, view)
            self._records = reconcile.read_all(state)
        for sync in self._standstills.keys() - set(wanted):
            self._standstills.pop(sync).trouble.succeeded()
        now = time.monotonic()
        ready = [sync for sync in wanted if sync not in self._standstills or self._standstills[sync].until <= now]
        worked = [self._slice(view, sync) for sync in ready if not self._stop.is_set()]
        if now >= self._next_tidy:
            self._next_tidy = now + TIDY_S
            self._tidy(state, view, wanted)
        return any(worked)

    def _slice(self, view: View, sync: str) -> bool:
        postgres = view.catalog.syncs[sync].postgres
        state = self._connect()
        try:
            with database.translated():
                worked = _go_on(
                    state,
                    view.catalog,
                    sync,
                    self._owner,
                    lambda: self._sessions.get(postgres),
                    self._stop.is_set,
                    SLICE_S,
                    self._note,
                )
            if standstill := self._standstills.pop(sync, None):
                standstill.trouble.succeeded()
            return worked
        except RowtideError as error:
            if self._stop.is_set():
                return False
            self._troubled(state, postgres, sync, error)
            if isinstance(error, StateUnavailable):
                raise
            return False

    def _note(self, record: Reconcile) -> None:
        """Note how far a pass is."""
        before = self._records.get(record.sync)
        self._records[record.sync] = record
        if before is not None and before.run_id == record.run_id:
            self._pace.note(record.sync, "compared", _read_by(record) - _read_by(before))

    def _tidy(self, state: Connection, view: View, wanted: Sequence[str]) -> None:
        """Take away what is over; of a sync that a person has paused, too."""
        with database.translated():
            tidying.tidy_records(state, view.catalog.definition.kept)
        for sync in sorted(view.routed.difference(wanted)):
            if not view.reach.apart.keys() & places(view.catalog.syncs[sync]):
                self._tidy_sync(view, sync)

    def _tidy_sync(self, view: View, sync: str) -> None:
        place, kept = view.catalog.syncs[sync], view.catalog.definition.kept.tombstones
        trouble = self._untidied.setdefault(
            sync, Trouble("tombstones stay", "tombstones go again", source=place.postgres, sync=sync)
        )
        try:
            source = self._sessions.get(place.postgres)
            with database.translated():
                tidying.tidy(self._connect(), source, place, view.catalog.definition.slot(place.postgres), kept)
        except RowtideError as error:
            trouble.failed(error)
            self._close()
        else:
            trouble.succeeded()

    def _troubled(self, state: Connection, postgres: str, sync: str, error: RowtideError) -> None:
        if sync not in self._standstills:
            self._standstills[sync] = _Standstill(
                Trouble("reconcile stands still", "reconcile stands no longer", source=postgres, sync=sync)
            )
        standstill = self._standstills[sync]
        standstill.until = time.monotonic() + standstill.trouble.failed(error)
        if isinstance(error, SyncError):
            with database.translated():
                # As a stop by capture does, it ends when whoever watches the shape sees it fit again.
                definitions.stop_capture(state, sync, error.code, error.sentence)

    def _connect(self) -> Connection:
        if self._state is None or self._state.closed:
            self._state = database.connect(self._state_dsn, SOURCE)
        return self._state

    def _close(self) -> None:
        # Advisory locks live with their connection: once it is closed, the passes are free.
        if self._state is not None:
            self._state.close()
            self._state = None
        self._sessions.close()


def _document(code: str, sentence: str, remedy: str) -> dict[str, str]:
    return {"code": code, "sentence": sentence, "remedy": remedy}


def _read_by(record: Reconcile) -> int:
    """How many rows a pass has read so far, in one way or the other."""
    return sum(record.counts.get(name, 0) for name in ("rows", "rows_again", "asked"))


def wanted_syncs(state: Connection, view: View) -> list[str]:
    """The syncs to reconcile now; a reconcile is requested here for each that its last pass does not cover."""
    if view.not_taken is not None:
        return []  # a process of the newer release covers another mapping, and both would begin the pass anew
    records = reconcile.read_all(state)
    syncs = []
    for sync, compiled in view.catalog.syncs.items():
        standing = reconcile.read_standing(state, compiled, view.catalog.definition.slot(compiled.postgres))
        if not standing.captured:
            continue
        record = records.get(sync)
        if record is None or record.state == "done":
            coverage = Coverage(standing.era, compiled.version)
            why = why_wanted(record.covered if record is not None else None, coverage)
            if why is None:
                continue
            reconcile.request(state, sync, why)
        syncs.append(sync)
    return syncs


def forget_tombstone(state_dsn: str, catalog: Catalog, sync: str, sessions: SourceSessions, key: str) -> bool:
    """Forget the tombstone of ``key`` before its time; False while a replay or a snapshot may still speak of it."""
    place = catalog.syncs[sync]
    with database.connect(state_dsn, SOURCE) as state, database.translated(), closing(sessions):
        source, slot = sessions.get(place.postgres), catalog.definition.slot(place.postgres)
        return tidying.tidy(state, source, place, slot, timedelta(0), key) > 0


def _go_on(
    state: Connection,
    catalog: Catalog,
    sync: str,
    owner: str,
    source: Callable[[], table_pages.Connection],
    stopped: Callable[[], bool],
    slice_s: float,
    report: Callable[[Reconcile], None],
) -> bool:
    """Do steps of the sync's pass for at most ``slice_s``; True if any was done. An error leaves it to be taken up."""
    record = reconcile.take_up(state, sync, owner)
    if record is None:
        return False
    worked = False
    try:
        with open_table(source(), catalog, sync) as table:
            slot = catalog.definition.slot(table.compiled.postgres)
            going = Pass(state, table, slot, lists_of(catalog, sync), record)
            until = time.monotonic() + slice_s
            while not stopped() and time.monotonic() < until and going.step():
                worked = True
                report(going.record)
            report(going.record)
    finally:
        if not state.closed:
            reconcile.put_down(state, sync)
    return worked


def lists_of(catalog: Catalog, sync: str) -> Lists:
    """The lists of a sync that an enumeration reads."""
    graph = catalog.definition.graph[catalog.syncs[sync].graph]
    return Lists(tuple(sorted(ref.id for ref in catalog.lists_of(sync))), graph.absent_after)


@contextmanager
def open_table(source: table_pages.Connection, catalog: Catalog, sync: str) -> Iterator[Table]:
    """The sync's table. After an error its connection is closed, because the next pass could not use it."""
    table = None
    try:
        table = Table(source, catalog.syncs[sync], lambda title: catalog.list_id(sync, title))
        yield table
        table.rest()
    except BaseException:
        if table is not None:
            table.abandon()
        else:
            source.close()
        raise


def reconcile_here(
    state_dsn: str,
    catalog: Catalog,
    sync: str,
    sessions: SourceSessions,
    owner: str,
    stop: threading.Event,
    report: Callable[[Reconcile], None],
    deep: bool = False,
) -> Reconcile:
    """Ask for a reconcile of ``sync`` and see it done, by a running process if one has it, else here.

    ``deep``: the lists are read too, by a process with the role deliver.

    ``report`` is called with the record now and then. Returns the record when the pass is done, when the sync is
    paused (the mass-delete breaker) or not captured, while the pass waits for the opening, or when ``stop`` was set;
    ``waits`` says why it is not done.
    Raises errors of source and state database.
    """
    place = catalog.syncs[sync]
    with database.connect(state_dsn, SOURCE) as state, database.translated(), closing(sessions):
        sessions.get(place.postgres)
        reconcile.request(state, sync, "asked for", deep=deep)
        slot = catalog.definition.slot(place.postgres)
        asked = _must_read(state, sync).asked
        while True:
            worked = _go_on(state, catalog, sync, owner, lambda: sessions.get(place.postgres), stop.is_set, 1.0, report)
            record = _must_read(state, sync)
            standing = reconcile.read_standing(state, place, slot)
            if not standing.captured:
                record = replace(record, waits=record.waits or _why_not_captured(state, standing, slot))
            finished = record.state == "done" and record.serves >= asked
            still = not standing.captured or record.phase == "opening"
            if record.phase in _NEEDS:
                still = still or not processes.role_alive(state, _NEEDS[record.phase])
            if finished or stop.is_set() or (not worked and still):
                return record
            report(record)
            if not worked:
                stop.wait(IDLE_S)


def _why_not_captured(state: Connection, standing: SyncStanding, slot: str) -> str:
    if standing.held is not None:
        return status_reasons.RECONCILE_HELD(why=standing.held).sentence
    if standing.cursor_lsn is None and not processes.role_alive(state, "capture"):
        return status_reasons.RECONCILE_UNCAPTURED(slot=slot).sentence
    return status_reasons.RECONCILE_UNOPENED(slot=slot).sentence


def _must_read(state: Connection, sync: str) -> Reconcile:
    record = reconcile.read(state, sync)
    assert record is not None
    return record


def dry_run(
    state_dsn: str,
    catalog: Catalog,
    sync: str,
    sessions: SourceSessions,
    report: Callable[[int, int], None] = lambda _rows, _estimate: None,
) -> tuple[int, Differences]:
    """Rows read, and what a reconcile would stage; nothing is written. ``report``: rows so far, estimated rows."""
    compiled = catalog.syncs[sync]
    with database.connect(state_dsn, SOURCE) as state, database.translated(), closing(sessions):
        standing = reconcile.read_standing(state, compiled, catalog.definition.slot(compiled.postgres))
        era = standing.era
        with open_table(sessions.get(compiled.postgres), catalog, sync) as table:
            rows, found = _count_differences(state, table, era, report)
            if compiled.carries_deletions:
                found = found.plus(_count_deletes(state, table, era))
        return rows, found


def _count_differences(
    state: Connection, table: Table, era: int, report: Callable[[int, int], None]
) -> tuple[int, Differences]:
    rows, found, after = 0, Differences(), None
    while True:
        read = table.read(after)
        with state.transaction(force_rollback=True):
            ground = Ground(table.compiled.sync, era, table.compiled.version, read.snapshot)
            found = found.plus(backfill.compare(state, ground, read.lines))
        rows, after = rows + read.rows, read.last
        report(rows, table.keyset.estimate)
        if after is None:
            return rows, found


def _count_deletes(state: Connection, table: Table, era: int) -> Differences:
    sync, found = table.compiled.sync, Differences()
    after: str | None = None
    while keys := reconcile.keys_to_ask(state, sync, None, after, ASKED_ROWS):
        snapshot, absent = table.absent(keys)
        ground = Ground(sync, era, table.compiled.version, snapshot)
        found, after = found.plus(backfill.compare_absent(state, ground, absent)), keys[-1]
    return found
