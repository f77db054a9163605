"""Which loops are stuck: silence is counted in looks, a stuck one is said once, and its stack is there first."""

from collections.abc import Sequence

from structlog.testing import capture_logs

from connectors.liveness import LOOK_S, Liveness
from state.pulse import CALL_S, SILENT_S, Pulse


class Bench:
    """Two loops, a clock, and what was shown."""

    def __init__(self) -> None:
        self.now = 0.0
        self.quick, self.slow = Pulse("quick"), Pulse("slow")
        self.all: Sequence[Pulse] = [self.quick, self.slow]
        self.shown: list[Sequence[str]] = []
        self.liveness = Liveness(lambda: self.all, lambda: self.now, self.show)

    def show(self) -> None:
        """Note who was known to be stuck before the stacks were shown."""
        self.shown.append([one.loop for one in self.liveness.stuck])

    def pass_s(self, seconds: float, *ticking: Pulse) -> list[str]:
        """Look once a second while these loops tick; who is stuck then."""
        for _ in range(int(seconds / LOOK_S)):
            self.now += LOOK_S
            for one in ticking:
                one.ticked = self.now
            self.liveness.look()
        return [one.loop for one in self.liveness.stuck]


def test_a_loop_is_stuck_after_a_minute_of_silence() -> None:
    bench = Bench()
    assert bench.pass_s(SILENT_S, bench.quick) == []
    with capture_logs() as said:
        assert bench.pass_s(3, bench.quick) == ["slow"]
    assert [(line["event"], line["loop"], line["code"]) for line in said] == [("loop stuck", "slow", "loop_silent")]
    assert bench.shown == [[]]  # the stacks come before anybody may be told
    with capture_logs() as said:
        assert bench.pass_s(1, bench.quick, bench.slow) == []
    assert [line["event"] for line in said] == ["loop goes on"]


def test_a_declared_call_takes_ten_minutes() -> None:
    bench = Bench()
    bench.slow.waits_for = "PostgreSQL"
    assert bench.pass_s(CALL_S, bench.quick) == []
    assert bench.pass_s(2, bench.quick) == ["slow"]


def test_a_process_that_stood_still_is_not_stuck() -> None:
    bench = Bench()
    bench.pass_s(3, *bench.all)
    bench.now += 10 * SILENT_S  # stopped as a whole, the one that looks too
    assert bench.pass_s(1) == []
    assert bench.pass_s(1, *bench.all) == []


def test_a_loop_that_ended_is_not_looked_at() -> None:
    bench = Bench()
    bench.pass_s(SILENT_S - 2, bench.quick)
    bench.all = [bench.quick]
    assert bench.pass_s(10, bench.quick) == []
    assert [one.loop for one in bench.liveness.silences] == ["quick"]
