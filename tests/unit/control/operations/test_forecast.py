"""Units, duration and end of a first load."""

from datetime import UTC, datetime, timedelta

import pytest

from control.operations.forecast import Allowance, ListLoad, forecast, spoken, time_to_spend

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SMALLEST = Allowance(1250, 1_200_000, 1.0)


def test_hundred_thousand_rows_at_the_smallest_tier() -> None:
    (one,) = forecast([ListLoad("orders", "Orders", 100_000)], SMALLEST, NOW)
    assert (one.writes, one.ru) == (100_000, 200_000)
    assert one.duration == timedelta(minutes=160)
    assert one.ends_at == NOW + timedelta(minutes=160)
    assert round(one.day_share, 3) == 0.167


def test_lists_share_one_allowance_and_existing_items_cost_nothing() -> None:
    loads = [
        ListLoad("orders", "A", 625),
        ListLoad("orders", "B", 1000, items=375),
        ListLoad("orders", "C", 9, items=9),
    ]
    first, second, third = forecast(loads, SMALLEST, NOW)
    assert (first.writes, second.writes, third.writes) == (625, 625, 0)
    # They take turns, so that both end at the end.
    assert timedelta(seconds=119) < first.duration <= second.duration == timedelta(minutes=2)
    assert second.ends_at == NOW + timedelta(minutes=2)
    assert third.ends_at == NOW


def test_a_small_sync_does_not_wait_for_a_large_one() -> None:
    large, small = forecast([ListLoad("orders", "O", 1_000_000), ListLoad("tags", "T", 40)], SMALLEST, NOW)
    assert small.duration < timedelta(seconds=15)
    assert large.duration == time_to_spend(2 * 1_000_040, SMALLEST)


def test_large_syncs_share_by_weight() -> None:
    loads = [ListLoad("orders", "O", 30_000), ListLoad("lines", "L", 30_000)]
    first, second = forecast(loads, SMALLEST, NOW, {"orders": 2})
    assert round(first.duration / second.duration, 2) == 0.75


def test_the_days_limit_stretches_what_the_minutes_limit_would_allow() -> None:
    assert time_to_spend(1_200_000, SMALLEST) == timedelta(minutes=960)
    assert time_to_spend(1_200_000 + 1250, SMALLEST) == timedelta(days=1, minutes=1)
    assert time_to_spend(0, SMALLEST) == timedelta(0)


def test_our_share_slows_the_load() -> None:
    assert time_to_spend(1250, Allowance(1250, 1_200_000, 0.5)) == timedelta(minutes=2)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5340, "89 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_spoken(seconds: int, words: str) -> None:
    assert spoken(timedelta(seconds=seconds)) == words


def test_reading_a_list_costs_two_units_for_two_hundred_items() -> None:
    loads = [ListLoad("orders", title, rows) for title, rows in (("A", 1_000_000), ("B", 201), ("C", 0))]
    assert [one.deep_ru for one in forecast(loads, SMALLEST, NOW)] == [10_000, 4, 2]
