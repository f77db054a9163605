"""What a source lacks of what was pulled into it, and what becomes of it: case by case, as the core decides it."""

from dataclasses import replace
from typing import Any

import pytest

from rowtide.change import Fields
from rowtide.deciding import pull, whose
from rowtide.deciding.answers import Found, Missing
from rowtide.deciding.apply import (
    AlreadyApplied,
    Delete,
    Insert,
    Nothing,
    Row,
    RowAbsent,
    RowThere,
    Verdict,
    Write,
)
from rowtide.deciding.conflicts import Conflict, TwoWayPolicy, Winner
from rowtide.deciding.lost_edits import Again, Lost, again, lost_of
from rowtide.deciding.pull_steps import AskList, Drop, Later, ListSeen, LookAtOwn, PullInFlight, Reserve, Reserved
from rowtide.deciding.pulled import Moved, Overwritten, Pulled, digest
from rowtide.deciding.recorded import Commit, Recorded, recorded
from rowtide.deciding.records import Arriving, AsOf, Held, ItemId, LeftItem, NoItem, PairedItem
from rowtide.deciding.sides import NO_BASE, Base
from rowtide.deciding.taken import Applied, Apply, How, Taken
from rowtide.position import Position
from tests.unit.rowtide.deciding import entries
from tests.unit.rowtide.deciding.entries import deletion, edit, entry, judged, ruled, taken
from tests.unit.rowtide.deciding.rows import ITEM, NOW, A, B, g, held, item

BASE: Fields = dict(entries.BASE)
WAS: Fields = {"a": "0", "b": "x"}
"""The row before pull wrote a=1 into it, in version 3 of the item and transaction 50 of the source."""


def pulled(**changes: Any) -> Pulled:
    return replace(Pulled(A, ITEM, 3, "update", 50, {"a": (Overwritten(50, digest("0")),)}), **changes)


def applied(version: int = 2, xid: int = 40, **changes: Any) -> Applied:
    return replace(Applied(A, ITEM, version, Base(dict(WAS)), "1", xid), **changes)


INSERTED = pulled(version=1, op="insert", over={}, inserted=50)
GONE = pulled(version=3, op="delete", over={}, gone=digest(BASE))
TOMBSTONE = NoItem(AsOf(Position(1, 10, 0), 5, 7), PairedItem(A, ITEM, None, {}, {}))


# --- what is lost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "record", "lost"),
    [
        (None, None, Lost()),
        (pulled(), None, Lost({"a": frozenset({digest("0")})})),
        (pulled(), applied(), Lost({"a": frozenset({digest("0")})})),
        (pulled(), applied(3, 50), Lost()),
        (pulled(), applied(4, 60), Lost()),
        # After a loss the source may count transactions from a lower number.
        (pulled(), applied(4, 45), Lost()),
        # Versions of two items say nothing about each other.
        (pulled(), applied(9, 40, item_id=ItemId("77")), Lost({"a": frozenset({digest("0")})})),
        (pulled(), applied(1, 60, list_id=B), Lost()),
        # The source had agreed on another value since: so far it has gone back.
        (
            pulled(xid=60, over={"a": (Overwritten(60, digest("-")),)}),
            applied(2, 50),
            Lost({"a": frozenset({digest("-"), digest("0")})}),
        ),
        # Of two writes only the newer one is lost.
        (
            pulled(xid=60, over={"a": (Overwritten(40, digest("-")), Overwritten(60, digest("0")))}),
            applied(2, 50),
            Lost({"a": frozenset({digest("0")})}),
        ),
        (INSERTED, None, Lost(inserted=True)),
        (pulled(inserted=30), applied(), Lost({"a": frozenset({digest("0")})})),
        (pulled(over={}, moved=Moved(50, B)), applied(), Lost(moved_from=B)),
        (pulled(over={}, moved=Moved(30, B)), applied(), Lost()),
        (GONE, applied(), Lost(gone=digest(BASE))),
        (GONE, applied(3, 50, agreed=None), Lost()),
    ],
)
def test_what_is_lost(of: Pulled | None, record: Applied | None, lost: Lost) -> None:
    assert lost_of(of, record) == lost


