"""Compares source, records and lists of a sync, and changes none of them.

In: the applied definition, a source, a state database whose processes capture and deliver. Out: a `SyncDiff`. Rules
(docs/design.md section 9): what differs counts only if capture has passed a mark set after it was read, if the lists
were read since, if nothing waits for the row, and if its pair has not moved; otherwise it is judged again, a few times.
A comparison that was killed goes on from the page of the lists that was read last.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from connectors.postgres.source_sessions import SourceSessions
from flows.deep_pass import PAIRS_A_STEP, Lists
from flows.reconcile import lists_of, open_table
from flows.source_table import ASKED_ROWS, Table
from flows.unpaired import read_unpaired
from rowtide.catalog import Catalog
from rowtide.enumeration import APART, Differs, Equal, Finding, Kind, Moving, judge
from rowtide.error_catalogue import command_errors
from rowtide.snapshot import Snapshot
from state import database, enumeration, outbox, processes
from state.database import Connection
from state.reconcile import backfill, items
from state.reconcile import record as reconcile
from state.reconcile.backfill import Candidate, Ground

SOURCE = "rowtide diff"
TURNS = 3
_WAIT_S = 0.1
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('rowtide.diff:' || %s, 0))"

Report = Callable[[str, int], None]
"""Called now and then: what is being counted ("items", "rows"), and how many so far."""


@dataclass(frozen=True, slots=True)
class SyncDiff:
    """What was compared, what was found, and what waits or is parked and was therefore not judged."""

    rows: int
    items: int
    findings: tuple[Finding, ...]
    waiting: int
    parked: int
    ru: int

    @property
    def equal(self) -> bool:
        """Whether nothing differs; strangers and what moves are no differences."""
        return all(one.kind in APART for one in self.findings)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many were found of each kind."""
        return Counter(one.kind.value for one in self.findings)


@dataclass(slots=True)
class _Found:
    """What one turn found, and what it could not judge."""

    findings: list[Finding] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    moving: set[str] = field(default_factory=set)


def diff(
    state_dsn: str, catalog: Catalog, sync: str, sessions: SourceSessions, stop: threading.Event, report: Report
) -> SyncDiff:
    """The difference; UserError while no process captures or delivers, or when ``stop`` is set."""
    with (
        database.connect(state_dsn, SOURCE) as state,
        database.translated(),
        closing(sessions),
        _alone(state, sync),
        open_table(sessions.get(catalog.syncs[sync].postgres), catalog, sync) as table,
    ):
        slot = catalog.definition.slot(table.compiled.postgres)
        return _Comparison(state, table, lists_of(catalog, sync), slot, stop, report).run()


@contextmanager
def _alone(state: Connection, sync: str) -> Iterator[None]:
    [(locked,)] = state.execute(_LOCK, [sync]).fetchall()
    if not locked:
        raise command_errors.DIFF_UNDER_WAY(sync=sync)
    yield  # the lock lives with the connection


