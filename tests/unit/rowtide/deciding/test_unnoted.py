"""What was done in the source and not noted before the next entry of the row was applied."""

from dataclasses import replace

from rowtide.deciding import pull, whose
from rowtide.deciding.answers import Found, Missing
from rowtide.deciding.apply import RowThere, Write
from rowtide.deciding.conflicts import Conflict, ConflictRecord, Winner
from rowtide.deciding.pull_steps import Later, PullInFlight
from rowtide.deciding.pulled import Overwritten, Pulled, digest
from rowtide.deciding.recorded import Commit, recorded
from rowtide.deciding.records import ItemId, LeftItem
from rowtide.deciding.sides import Base
from rowtide.deciding.taken import Applied, Apply, How, Taken
from tests.unit.rowtide.deciding.entries import BASE, RULES, deletion, edit, judged, ruled, taken
from tests.unit.rowtide.deciding.rows import ITEM, NEW, NOW, A, B, g, held, item

UNNOTED = ConflictRecord(Conflict.UPDATE_DIFFERING, A, ITEM, 4, "postgres_wins", Winner.POSTGRES)
APPLIED = Applied(A, ITEM, 4, Base(dict(BASE)), "1", 60, (UNNOTED,))


def conflicts_after(pulled: Pulled | None) -> tuple[ConflictRecord, ...]:
    of = taken(edit(5, a="5"), applied=APPLIED, pulled=pulled)
    done = judged(whose.first(of, ruled()), RowThere(A, dict(BASE)), ruled())
    assert isinstance(done, Write)
    return done.applied.conflicts


def test_they_go_along_with_what_replaces_their_record() -> None:
    assert conflicts_after(None) == (UNNOTED,)


def test_those_that_are_noted_do_not() -> None:
    assert conflicts_after(Pulled(A, ITEM, 4, "update", 60)) == ()


# --- an item that was moved ---------------------------------------------------------------------------------------

MOVED = Applied(B, NEW, 1, Base({"a": "moved", "b": "x"}), "1", 60)


def moved(**changes: object) -> Apply:
    """The item was moved to list B and edited there, which an earlier try had applied; then it was edited again."""
    of = taken(replace(edit(2, a="again"), list_id=B, item_id=NEW), applied=MOVED)
    plan = whose.first(replace(of, **changes), RULES)  # type: ignore[arg-type]
    for answer in (Missing(), Found((item(2, NEW, a="again"),))):
        assert isinstance(plan, PullInFlight)
        plan = pull.after(plan, answer, RULES, NOW)
    assert isinstance(plan, Apply)
    assert plan.how is How.MOVE
    return plan


def test_an_edit_of_a_moved_item_is_compared_with_what_an_earlier_try_agreed() -> None:
    done = judged(moved(), RowThere(B, {"a": "moved", "b": "x"}), ruled())
    assert isinstance(done, Write)
    assert (done.fields, done.applied.conflicts) == ({"a": "again"}, ())


def test_what_that_try_has_overwritten_is_remembered() -> None:
    row = RowThere(B, {"a": "moved", "b": "x"})
    done = judged(moved(), row, ruled())
    assert isinstance(done, Write)
    noted = recorded(moved(), done, row, Commit("1", 70, 700), RULES).pulled
    assert noted is not None
    assert noted.over == {"a": (Overwritten(60, digest("1")), Overwritten(70, digest("moved")))}


def test_a_row_that_was_moved_back_since_stays_where_it_is() -> None:
    rules = ruled(shard_columns={A: {"region": "a"}, B: {"region": "b"}})
    done = judged(moved(), RowThere(A, {"a": "moved", "b": "x"}), rules)
    assert isinstance(done, Write)
    assert done.columns == {}


def test_a_record_that_is_older_than_what_pull_did_since_says_nothing_of_a_moved_item() -> None:
    assert moved(pulled=Pulled(A, ITEM, 3, "update", 65)).base == Base(dict(BASE))
    assert moved(pulled=Pulled(B, NEW, 1, "update", 60)).base == Base(dict(BASE))


# --- an item that its row has left --------------------------------------------------------------------------------

OTHER = ItemId("13")
LEFT = LeftItem(B, OTHER, g(3), None, dict(BASE), {})
OF_LEFT = Applied(B, OTHER, 4, Base({"a": "theirs", "b": "x"}), "1", 60)


def own(**changes: object) -> Taken:
    of = taken(edit(4, b="own"), pair=held(leftovers=(LEFT,)), applied=OF_LEFT, others_wait=frozenset({(B, OTHER)}))
    return replace(of, **changes)  # type: ignore[arg-type]


def test_an_edit_of_an_item_that_its_row_has_left_is_noted_before_its_record_is_replaced() -> None:
    assert isinstance(whose.first(own(), RULES), Later)
    assert isinstance(whose.first(own(entry=deletion()), RULES), Later)


def test_nothing_waits_for_what_is_noted_or_for_an_entry_that_is_gone() -> None:
    assert isinstance(whose.first(own(others_wait=frozenset()), RULES), Apply)
    assert isinstance(whose.first(own(pulled=Pulled(B, OTHER, 4, "update", 60)), RULES), Apply)
    assert isinstance(whose.first(own(applied=None), RULES), Apply)
    left = own(entry=replace(edit(5, a="theirs too"), list_id=B, item_id=OTHER))
    assert isinstance(whose.first(left, RULES), Apply)


def test_a_move_that_nobody_could_note_is_noted_before_a_copy_replaces_its_record() -> None:
    """A person moved the item, and a copy of it has the row's key, too."""
    copy = replace(edit(1, a="copied"), list_id=B, item_id=OTHER)
    of = taken(copy, applied=MOVED, others_wait=frozenset({MOVED.place}))
    assert isinstance(whose.first(of, RULES), Later)
    assert not isinstance(whose.first(replace(of, others_wait=frozenset()), RULES), Later)
    noted = Pulled(*MOVED.place, MOVED.version, "update", MOVED.xid)
    assert not isinstance(whose.first(replace(of, pulled=noted), RULES), Later)
