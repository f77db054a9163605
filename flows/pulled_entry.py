"""One entry of the inbox on its way to its end: decided, asked for, applied, recorded.

In: a `Lease`, the sync as it is pulled, the sessions of one thread. Out: a `Done`, or `PullStopped` where nothing of
the sync can be applied now. Called by `flows.puller`. Rules (docs/design.md section 19): `rowtide.deciding.pull`
decides; the source commits before the records do, and an entry that ends in between is taken again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, assert_never

from connectors.postgres import apply_record
from connectors.postgres.apply_acts import EditPlace
from connectors.postgres.apply_session import ApplySession
from connectors.postgres.apply_table import ApplyTable
from connectors.postgres.connections import as_source_errors
from flows import applied_documents
from flows.item_requests import ItemRequests
from flows.pair_turns import PairTurns
from flows.pulled_row import KeyNotReserved, PullStopped, WaitsForCapture, apply_entry
from rowtide import mass_delete
from rowtide.deciding import pull, status_text, whose
from rowtide.deciding.answers import Written
from rowtide.deciding.commands import LookAtItem, UpdateItem
from rowtide.deciding.conflicts import Times
from rowtide.deciding.inbox import Editor, InboxEntry
from rowtide.deciding.pull_steps import (
    AGAIN_AFTER_S,
    Drop,
    GoTo,
    HoldOpen,
    KeyBusy,
    Later,
    ListRestored,
    LookAtList,
    ParkEntry,
    PullAnswer,
    PullCommand,
    PullEnd,
    PullInFlight,
    PullPlan,
    PullStep,
    Reserved,
    ReserveKey,
    Tell,
    WaitForCapture,
)
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import PairedItem, version_of
from rowtide.deciding.taken import Applied, Apply, How, Taken, is_own
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowtideError
from rowtide.mapping.pulled_sync import PulledSync
from state import applying, deletes_back
from state.applying import Lease, Told
from state.database import Link

MOST_STEPS: Final = 12
"""An entry that needs more is contended, and is taken again later."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What one thread has at hand to work on entries of one sync."""

    state: Link
    session: ApplySession
    table: ApplyTable
    sync: PulledSync
    requests: ItemRequests
    now: Callable[[], datetime]
    source_clock_s: Callable[[], float]
    """How far the source's clock is ahead of the monotonic one."""
    turns: PairTurns


@dataclass(frozen=True, slots=True)
class Done:
    """How the entry ended. ``recorded`` False: its lease was another's by then, or its pair had moved."""

    end: PullEnd
    recorded: bool


def work_on(bench: Bench, lease: Lease) -> Done | PullStopped:
    """Work on an entry until it has an end, and record that."""
    return _Way(bench, lease).go()


