"""How a pass goes, when one is wanted, what a snapshot sees."""

import pytest

from rowtide.reconcile import Coverage, Phase, next_phase, why_wanted
from rowtide.snapshot import Snapshot


@pytest.mark.parametrize(
    ("phase", "unread", "passed", "expected"),
    [
        ("mark", False, False, "compare"),
        ("compare", False, True, "ask"),
        ("compare", True, True, "again"),
        ("compare", True, False, "ask"),  # the rest goes on while a long transaction does
        ("again", False, True, "ask"),
        ("ask", True, False, "delete"),
        ("ask", False, False, "delete"),
        ("delete", True, False, "opening"),
        ("delete", False, False, "done"),
        ("opening", True, True, "again"),
        ("done", False, True, "done"),
    ],
)
def test_what_follows_a_phase(phase: Phase, unread: bool, passed: bool, expected: Phase) -> None:
    assert next_phase(phase, unread, passed) == expected


def test_a_deep_pass_sees_every_item_before_it_compares_and_judges_them_before_its_end() -> None:
    phase: Phase = "mark"
    way: list[Phase] = []
    while phase != "done":
        phase = next_phase(phase, False, True, deep=True)
        way.append(phase)
        assert len(way) < 10
    assert way == ["enumerate", "compare", "ask", "delete", "round", "judge", "done"]


@pytest.mark.parametrize("passed", [True, False])
def test_what_was_read_too_early_is_read_again_before_the_end(passed: bool) -> None:
    phase: Phase = "compare"
    unread, way = True, []
    while phase != "done":
        unread = unread and phase != "again"
        phase = next_phase(phase, unread, passed)
        way.append(phase)
        assert len(way) < 10
    assert "again" in way
    assert way[-3:] == ["ask", "delete", "done"]


@pytest.mark.parametrize(
    ("covered", "why"),
    [
        (None, "first load"),
        (Coverage(2, 7), None),
        (Coverage(1, 7), "a new stream of the sync began"),
        (Coverage(2, 8), "the definition of the sync changed"),
    ],
)
def test_when_a_reconcile_is_wanted_unasked(covered: Coverage | None, why: str | None) -> None:
    assert why_wanted(covered, Coverage(2, 7)) == why


def test_a_snapshot_sees_what_was_over_when_it_was_taken() -> None:
    snapshot = Snapshot.parse("10:20:12,15")
    assert [xid for xid in range(8, 22) if snapshot.sees(xid)] == [8, 9, 10, 11, 13, 14, 16, 17, 18, 19]
    assert Snapshot.parse("7:7:") == Snapshot(7, 7)
