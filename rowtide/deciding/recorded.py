"""What the state database is to write once the source's transaction for an entry has committed.

In: an `Apply`, the `Verdict` that was carried out, the row it was decided on, what is known of the commit. Out: a
`Recorded`, which `state` writes in one transaction. Rules (docs/design.md section 19): the base is the item's fields
whoever won, PostgreSQL's side as we wrote it and not as triggers left it; the position does not move; a row that
differs from what was agreed is seen by push, also if no change of it waits.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from rowtide.deciding.apply import AlreadyApplied, Delete, Done, Insert, Nothing, Row, RowThere, Write
from rowtide.deciding.conflicts import ConflictRecord, Winner
from rowtide.deciding.observation import without_item
from rowtide.deciding.records import AsOf, ETag, Held, LeftItem, Leftover, NoItem, Pair, PairedItem, Standing, last_item
from rowtide.deciding.sides import NO_BASE, Base, changed_in_row
from rowtide.deciding.taken import Applied, Apply, How, PullRules, Taken, etag_of_version, place
from rowtide.position import Position


@dataclass(frozen=True, slots=True)
class Pulled:
    """What pull last did to the row of a pair: by it a break in the source's history is mended."""

    version: int
    op: Literal["insert", "update", "delete", "none"]
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the state database writes in one transaction, if the entry's lease still holds.

    ``pair`` goes to the ledger (None: it stays as it is) with ``pulled``; ``applied_lsn`` is the source's insert LSN
    after the commit (None: nothing was written to the source). The entry goes if its revision is still the one taken.
    ``reread``: the row differs from what was agreed, and nothing waits for it: an ``r`` goes into the outbox.
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
    pair = _pair_after(apply, applied, row, commit, rules)
    reread = _differs(pair, done, row, apply, rules)
    return Recorded(taken, commit.key, pair, _pulled(done), commit.lsn, applied.conflicts, reread)


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
    won = any(one.winner is Winner.POSTGRES for one in applied.conflicts)
    return isinstance(row, RowThere) and rules.deletes != "propagate" and not won


def _differs(pair: Pair, done: Done, row: Row, apply: Apply, rules: PullRules) -> bool:
    """Whether the row, as it is now, is something else than was agreed: push has to see it."""
    if apply.taken.waiting is not None or apply.how is How.LEFT or isinstance(done, Insert | Delete):
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


def _pulled(done: Done) -> Pulled:
    version = done.applied.version
    match done:
        case Write(_, fields):
            return Pulled(version, "update", tuple(sorted(fields)))
        case Insert(_, fields):
            return Pulled(version, "insert", tuple(sorted(fields)))
        case Delete():
            return Pulled(version, "delete")
        case Nothing() | AlreadyApplied():
            return Pulled(version, "none")
        case _:
            assert_never(done)
