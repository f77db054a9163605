"""Waits between attempts: doubled within the bounds of the reaction, spread when jitter is given."""

import random

import pytest

from rowtide import backoff
from rowtide.backoff import SPREAD, Backoff
from rowtide.error_catalogue import graph_errors, process_errors, state_errors, sync_errors
from rowtide.errors import UNEXPECTED, Retry, RowtideError, bounds_of, reaction_to

BOUNDS = Retry(0.5, 6.0)
UNREACHABLE = state_errors.STATE_UNREACHABLE(said="connection refused")


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.5), (1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 6.0), (6, 6.0), (10_000, 6.0)]
)
def test_waits_double_from_the_first_to_the_most(failures: int, seconds: float) -> None:
    assert backoff.wait_s(BOUNDS, failures) == seconds


def test_jitter_spreads_a_wait_both_ways() -> None:
    jitter = random.Random(1).uniform
    waits = {backoff.wait_s(BOUNDS, 3, jitter) for _ in range(100)}
    assert len(waits) > 50
    assert min(waits) < 2.0 < max(waits)
    assert all(2.0 * (1 - SPREAD) <= wait <= 2.0 * (1 + SPREAD) for wait in waits)


def test_failures_in_a_row_wait_longer_and_an_answer_begins_anew() -> None:
    loop = Backoff()
    first = loop.failed(UNREACHABLE)
    assert loop.failed(UNREACHABLE) == 2 * first
    loop.succeeded()
    assert loop.failed(UNREACHABLE) == first


@pytest.mark.parametrize(
    "error",
    [
        UNREACHABLE,
        state_errors.NOT_APPLIED(),
        graph_errors.SITE_MISSING(site="a"),
        sync_errors.GAP(code="a", reason="b"),
    ],
)
def test_the_bounds_are_those_of_the_reaction(error: RowtideError) -> None:
    reaction = reaction_to(error)
    assert isinstance(reaction, Retry)
    assert Backoff().failed(error) == reaction.first_s
    assert backoff.wait_s(bounds_of(error), 99) == reaction.most_s


@pytest.mark.parametrize("error", [process_errors.CLAIMING_FAILED(error="KeyError"), sync_errors.KEY_UNKNOWN()])
def test_a_loop_that_goes_on_whatever_it_meets_waits_too(error: RowtideError) -> None:
    assert bounds_of(error) == UNEXPECTED
