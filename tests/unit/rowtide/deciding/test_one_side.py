"""Whether a claimed row may go, case by case; and every combination keeps the two rules that carry the proof."""

from itertools import product

import pytest

from rowtide.deciding.one_side import RowSide, RowTurn, turn_of


@pytest.mark.parametrize(
    ("side", "turn"),
    [
        (RowSide(2, 100), RowTurn.GO),
        (RowSide(2, None), RowTurn.GO),
        (RowSide(2, 100, uncertain=True), RowTurn.GO),
        (RowSide(2, 100, entry_waits=True), RowTurn.EDITED),
        (RowSide(2, 100, entry_is_aside=True), RowTurn.SET_ASIDE),
        (RowSide(2, 100, entry_waits=True, entry_is_aside=True), RowTurn.EDITED),
        (RowSide(2, 100, uncertain=True, entry_waits=True), RowTurn.LOOK),
        (RowSide(2, 100, uncertain=True, entry_is_aside=True), RowTurn.LOOK),
        (RowSide(2, 100, applied=(2, 100)), RowTurn.GO),
        (RowSide(2, 100, applied=(2, 101)), RowTurn.BEHIND),
        (RowSide(2, None, applied=(2, 1)), RowTurn.BEHIND),
        (RowSide(2, 100, applied=(1, 1)), RowTurn.READ),
        (RowSide(2, 100, applied=(1, 900), is_read=True), RowTurn.GO),
        (RowSide(2, 100, applied=(2, 900), is_read=True), RowTurn.BEHIND),
        (RowSide(2, 100, applied=(1, 1), is_confirmed=False), RowTurn.UNCONFIRMED),
        (RowSide(2, 100, is_confirmed=False, is_read=True), RowTurn.UNCONFIRMED),
        (RowSide(2, 100, uncertain=True, is_confirmed=False), RowTurn.LOOK),
        (RowSide(2, 100, entry_waits=True, is_confirmed=False), RowTurn.EDITED),
        (RowSide(2, 100, is_suspect=True), RowTurn.SUSPECT),
        (RowSide(2, 100, uncertain=True, entry_waits=True, is_suspect=True), RowTurn.SUSPECT),
    ],
)
def test_turn(side: RowSide, turn: RowTurn) -> None:
    assert turn_of(side) is turn


def test_nothing_is_sent_while_an_edit_waits_or_capture_is_behind() -> None:
    flags, applieds = [False, True], [None, (2, 100), (2, 200), (1, 5)]
    for uncertain, waits, aside, is_read, applied in product(flags, flags, flags, flags, applieds):
        turn = turn_of(RowSide(2, 150, uncertain, waits, aside, applied, is_read))
        if waits or aside:
            assert turn is not RowTurn.GO
            assert (turn is RowTurn.LOOK) == uncertain
        elif applied == (2, 200):
            assert turn is RowTurn.BEHIND
        else:
            assert (turn is RowTurn.READ) == (applied == (1, 5) and not is_read)
