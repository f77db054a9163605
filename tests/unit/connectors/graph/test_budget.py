"""What a process may spend when it has just begun, and what work that may wait gets of the quota."""

from dataclasses import dataclass

import pytest

from connectors.graph.budget import Budget
from connectors.graph.settings import ClientSecret, GraphSettings


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def budget(clock: Clock) -> Budget:
    """That of the smallest tier: 16.7 units a second, 125 at once."""
    return Budget(GraphSettings("contoso", "t", "c", ClientSecret("s")), clock)


def test_a_process_that_restarts_again_and_again_stays_within_the_limit() -> None:
    clock, spent = Clock(), 0
    for _ in range(12):
        quota = budget(clock)
        for _ in range(50):
            spent += quota.take(1000)
            clock.now += 0.1
    assert 800 <= spent <= 1250


def test_what_is_given_back_can_be_taken_at_once() -> None:
    quota = budget(Clock())
    assert quota.take(500) == 0
    assert quota.quota_wait_s() > 0
    quota.refund(60)
    assert quota.quota_wait_s() == 0
    assert quota.take(500, least=100) == 0
    assert quota.take(500) == 60


def test_what_is_left_is_told_of_both_windows_and_what_is_owed() -> None:
    clock = Clock()
    quota = budget(clock)
    clock.now += 60.0
    minute, day = quota.available()
    assert minute > 0
    assert day > 0
    quota.charge(minute + 10)
    assert list(quota.available()) == pytest.approx([-10, day - minute - 10])
    clock.now += 60.0
    assert quota.available()[0] == pytest.approx(minute)


def test_what_is_sent_at_once_waits_for_its_window() -> None:
    """Rows that waited behind a slow answer are paid for, and are not sent all in one window."""
    clock, sent = Clock(), list[tuple[float, int]]()
    quota = budget(clock)
    clock.now += 60.0
    for _ in range(2400):
        while quota.send_wait_s(40) == 0:
            sent.append((clock.now, 40))
        clock.now += 0.1
    for start, _ in sent:
        assert sum(units for at, units in sent if start <= at < start + 60.0) <= 0.95 * 1125
    assert sum(units for _, units in sent) >= 4 * 1000


def test_what_may_wait_waits_for_a_window_that_is_full() -> None:
    """A list is read from what rows leave of the bucket; what they paid earlier is sent in the same window."""
    clock, sent = Clock(), list[tuple[float, int]]()
    quota = budget(clock)
    clock.now += 60.0
    for _ in range(2400):
        for send, units in ((quota.send_wait_s, 40), (quota.take_spare, 2)):
            while send(units) == 0:
                sent.append((clock.now, units))
        clock.now += 0.1
    for start, _ in sent:
        assert sum(units for at, units in sent if start <= at < start + 60.0) <= 0.95 * 1125
    assert sum(units == 2 for _, units in sent) >= 4


def spare_in_a_minute(rows_first: bool) -> int:
    """Units that such work gets while rows take all that is there, or nothing."""
    clock, spent = Clock(), 0
    quota = budget(clock)
    clock.now += 60.0  # it has run for a while
    for _ in range(600):
        if rows_first:
            quota.take(1000)
        clock.now += 0.1
        while quota.take_spare(2) == 0:
            spent += 2
    return spent


def test_it_gets_all_that_rows_leave() -> None:
    assert 1000 <= spare_in_a_minute(rows_first=False) <= 1125


def test_it_gets_a_tenth_while_rows_use_the_quota_up() -> None:
    assert 80 <= spare_in_a_minute(rows_first=True) <= 120


def test_what_was_sent_long_ago_is_forgotten() -> None:
    """A process that only reads lists, for months, keeps no more than a window of it."""
    clock = Clock()
    quota = budget(clock)
    for _ in range(5000):
        clock.now += 1.0
        quota.take_spare(2)
    assert len(quota._sent) <= 60


def test_it_waits_for_the_gate() -> None:
    clock = Clock()
    quota = budget(clock)
    quota.close_gate(30.0)
    assert quota.take_spare(2) >= 30.0


