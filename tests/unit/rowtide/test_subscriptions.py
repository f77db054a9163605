"""Which subscriptions are made, renewed and ended, and which client state proves a notification."""

from datetime import UTC, datetime, timedelta

import pytest

from rowtide import subscriptions
from rowtide.subscriptions import ListSubscription, SubscriptionSteps, to_steps

BASE = "https://rowtide.example/hooks"
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def one(name: str, list_id: str = "a", days: float = 20, base: str = BASE) -> ListSubscription:
    return ListSubscription(name, f"{base}/{list_id}", NOW + timedelta(days=days))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], SubscriptionSteps(["a", "b"], [], [])),
        ([one("1"), one("2", "b")], SubscriptionSteps([], [], [])),
        ([one("1", days=6.9)], SubscriptionSteps(["b"], [one("1", days=6.9)], [])),
        ([one("1"), one("2", days=19)], SubscriptionSteps(["b"], [], [one("2", days=19)])),
        ([one("1"), one("3", "gone")], SubscriptionSteps(["b"], [], [one("3", "gone")])),
        ([one("1"), one("4", "a", base="https://elsewhere/hooks")], SubscriptionSteps(["b"], [], [])),
        ([one("1"), one("5", "a", base=f"{BASE}-of-others")], SubscriptionSteps(["b"], [], [])),
    ],
)
def test_each_list_has_one_that_lives_on(found: list[ListSubscription], expected: SubscriptionSteps) -> None:
    assert to_steps(BASE, ["b", "a"], found, NOW) == expected
    assert to_steps(f"{BASE}/", ["b", "a"], found, NOW) == expected


def test_all_are_renewed_when_graph_asks() -> None:
    assert to_steps(BASE, ["a"], [one("1")], NOW, renew_all=True).renew == [one("1")]


def test_a_life_is_within_what_graph_grants() -> None:
    assert subscriptions.RENEW < subscriptions.LIFE < timedelta(minutes=42_300)


def test_a_client_state_is_of_its_list_and_key() -> None:
    state = subscriptions.client_state(b"key", "a")
    assert len(state) <= 128
    assert subscriptions.is_client_state(b"key", "a", state)
    for key, list_id in ((b"other", "a"), (b"key", "b")):
        assert not subscriptions.is_client_state(key, list_id, state)
    for said in (None, 7, "", state.upper(), "\ud800"):
        assert not subscriptions.is_client_state(b"key", "a", said)
