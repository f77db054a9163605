"""Quota: costs, windows, headers, refusals that cost, blocking."""

from typing import Any

import pytest

from graphsim.limits.throttle import Throttle
from graphsim.switches import Switches, apply_switches


def make(tier: str = "1000", window_s: float = 60.0, **switches: Any) -> Throttle:
    return Throttle(tier, window_s, Switches(**switches))


@pytest.mark.parametrize(
    ("tier", "limit"), [("1000", 1250), ("5000", 2500), ("15000", 3750), ("50000", 5000), ("max", 6250)]
)
def test_a_minute_holds_what_the_tier_says(tier: str, limit: int) -> None:
    throttle = make(tier)
    accepted = sum(throttle.charge("a", 2, 600.0) is None for _ in range(limit))
    assert accepted == limit // 2
    assert throttle.charge("a", 2, 660.0) is None


def test_the_wait_ends_with_the_window() -> None:
    throttle = make()
    for _ in range(625):
        throttle.charge("a", 2, 605.5)
    denial = throttle.charge("a", 2, 605.5)
    assert denial is not None
    assert (denial.retry_after_s, denial.by_minute) == (55, True)


def test_shorter_windows_keep_the_rate() -> None:
    throttle = make(window_s=6.0)
    assert sum(throttle.charge("a", 1, 6.0) is None for _ in range(200)) == 125
    assert sum(throttle.charge("a", 1, 12.0) is None for _ in range(200)) == 125


def test_apps_have_quotas_of_their_own_and_share_the_tenants() -> None:
    throttle = make()
    accepted = 0
    for n in range(20):
        accepted += sum(throttle.charge(f"app {n}", 5, 900.0) is None for _ in range(250))
    assert accepted * 5 == 18_750
    denial = throttle.charge("new", 1, 900.0)
    assert denial is not None
    assert (denial.by_minute, denial.retry_after_s) == (False, 300)
    assert make(tenant_window=False).charge("new", 1, 900.0) is None


def test_a_day_is_full_before_its_minutes_are() -> None:
    throttle = make()
    accepted, now = 0, 0.0
    while now < 86_400:
        accepted += throttle.charge("a", 1250, now) is None
        now += 60
    assert accepted == 960
    assert make(day_window=False).charge("a", 1250, 0.0) is None


@pytest.mark.parametrize(("charged", "left"), [(True, 400), (False, 0)])
def test_refused_calls_cost_too(charged: bool, left: int) -> None:
    throttle = make(charge_throttled=charged)
    for _ in range(625 + 200):
        throttle.charge("a", 2, 1.0)
    account = throttle.account("a")
    assert account.minute.used == 1250 + left
    assert (account.accepted, account.throttled) == (1250, 200)
    assert throttle.report()["max_in_window"] == 1250 + left
    assert throttle.report()["max_accepted_in_window"] == 1250


def test_headers_come_from_four_fifths_on(make_desk: Any) -> None:
    desk = make_desk(tier="1000", window_s=1)
    orders = desk.make_list()
    desk.time += 1
    limits = [desk.call("GET", orders).headers.get("RateLimit-Remaining") for _ in range(22)]
    assert limits == [None] * 16 + ["3", "2", "1", "0", "0", "0"]
    reply = desk.call("GET", orders)
    assert reply.status == 429
    assert reply.headers["RateLimit-Limit"] == "20"
    assert reply.headers["Retry-After"] == reply.headers["RateLimit-Reset"] == "1"


def test_costs_are_as_published(make_desk: Any) -> None:
    desk = make_desk(tier="1000")
    orders = desk.make_list()
    latest = desk.get(orders + "/items/delta?token=latest")["@odata.deltaLink"]
    link = desk.get(orders + "/items/delta")["@odata.deltaLink"]
    account = desk.tenant.throttle.account(desk.app.client_id)
    calls: list[tuple[str, str, Any, int]] = [
        ("POST", orders + "/items", {"fields": {}}, 2),
        ("PATCH", orders + "/items/1/fields", {"Title": "x"}, 2),
        ("GET", orders + "/items/1", None, 1),
        ("GET", orders + "/items", None, 2),
        ("GET", orders + "/items?$filter=fields/RowtideKey eq 'x'", None, 2),
        ("GET", orders + "/items/delta", None, 2),
        ("GET", orders + "/items/delta()", None, 2),
        ("GET", orders + "/items/delta(token='latest')", None, 1),
        ("GET", latest, None, 1),
        ("GET", link, None, 1),
        ("GET", orders + "/columns", None, 2),
        ("GET", orders, None, 1),
        ("GET", f"/sites/{desk.site.id}/permissions", None, 5),
        ("DELETE", orders + "/items/1", None, 2),
        ("GET", orders + "/items/1", None, 1),
    ]
    for method, url, body, cost in calls:
        before = account.charged
        desk.call(method, url, body)
        assert account.charged - before == cost, (method, url)


def test_retry_after_may_be_missing_and_abuse_blocks(make_desk: Any) -> None:
    desk = make_desk(tier="1000", window_s=1, retry_after_missing=1, block_after=5)
    orders = desk.make_list()
    statuses = [desk.call("GET", orders + "/items") for _ in range(40)]
    throttled = [reply for reply in statuses if reply.status == 429]
    assert len(throttled) == 5
    assert not any("Retry-After" in reply.headers for reply in throttled)
    desk.time += 100
    assert desk.error("GET", orders)[:2] == (503, "serviceNotAvailable")


def test_foreign_load_uses_up_the_tenants_window() -> None:
    throttle = make(foreign_load=0.5)
    # Half of the window has passed, so other apps have spent a quarter of it.
    accepted = sum(throttle.charge(f"app {n % 20}", 5, 1050.0) is None for n in range(4000))
    assert accepted * 5 == 18_750 * 3 // 4 - 18_750 * 3 // 4 % 5
    denial = throttle.charge("new", 5, 1050.0)
    assert denial is not None
    assert not denial.by_minute


def test_a_429_of_the_tenants_window_carries_no_rate_limit_headers(make_desk: Any) -> None:
    desk = make_desk(tier="1000", foreign_load=1.0)
    desk.time = 300.0 * 1_000_000 - 1
    orders = f"/sites/{desk.site.id}"
    reply = next(r for _ in range(600) if (r := desk.call("GET", orders)).status == 429)
    assert "Retry-After" in reply.headers
    assert not [name for name in reply.headers if name.startswith("RateLimit")]


def test_a_multiplier_gives_an_app_a_quota_outside_of_the_tenants() -> None:
    throttle = make(quota_multiplier=10.0, foreign_load=1.0)
    assert sum(throttle.charge("a", 2, 899.0) is None for _ in range(7000)) == 6250
    assert throttle.tenant_window.used == 0


@pytest.mark.parametrize(
    ("name", "value"), [("quota-multiplier", "0.5"), ("quota-multiplier", "11"), ("foreign-load", "2")]
)
def test_a_number_outside_of_its_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="takes a number from"):
        apply_switches(Switches(), {name: value})
