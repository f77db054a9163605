"""The mass-delete breaker's table."""

import pytest

from rowtide.definition.model import BreakerDefinition
from rowtide.mass_delete import judge_deletes

LIMITS = BreakerDefinition(share=0.2, rows=500)


@pytest.mark.parametrize(
    ("deletes", "pairs", "trips"),
    [
        (0, 0, False),
        (4, 4, False),  # so few are never a catastrophe
        (5, 25, False),
        (5, 24, True),
        (20, 100, False),
        (21, 100, True),
        (500, 1_000_000, False),
        (501, 1_000_000, True),
        (10, 0, True),
    ],
)
def test_a_share_or_a_number_trips_it(deletes: int, pairs: int, trips: bool) -> None:
    assert (judge_deletes("orders", deletes, pairs, LIMITS) is not None) == trips


def test_a_limit_of_no_rows_stops_even_one() -> None:
    assert judge_deletes("orders", 1, 1000, BreakerDefinition(rows=0)) is not None


def test_the_sentence_names_the_numbers_and_the_remedy_the_command() -> None:
    error = judge_deletes("orders", 1900, 2000, LIMITS)
    assert error is not None
    assert error.code == "mass_delete"
    for part in ("1,900", "2,000", "95%", "20%", "500", "orders"):
        assert part in error.sentence
    assert error.remedy == "rowtide resume orders --approve-deletes"