def test_what_is_applied_again() -> None:
    lost = again("orders", "1", held(), pulled(), applied())
    assert lost is not None
    assert (lost.entry.version, lost.entry.fields, lost.entry.item_key, lost.frees) == (3, BASE, "orders:1", False)
    made = again("orders", "1", held(), INSERTED, None)
    assert made is not None
    assert made.frees
    gone = again("orders", "1", TOMBSTONE, GONE, applied())
    assert isinstance(gone, Again)
    assert (gone.entry.deleted, gone.entry.place) == (True, (A, ITEM))


def test_what_is_not_applied_again() -> None:
    assert again("orders", "1", held(), pulled(), applied(3, 50)) is None
    assert again("orders", "1", held(), GONE, applied()) is None, "the row has another item by now"
    assert again("orders", "1", TOMBSTONE, pulled(), None) is None, "its item is gone"
    assert again("orders", "1", None, pulled(), None) is None


# --- what becomes of it -------------------------------------------------------------------------------------------


def verdict(of: Taken, row: Row, policy: TwoWayPolicy = "postgres_wins", **rules: Any) -> Verdict:
    plan = whose.first(of, ruled(policy, **rules))
    if isinstance(plan, PullInFlight) and isinstance(plan.step, LookAtOwn):
        plan = pull.after(plan, Missing(), ruled(policy, **rules), NOW)
    if isinstance(plan, PullInFlight) and isinstance(plan.step, AskList):
        plan = pull.after(plan, ListSeen({"a": "ca", "b": "cb"}), ruled(policy, **rules), NOW)
    return judged(plan, row, ruled(policy, **rules))


def lost_edit(of: Any = None, **changes: Any) -> Taken:
    """The entry that says what was agreed, in the version that the ledger has."""
    return taken(of or entry(3), **{"pulled": pulled(), "applied": applied(), **changes})


def test_a_row_as_it_was_before_gets_the_edit_again() -> None:
    done = verdict(lost_edit(), RowThere(A, dict(WAS)))
    assert isinstance(done, Write)
    assert done.fields == {"a": "1"}
    assert done.applied.agreed == Base(BASE)
    assert not done.applied.conflicts


def test_a_row_that_has_the_value_is_noted() -> None:
    assert isinstance(verdict(lost_edit(), RowThere(A, dict(BASE))), Nothing)


@pytest.mark.parametrize("policy", ["postgres_wins", "sharepoint_wins"])
def test_a_row_that_was_changed_since_is_a_conflict(policy: TwoWayPolicy) -> None:
    done = verdict(lost_edit(), RowThere(A, {"a": "new", "b": "x"}), policy)
    assert isinstance(done, Write | Nothing)
    [record] = done.applied.conflicts
    assert (record.kind, set(record.fields)) == (Conflict.UPDATE_DIFFERING, {"a"})
    assert isinstance(done, Write) == (policy == "sharepoint_wins")


def test_a_field_that_pull_had_not_written_is_the_rows_alone() -> None:
    done = verdict(lost_edit(), RowThere(A, {"a": "0", "b": "changed"}))
    assert isinstance(done, Write)
    assert done.fields == {"a": "1"}
    assert not done.applied.conflicts


def test_a_newer_edit_takes_the_lost_one_along() -> None:
    done = verdict(lost_edit(edit(5, b="typed")), RowThere(A, dict(WAS)))
    assert isinstance(done, Write)
    assert done.fields == {"a": "1", "b": "typed"}


def test_a_lost_edit_of_a_row_that_is_gone_is_a_conflict() -> None:
    done = verdict(lost_edit(absent_passed=True), RowAbsent())
    assert isinstance(done, Nothing)
    assert [(one.kind, one.winner) for one in done.applied.conflicts] == [
        (Conflict.UPDATE_DELETED, Winner.POSTGRES)
    ]  # fmt: skip


def test_a_deletion_of_an_item_whose_edit_is_lost_deletes_the_row() -> None:
    assert isinstance(verdict(lost_edit(deletion()), RowThere(A, dict(WAS))), Delete)


LEFT = LeftItem(B, ItemId("13"), g(3), None, dict(BASE), {})
OF_LEFT = pulled(list_id=B, item_id=LEFT.item_id)
"""It was edited while its row left it: that is lost, and the row's own item does not show it."""


