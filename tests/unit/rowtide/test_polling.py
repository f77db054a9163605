"""How often lists are asked: what each tier leaves, how a list's own pace changes its interval, who is asked next."""

import random

import pytest

from rowtide import polling
from rowtide.polling import PollBounds, Turn

BOUNDS = PollBounds(5.0, 60.0)
SMALLEST, SHARE = 1_000, 0.8


def even(lists: int, licences: int = SMALLEST) -> float:
    return polling.even_s(lists, licences, SHARE)


@pytest.mark.parametrize(
    ("lists", "licences", "rest_s"),
    [
        (1, SMALLEST, polling.REST_S),
        (4, SMALLEST, polling.REST_S),
        (10, SMALLEST, 24.0),
        (40, SMALLEST, 60.0),
        (100, SMALLEST, 120.0),
        (1000, SMALLEST, 1200.0),
        (8, 5_000, polling.REST_S),
        (100, 100_000, 48.0),
    ],
)
def test_what_silence_lengthens_the_interval_to(lists: int, licences: int, rest_s: float) -> None:
    assert polling.longest_s(BOUNDS, even(lists, licences)) == pytest.approx(rest_s)


@pytest.mark.parametrize("licences", [1_000, 5_000, 15_000, 50_000, 100_000])
@pytest.mark.parametrize("lists", [1, 4, 10, 100, 1000])
@pytest.mark.parametrize("bounds", [BOUNDS, PollBounds(1.0, 1.0), PollBounds(0.5, 60.0), PollBounds(30.0, 600.0)])
def test_lists_at_rest_stay_within_their_part_and_twelve_units_a_minute(
    licences: int, lists: int, bounds: PollBounds
) -> None:
    """The part is that of the day's quota where this is the smaller one."""
    interval: float | None = None
    for _ in range(50):
        interval = polling.next_s(interval, False, bounds, even(lists, licences))
    assert interval is not None
    assert 60.0 / interval <= 11.25 + 1e-9, "the rest is for looks at whether the list is the same"
    assert lists * 60.0 / interval <= polling.units_a_minute(licences, SHARE)


@pytest.mark.parametrize(("licences", "a_minute", "a_day"), [(1_000, 1_250, 1_200_000), (100_000, 6_250, 6_000_000)])
def test_the_part_is_a_tenth_of_both_quotas(licences: int, a_minute: int, a_day: int) -> None:
    part = polling.units_a_minute(licences, 1.0)
    assert part <= 0.1 * a_minute
    assert part * 24 * 60 <= 0.1 * a_day + 1e-6


def test_a_change_shortens_at_once_and_silence_lengthens_step_by_step() -> None:
    intervals, interval = [], None
    for changed in (True, False, False, False, False, False, False, True, False):
        interval = polling.next_s(interval, changed, BOUNDS, even(40))
        intervals.append(interval)
    assert intervals == pytest.approx([5.0, 7.5, 11.25, 16.875, 25.3125, 37.96875, 56.953125, 5.0, 7.5])


def test_lists_that_were_asked_together_do_not_stay_together_and_are_asked_no_sooner() -> None:
    jitter = random.Random(1).uniform
    spread = [polling.spread_s(10.0, jitter) for _ in range(100)]
    assert len(set(spread)) > 90
    assert min(spread) >= 10.0
    assert max(spread) <= 10.5


def test_a_list_that_is_read_from_its_beginning_again_and_again_waits() -> None:
    assert [polling.anew_wait_s(times) for times in (0, 1, 2, 7, 99)] == [0.0, 10.0, 20.0, 600.0, 600.0]


def test_hinted_lists_come_first_then_whoever_has_been_due_the_longest() -> None:
    turns = [Turn("a", 1.0), Turn("b", -1.0), Turn("c", -5.0), Turn("d", 20.0, hinted=True), Turn("e", 0.0)]
    assert polling.due(turns) == ["d", "c", "b", "e"]


def test_what_a_person_is_told() -> None:
    def told(lists: int) -> str:
        return polling.sentence("contoso", lists, BOUNDS, SMALLEST, SHARE)

    one = "graph contoso: 1 list is asked for changes every 5 s while they change and every 5.3 s at rest, "
    assert told(1) == f"{one}within 10% of the quota"
    assert "10 lists are asked for changes every 5 s while they change and every 24 s at rest" in told(10)
    assert "every 120 s each by polling within 10% of the quota; the 60 s of `poll` cannot be kept" in told(100)
