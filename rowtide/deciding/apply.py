"""What happens to a row inside the one transaction of the source that applies an entry, and to its pair afterwards.

In: an `Apply`, the source's `applied` record and the row, both read ``FOR UPDATE``, the row mapped forward. Out: a
`Verdict`, which the applier carries out in that transaction; then the `Recorded` pair for the ledger. Rules
(docs/design.md section 19): what is in `applied` was applied and is not judged again; a field that the item did not
change is never written; the base afterwards is the item's fields, whoever won; a row that is absent is judged only
when the cursor has passed what was read after the absence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from rowtide.change import Fields, JsonValue
from rowtide.deciding.conflicts import (
    Conflict,
    ConflictRecord,
    Mark,
    OtherValue,
    TwoWayPolicy,
    Values,
    Winner,
    who_wins,
)
from rowtide.deciding.lost_edits import lost_by, seen_again
from rowtide.deciding.pulled import digest
from rowtide.deciding.records import (
    Arriving,
    Held,
    ListId,
    NoItem,
)
from rowtide.deciding.sides import NO_BASE, Base, FieldChange, agree, changed_in_row, changes, doubted, edited
from rowtide.deciding.taken import (
    Applied,
    Apply,
    How,
    PullRules,
    SourceRefusal,
    is_moved_already,
    is_on_record,
    known_version,
    place,
)
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowError

# --- the row, as it was read --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RowThere:
    """The row mapped forward. ``list_id``: where it belongs now (None: its list is not applied)."""

    list_id: ListId | None
    fields: Fields


@dataclass(frozen=True, slots=True)
class RowOutside:
    """There is a row, for which ``where`` is not true: it belongs to no list."""


@dataclass(frozen=True, slots=True)
class RowAbsent:
    """There is no row of this key."""


@dataclass(frozen=True, slots=True)
class RowUnmapped:
    """The row cannot be mapped forward; it is parked on its own way, for this reason."""

    code: str
    sentence: str


Row = RowThere | RowOutside | RowAbsent | RowUnmapped


# --- what is to be done in the transaction ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """UPDATE these fields (canonical values) and set these columns (texts); exactly one row must be touched."""

    applied: Applied
    fields: Fields
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Insert:
    """INSERT a row of these fields. As it is then, triggers included, it must satisfy ``where``: else roll back."""

    applied: Applied
    fields: Fields
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE the row; exactly one must be touched."""

    applied: Applied


@dataclass(frozen=True, slots=True)
class Nothing:
    """The row stays as it is; only `applied` is written."""

    applied: Applied


@dataclass(frozen=True, slots=True)
class AlreadyApplied:
    """An earlier try did it; only the ledger, and the conflicts it names, are left to write."""

    applied: Applied


@dataclass(frozen=True, slots=True)
class Open:
    """A person has to decide: roll back; the entry stays as a conflict, and its outbox row waits with it."""

    conflict: ConflictRecord


@dataclass(frozen=True, slots=True)
class Absent:
    """Roll back, read the source's insert LSN, and take the entry again when the cursor has passed it.

    The row is not there; or who was later decides, and its last change may not be captured yet.
    """


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """Roll back; the entry is applied to the row under its new key (`pull.without_commit`)."""

    key: str


@dataclass(frozen=True, slots=True)
class Unwritable:
    """Roll back; the entry is parked."""

    code: str
    sentence: str


Done = Write | Insert | Delete | Nothing | AlreadyApplied
"""The transaction commits (AlreadyApplied: it has nothing to commit); then `recorded` says what the ledger gets."""

Verdict = Done | Open | Absent | Rekeyed | Unwritable


def decide(apply: Apply, applied: Applied | None, row: Row, rules: PullRules) -> Verdict:
    """What is to be done, now that both the source's record and the row are locked."""
    verdict = _decide(apply, applied, row, rules)
    if applied is None or not isinstance(verdict, Write | Insert | Delete | Nothing):
        return verdict
    if is_on_record(applied, apply.taken.pulled):
        return verdict
    # Whoever decided these died before it could note them, and the source's record of it is about to be replaced.
    unnoted = tuple(one for one in applied.conflicts if one not in verdict.applied.conflicts)
    return replace(verdict, applied=replace(verdict.applied, conflicts=(*unnoted, *verdict.applied.conflicts)))