def test_a_lost_edit_of_an_item_that_its_row_has_left_is_applied_again_for_that_item() -> None:
    pair = held(base=WAS, leftovers=(LEFT,))
    lost = again("orders", "1", pair, OF_LEFT, None)
    assert lost is not None
    assert (lost.entry.place, lost.entry.version, lost.entry.fields, lost.frees) == ((B, "13"), 3, BASE, False)
    done = verdict(taken(lost.entry, pair=pair, pulled=OF_LEFT), RowThere(A, dict(WAS)))
    assert isinstance(done, Write)
    assert (done.fields, done.applied.place, done.applied.conflicts) == ({"a": "1"}, (B, "13"), ())
    changed = verdict(taken(lost.entry, pair=pair, pulled=OF_LEFT), RowThere(A, {"a": "row's", "b": "x"}))
    assert [one.kind for one in changed.applied.conflicts] == [Conflict.UPDATE_DIFFERING]  # type: ignore[union-attr]


def test_where_an_edit_of_the_own_item_is_lost_too_that_one_is_applied_first() -> None:
    of = replace(OF_LEFT, over={**OF_LEFT.over, "b": (Overwritten(40, digest("-")),)})
    pair = held(base={"a": "0", "b": "x"}, leftovers=(LEFT,))
    lost = again("orders", "1", pair, of, None)
    assert lost is not None
    assert (lost.entry.place, lost.left and lost.left.place) == ((A, ITEM), (B, "13"))
    own = taken(lost.entry, pair=pair, pulled=of)
    assert lost.left is not None
    assert isinstance(whose.first(replace(own, entry=lost.left), ruled()), Later)
    cases: list[tuple[RowThere, Fields]] = [
        (RowThere(A, {"a": "0", "b": "-"}), {"a": "0", "b": "x"}),
        (RowThere(A, {"a": "row's", "b": "-"}), {"b": "x"}),
    ]
    for row, base in cases:
        done = verdict(own, row)
        assert isinstance(done, Write)
        assert (done.fields, done.applied.conflicts) == ({"b": "x"}, ())
        plan = whose.first(own, ruled())
        assert isinstance(plan, Apply)
        noted = recorded(plan, done, row, Commit("1", 70, 700), ruled())
        assert noted.pair is not None
        assert noted.pair.leftovers == (replace(LEFT, etag=g(2), base=base),)
        again_left = taken(lost.left, pair=noted.pair, pulled=noted.pulled, applied=done.applied)
        assert isinstance(whose.first(again_left, ruled()), Apply)


def test_it_is_no_edit_of_the_row_s_own_item_which_waits_for_it() -> None:
    shown = entry(4, fields={"a": "0", "b": "own"})
    own = taken(shown, pair=held(base=WAS, leftovers=(LEFT,)), pulled=OF_LEFT)
    assert isinstance(whose.first(replace(own, others_wait=frozenset({(B, LEFT.item_id)})), ruled()), Later)
    done = verdict(own, RowThere(A, {"a": "row's", "b": "x"}))
    assert isinstance(done, Write)
    assert (done.fields, done.applied.conflicts) == ({"b": "own"}, ())


def test_a_lost_move_is_made_again() -> None:
    moved = lost_edit(entry(3, list_id=B), pair=held(B), pulled=pulled(list_id=B, over={}, moved=Moved(50, A)))
    done = verdict(moved, RowThere(A, dict(BASE)), shard_columns={B: {"region": "b"}})
    assert isinstance(done, Write)
    assert (done.fields, done.columns) == ({}, {"region": "b"})


def test_a_lost_row_is_made_again() -> None:
    """Its pair has no item until then: the item arrives once more, as a look shows it."""
    of = taken(entry(3), pair=TOMBSTONE)
    plan = whose.first(of, ruled())
    assert isinstance(plan, PullInFlight)
    plan = pull.after(plan, Found((item(6, a="typed since"),)), ruled(), NOW)
    assert isinstance(plan, PullInFlight)
    assert isinstance(plan.step, Reserve)
    now_known = replace(of, pair=Arriving(TOMBSTONE.as_of, plan.step.command.item))
    done = judged(pull.after(plan, Reserved(now_known), ruled(), NOW), RowAbsent(), ruled())
    assert isinstance(done, Insert)
    assert done.fields == {"a": "typed since", "b": "x"}


