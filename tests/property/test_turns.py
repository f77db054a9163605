"""Any lines that wait, in any amounts: nothing is lost, nothing starves, small syncs end soon, weights are kept."""

from collections import Counter
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from rowtide.change import BACKFILL, BULK, INTERACTIVE
from rowtide.turns import LITTLE, LOWER_EVERY, Line, Turns

LINES = st.builds(Line, st.sampled_from("abcd"), st.sampled_from(["", "to A", "to B"]), st.integers(0, 3))
WAITING = st.dictionaries(LINES, st.integers(0, 400), max_size=20)
WEIGHTS = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9))


def of_syncs(rows: Mapping[str, int], priority: int = BACKFILL) -> dict[Line, int]:
    """One line a sync."""
    return {Line(sync, "to A", priority): count for sync, count in rows.items()}


@settings(deadline=None)
@given(WAITING, st.integers(0, 1000), WEIGHTS)
def test_as_many_rows_go_as_there_is_room_for_and_none_that_is_not_there(
    waiting: dict[Line, int], rows: int, weights: dict[str, int]
) -> None:
    allotted = Turns().allot(waiting, rows, weights)
    assert sum(allotted.values()) == min(rows, sum(waiting.values()))
    assert all(0 < count <= waiting[line] for line, count in allotted.items())


@settings(deadline=None)
@given(WAITING, st.lists(st.integers(1, 30), max_size=10), WEIGHTS)
def test_claims_of_any_size_give_what_one_claim_gives(
    waiting: dict[Line, int], sizes: list[int], weights: dict[str, int]
) -> None:
    turns, found = Turns(), Counter[Line]()
    left = Counter(waiting)
    for size in sizes:
        allotted = turns.allot(left, size, weights)
        found.update(allotted)
        left.subtract(allotted)
    assert found == Counter(Turns().allot(waiting, sum(sizes), weights))


@settings(deadline=None)
@given(st.sets(st.integers(0, 3), min_size=2))
def test_the_highest_class_has_nine_tenths_and_no_other_starves(classes: set[int]) -> None:
    waiting = {Line("a", "", priority): 10_000 for priority in classes}
    allotted = Turns().allot(waiting, 600, {})
    highest, *lower = sorted(classes)
    assert allotted[Line("a", "", highest)] == 600 - 600 // LOWER_EVERY
    assert {allotted[Line("a", "", priority)] for priority in lower} == {600 // LOWER_EVERY // len(lower)}


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=2))
def test_syncs_with_much_to_do_share_by_weight(weights: dict[str, int]) -> None:
    turns, whole = Turns(), sum(weights.values())
    allotted = turns.allot(of_syncs(dict.fromkeys(weights, 10**6)), 40 * whole, weights)
    for sync, weight in weights.items():
        assert abs(allotted[Line(sync, "to A", BACKFILL)] - 40 * weight) <= 2 * weight + 2


@settings(deadline=None)
@given(st.integers(1, LITTLE - 1), st.integers(1, 50))
def test_a_small_sync_ends_soon_however_many_large_ones_there_are(rows: int, others: int) -> None:
    waiting = of_syncs({f"large {number}": 10**6 for number in range(others)}) | of_syncs({"small": rows})
    order = Turns().order(waiting, {})
    went = [line.sync for _, line in zip(range(2 * rows), order, strict=False)]
    assert went.count("small") == rows


@settings(deadline=None)
@given(st.integers(1, 300))
def test_who_was_away_has_saved_nothing_up(before: int) -> None:
    turns = Turns()
    turns.allot(of_syncs({"a": 10**6}), before, {})
    allotted = turns.allot(of_syncs({"a": 10**6, "b": 10**6}), 100, {})
    assert abs(allotted[Line("a", "to A", BACKFILL)] - 50) <= 1


@settings(deadline=None)
@given(st.integers(1, 300))
def test_a_row_that_somebody_waits_for_never_waits_for_more_than_one_other(before: int) -> None:
    turns = Turns()
    backlog = of_syncs({"a": 10**6, "b": 10**6}) | of_syncs({"c": 10**6}, BULK)
    turns.allot(backlog, before, {})
    first, second = (line for _, line in zip(range(2), turns.order(backlog | of_syncs({"d": 1}, INTERACTIVE), {})))  # noqa: B905
    assert "d" in {first.sync, second.sync}


def test_lines_of_a_sync_take_turns() -> None:
    waiting = {Line("a", "to A", BULK): 1000, Line("a", "to B", BULK): 1000, Line("a", "", BULK): 1000}
    assert set(Turns().allot(waiting, 30, {}).values()) == {10}
