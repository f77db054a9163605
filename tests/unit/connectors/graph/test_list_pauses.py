"""How long a list waits after failures, and when one row of it is tried."""

from dataclasses import dataclass, replace

from connectors.graph.list_pauses import TRYING_S, UNANSWERED, ListPauses
from rowtide.error_catalogue import graph_errors
from rowtide.errors import RowtideError

A, B = "list-a", "list-b"


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def refusal() -> RowtideError:
    return graph_errors.LIST_REFUSED(status=403, code="accessDenied", said="no")


def silence() -> RowtideError:
    return graph_errors.LIST_UNANSWERED(reason="503")


def test_a_list_that_refuses_waits_alone() -> None:
    pauses = ListPauses(Clock())
    assert pauses.failed(A, refusal()) > 0
    assert pauses.wait_s(A) > 0
    assert pauses.wait_s(B) == 0
    assert list(pauses.problems) == [A]


def test_answers_of_one_moment_count_once() -> None:
    pauses = ListPauses(Clock())
    first = pauses.failed(A, refusal())
    assert [pauses.failed(A, refusal()) for _ in range(20)] == [first] * 20


def test_each_try_that_fails_makes_it_wait_longer() -> None:
    clock = Clock()
    pauses = ListPauses(clock)
    waits = [pauses.failed(A, refusal())]
    for _ in range(4):
        clock.now += pauses.wait_s(A)
        assert pauses.wait_s(A) == 0
        pauses.tries(A, 30.0)
        assert pauses.wait_s(A) == TRYING_S  # the others come back soon
        waits.append(pauses.failed(A, refusal()))
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


def test_one_answer_ends_it() -> None:
    clock = Clock()
    pauses = ListPauses(clock)
    pauses.failed(A, refusal())
    clock.now += pauses.wait_s(A)
    pauses.tries(A, 30.0)
    pauses.answered(A)
    assert not pauses.is_waiting(A)
    assert pauses.wait_s(A) == 0
    assert pauses.problems == {}


def test_a_try_without_an_answer_is_followed_by_another() -> None:
    """The row that was tried may have been handed back unsent."""
    clock = Clock()
    pauses = ListPauses(clock)
    pauses.failed(A, refusal())
    clock.now += pauses.wait_s(A)
    pauses.tries(A, 30.0)
    clock.now += 30.0
    assert pauses.wait_s(A) == 0


def test_few_requests_without_an_answer_blame_no_list() -> None:
    pauses = ListPauses(Clock())
    for _ in range(UNANSWERED - 1):
        pauses.unanswered(A, silence())
    pauses.answered(A)
    pauses.unanswered(A, silence(), UNANSWERED - 1)
    assert not pauses.is_waiting(A)
    pauses.unanswered(A, silence())
    assert pauses.is_waiting(A)


def test_the_next_process_waits_where_the_last_one_ended() -> None:
    clock = Clock()
    before, after = ListPauses(clock), ListPauses(clock)
    for _ in range(3):
        clock.now += before.wait_s(A)
        before.failed(A, refusal())
    [fault] = before.faults
    after.heed(fault)
    assert after.faults == [fault]
    assert after.waits == {A: before.wait_s(A)}
    assert after.problems[A].sentence == refusal().sentence
    clock.now += after.wait_s(A)
    assert after.failed(A, refusal()) > fault.wait_s  # the next wait is longer still
    after.answered(A)
    assert after.faults == []


def test_a_wait_that_was_ended_on_record_ends_and_what_is_gone_there_is_forgotten() -> None:
    clock = Clock()
    pauses = ListPauses(clock)
    pauses.failed(A, refusal())
    [fault] = pauses.faults
    pauses.hasten(replace(fault, failures=9, wait_s=0.0))  # of another time
    assert pauses.wait_s(A) == fault.wait_s
    pauses.heed(replace(fault, wait_s=0.0))  # it is known
    assert pauses.wait_s(A) == fault.wait_s
    pauses.hasten(replace(fault, wait_s=0.0))
    assert pauses.wait_s(A) == 0
    pauses.tries(A, 30.0)
    pauses.hasten(replace(fault, wait_s=0.0))  # it is tried already
    assert pauses.wait_s(A) > 0
    pauses.forget(A)
    assert pauses.faults == []
    pauses.tries(A, 30.0)
    assert pauses.faults == []