def test_an_edit_of_a_lost_row_makes_it() -> None:
    """An entry that came before anybody had looked."""
    of = taken(edit(5, a="typed"), pulled=INSERTED)
    done = verdict(of, RowAbsent())
    assert isinstance(done, Insert)
    assert done.fields == {"a": "typed", "b": "x"}
    taken_key = verdict(of, RowThere(A, {"a": "another row", "b": None}))
    assert isinstance(taken_key, Write)
    assert [one.kind for one in taken_key.applied.conflicts] == [Conflict.INSERT_EXISTS]


def test_a_new_item_that_was_moved_before_its_row_was_there_gets_one() -> None:
    """Its row was committed, and lost with the source's newest commits before anybody could record it."""
    arriving = Arriving(TOMBSTONE.as_of, PairedItem(B, ITEM, None, {}, {}))
    of = taken(entry(1), pair=arriving)
    moved = Apply(of, How.MOVE, "1", of.entry, NO_BASE)
    assert isinstance(judged(moved, RowAbsent(), ruled()), Insert)
    was_there = replace(moved, taken=replace(of, applied=applied(1, list_id=B), absent_passed=True))
    assert isinstance(judged(was_there, RowAbsent(), ruled()), Nothing), "somebody deleted it"


def lost_deletion() -> Taken:
    return taken(deletion(), pair=TOMBSTONE, pulled=GONE, applied=applied())


def test_a_lost_deletion_is_made_again() -> None:
    assert isinstance(verdict(lost_deletion(), RowThere(A, dict(BASE))), Delete)
    assert isinstance(verdict(lost_deletion(), RowAbsent()), Nothing)


def test_a_row_that_was_changed_since_its_lost_deletion_is_a_conflict() -> None:
    done = verdict(lost_deletion(), RowThere(A, {"a": "new", "b": "x"}))
    assert isinstance(done, Nothing)
    assert [one.kind for one in done.applied.conflicts] == [Conflict.DELETE_UPDATED]


def test_an_item_that_is_there_again_is_not_deleted() -> None:
    plan = whose.first(lost_deletion(), ruled())
    assert isinstance(plan, PullInFlight)
    plan = pull.after(plan, Found((item(9),)), ruled(), NOW)
    assert isinstance(plan, PullInFlight)
    assert isinstance(plan.step, Reserve)


def test_a_deletion_that_the_source_has_is_dropped() -> None:
    of = replace(lost_deletion(), applied=applied(3, 50, agreed=None))
    assert isinstance(whose.first(of, ruled()), Drop)


# --- what is remembered -------------------------------------------------------------------------------------------


def remembered(of: Taken, done: Any, row: Row, how: How = How.EDIT, xid: int = 70) -> Pulled:
    apply = Apply(of, how, "1", of.entry, Base(dict(BASE)))
    made = recorded(apply, done, row, Commit("1", xid, 900), ruled())
    assert isinstance(made, Recorded)
    assert made.pulled is not None
    return made.pulled


def now(version: int = 5, agreed: Base | None = None, xid: int = 0) -> Applied:
    return Applied(A, ITEM, version, agreed or Base({"a": "5", "b": "x"}), "1", xid)


def test_what_a_write_has_overwritten_is_remembered_by_its_digest() -> None:
    row = RowThere(A, dict(BASE))
    before = pulled(over={"a": (Overwritten(50, digest("0")),)})
    of = taken(edit(5, a="5"), pulled=before, applied=applied(3, 50))
    made = remembered(of, Write(now(), {"a": "5"}), row)
    over = {"a": (Overwritten(50, digest("0")), Overwritten(70, digest("1")))}
    assert made == Pulled(A, ITEM, 5, "update", 70, over, modified_at=NOW)
    many = replace(of, pulled=replace(before, over={"a": tuple(Overwritten(n, str(n)) for n in range(50, 55))}))
    assert [one.xid for one in remembered(many, Write(now(), {"a": "5"}), row).over["a"]] == [51, 52, 53, 54, 70]


