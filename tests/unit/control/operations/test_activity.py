"""What a sync does, and when it will be done."""

import pytest

from control.operations import activity
from control.operations.activity import Rates

NOTHING = Rates()


@pytest.mark.parametrize(
    ("rates", "lives", "waiting", "unknown", "expected"),
    [
        (NOTHING, True, False, False, "idle"),
        (NOTHING, True, False, True, "unknown"),
        (NOTHING, True, True, False, "waiting"),
        (NOTHING, True, True, True, "waiting"),
        (Rates(changes=2.0), True, True, False, "staging"),
        (Rates(compared=900.0, changes=2.0), True, True, True, "comparing"),
        (Rates(delivered=0.1, compared=900.0), True, True, True, "moving"),
        (Rates(delivered=8.0), False, True, False, "stopped"),
        (NOTHING, False, False, False, "stopped"),
    ],
)
def test_movement_is_believed_only_where_something_was_done(
    rates: Rates, lives: bool, waiting: bool, unknown: bool, expected: str
) -> None:
    assert activity.activity_of(rates, lives, waiting, unknown) == expected


def test_the_rates_of_all_processes_are_added() -> None:
    beats = [
        {"pace": {"orders": {"delivered": 1.5, "changes": 1.0}}},
        {"pace": {"orders": {"delivered": 2.0}, "lines": {"compared": 9.0}}},
        {},
    ]
    assert activity.rates_of(beats, "orders") == Rates(changes=1.0, delivered=3.5)
    assert activity.rates_of(beats, "far") == NOTHING


@pytest.mark.parametrize(
    ("delivered", "waiting", "to_come", "expected"),
    [
        (8.0, 80, 0.0, 10.0),
        (8.0, 80, 720.0, 100.0),
        (0.0, 80, 0.0, None),
        (8.0, 80, None, None),
        (0.0, 0, 0.0, 0.0),
    ],
)
def test_the_end_is_foretold_from_counts_and_rate_or_not_at_all(
    delivered: float, waiting: int, to_come: float | None, expected: float | None
) -> None:
    assert activity.eta_s(Rates(delivered=delivered), waiting, to_come) == expected


@pytest.mark.parametrize(
    ("state", "phase", "counts", "estimate", "expected"),
    [
        (None, None, {}, 0, 0.0),
        ("done", "done", {"rows": 100}, 100, 0.0),
        ("wanted", None, {}, 0, None),
        ("running", "mark", {}, 1000, None),
        ("running", "compare", {"rows": 100, "creates": 100}, 0, None),
        ("running", "compare", {"rows": 100, "creates": 100}, 1000, 900.0),
        ("running", "compare", {"rows": 100, "creates": 5, "updates": 4, "moves": 1}, 1000, 90.0),
        ("running", "compare", {"rows": 1100, "creates": 1100}, 1000, 0.0),
        ("running", "ask", {"rows": 1000, "creates": 1000}, 1000, None),
    ],
)
def test_what_a_pass_will_stage_goes_by_what_it_has_staged(
    state: str | None, phase: str | None, counts: dict[str, int], estimate: int, expected: float | None
) -> None:
    assert activity.still_to_stage(state, phase, counts, estimate) == expected
