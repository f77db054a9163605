"""What people read in an item of what became of their edit."""

from dataclasses import replace
from typing import Any

import pytest

from rowtide.deciding import pull, status_text
from rowtide.deciding.answers import Answer, Changed, Missing, NotApplied, Rejected, Unknown, Written
from rowtide.deciding.commands import UpdateItem
from rowtide.deciding.conflicts import Conflict, ConflictRecord, Values, Winner
from rowtide.deciding.pull_steps import HoldOpen, Later, ParkEntry, PullInFlight, Tell
from rowtide.deciding.pulled import Pulled
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import AsOf, Held, NoItem
from rowtide.deciding.taken import Taken
from rowtide.position import Position
from tests.unit.rowtide.deciding.entries import deletion, edit, ruled, taken
from tests.unit.rowtide.deciding.rows import ITEM, NOW, A, g, held

RULES = ruled(status_field="Status")


def known(status: str | None = None) -> Taken:
    return taken(replace(edit(a="9"), status=status))


def conflict(winner: Winner, sentence: str | None = None) -> ConflictRecord:
    values = {"a": Values("1", "2", "9", winner)}
    return ConflictRecord(Conflict.UPDATE_DIFFERING, A, ITEM, 4, "manual", winner, values, sentence)


def parked(status: str | None = None, code: str = "refused_by_source") -> ParkEntry:
    return ParkEntry(known(status), code, "the check few")


def recorded(status: str | None = None, *conflicts: ConflictRecord, **changes: Any) -> Recorded:
    pulled = Pulled(A, ITEM, 4, "update")
    return replace(Recorded(known(status), "1", held(etag=g(4)), pulled, 500, conflicts), **changes)


def echo() -> Recorded:
    """Our own write, which is noted only."""
    own = taken(replace(edit(a="9"), status="Refused: x", by_app=True))
    return Recorded(own, "1", held(etag=g(4)))


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (parked(), "Refused: the check few"),
        (parked("Synchronised"), "Refused: the check few"),
        (parked("Refused: the check few"), None),
        (parked(code="ping_pong"), "Held: the check few"),
        (HoldOpen(known(), conflict(Winner.NOBODY)), "Conflict waiting"),
        (HoldOpen(known("Conflict waiting"), conflict(Winner.NOBODY)), None),
        (recorded(), None),
        (recorded("Synchronised"), None),
        (recorded("Refused: the check few"), "Synchronised"),
        (recorded(None, conflict(Winner.SHAREPOINT)), None),
        (recorded(None, conflict(Winner.POSTGRES)), "Not taken, PostgreSQL's value stands: a"),
        (recorded(None, conflict(Winner.POSTGRES, "the check few")), "Refused and taken back: the check few"),
        (recorded("Refused: x", pulled=None), "Synchronised"),
        (echo(), None),
        (recorded("Refused: x", pair=NoItem(AsOf(Position(0, 0, 0), 0, 7))), None),
    ],
)
def test_a_text_is_written_when_it_is_another(end: Any, text: str | None) -> None:
    plan = status_text.told(end, RULES)
    if text is None:
        assert plan == end
    else:
        assert plan == PullInFlight(end.taken, Tell(UpdateItem(A, ITEM, g(4), {"Status": text}), end))


def test_without_a_field_and_of_a_deleted_item_nothing_is_said() -> None:
    assert status_text.told(parked(), ruled()) == parked()
    gone = ParkEntry(taken(deletion()), "inferred_delete", "its list does not show it")
    assert status_text.told(gone, RULES) == gone


def test_a_text_fits_its_column() -> None:
    plan = status_text.told(ParkEntry(known(), "refused_by_source", "x" * 1000), RULES)
    assert isinstance(plan, PullInFlight)
    assert isinstance(plan.command, UpdateItem)
    assert len(str(plan.command.fields["Status"])) == status_text.MOST


def answered(end: Any, answer: Answer) -> object:
    plan = status_text.told(end, RULES)
    assert isinstance(plan, PullInFlight)
    return pull.after(plan, answer, RULES, NOW)


def test_the_version_that_the_text_leaves_is_noted() -> None:
    done = answered(recorded("Refused: x"), Written(ITEM, g(5)))
    assert isinstance(done, Recorded)
    assert isinstance(done.pair, Held)
    assert done.pair.item.etag == g(5)
    waits = answered(HoldOpen(known(), conflict(Winner.NOBODY)), Written(ITEM, g(5)))
    assert isinstance(waits, HoldOpen)
    assert waits.conflict.version == 5, "the conflict is recorded once, of the item as it is since"
    assert answered(parked(), Written(ITEM, g(5))) == parked()


@pytest.mark.parametrize("answer", [Changed(), Missing(), Written(ITEM, None), Rejected(400, "no", "no column")])
def test_where_it_cannot_be_said_the_end_stands(answer: Answer) -> None:
    assert answered(parked(), answer) == parked()


@pytest.mark.parametrize("answer", [NotApplied(3.0, "throttled"), Unknown("no answer")])
def test_what_was_not_answered_is_said_later(answer: Answer) -> None:
    assert isinstance(answered(parked(), answer), Later)


@pytest.mark.parametrize("end", [parked(), parked(code="ping_pong"), HoldOpen(known(), conflict(Winner.NOBODY))])
def test_what_waits_is_a_persons_also_after_our_word_about_it(end: Any) -> None:
    """A process may die between the word and the record; then the list names our application for the edit."""
    plan = status_text.told(end, RULES)
    assert isinstance(plan, PullInFlight)
    assert isinstance(plan.command, UpdateItem)
    assert status_text.is_pending(str(plan.command.fields["Status"]))


@pytest.mark.parametrize("text", [None, "?", "Synchronised", "Refused and taken back: x", "Not taken, ..."])
def test_what_is_over_is_not_pending(text: str | None) -> None:
    assert not status_text.is_pending(text)
