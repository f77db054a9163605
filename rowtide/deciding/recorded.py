"""What the state database is to write once the source's transaction for an entry has committed.

In: an `Apply`, the `Verdict` that was carried out, the row it was decided on, what is known of the commit. Out: a
`Recorded`, which `state` writes in one transaction. Rules (docs/design.md section 19): the base is the item's fields
whoever won, PostgreSQL's side as we wrote it and not as triggers left it; the position does not move; a row that
differs from what was agreed is seen by push, also if no change of it waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from rowtide.change import Fields, JsonValue
from rowtide.deciding.apply import AlreadyApplied, Delete, Done, Insert, Nothing, Row, RowThere, Write
from rowtide.deciding.conflicts import Conflict, ConflictRecord, Winner
from rowtide.deciding.lost_edits import NOTHING_LOST, lost_by, with_left_again
from rowtide.deciding.observation import without_item
from rowtide.deciding.pulled import MOST_OVERWRITTEN, Moved, Overwritten, Pulled, PulledOperation, digest
from rowtide.deciding.records import (
    Arriving,
    AsOf,
    ETag,
    Held,
    LeftItem,
    Leftover,
    NoItem,
    Pair,
    PairedItem,
    Standing,
    last_item,
)
from rowtide.deciding.sides import NO_BASE, Base, changed_in_row
from rowtide.deciding.taken import (
    Applied,
    Apply,
    How,
    PullRules,
    Taken,
    etag_of_version,
    is_ahead,
    is_moved_already,
    place,
)
from rowtide.position import Position


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the state database writes in one transaction, if the entry's lease still holds.

    ``pair`` goes to the ledger (None: it stays as it is) with ``pulled``; ``applied_lsn`` is the source's insert LSN
    after the commit (None: nothing was written to the source). The entry goes if its revision is still the one taken.
    ``reread``: the row differs from what was agreed, and nothing waits for it that says so: it is read anew.
    """

    taken: Taken
    key: str | None
    pair: Pair | None
    pulled: Pulled | None = None
    applied_lsn: int | None = None
    conflicts: tuple[ConflictRecord, ...] = ()
    reread: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """What is known once the source's transaction has committed; ``key``: the row's, also where the table gave it."""

    key: str
    xid: int
    lsn: int


def recorded(apply: Apply, done: Done, row: Row, commit: Commit, rules: PullRules) -> Recorded:
    """What the ledger gets once ``done`` is committed. ``row`` is what it was decided on."""
    applied, taken = done.applied, apply.taken
    if isinstance(done, AlreadyApplied):
        commit = replace(commit, key=apply.key or applied.key or commit.key, xid=applied.xid)
    before = row.fields if isinstance(row, RowThere) else None
    after = {**(before or {}), **(done.fields if isinstance(done, Write | Insert) else {})}
    pair = with_left_again(_pair_after(apply, applied, row, commit, rules), taken, before, after)
    reread = _differs(pair, done, row, apply, rules)
    return Recorded(taken, commit.key, pair, _pulled(apply, done, row, commit), commit.lsn, applied.conflicts, reread)


def _pair_after(apply: Apply, applied: Applied, row: Row, commit: Commit, rules: PullRules) -> Pair:
    before, entry = apply.pair, apply.entry
    as_of = AsOf(Position(0, 0, 0) if before is None else before.as_of.position, commit.xid, rules.mapping_version)
    leftovers = () if before is None else before.leftovers
    etag = etag_of_version(entry.etag, applied.version)
    if apply.how is How.LEFT and before is not None:
        return replace(before, leftovers=tuple(_left_after(one, apply, applied, etag) for one in leftovers))
    if applied.agreed is None:
        return NoItem(as_of, last_item(before), leftovers, ignored=_is_ignored(applied, row, rules))
    item = PairedItem(entry.list_id, entry.item_id, etag, applied.agreed.agreed, applied.agreed.kept)
    standing = before.standing if isinstance(before, Held) and not isinstance(row, RowThere) else Standing.LIVE
    return Held(as_of, item, standing, without_item(leftovers, entry.list_id, entry.item_id))


def _left_after(left: Leftover, apply: Apply, applied: Applied, etag: ETag | None) -> Leftover:
    """A leftover once an edit of it was applied: it may be removed in the version that holds the edit."""
    if not isinstance(left, LeftItem) or place(left) != apply.entry.place:
        return left
    agreed = applied.agreed or NO_BASE
    return replace(left, etag=etag, base=agreed.agreed, kept=agreed.kept)


def _is_ignored(applied: Applied, row: Row, rules: PullRules) -> bool:
    """Whether the row stays without an item: a deletion that is not propagated, unless the row won."""
    won = any(one.winner is Winner.POSTGRES and one.kind is Conflict.DELETE_UPDATED for one in applied.conflicts)
    return isinstance(row, RowThere) and rules.deletes != "propagate" and not won


def _differs(pair: Pair, done: Done, row: Row, apply: Apply, rules: PullRules) -> bool:
    """Whether the row, as it is now, is something else than was agreed: push has to see it."""
    if apply.how is How.LEFT or isinstance(done, Insert | Delete):
        return False
    # A change that waits names what the row changed; what the item alone changed may not be in it.
    if apply.taken.waiting is not None and apply.refused is None:
        return False
    if isinstance(pair, NoItem):
        return isinstance(row, RowThere) and not pair.ignored
    if not isinstance(row, RowThere):
        return not rules.rows_deletes_leave_items and not (
            isinstance(pair, Held) and pair.standing is not Standing.LIVE
        )
    written = done.fields if isinstance(done, Write) else {}
    base = Base(pair.item.base, pair.item.kept)
    stays = row.list_id != pair.item.list_id and not (isinstance(done, Write) and done.columns)
    return stays or bool(changed_in_row(base, {**row.fields, **written}, rules.mapping))