def test_no_gate_is_shut_for_more_than_an_hour() -> None:
    clock = Clock()
    quota = budget(clock)
    for seconds in (float("inf"), 1e300, 7200.0):
        quota.gate.pause(seconds)
        assert quota.close_gate(seconds) == 3600.0
        assert quota.gate.left_s() == 3600.0
    quota.gate.pause(float("nan"))
    assert quota.gate.left_s() == 3600.0


def test_a_refusal_that_asks_for_no_wait_closes_the_gate_all_the_same() -> None:
    quota = budget(Clock())
    assert quota.close_gate(0.0) > 0.5


def test_a_gate_that_is_on_record_is_shut_for_the_next_process() -> None:
    clock = Clock()
    quota = budget(clock)
    clock.now += 60.0
    quota.share_gate(30.0, refusals=3)
    assert (quota.gate.throttled_s(), quota.gate.left_s(), quota.gate.refusals) == (30.0, 30.0, 3)
    clock.now += 30.0
    assert quota.gate.throttled_s() == 0
    assert quota.take(100) <= 30 * 1000 / 60  # nothing of what was saved up before it


def test_a_gate_is_shared_among_processes_and_ended_by_a_person() -> None:
    clock = Clock()
    quota = budget(clock)
    quota.close_gate(30.0)
    quota.share_gate(50.0, refusals=7)  # another process was refused for longer
    assert (quota.gate.left_s(), quota.gate.refusals) == (50.0, 7)
    quota.share_gate(20.0, refusals=9)  # Graph has named a later time here
    assert (quota.gate.left_s(), quota.gate.refusals) == (50.0, 7)
    quota.share_gate(55.0, refusals=7)  # written down a moment after it was closed
    assert quota.gate.left_s() == 50.0
    quota.share_gate(0.0, refusals=7)
    assert (quota.gate.left_s(), quota.gate.throttled_s()) == (0.0, 0.0)


def test_who_does_not_answer_is_waited_for_when_a_gate_is_opened_by_a_person() -> None:
    quota = budget(Clock())
    quota.close_gate(10.0)
    quota.gate.pause(20.0)
    quota.share_gate(0.0, refusals=1)
    assert (quota.gate.left_s(), quota.gate.throttled_s()) == (20.0, 0.0)


def test_a_day_that_others_have_spent_is_spent() -> None:
    clock = Clock()
    quota = budget(clock)
    clock.now += 60.0
    quota.set_day([(3600.0, 2_000_000.0)])
    assert quota.take(100) == 0
    assert quota.quota_wait_s() > 3600
    quota.set_day([(3600.0, 0.0)])
    assert quota.take(100) == 100


def test_what_is_not_recorded_yet_is_counted_once() -> None:
    clock = Clock()
    quota = budget(clock)
    clock.now += 60.0
    taken = quota.take(100)
    quota.refund(40)
    assert (taken, quota.unrecorded) == (100, 60)
    full = quota._day.burst
    quota.set_day([])
    assert quota._day.tokens == full - 60
    quota.take(10)
    quota.set_day([(3600.0, 60.0)], recorded=60)
    assert (quota.unrecorded, quota._day.tokens) == (10, full - 60 - 10)


def polls_in_a_minute(busy: bool) -> int:
    """Units that polls get in a minute, a while after the process began; ``busy``: rows use the quota up meanwhile."""
    clock, polled = Clock(), 0
    quota = budget(clock)
    for tick in range(1200):
        clock.now += 0.1
        if busy:
            quota.take(1000)
        if quota.take_poll(1) == 0 and tick >= 600:
            polled += 1
    return polled


def test_polls_get_their_part_and_no_more_whatever_rows_do() -> None:
    """A tenth of four fifths of the day's quota is 66 units a minute."""
    assert polls_in_a_minute(busy=True) == polls_in_a_minute(busy=False)
    assert 64 <= polls_in_a_minute(busy=True) <= 68


def test_what_polls_take_rows_do_not_get() -> None:
    clock = Clock()
    quota = budget(clock)
    clock.now += 60.0
    for _ in range(20):
        quota.take_poll(1)
    assert quota.take(1000) == 125 - 20


def test_polls_wait_for_the_gate() -> None:
    quota = budget(Clock())
    quota.close_gate(7.0)
    assert quota.take_poll(1) == 7.0
