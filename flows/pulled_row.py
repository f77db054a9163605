"""One entry applied to its row: the transaction of the source, decided inside and carried out.

In: an `Apply`, a session that holds the sync's lock. Out: what comes next for the entry (`PullPlan`), or `PullStopped`
where nothing can be applied now. Called by `flows.puller`. Rules (docs/design.md sections 19 and 21): the row is judged
as it is while it is locked; what the source refuses parks the one entry in PostgreSQL's own words; what was committed
is recorded as it was committed. Where the sync says so (`on_refused: revert`), what the source refuses is decided once
more, for the row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from connectors.postgres.apply_acts import (
    Act,
    Committed,
    DeleteRow,
    EditPlace,
    InsertRow,
    KeyTaken,
    LeaveRow,
    LeftAlone,
    LockLost,
    NoteRow,
    NotPrepared,
    RowInSource,
    RowLocked,
    RowRefused,
    SourceAway,
    UniqueViolation,
    UpdateRow,
    Values,
)
from connectors.postgres.apply_session import ApplySession
from connectors.postgres.apply_table import ApplyTable
from flows import applied_documents
from rowtide.deciding import pull
from rowtide.deciding.apply import (
    Absent,
    AlreadyApplied,
    Delete,
    Insert,
    Nothing,
    Open,
    Rekeyed,
    Row,
    RowAbsent,
    RowThere,
    Unwritable,
    Verdict,
    Write,
    decide,
)
from rowtide.deciding.conflicts import Conflict
from rowtide.deciding.pull_steps import AGAIN_AFTER_S, Later, ParkEntry, PullEnd, PullInFlight, WaitForCapture
from rowtide.deciding.recorded import Commit, Recorded, recorded
from rowtide.deciding.taken import Apply, SourceRefusal
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowtideError
from rowtide.mapping.backwards import RowTexts
from rowtide.mapping.pulled_sync import PulledSync

LOCKED_AFTER_S = 0.5
"""Seconds until a row that somebody holds is tried again for the first time."""


@dataclass(frozen=True, slots=True)
class PullStopped:
    """Nothing was applied, and nothing of the sync can be now. ``error`` None: another process applies its edits.

    ``of_source``: the session is of no use any more.
    """

    error: RowtideError | None
    of_source: bool = False


@dataclass(frozen=True, slots=True)
class WaitsForCapture:
    """The row was absent, or its last change decides. ``lsn``: where the source's WAL ended after it was read."""

    end: WaitForCapture
    lsn: int


class KeyNotReserved(Exception):
    """The table gave a new row a key that has an item, or is on its way to SharePoint: the row is undone."""


Reserving = Callable[[Apply, str], Apply]
"""Reserves the key that the table gave a new row, before it is committed; what is known of the pair then."""


class _Decision:
    """The decision inside the transaction; it remembers what it was made on."""

    def __init__(self, sync: PulledSync, apply: Apply, reserve: Reserving) -> None:
        self.apply = apply
        self.verdict: Verdict | None = None
        self.row: Row = RowAbsent()
        self.absent_at: int | None = None
        self.unfit: str | None = None
        self._sync = sync
        self._reserve = reserve

    def __call__(self, found: RowInSource) -> Act:
        self.row, self.absent_at = self._sync.row(found.row), found.absent_at
        applied = applied_documents.to_applied(found.applied or found.of_item)
        self.verdict = decide(self.apply, applied, self.row, self._sync.rules)
        match self.verdict:
            case Write(applied_now, fields, columns):
                texts = self._sync.texts(fields, columns)
                if self._refuses(texts):
                    return LeaveRow()
                return UpdateRow(texts.columns, applied_documents.to_record(applied_now))
            case Insert(applied_now, fields, columns):
                texts = self._sync.new_texts(fields, columns, self.apply.key)
                if self._refuses(texts):
                    return LeaveRow()
                return InsertRow(texts.columns, applied_documents.to_record(applied_now), self._accepts)
            case Delete(applied_now):
                return DeleteRow(applied_documents.to_record(applied_now))
            case Nothing(applied_now):
                return NoteRow(applied_documents.to_record(applied_now))
            case AlreadyApplied() | Open() | Absent() | Rekeyed() | Unwritable():
                return LeaveRow()
            case _:
                assert_never(self.verdict)

    def _refuses(self, texts: RowTexts) -> bool:
        if texts.refused:
            self.unfit = texts.refused[0].sentence
            self.verdict = Unwritable(texts.refused[0].code, texts.refused[0].sentence)
        return bool(texts.refused)

    def _accepts(self, values: Values) -> bool:
        """Whether the inserted row, triggers included, belongs to the sync; a key of the table's is reserved then."""
        mapped = self._sync.binding.change_of(values)
        if mapped.op == "d":
            return False
        if self.apply.key is None:
            self.apply = self._reserve(self.apply, mapped.key)
        return True