# --- what pull did, for a source that may lose it ------------------------------------------------------------------


Over = Mapping[str, tuple[Overwritten, ...]]
"""By field what pull has overwritten, the oldest first."""


def _pulled(apply: Apply, done: Done, row: Row, commit: Commit) -> Pulled:
    """What is remembered of this apply and those before it, as far as the source has them still."""
    entry, applied = apply.entry, done.applied
    before = _still_there(apply.taken)
    over = {} if before is None else before.over
    made = replace(
        Pulled(entry.list_id, entry.item_id, applied.version, "none", commit.xid),
        over=over if isinstance(done, AlreadyApplied) else _with_unnoted(apply, over),
        inserted=_inserted(apply) if before is None else before.inserted,
        moved=None if before is None else before.moved,
        modified_at=entry.modified_at,
    )
    if applied.agreed is None:
        return _gone(made, apply, done, row)
    match done:
        case Write(_, fields, columns):
            held = row.fields if isinstance(row, RowThere) else {}
            over = {name: (*made.over.get(name, ()), _overwritten(commit.xid, held.get(name))) for name in fields}
            moved = made.moved
            if columns and isinstance(row, RowThere) and row.list_id is not None:
                moved = Moved(commit.xid, row.list_id)
            return replace(made, op="update", over={**made.over, **_newest(over)}, moved=moved)
        case Insert():
            return replace(made, op="insert", over={}, inserted=commit.xid, moved=None)
        case AlreadyApplied():
            return _inferred(made, apply, applied)
        case Nothing() | Delete():
            return made
        case _:
            assert_never(done)


def _inserted(apply: Apply) -> int | None:
    """The transaction that made the row, if an earlier try did it and nobody noted that."""
    applied = apply.taken.applied
    if not isinstance(apply.pair, Arriving) or applied is None or applied.place != apply.entry.place:
        return None
    return applied.xid


def _overwritten(xid: int, value: JsonValue) -> Overwritten:
    return Overwritten(xid, digest(value))


def _newest(over: Over) -> dict[str, tuple[Overwritten, ...]]:
    return {name: ones[-MOST_OVERWRITTEN:] for name, ones in over.items()}


def _still_there(taken: Taken) -> Pulled | None:
    """What pull did before, without what the source has lost: that was applied once more just now."""
    pulled = taken.pulled
    if pulled is None or pulled.gone is not None or lost_by(taken) == NOTHING_LOST:
        return None if pulled is None or pulled.gone is not None else pulled
    since = 0 if taken.applied is None else taken.applied.xid
    over = {name: tuple(one for one in ones if one.xid <= since) for name, ones in pulled.over.items()}
    return replace(
        pulled,
        over={name: ones for name, ones in over.items() if ones},
        inserted=None if pulled.inserted is None or pulled.inserted > since else pulled.inserted,
        moved=None if pulled.moved is None or pulled.moved.xid > since else pulled.moved,
    )


def _gone(made: Pulled, apply: Apply, done: Done, row: Row) -> Pulled:
    """The item's deletion was applied to the row; an earlier try deleted what was agreed with the item."""
    is_there = isinstance(row, RowThere)
    was: Fields | None = row.fields if isinstance(row, RowThere) else None
    if isinstance(done, AlreadyApplied) and not is_there and isinstance(apply.pair, Held):
        was = apply.pair.item.base
    op: PulledOperation = "delete" if isinstance(done, Delete) else "update" if isinstance(done, Write) else "none"
    if isinstance(done, AlreadyApplied) and not is_there:
        op = "delete"
    return replace(made, op=op, over={}, inserted=None, moved=None, gone="" if was is None else digest(was))


def _inferred(made: Pulled, apply: Apply, applied: Applied) -> Pulled:
    """An earlier try did it, and nobody noted what: what is agreed now and was not before."""
    before, agreed = apply.pair, applied.agreed or NO_BASE
    if not isinstance(before, Held):
        return replace(made, op="insert", over={}, inserted=applied.xid, moved=None)
    over = _overwritten_since(before, agreed, applied.xid, made.over)
    return replace(made, op="update" if over else "none", over={**made.over, **over})


def _with_unnoted(apply: Apply, over: Over) -> Over:
    """Also what an earlier try has overwritten that nobody noted before this entry took its place."""
    applied, pair = apply.taken.applied, apply.pair
    if applied is None or applied.agreed is None or applied.place != apply.entry.place or not isinstance(pair, Held):
        return over
    if not (is_ahead(applied, pair, apply.taken.pulled) or is_moved_already(apply.taken)):
        return over
    return {**over, **_overwritten_since(pair, applied.agreed, applied.xid, over)}


def _overwritten_since(pair: Held, agreed: Base, xid: int, over: Over) -> Over:
    base = pair.item.base
    found = {
        name: (*over.get(name, ()), _overwritten(xid, base[name]))
        for name, value in agreed.agreed.items()
        if name in base and base[name] != value
    }
    return _newest(found)
