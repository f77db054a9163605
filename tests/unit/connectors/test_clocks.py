"""A server's clock, by what its answers say."""

import time
from email.utils import formatdate

import pytest

from connectors.clocks import AnswerClock


def test_without_an_answer_nobody_knows() -> None:
    assert AnswerClock().ahead_of_monotonic_s() is None


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Jan 1970 00:00:00 GMT"])
def test_an_answer_without_a_date_says_nothing(date: str | None) -> None:
    clock = AnswerClock()
    clock.note(date)
    assert clock.ahead_of_monotonic_s() is None


def test_the_foremost_of_the_last_answers_counts() -> None:
    """A date is cut to its second, and may come late; neither makes it later than it was."""
    clock = AnswerClock()
    now = time.monotonic()
    for moment in (1_000_000_000, 1_000_000_003, 1_000_000_001):
        clock.note(formatdate(moment, usegmt=True))
    found = clock.ahead_of_monotonic_s()
    assert found is not None
    assert found + now == pytest.approx(1_000_000_003, abs=1.0)


def test_what_was_long_ago_is_forgotten() -> None:
    clock = AnswerClock()
    clock.note(formatdate(2_000_000_000, usegmt=True))
    for _ in range(40):
        clock.note(formatdate(1_000_000_000, usegmt=True))
    found = clock.ahead_of_monotonic_s()
    assert found is not None
    assert found + time.monotonic() == pytest.approx(1_000_000_000, abs=1.0)
