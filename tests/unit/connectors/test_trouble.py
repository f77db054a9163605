"""The trouble of a loop: one line when it begins, changes or ends, however often the loop tries."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors import trouble as troubles
from connectors.trouble import MOST_SENTENCES, Trouble
from rowtide.error_catalogue import graph_errors, process_errors, source_errors, state_errors
from rowtide.errors import RowtideError

AWAY = state_errors.STATE_UNREACHABLE(said="connection refused")
REFUSED = graph_errors.BATCH_LOST(reason="connection refused")
STARTING = graph_errors.BATCH_LOST(reason="it is starting up")
NOT_APPLIED = state_errors.NOT_APPLIED()


@pytest.fixture
def said() -> Iterator[list[Any]]:
    """What was logged."""
    with capture_logs() as lines:
        yield lines


def ticking() -> Callable[[], float]:
    """A clock that is a second later at each look."""
    ticks = iter(range(1000))
    return lambda: float(next(ticks))


def new_trouble() -> Trouble:
    return Trouble("claiming waits", "claiming goes on", clock=ticking(), graph="contoso")


def events(said: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line["code"]) for line in said]


@pytest.mark.parametrize(
    ("errors", "lines"),
    [
        ([REFUSED] * 50, 1),
        ([REFUSED, REFUSED, NOT_APPLIED, NOT_APPLIED], 2),
        ([REFUSED, STARTING], 2),
        ([REFUSED, STARTING] * 20, 2),
        ([REFUSED, NOT_APPLIED] * 20, 2),
        ([graph_errors.BATCH_LOST(reason=f"{n} s") for n in range(50)], MOST_SENTENCES),
        ([*[graph_errors.BATCH_LOST(reason=f"{n} s") for n in range(50)], NOT_APPLIED], MOST_SENTENCES + 1),
    ],
)
def test_what_was_said_of_a_problem_is_not_said_again(said: list[Any], errors: list[RowtideError], lines: int) -> None:
    trouble = new_trouble()
    for error in errors:
        trouble.failed(error)
    assert len(said) == lines
    assert {line["event"] for line in said} == {"claiming waits"}
    assert {line["graph"] for line in said} == {"contoso"}


def test_its_end_is_said_with_how_long_it_lasted(said: list[Any]) -> None:
    trouble = new_trouble()
    trouble.succeeded()
    assert said == []
    for _ in range(5):
        trouble.failed(REFUSED)
    trouble.succeeded()
    trouble.succeeded()
    assert events(said) == [("claiming waits", REFUSED.code), ("claiming goes on", REFUSED.code)]
    assert said[-1]["after_s"] == 1.0
    assert trouble.problem is None
    trouble.failed(REFUSED)
    assert events(said)[2:] == [("claiming waits", REFUSED.code)]


def test_every_attempt_that_fails_is_counted_by_its_code() -> None:
    error = graph_errors.BATCH_LOST(reason="it broke")
    before = troubles.errors().get(error.code, 0)
    trouble = new_trouble()
    for _ in range(3):
        trouble.failed(error)
    trouble.succeeded()
    assert troubles.errors()[error.code] == before + 3


def test_the_waits_grow_until_it_ends() -> None:
    trouble = new_trouble()
    first = trouble.failed(REFUSED)
    assert trouble.failed(STARTING) == 2 * first
    trouble.note(REFUSED)  # no attempt of its own
    assert trouble.failed(REFUSED) == 4 * first
    trouble.succeeded()
    assert trouble.failed(REFUSED) == first


def test_a_fault_of_our_own_has_its_stack_in_the_log(said: list[Any]) -> None:
    fault = KeyError("x")
    trouble = new_trouble()
    trouble.failed(process_errors.CLAIMING_FAILED(error="KeyError"), fault)
    trouble.failed(REFUSED, REFUSED)
    assert [line.get("exc_info") for line in said] == [fault, None]


def test_a_state_database_that_is_away_is_said_once_by_all_loops(said: list[Any]) -> None:
    loops = [new_trouble() for _ in range(12)]
    for _ in range(20):
        for trouble in loops:
            trouble.failed(AWAY)
    assert events(said) == [("state database is away", AWAY.code)]
    for trouble in loops[1:]:
        trouble.succeeded()
    assert len(said) == 1
    loops[0].note(NOT_APPLIED)  # it is answered, and has a problem of its own
    assert events(said)[1:] == [
        ("state database answers again", AWAY.code), ("claiming waits", NOT_APPLIED.code)
    ]  # fmt: skip
    loops[0].succeeded()
    assert events(said)[3:] == [("claiming goes on", NOT_APPLIED.code)]


def test_a_loop_that_is_gone_puts_off_no_end(said: list[Any]) -> None:
    """The parts of a process are made anew while it runs."""
    gone, other = new_trouble(), new_trouble()
    gone.failed(AWAY)
    other.failed(AWAY)
    del gone
    other.succeeded()
    assert [line["event"] for line in said] == ["state database is away", "state database answers again"]


LOST = source_errors.CONNECTION_LOST(doing="reading a page", said="server closed the connection")
REFUSES = source_errors.CONNECTION_REFUSED(address="127.0.0.1:5432/erp", said="connection refused")
LOCKED = source_errors.SOURCE_FAILED(doing="reading table public.orders", said="lock timeout")


def test_a_source_that_is_away_is_said_once_by_all_loops_that_ask_it(said: list[Any]) -> None:
    """Whatever each of them did when the connection broke; and a source of another name is another one."""
    loops = [Trouble("not read", "read again", source="erp", sync=f"sync {n}") for n in range(12)]
    doing = [source_errors.CONNECTION_LOST(doing=f"part {n}", said="it is gone") for n in range(12)]
    for trouble, error in zip(loops, doing, strict=True):
        trouble.failed(error)
    for trouble in loops * 10:
        trouble.failed(REFUSES)
    other = Trouble("not read", "read again", source="crm")
    other.failed(LOST)
    assert events(said) == [
        ("source is away", LOST.code), ("source is away", REFUSES.code), ("source is away", LOST.code)
    ]  # fmt: skip
    assert [line["source"] for line in said] == ["erp", "erp", "crm"]
    for trouble in loops[1:]:
        trouble.succeeded()
    assert len(said) == 3
    loops[0].succeeded()
    assert events(said)[3:] == [("source answers again", REFUSES.code)]
    other.failed(AWAY)
    assert [line["event"] for line in said[4:]] == ["source answers again", "state database is away"]
    other.succeeded()


def test_what_a_table_suffers_is_said_of_it(said: list[Any]) -> None:
    one, other = (Trouble("not read", "read again", source="hr", sync=name) for name in ("a", "b"))
    one.failed(LOCKED)
    other.failed(LOCKED)
    assert [(line["event"], line["sync"]) for line in said] == [("not read", "a"), ("not read", "b")]
