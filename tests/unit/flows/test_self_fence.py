"""When a process may send what it has claimed."""

from datetime import UTC, datetime, timedelta

from flows.self_fence import HELD_S, SelfFence

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that the test moves: of this process, and of the state database."""

    def __init__(self) -> None:
        self.s = 100.0

    def monotonic(self) -> float:
        return self.s

    def now(self) -> datetime:
        return START + timedelta(seconds=self.s)


def fence_and_clock() -> tuple[SelfFence, Clock]:
    clock = Clock()
    return SelfFence(clock.now, clock.monotonic), clock


def beat(fence: SelfFence, clock: Clock, takes_s: float = 0.1) -> None:
    began_s = clock.s
    clock.s += takes_s
    fence.confirmed(began_s)


def test_nothing_is_sent_before_the_first_beat() -> None:
    fence, clock = fence_and_clock()
    assert not fence.allows(clock.now())
    beat(fence, clock)
    assert fence.allows(clock.now() - timedelta(seconds=20))


def test_it_may_send_as_long_as_beats_follow_each_other() -> None:
    fence, clock = fence_and_clock()
    beat(fence, clock)
    claimed_at = clock.now()
    for _ in range(25):
        clock.s += HELD_S / 2
        assert fence.allows(claimed_at)
        beat(fence, clock)


def test_it_counts_from_the_beginning_of_a_beat() -> None:
    fence, clock = fence_and_clock()
    beat(fence, clock, takes_s=HELD_S - 0.5)
    assert fence.allows(clock.now())
    clock.s += 1.0
    assert not fence.allows(clock.now())


def test_nothing_that_was_claimed_before_a_silence_is_sent() -> None:
    fence, clock = fence_and_clock()
    beat(fence, clock)
    before = clock.now()
    clock.s += HELD_S + 0.1
    assert not fence.allows(before)
    beat(fence, clock)
    assert not fence.allows(before)
    clock.s += 1.5  # as far as it may be wrong about the database's time
    beat(fence, clock)
    assert not fence.allows(before)
    assert fence.allows(clock.now())


def test_a_beat_that_took_long_is_a_silence() -> None:
    fence, clock = fence_and_clock()
    beat(fence, clock)
    before = clock.now()
    clock.s += 1.0
    beat(fence, clock, takes_s=HELD_S)
    assert not fence.allows(before)