def _decide(apply: Apply, applied: Applied | None, row: Row, rules: PullRules) -> Verdict:
    entry = apply.entry
    if applied is not None and applied.place == entry.place and not is_on_record(applied, apply.taken.pulled):
        done = applied.agreed is None if entry.deleted else applied.version >= entry.version
        if done:
            return AlreadyApplied(applied)
    if isinstance(row, RowUnmapped):
        return Unwritable(row.code, row.sentence)
    if apply.refused is not None and isinstance(row, RowThere):
        return _revert(apply, row, apply.refused, rules)
    match apply.how:
        case How.EDIT | How.LEFT | How.MOVE:
            return _edit(apply, row, rules)
        case How.DELETE:
            return _delete(apply, row, rules)
        case How.ARRIVE:
            return _arrive(apply, row, rules)
        case _:
            assert_never(apply.how)


def _refused(why: RowError) -> Unwritable:
    return Unwritable(why.code, why.sentence)


# --- an item was edited -------------------------------------------------------------------------------------------


def _edit(apply: Apply, row: RowThere | RowOutside | RowAbsent, rules: PullRules) -> Verdict:
    remade = lost_by(apply.taken).inserted or _is_not_made(apply)
    match row:
        case RowThere() if remade:
            # Somebody made a row of this key, after the source had lost the one that was made from the item.
            return _merge(replace(apply, base=NO_BASE), row, Conflict.INSERT_EXISTS, rules)
        case RowThere():
            return _merge(apply, row, Conflict.UPDATE_DIFFERING, rules)
        case RowAbsent() if remade:
            return _arrive(apply, row, rules)
        case RowAbsent():
            if not apply.taken.absent_passed:
                return Absent()
            waiting = apply.taken.waiting
            if waiting is not None and waiting.rekeyed_to is not None and apply.row_key is None:
                return Rekeyed(waiting.rekeyed_to)
            return _edit_of_gone(apply, row, rules)
        case RowOutside():
            return _edit_of_gone(apply, row, rules)
        case _:
            assert_never(row)


def _is_not_made(apply: Apply) -> bool:
    """Whether the row of a new item, which was edited or moved meanwhile, was never committed, or is lost again."""
    pair, applied = apply.pair, apply.taken.applied
    if not isinstance(pair, Arriving):
        return False
    return applied is None or applied.agreed is None or applied.place != place(pair.item)


def _edit_of_gone(apply: Apply, row: RowAbsent | RowOutside, rules: PullRules) -> Verdict:
    """An edit of an item whose row is gone: `update_deleted`, unless the item stays for good where it is."""
    agreed = Base(dict(apply.entry.fields))
    touched = edited(apply.base, apply.entry.fields, rules.mapping) | lost_by(apply.taken).fields.keys()
    if not touched or _was_in_row(apply) or rules.rows_deletes_leave_items:
        return Nothing(_applied(apply, agreed))
    record = _row_conflict(apply, Conflict.UPDATE_DELETED, rules)
    match record.winner:
        case Winner.NOBODY:
            return Open(record)
        case Winner.POSTGRES:
            return Nothing(_applied(apply, agreed, record))
        case Winner.SHAREPOINT:
            applied = _applied(apply, agreed, record)
            if isinstance(row, RowOutside):
                return Write(applied, {name: apply.entry.fields[name] for name in sorted(touched)})
            return Insert(applied, apply.entry.fields, _shard(apply, rules))
        case _:
            assert_never(record.winner)


