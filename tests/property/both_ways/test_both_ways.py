"""Random histories of both ways: none is bad with all rules, and without any one of them some are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.both_ways.playing import bad_history, play, without

RULES = ["inbox", "one_side", "applied_at", "applied", "versions", "again", "restored"]


def test_with_all_rules_no_history_is_bad() -> None:
    assert bad_history(600, 11, without("")) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 959), max_size=120))
def test_no_history_of_any_numbers_is_bad(numbers: list[int]) -> None:
    assert play(numbers, without("")) is None


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_needed(rule: str) -> None:
    assert bad_history(4000, 5, without(rule)) is not None
