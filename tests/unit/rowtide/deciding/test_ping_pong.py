"""A field that both sides set in turn, again and again."""

from datetime import timedelta

from rowtide.deciding import ping_pong
from rowtide.deciding.ping_pong import MOST, WITHIN, Turns
from rowtide.deciding.sides import Base
from rowtide.deciding.taken import Apply, How
from tests.unit.rowtide.deciding.entries import BASE, edit, taken
from tests.unit.rowtide.deciding.rows import NOW, Mapped

EVERY = timedelta(seconds=10)


def met(turns: Turns, number: int, agreed: str, every: timedelta = EVERY, **fields: str) -> Turns:
    """The turns once edit ``number`` was met; ``agreed`` of a before it."""
    of = edit(4 + number, **(fields or {"a": f"item {number}"}))
    apply = Apply(taken(of), How.EDIT, "1", of, Base({**BASE, "a": agreed}))
    return ping_pong.with_edit(turns, apply, Mapped(), NOW + number * every)


def played(edits: int, every: timedelta = EVERY, by_row: bool = True) -> tuple[Turns, str | None]:
    """Edits of a; between two of them the row sets it, or leaves it."""
    turns: Turns = {}
    for number in range(edits):
        agreed = f"row {number}" if by_row or number == 0 else f"item {number - 1}"
        turns = met(turns, number, agreed, every)
    return turns, ping_pong.contended(turns, NOW + (edits - 1) * every)


def test_six_in_turn_hold_the_seventh() -> None:
    """Item, row, item, row, item, row: the next edit is not applied."""
    assert played(MOST // 2)[1] is None
    assert played(MOST // 2 + 1)[1] == "a"


def test_what_one_side_alone_sets_is_nobodys_quarrel() -> None:
    assert played(20, by_row=False)[1] is None


def test_turns_that_take_longer_are_two_people() -> None:
    assert played(10, WITHIN / 6 - timedelta(seconds=1))[1] == "a"
    assert played(10, WITHIN / 3 + timedelta(seconds=1))[1] is None


def test_an_edit_that_is_met_again_counts_once() -> None:
    turns, _ = played(3)
    for _ in range(10):
        turns = met(turns, 2, "row 9")
    assert ping_pong.contended(turns, NOW + 3 * EVERY) is None


def test_each_field_counts_for_itself() -> None:
    turns, _ = played(3)
    turns = met(turns, 3, "1", b="another")
    assert ping_pong.contended(turns, NOW + 3 * EVERY) is None
    assert set(turns) == {"a", "b"}


def test_what_sharepoint_keeps_otherwise_was_not_set_by_the_row() -> None:
    turns: Turns = {}
    for number in range(10):
        of = edit(4 + number, a=f"item {number}")
        base = Base({**BASE, "a": "agreed"}, {"a": f"item {number - 1}"})
        turns = ping_pong.with_edit(turns, Apply(taken(of), How.EDIT, "1", of, base), Mapped(), NOW + number * EVERY)
    assert ping_pong.contended(turns, NOW + 10 * EVERY) is None