class _Comparison:
    """One comparison under way."""

    def __init__(
        self, state: Connection, table: Table, lists: Lists, slot: str, stop: threading.Event, report: Report
    ) -> None:
        self._state = state
        self._table = table
        self._lists = lists
        self._slot = slot
        self._stop = stop
        self._report = report
        self._sync = table.compiled.sync
        self._rows = 0

    def run(self) -> SyncDiff:
        enumeration.ask(self._state, self._sync, "diff", self._table.compiled.version, self._lists.ids)
        self._wait_for_items()
        candidates = [*self._read_source(), *self._read_absent()]
        found = self._turn(candidates)
        for _ in range(TURNS - 1):
            if not (found.candidates or found.moving):
                break
            found = self._turn(found.candidates, found)
        moving = found.moving | {one.key for one in found.candidates}
        found.findings += [Finding(Kind.MOVING, key) for key in sorted(moving)]
        return self._ended(found)

    def _ended(self, found: _Found) -> SyncDiff:
        read = enumeration.read(self._state, self._sync, "diff")
        seen = enumeration.count_seen(self._state, self._sync, "diff")
        waits = outbox.waiting(self._state).get(self._sync)
        enumeration.forget(self._state, self._sync, "diff")
        unknown = {one.key for one in found.findings if one.kind is Kind.UNKNOWN}
        findings = [one for one in found.findings if one.kind is not Kind.UNSENT or one.key not in unknown]
        return SyncDiff(
            self._rows,
            seen,
            tuple(findings),
            0 if waits is None else waits.waiting,
            0 if waits is None else waits.parked,
            sum(one.ru for one in read),
        )

    # --- rows and records ---------------------------------------------------------------------------------------------

    def _ground(self, snapshot: Snapshot) -> Ground:
        standing = reconcile.read_standing(self._state, self._table.compiled, self._slot)
        return Ground(self._sync, standing.era, self._table.compiled.version, snapshot)

    def _read_source(self) -> Iterator[Candidate]:
        after = None
        while True:
            read = self._table.read(after)
            yield from backfill.find_candidates(self._state, self._ground(read.snapshot), read.lines)
            self._rows, after = self._rows + read.rows, read.last
            self._report("rows", self._rows)
            self._look_at_stop()
            if after is None:
                return

    def _read_absent(self) -> Iterator[Candidate]:
        if not self._table.compiled.carries_deletions:
            return
        after: str | None = None
        while keys := reconcile.keys_to_ask(self._state, self._sync, None, after, ASKED_ROWS):
            yield from self._absent_of(keys)
            after = keys[-1]

    def _absent_of(self, keys: list[str]) -> list[Candidate]:
        snapshot, absent = self._table.absent(keys)
        return backfill.find_absent_candidates(self._state, self._ground(snapshot), absent)

    def _read_again(self, keys: list[str]) -> Iterator[Candidate]:
        for start in range(0, len(keys), ASKED_ROWS):
            some = keys[start : start + ASKED_ROWS]
            for read in self._table.read_rows(some):
                yield from backfill.find_candidates(self._state, self._ground(read.snapshot), read.lines)
            if self._table.compiled.carries_deletions:
                yield from self._absent_of(some)

    # --- a turn: wait until everything from before is known, then judge -----------------------------------------------

    def _turn(self, candidates: list[Candidate], before: _Found | None = None) -> _Found:
        """Judge the candidates and all items; of an earlier turn, what was found of rows stays."""
        mark = self._table.mark()
        self._wait("capture", lambda: (self._cursor() or 0) >= mark)
        enumeration.ask_round(self._state, self._sync, "diff")
        self._wait_for_items()
        found = _Found()
        if before is not None:
            found.findings = [one for one in before.findings if one.kind in backfill.OF_ROWS]
        standing, moved = backfill.look_again(self._state, self._sync, candidates)
        found.findings += [Finding(one.kind, one.key) for one in standing]
        found.candidates = list(self._read_again(moved))
        self._judge_pairs(found)
        self._judge_loose(found)
        return found

    def _cursor(self) -> int | None:
        return reconcile.read_standing(self._state, self._table.compiled, self._slot).cursor_lsn

    def _judge_pairs(self, found: _Found) -> None:
        after = ""
        while True:
            page = items.read_doubtful(self._state, self._sync, "diff", after, PAIRS_A_STEP, self._lists.lag)
            for one in page.pairs:
                verdict = judge(one.compared, self._table.compiled)
                match verdict:
                    case Moving() if one.waits is None:
                        found.moving.add(one.compared.key)
                    case Differs(finding, _) if one.waits is None:
                        found.findings.append(finding)
                    case Moving() | Differs() | Equal():
                        pass
            if page.last is None:
                return
            after = page.last

    def _judge_loose(self, found: _Found) -> None:
        """Items that no pair has."""
        unpaired = read_unpaired(self._state, self._sync, "diff")
        found.moving |= set(unpaired.unsettled)
        found.findings += [Finding(Kind.COPY, one.key, one.list_id, one.item_id) for one in unpaired.copies]
        loose = unpaired.rest
        keys = sorted({one.key for one in loose if one.ours and one.key is not None})
        absent = set(self._table.absent(keys)[1]) if keys else set()
        for one in loose:
            there = one.key is not None and one.key not in absent
            kind = Kind.STRANGER if not one.ours else Kind.UNKNOWN if there else Kind.ORPHAN
            found.findings.append(Finding(kind, one.key, one.list_id, one.item_id))

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _wait_for_items(self) -> None:
        self._wait("deliver", self._items_are_read)

    def _items_are_read(self) -> bool:
        read = enumeration.read(self._state, self._sync, "diff")
        self._report("pages", sum(one.pages for one in read))
        return all(one.complete for one in read)

    def _wait(self, role: str, condition: Callable[[], bool]) -> None:
        """Wait for what a process with this role does; UserError when there is none."""
        while not condition():
            if not processes.role_alive(self._state, role):
                raise command_errors.DIFF_NEEDS_PROCESS(role=role)
            self._look_at_stop()
            self._stop.wait(_WAIT_S)

    def _look_at_stop(self) -> None:
        if self._stop.is_set():
            raise command_errors.DIFF_STOPPED()
