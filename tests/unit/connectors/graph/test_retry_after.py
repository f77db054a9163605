"""How long Graph's headers make a process wait: whatever they hold, the wait ends."""

import math

import pytest

from connectors.graph.retry_after import MOST_S, bounded, remaining_ru, retry_after_s

NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("3", 3.0),
        (" 0.25 ", 0.25),
        ("0", 0.0),
        ("9" * 400, MOST_S),
        ("Wed, 21 Oct 2026 07:29:30 GMT", 90.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MOST_S),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("inf", None),
        ("nan", None),
        ("1e400", None),
        ("-5", None),
        ("+5", None),
        ("²", None),
        ("", None),
        ("soon", None),
        ("Wed, 99 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 07:29:30", None),
    ],
)
def test_a_wait_is_finite_and_at_most_an_hour(given: str, expected: float | None) -> None:
    assert retry_after_s({"retry-after": given, "date": NOW}) == expected


def test_a_date_says_nothing_without_the_date_of_the_answer() -> None:
    assert retry_after_s({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}) is None


def test_the_later_of_both_headers_counts() -> None:
    assert retry_after_s({"retry-after": "3", "ratelimit-reset": "11"}) == 11.0
    assert retry_after_s({"retry-after": "inf", "ratelimit-reset": "11"}) == 11.0
    assert retry_after_s({"ratelimit-reset": "99999"}) == MOST_S


@pytest.mark.parametrize(("seconds", "expected"), [(math.inf, MOST_S), (math.nan, 0.0), (-1.0, 0.0), (7.5, 7.5)])
def test_no_gate_is_shut_for_ever(seconds: float, expected: float) -> None:
    assert bounded(seconds) == expected


@pytest.mark.parametrize(("given", "expected"), [("12", 12.0), ("nan", None), ("-1", None), ("lots", None)])
def test_what_remains_is_a_number_or_not_said(given: str, expected: float | None) -> None:
    assert remaining_ru({"ratelimit-remaining": given}) == expected