def test_what_was_applied_again_is_remembered_once() -> None:
    made = remembered(lost_edit(), Write(now(3), {"a": "1"}), RowThere(A, dict(WAS)))
    assert made.over == {"a": (Overwritten(70, digest("0")),)}


def test_what_does_not_change_the_row_leaves_what_is_remembered() -> None:
    made = remembered(taken(edit(5), pulled=pulled(), applied=applied(3, 50)), Nothing(now()), RowThere(A, BASE))
    assert (made.version, made.op, made.xid, made.over) == (5, "none", 70, pulled().over)


def test_a_new_row_and_a_move_are_remembered() -> None:
    made = remembered(taken(entry(1), pair=None), Insert(now(1), BASE), RowAbsent(), How.ARRIVE)
    assert (made.op, made.inserted, made.over) == ("insert", 70, {})
    moved = remembered(taken(entry(5, list_id=B)), Write(now(), {}, {"region": "b"}), RowThere(A, BASE), How.MOVE)
    assert moved.moved == Moved(70, A)


def test_a_deletion_is_remembered_by_the_row_that_it_met() -> None:
    gone = Applied(A, ITEM, 5, None, "1")
    of = taken(deletion(), pulled=pulled(), applied=applied(3, 50))
    made = remembered(of, Delete(gone), RowThere(A, BASE), How.DELETE)
    assert (made.op, made.gone, made.over) == ("delete", digest(BASE), {})
    assert remembered(of, Nothing(gone), RowAbsent(), How.DELETE).gone == ""


def test_what_an_earlier_try_did_is_inferred() -> None:
    """It committed, and died before it could note what: the ledger has what was agreed before."""
    of = taken(edit(5, a="5"), pair=held(), applied=now(xid=60))
    made = remembered(of, AlreadyApplied(now(xid=60)), RowThere(A, {"a": "5", "b": "x"}))
    assert (made.xid, made.over) == (60, {"a": (Overwritten(60, digest("1")),)})
    arrived = taken(entry(1), pair=Arriving(TOMBSTONE.as_of, PairedItem(A, ITEM, None, {}, {})), applied=now(1, xid=60))
    assert remembered(arrived, AlreadyApplied(now(1, xid=60)), RowThere(A, BASE), How.ARRIVE).inserted == 60
    gone = Applied(A, ITEM, 5, None, "1", 60)
    deleted = taken(deletion(), pair=held(), applied=gone)
    assert isinstance(deleted.pair, Held)
    assert remembered(deleted, AlreadyApplied(gone), RowAbsent(), How.DELETE).gone == digest(BASE)


def test_a_row_that_an_earlier_try_made_is_remembered_as_made_by_pull() -> None:
    """It died before it noted that, and a newer edit of the item is what is recorded first."""
    arriving = Arriving(TOMBSTONE.as_of, PairedItem(A, ITEM, None, {}, {}))
    of = taken(edit(2, a="5"), pair=arriving, applied=applied(1, 60))
    made = remembered(of, Write(now(2), {"a": "5"}), RowThere(A, dict(BASE)))
    assert (made.op, made.inserted) == ("update", 60)
    assert lost_of(made, None).inserted


def test_a_new_item_that_got_its_key_from_us_says_what_a_person_wrote() -> None:
    """Its edit was committed, its key written, and nothing recorded when the source lost the edit."""
    arriving = Arriving(TOMBSTONE.as_of, PairedItem(A, ITEM, None, {}, {}))
    of = taken(entry(3, by_app=True, fields={"a": "5", "b": "x"}), pair=arriving, applied=applied(1, agreed=Base(BASE)))
    done = verdict(of, RowThere(A, dict(BASE)))
    assert isinstance(done, Write)
    assert done.fields == {"a": "5"}


def test_what_an_earlier_try_has_overwritten_is_remembered_by_the_next_one() -> None:
    """It died before it could note it, and a newer edit of the item came first."""
    of = taken(edit(6, b="7"), pair=held(), applied=now(5, xid=60))
    made = remembered(of, Write(now(6, Base({"a": "5", "b": "7"})), {"b": "7"}), RowThere(A, {"a": "5", "b": "x"}))
    assert made.over == {"a": (Overwritten(60, digest("1")),), "b": (Overwritten(70, digest("x")),)}
