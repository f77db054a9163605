"""The pace of syncs: how many a second over the last seconds, and nothing of what was before."""

from connectors.pace import WINDOW_S, Pace


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_done_in_the_last_seconds_counts_by_sync_and_step() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.now += WINDOW_S
    pace.note("orders", "delivered", 30)
    pace.note("orders", "changes", 5)
    pace.note("lines", "compared", 10)
    pace.note("lines", "delivered", 0)
    clock.now += 1.0
    pace.note("orders", "delivered", 20)
    assert pace.rates() == {"orders": {"delivered": 5.0, "changes": 0.5}, "lines": {"compared": 1.0}}


def test_a_sync_for_which_nothing_was_done_lately_has_no_rate() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.note("orders", "delivered", 30)
    clock.now += WINDOW_S + 0.1
    assert pace.rates() == {}


def test_a_process_that_has_just_begun_is_not_taken_for_a_slow_one() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.now += 2.0
    pace.note("orders", "delivered", 30)
    assert pace.rates() == {"orders": {"delivered": 15.0}}