def _merge(apply: Apply, row: RowThere, kind: Conflict, rules: PullRules) -> Verdict:
    """Field by field: what the item alone changed is written; what both changed goes by policy."""
    entry, base = apply.entry, apply.base
    found = changes(base, row.fields, entry.fields, rules.mapping)
    found = seen_again(lost_by(apply.taken), found, row.fields, entry.fields, rules.mapping)
    if entry.suspect:
        found = doubted(base, found)
    if _was_in_row(apply):
        return Nothing(_applied(apply, agree(base, found, row.fields, entry.fields, rules.mapping)))
    values = {
        name: _values(apply, name, row.fields, rules)
        for name, change in found.items()
        if change is FieldChange.DIFFERING
    }
    writes = {name: entry.fields[name] for name, change in found.items() if change is FieldChange.ITEM}
    for name in rules.push_only & entry.fields.keys():
        # PostgreSQL alone has a say in it: the item's value becomes the base, and the row's is written over it.
        writes.pop(name, None)
        values.pop(name, None)
    if any(_has_no_time(apply, rules.policies.of_field(name)) for name in values):
        return Absent()
    columns, moved = _columns(apply, row, rules)
    winners = [one.winner for one, _ in values.values()] + ([moved] if moved is not None else [])
    record = _field_conflict(apply, kind, values, moved, rules)
    if Winner.NOBODY in winners and record is not None:
        return Open(record)
    writes.update({name: chosen for name, (one, chosen) in values.items() if one.winner is Winner.SHAREPOINT})
    applied = _applied(apply, agree(base, found, row.fields, entry.fields, rules.mapping), record)
    return Write(applied, writes, columns) if writes or columns else Nothing(applied)


def _was_in_row(apply: Apply) -> bool:
    """Whether all that the item says was in the row: our own application wrote it last, and no record knows of it.

    So it is where the records are older than the lists. Whatever the row says by now is newer. A new item that got
    its key from us says what a person wrote, which a failover may have taken from the row.
    """
    is_known = isinstance(apply.pair, Held)
    return apply.entry.by_app and is_known and apply.how is How.EDIT and not lost_by(apply.taken).of_item


def _has_no_time(apply: Apply, policy: TwoWayPolicy) -> bool:
    """Whether it is still to be waited for what the source says of when the row was changed."""
    decides = policy == "latest_wins" and apply.taken.choice is None and not apply.entry.suspect
    return decides and not apply.taken.absent_passed


def _values(apply: Apply, name: str, row: Fields, rules: PullRules) -> tuple[Values, JsonValue]:
    """The two values of a field and who wins; then the value that the row gets if it is not its own."""
    shown, held = apply.entry.fields[name], row.get(name)
    choice = apply.taken.choice
    chosen = None if choice is None else choice.of_field(name, held, shown)
    if isinstance(chosen, OtherValue):
        return Values(apply.base.agreed.get(name), held, shown, Winner.SHAREPOINT), chosen.value
    wins = chosen or _who_wins(apply, rules.policies.of_field(name))
    return Values(apply.base.agreed.get(name), held, shown, wins), shown


def _who_wins(apply: Apply, policy: TwoWayPolicy) -> Winner:
    """By policy; where nobody can say which side changed, a person has to decide."""
    return Winner.NOBODY if apply.entry.suspect else who_wins(policy, apply.taken.times)


def _columns(apply: Apply, row: RowThere, rules: PullRules) -> tuple[Mapping[str, str], Winner | None]:
    """What puts the row into the list that its item was moved to; and who won, if the row was moved elsewhere."""
    pair, entry = apply.pair, apply.entry
    if apply.how is not How.MOVE or row.list_id == entry.list_id or pair is None or isinstance(pair, NoItem):
        return {}, None
    if is_moved_already(apply.taken):
        return {}, None  # an earlier try has moved the row; where it is now, it was put since
    columns = _shard(apply, rules)
    if row.list_id == (lost_by(apply.taken).moved_from or pair.item.list_id):
        return columns, None
    choice = apply.taken.choice
    wins = (choice.row if choice else None) or who_wins(rules.policies.sync, apply.taken.times)
    return (columns if wins is Winner.SHAREPOINT else {}), wins


def _shard(apply: Apply, rules: PullRules) -> Mapping[str, str]:
    return rules.shard_columns.get(apply.entry.list_id, {})


def _revert(apply: Apply, row: RowThere, refused: SourceRefusal, rules: PullRules) -> Nothing:
    """The row stays as it is; what the item says instead is on record, and push writes the row's values over it."""
    entry, base = apply.entry, apply.base
    found = {} if entry.deleted else changes(base, row.fields, entry.fields, rules.mapping)
    values = {
        name: Values(base.agreed.get(name), row.fields.get(name), entry.fields[name], Winner.POSTGRES)
        for name, change in found.items()
        if change in (FieldChange.ITEM, FieldChange.DIFFERING)
    }
    record = replace(_record(apply, refused.kind, rules, Winner.POSTGRES, values), sentence=refused.sentence)
    agreed = None if entry.deleted else agree(base, found, row.fields, entry.fields, rules.mapping)
    return Nothing(_applied(apply, agreed, record))