class _Way:
    """The way of one entry; the lease says more once a key was reserved."""

    def __init__(self, bench: Bench, lease: Lease) -> None:
        self._bench = bench
        self._lease = lease
        self._entry = to_entry(lease, bench.sync)
        self._times = _times(bench, lease)
        self._says = False
        self._told: Told | None = None

    def go(self) -> Done | PullStopped:
        taken = self._taken(self._lease)
        plan: PullPlan | WaitsForCapture | PullStopped = whose.first(taken, self._bench.sync.rules)
        committed = taken.applied is not None and taken.applied.place == self._entry.place
        for _ in range(MOST_STEPS):
            match plan:
                case PullInFlight():
                    answer = self._answer(plan.command)
                    self._note_told(plan.step, answer)
                    plan = pull.after(plan, answer, self._bench.sync.rules, self._bench.now())
                case Apply() if (why := self._why_not(plan)) is not None:
                    plan = ParkEntry(taken, why.code, why.sentence)
                case Apply():
                    plan = apply_entry(self._bench.session, self._bench.table, self._bench.sync, plan, self._reserve)
                    committed = committed or isinstance(plan, PullInFlight | Recorded)
                case PullStopped():
                    self._settle(Later(taken, 0.0, ""), committed)
                    return plan
                case WaitsForCapture(end, lsn):
                    return self._settle(end, committed, lsn)
                case ParkEntry() | HoldOpen() | Recorded() if not self._says:
                    self._says = True
                    plan = status_text.told(plan, self._bench.sync.rules)
                case (
                    Drop()
                    | Later()
                    | WaitForCapture()
                    | GoTo()
                    | ParkEntry()
                    | HoldOpen()
                    | ListRestored()
                    | Recorded()
                ):
                    return self._settle(plan, committed)
                case _:
                    assert_never(plan)
        return self._settle(Later(taken, AGAIN_AFTER_S, "the item is changing all the time", True), committed)

    def _settle(self, end: PullEnd, committed: bool, absent_lsn: int | None = None) -> Done:
        settle = partial(
            applying.record_end,
            lease=self._lease,
            end=end,
            absent_lsn=absent_lsn,
            committed=committed,
            times=self._times,
            told=self._told,
        )
        return Done(end, self._bench.state.run(settle))

    def _taken(self, lease: Lease) -> Taken:
        return lease.taken(self._entry, self._applied(lease.key), self._times)

    def _applied(self, key: str | None) -> Applied | None:
        """What the source has recorded of the row, else of the item."""
        sync, shown = self._bench.sync.compiled.sync, self._lease.shown
        with as_source_errors("reading what was applied"):
            connection = self._bench.session.connection
            found = apply_record.read_for_update(connection, sync, EditPlace(key, shown.list_id, shown.item_id))
        return applied_documents.to_applied(found[0] or found[1])

    def _note_told(self, step: PullStep, answer: PullAnswer) -> None:
        """What the item says now of what became of the edit, and the version that it has since."""
        if isinstance(step, Tell) and isinstance(answer, Written) and answer.etag is not None:
            self._told = Told(version_of(answer.etag), answer.etag, dict(step.command.fields))

    # --- what deciding asks -----------------------------------------------------------------------------------------

    def _answer(self, command: PullCommand) -> PullAnswer:
        match command:
            case LookAtItem() | UpdateItem():
                sync = self._bench.sync
                return self._bench.requests.ask(command, sync.compiled.sync, sync.backwards)
            case LookAtList(list_id):
                return self._bench.requests.look_at_list(list_id)
            case ReserveKey(key, item):
                known = self._note_key(key, item)
                return KeyBusy() if known is None else Reserved(self._taken(known))
            case _:
                assert_never(command)

    def _why_not(self, apply: Apply) -> RowtideError | None:
        """Why the entry is not applied before a person has said so; None where it may be."""
        if apply.how is How.DELETE:
            return self._why_not_deleted()
        if apply.how is How.EDIT:
            return self._bench.turns.judge(apply, self._bench.sync.rules, self._bench.now())
        return None

    def _why_not_deleted(self) -> RowtideError | None:
        """Why the row stays although its item is gone; None where it may be deleted."""
        compiled, shown = self._bench.sync.compiled, self._lease.shown
        if compiled.deletes_back == "ignore":
            return None
        read = partial(deletes_back.read, sync=compiled.sync, list_id=shown.list_id, item_id=shown.item_id)
        known = self._bench.state.run(read)
        if known.approved:
            return None
        if known.inferred:
            return row_errors.INFERRED_DELETE(sync=compiled.name)
        tripped = mass_delete.judge_deletes(compiled.sync, known.deletes, known.pairs, compiled.breaker)
        if tripped is None:
            return None
        count, pairs = f"{known.deletes:,}", f"{known.pairs:,}"
        return row_errors.MASS_DELETE_BACK(sync=compiled.name, count=count, pairs=pairs)

    def _note_key(self, key: str, item: PairedItem) -> Lease | None:
        version = self._bench.sync.compiled.version
        note = partial(applying.reserve, lease=self._lease, key=key, item=item, mapping_version=version)
        known = self._bench.state.run(note)
        if known is not None:
            self._lease = known
        return known

    def _reserve(self, apply: Apply, key: str) -> Apply:
        """Reserve the key that the table has given the row, which is not committed yet."""
        entry = apply.entry
        item = PairedItem(entry.list_id, entry.item_id, entry.etag, {}, {})
        known = self._note_key(key, item)
        if known is None or not is_own(known.pair, entry):
            raise KeyNotReserved
        taken = known.taken(entry, apply.taken.applied, self._times)
        return Apply(taken, apply.how, key, entry, apply.base)


def _times(bench: Bench, lease: Lease) -> Times:
    """When each side was changed, by the source's clock. What nobody can say is left out."""
    waiting, edited_at = lease.waiting, lease.shown.modified_at
    committed_at = None if waiting is None else waiting.committed_at
    if committed_at is None or edited_at is None:
        return Times(committed_at, edited_at)
    # Only where it decides is Graph asked for its time.
    decides = bench.sync.rules.policies.uses("latest_wins")
    graph_s = bench.requests.clock_s(lease.shown.list_id if decides else None)
    if graph_s is None:
        return Times(committed_at, None if decides else edited_at)
    return Times(committed_at, edited_at + timedelta(seconds=bench.source_clock_s() - graph_s))


def given_back(lease: Lease, failed: bool = False) -> Later:
    """The end of an entry that nobody has worked on, or whose work ``failed`` in a way that nobody expected."""
    shown = lease.shown
    entry = InboxEntry(
        shown.list_id,
        shown.item_id,
        shown.version,
        shown.etag,
        shown.deleted,
        {},
        shown.item_key,
        shown.by_app,
        None,
        None,
    )
    after_s, why = (AGAIN_AFTER_S, "applying it failed") if failed else (0.0, "")
    return Later(lease.taken(entry, None), after_s, why, grows=failed)


def to_entry(lease: Lease, sync: PulledSync) -> InboxEntry:
    """The entry with canonical values."""
    shown = lease.shown
    editor = None if shown.editor_name is None else Editor(shown.editor_name, shown.editor_email)
    status = _status(lease, sync.compiled.status_field)
    return InboxEntry(
        shown.list_id,
        shown.item_id,
        shown.version,
        shown.etag,
        shown.deleted,
        {} if shown.deleted else sync.backwards.canonical(shown.fields),
        shown.item_key,
        # Our word about a person's edit is no write of values: a process may have died before it was on record.
        shown.by_app and not status_text.is_pending(status),
        editor,
        shown.modified_at,
        shown.made_by_app,
        lease.revision,
        lease.seen_at,
        lease.suspect,
        status,
    )


def _status(lease: Lease, name: str | None) -> str | None:
    """What the item's status field says; of an item that no list has shown, something that nobody would say."""
    if name is None:
        return None
    said = lease.shown.fields.get(name)
    return said if isinstance(said, str) else None if lease.shown.round else "?"
