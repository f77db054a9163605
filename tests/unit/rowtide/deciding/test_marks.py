"""A deletion that marks what is on the other side, in place of removing it."""

from dataclasses import replace

from rowtide.deciding import hand_over, push
from rowtide.deciding.answers import Changed, Found, Missing, Written
from rowtide.deciding.apply import RowThere, Write
from rowtide.deciding.commands import LookAtItem, UpdateItem
from rowtide.deciding.conflicts import Mark, MarkItem
from rowtide.deciding.in_flight import Ended, InFlight, Patch, Rules
from rowtide.deciding.outcomes import HandOver, Release, Settle
from rowtide.deciding.recorded import Commit, recorded
from rowtide.deciding.records import Held, NoItem, Standing, Work
from rowtide.deciding.sides import Base
from rowtide.deciding.taken import Apply, How
from rowtide.lists import HeldColumns
from rowtide.position import Position
from tests.unit.rowtide.deciding.entries import BASE, deletion, judged, ruled, taken
from tests.unit.rowtide.deciding.rows import ITEM, NOW, RULES, A, desired, g, held, item, sent

MARKING = replace(RULES, deletes=MarkItem("b", "gone"))
GONE = desired("d", None)


def settled(plan: object) -> Settle:
    assert isinstance(plan, Settle), plan
    return plan


def asked(plan: object) -> InFlight:
    assert isinstance(plan, InFlight), plan
    return plan


def after(plan: InFlight, answer: object, rules: Rules = MARKING) -> InFlight | Ended:
    return push.after(plan, answer, rules, NOW)  # type: ignore[arg-type]


def test_the_item_of_a_row_that_is_gone_is_marked_and_stays() -> None:
    plan = asked(push.first(Work(GONE, held()), MARKING, NOW))
    assert plan.command == UpdateItem(A, ITEM, g(3), {"b": "gone"})
    done = settled(after(plan, Written(ITEM, g(4), {"a": "1", "b": "gone"})))
    assert isinstance(done.pair, Held)
    assert (done.pair.standing, done.pair.item.etag, done.pair.item.base["b"]) == (Standing.IGNORED, g(4), "gone")
    assert done.writes == 1


def test_it_is_marked_once() -> None:
    marked = held(base={**BASE, "b": "gone"})
    assert settled(push.first(Work(GONE, marked), MARKING, NOW)).writes == 0
    assert settled(push.first(Work(GONE, held(standing=Standing.IGNORED)), MARKING, NOW)).writes == 0


def test_a_row_that_is_inserted_again_takes_its_item_up_and_the_mark_off() -> None:
    marked = held(base={**BASE, "b": "gone"}, standing=Standing.IGNORED)
    again = desired(position=Position(1, 30, 0))
    plan = asked(push.first(Work(again, marked), MARKING, NOW))
    assert plan.command == UpdateItem(A, ITEM, g(3), {"a": "2", "b": "x"})
    done = settled(after(plan, Written(ITEM, g(4), {"a": "2", "b": "x"})))
    assert isinstance(done.pair, Held)
    assert done.pair.standing is Standing.LIVE


def test_a_mark_whose_answer_was_lost_is_no_persons_edit() -> None:
    unexplained = Work(desired("d", None, sent=(sent("d", None, age_s=200),)), held())
    plan = asked(push.first(unexplained, MARKING, NOW))
    assert plan.command == LookAtItem(A, ITEM)
    done = settled(after(plan, Found((item(4, by_app=True, b="gone"),))))
    assert (done.writes, done.foreign_edit) == (0, False)
    assert isinstance(done.pair, Held)
    assert (done.pair.standing, done.pair.item.etag) == (Standing.IGNORED, g(4))


def test_what_a_person_wrote_meanwhile_stays_beside_the_mark() -> None:
    plan = asked(after(asked(push.first(Work(GONE, held()), MARKING, NOW)), Changed()))
    plan = asked(after(plan, Found((item(8, a="theirs"),))))
    assert plan.command == UpdateItem(A, ITEM, g(8), {"b": "gone"})


def test_an_item_that_is_gone_too_is_agreed() -> None:
    plan = after(asked(push.first(Work(GONE, held()), MARKING, NOW)), Missing())
    assert isinstance(settled(plan).pair, NoItem)


def test_a_column_that_cannot_be_written_is_waited_for() -> None:
    rules = replace(MARKING, held={A: HeldColumns({"b": "it is of another kind"})})
    assert isinstance(push.first(Work(GONE, held()), rules, NOW), Release)


def test_a_persons_deletion_is_told_from_a_mark_of_ours() -> None:
    """The row is there again, and an attempt to mark its item is unexplained."""
    rules = replace(MARKING, two_ways=True)
    again = Work(desired(position=Position(1, 30, 0), sent=(sent("d", None),)), held())
    plan = hand_over.first(again, rules, NOW)
    assert isinstance(plan, InFlight)
    found = hand_over.after(plan, Missing(), rules, NOW)
    assert isinstance(found, HandOver)
    assert found.entry is not None
    assert found.entry.deleted


def test_a_row_is_marked_in_place_of_being_deleted_and_gets_no_other_item() -> None:
    rules = ruled(deletes=Mark("removed", "true"))
    apply = Apply(taken(deletion()), How.DELETE, "1", deletion(), Base(dict(BASE)))
    row = RowThere(A, dict(BASE))
    verdict = judged(apply, row, rules)
    assert isinstance(verdict, Write)
    assert (verdict.fields, verdict.columns) == ({}, {"removed": "true"})
    done = recorded(apply, verdict, row, Commit("1", 77, 500), rules)
    assert isinstance(done.pair, NoItem)
    assert done.pair.ignored
    assert not done.reread


def test_a_step_that_marks_is_a_patch() -> None:
    assert isinstance(asked(push.first(Work(GONE, held()), MARKING, NOW)).step, Patch)