def apply_entry(
    session: ApplySession, table: ApplyTable, sync: PulledSync, apply: Apply, reserve: Reserving
) -> PullInFlight | PullEnd | WaitsForCapture | PullStopped:
    """Apply an entry; what comes next for it."""
    entry, decision = apply.entry, _Decision(sync, apply, reserve)
    editor = "" if entry.editor is None else entry.editor.name
    try:
        outcome = session.apply_row(table, EditPlace(apply.at, entry.list_id, entry.item_id, editor), decision)
    except KeyNotReserved:
        return Later(apply.taken, AGAIN_AFTER_S, "the key that the table gave is taken", grows=True)
    apply, verdict = decision.apply, decision.verdict
    match outcome:
        case Committed(key, _, xid, lsn):
            assert isinstance(verdict, Write | Insert | Delete | Nothing), "only these commit"
            done = recorded(apply, verdict, decision.row, Commit(apply.key or key, xid, lsn), sync.rules)
            return pull.with_key(apply, done, sync.rules)
        case LeftAlone(lsn):
            left = _left(sync, decision, lsn)
            # The row has a new key, or the edit is to be undone: once more.
            return apply_entry(session, table, sync, left, reserve) if isinstance(left, Apply) else left
        case RowLocked(said):
            return Later(apply.taken, LOCKED_AFTER_S, said, grows=True)
        case RowRefused(code, sentence):
            again = _reverted(sync, decision, SourceRefusal(Conflict.REFUSED_BY_SOURCE, sentence))
            end = ParkEntry(apply.taken, code, sentence)
            return end if again is None else apply_entry(session, table, sync, again, reserve)
        case UniqueViolation(_, sentence):
            again = _reverted(sync, decision, SourceRefusal(Conflict.UNIQUE_VIOLATION, sentence))
            end = ParkEntry(apply.taken, row_errors.UNIQUE_IN_SOURCE.code, sentence)
            return end if again is None else apply_entry(session, table, sync, again, reserve)
        case KeyTaken():
            return Later(apply.taken, AGAIN_AFTER_S, "a row of its key has just been made", grows=True)
        case NotPrepared(error):
            return PullStopped(error)
        case SourceAway(error):
            return PullStopped(error, of_source=True)
        case LockLost():
            return PullStopped(None)
        case _:
            assert_never(outcome)


def _reverted(sync: PulledSync, decision: _Decision, refusal: SourceRefusal) -> Apply | None:
    """The entry as one whose item is made what its row says; None: it is set aside.

    There is nothing to go back to where there is no row, and what a person has chosen is not taken back.
    """
    apply = decision.apply
    once = apply.refused is None and apply.taken.choice is None
    reverts = sync.rules.reverts and once and isinstance(decision.row, RowThere)
    return replace(apply, refused=refusal) if reverts else None


def _left(sync: PulledSync, decision: _Decision, lsn: int) -> Apply | PullInFlight | PullEnd | WaitsForCapture:
    """What follows a transaction that has changed nothing."""
    apply, verdict = decision.apply, decision.verdict
    match verdict:
        case AlreadyApplied(applied):
            key = apply.key or applied.key
            assert key is not None, "a record names its row"
            done: Recorded = recorded(apply, verdict, decision.row, Commit(key, applied.xid, lsn), sync.rules)
            return pull.with_key(apply, done, sync.rules)
        case Absent() | Open() | Rekeyed() | Unwritable():
            if decision.unfit is not None:
                again = _reverted(sync, decision, SourceRefusal(Conflict.TYPE_UNREPRESENTABLE, decision.unfit))
                if again is not None:
                    return again
            end = pull.without_commit(apply, verdict)
            read_at = lsn if decision.absent_at is None else decision.absent_at
            return WaitsForCapture(end, read_at) if isinstance(end, WaitForCapture) else end
        case Write() | Insert() | Delete() | Nothing() | None:
            raise AssertionError("what is to be written is not left")
        case _:
            assert_never(verdict)
