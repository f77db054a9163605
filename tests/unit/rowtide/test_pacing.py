"""The bucket against a server's fixed windows."""

import pytest

from rowtide.deciding.commands import CreateItem, DeleteItem, LookAtItem, LookForKey
from rowtide.deciding.records import ETag, ItemId, ListId
from rowtide.pacing import Bucket, cost_of, tier_of


def test_tiers() -> None:
    assert [tier_of(n).ru_per_minute for n in (1, 1000, 1001, 15_000, 50_000, 50_001)] == [
        1250, 1250, 2500, 3750, 5000, 6250,
    ]  # fmt: skip


def test_costs() -> None:
    list_id, item_id = ListId("l"), ItemId("1")
    commands = (
        CreateItem(list_id, {}),
        DeleteItem(list_id, item_id, ETag("e")),
        LookAtItem(list_id, item_id),
        LookForKey(list_id),
    )
    assert [cost_of(command) for command in commands] == [2, 2, 1, 2]


@pytest.mark.parametrize(("limit", "window_s"), [(1250.0, 60.0), (125.0, 6.0), (62.5, 3.0), (6250.0, 60.0)])
@pytest.mark.parametrize("offset_s", [0.0, 1.3, 2.9])
def test_saturated_windows_use_the_share_and_never_the_limit(limit: float, window_s: float, offset_s: float) -> None:
    bucket = Bucket.of(limit, window_s, 0.8, offset_s)
    now = offset_s
    used: dict[int, float] = {}
    while now < offset_s + 6 * window_s:
        taken = bucket.take(40, now)
        used[int(now // window_s)] = used.get(int(now // window_s), 0.0) + taken
        now += 0.05
    whole = [used[index] for index in sorted(used)[1:-1]]
    assert all(units <= limit for units in used.values())
    assert min(whole) >= 0.95 * 0.8 * limit


def test_idle_time_is_not_saved_up() -> None:
    bucket = Bucket.of(1250.0, 60.0, 0.8, 0.0)
    assert bucket.take(5000, 3600.0) <= 250


def test_waits_for_what_was_charged_beyond() -> None:
    bucket = Bucket.of(600.0, 60.0, 0.5, 0.0)
    bucket.take(bucket.burst, 0.0)
    bucket.charge(10, 0.0)
    assert bucket.wait_s(2, 0.0) == pytest.approx(12 / 5)
    bucket.refund(12)
    assert bucket.wait_s(2, 0.0) == 0.0
    bucket.cap(0.0)
    assert bucket.take(2, 0.0) == 0


def test_a_day_that_was_spent_evenly_leaves_a_full_bucket() -> None:
    day = Bucket.of(1_200_000, 86_400, 0.8, 0.0)
    assert day.replay([(3600.0, 40_000.0)] * 24) == pytest.approx(day.burst - 40_000, abs=1)
    assert day.replay([(3600.0, 0.0)] * 24) == day.burst


def test_a_day_that_was_spent_at_once_has_nothing_left_for_hours() -> None:
    day = Bucket.of(1_200_000, 86_400, 0.8, 0.0)
    left = day.replay([*[(3600.0, 0.0)] * 23, (3600.0, 400_000.0)])
    assert left == pytest.approx(120_000 - 400_000, abs=1)
    assert day.replay([*[(3600.0, 0.0)] * 15, (3600.0, 400_000.0), *[(3600.0, 0.0)] * 8]) > 0
