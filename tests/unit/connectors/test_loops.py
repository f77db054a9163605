"""A background loop that raises begins anew, and says and counts it; one that returns is over."""

import threading

import pytest
from structlog.testing import capture_logs

from connectors import loops
from connectors.loops import Beside, Loop
from state import failpoints, pulse
from state.pulse import Pulse


class Body:
    """Raises in its first turns, then waits until it is asked to end."""

    def __init__(self, faults: int) -> None:
        self.stop, self.settled = threading.Event(), threading.Event()
        self.turns, self._faults = 0, faults

    def __call__(self) -> None:
        self.turns += 1
        if self.turns <= self._faults:
            raise LookupError("a value that no log may show")
        self.settled.set()
        self.stop.wait(30)


def test_a_loop_that_raises_begins_anew_and_says_so_once() -> None:
    body = Body(faults=2)
    loop = Loop(failpoints.LOOP_DUE, body, body.stop, "rowtide-tried")
    with capture_logs() as said:
        loop.start()
        assert body.settled.wait(30)
    assert body.turns == 3
    assert loops.failures()["rowtide-tried"] == 2
    problem = {
        "code": "loop_failed",
        "sentence": "The thread rowtide-tried met an unexpected LookupError and began anew.",
    }
    assert loops.health()["rowtide-tried"] == {"failures": 2, "problem": problem}
    assert [line["event"] for line in said] == ["loop failed"]
    body.stop.set()
    loop.join(30)
    assert not loop.is_alive()
    assert loops.health()["rowtide-tried"] == {"failures": 2, "problem": None}


def test_a_loop_that_is_asked_to_end_does_not_begin_anew() -> None:
    body = Body(faults=1)
    body.stop.set()
    loop = Loop(failpoints.LOOP_BEAT, body, body.stop)
    loop.start()
    loop.join(30)
    assert (loop.name, loop.is_alive(), body.turns) == ("rowtide-beat", False, 1)


def test_a_call_gives_its_result_or_its_error() -> None:
    own = Pulse("own")
    with pulse.of_this_thread(own):
        own.ticked = -1000.0
        assert Beside("rowtide-call", lambda: 7).result() == 7
        assert own.ticked > 0  # waiting for it ticks
    with pytest.raises(ZeroDivisionError):
        Beside("rowtide-call", lambda: 1 // 0).result()