# --- an item was deleted ------------------------------------------------------------------------------------------


def _delete(apply: Apply, row: RowThere | RowOutside | RowAbsent, rules: PullRules) -> Verdict:
    match row:
        case RowOutside() | RowAbsent():
            return Nothing(_applied(apply, None))
        case RowThere():
            return _delete_row(apply, row, rules)
        case _:
            assert_never(row)


def _delete_row(apply: Apply, row: RowThere, rules: PullRules) -> Verdict:
    pair = apply.pair
    moved = pair is not None and not isinstance(pair, NoItem) and row.list_id != pair.item.list_id
    if not moved and not _is_changed(apply, row, rules):
        return _by_deletes(apply, None, rules)
    if _has_no_time(apply, rules.policies.sync):
        return Absent()
    record = _row_conflict(apply, Conflict.DELETE_UPDATED, rules)
    match record.winner:
        case Winner.NOBODY:
            return Open(record)
        case Winner.POSTGRES:
            return Nothing(_applied(apply, None, record))
        case Winner.SHAREPOINT:
            return _by_deletes(apply, record, rules)
        case _:
            assert_never(record.winner)


def _is_changed(apply: Apply, row: RowThere, rules: PullRules) -> bool:
    """Whether the row is another one than was agreed, or than the one that was deleted and is there again."""
    lost = lost_by(apply.taken)
    if lost.gone is not None:
        return digest(row.fields) != lost.gone
    return bool(changed_in_row(apply.base, row.fields, rules.mapping) - lost.gone_back(row.fields))


def _by_deletes(apply: Apply, record: ConflictRecord | None, rules: PullRules) -> Verdict:
    applied = _applied(apply, None, record)
    match rules.deletes:
        case "propagate":
            return Delete(applied)
        case "ignore":
            return Nothing(applied)
        case Mark(column, text):
            return Write(applied, {}, {column: text})
        case _:
            assert_never(rules.deletes)


# --- an item was made, or brought back ----------------------------------------------------------------------------


def _arrive(apply: Apply, row: RowThere | RowOutside | RowAbsent, rules: PullRules) -> Verdict:
    match row:
        case RowThere():
            return _merge(apply, row, Conflict.INSERT_EXISTS, rules)
        case RowAbsent():
            return Insert(_applied(apply, Base(dict(apply.entry.fields))), apply.entry.fields, _shard(apply, rules))
        case RowOutside():
            return _refused(row_errors.INSERT_EXISTS())
        case _:
            assert_never(row)


# --- what is recorded of it ---------------------------------------------------------------------------------------


def _applied(apply: Apply, agreed: Base | None, record: ConflictRecord | None = None) -> Applied:
    entry = apply.entry
    version = max(entry.version, known_version(apply.taken)) if entry.deleted else entry.version
    return Applied(entry.list_id, entry.item_id, version, agreed, conflicts=() if record is None else (record,))


def _row_conflict(apply: Apply, kind: Conflict, rules: PullRules) -> ConflictRecord:
    choice, policy = apply.taken.choice, rules.policies.sync
    wins = (choice.row if choice is not None else None) or _who_wins(apply, policy)
    return _record(apply, kind, rules, wins, {})


def _field_conflict(
    apply: Apply, kind: Conflict, values: Mapping[str, tuple[Values, JsonValue]], moved: Winner | None, rules: PullRules
) -> ConflictRecord | None:
    if not values:
        return None if moved is None else _record(apply, Conflict.MOVED_DIFFERING, rules, moved, {})
    winners = {one.winner for one, _ in values.values()} | ({moved} if moved is not None else set())
    overall = Winner.NOBODY if Winner.NOBODY in winners else next(iter(winners)) if len(winners) == 1 else None
    shown = {name: one for name, (one, _) in values.items()}
    return _record(apply, kind, rules, overall or Winner.POSTGRES, shown)


def _record(
    apply: Apply, kind: Conflict, rules: PullRules, wins: Winner, fields: Mapping[str, Values]
) -> ConflictRecord:
    entry = apply.entry
    version = max(entry.version, known_version(apply.taken)) if entry.deleted else entry.version
    return ConflictRecord(kind, entry.list_id, entry.item_id, version, rules.policies.sync, wins, fields)
