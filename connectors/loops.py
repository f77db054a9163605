"""The threads of a process: every background loop, and calls that run beside their caller.

In: the body of a loop, which returns when it is asked to end; an act. Out: a thread; what it met unexpectedly and when
it was last seen to go on, for health and metrics. Rules (docs/design.md section 14): no other module of the product
starts a thread (tests/repository/rules.py); a loop whose body raises says so once, counts it, and begins its body anew
after a backoff. What must not go on after such an error ends the process itself (`flows.process.FatalFault`).
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Generic, TypeVar

from connectors.trouble import Trouble
from rowtide.error_catalogue import process_errors
from rowtide.errors import UNEXPECTED, RowtideError
from state import failpoints, pulse
from state.pulse import Pulse

T = TypeVar("T")

_failures: Final = Counter[str]()
"""Unexpected errors by loop since the process started; a flow that begins anew counts on."""

_main: Final[list[Pulse]] = []
"""The pulse of the thread that called `as_main`, while it does."""


class Loop(threading.Thread):
    """One background loop; a daemon, so that no exit waits for it.

    ``failpoint`` is passed in each `turn` of the loop; ``stop`` is set when the body is to return.
    """

    def __init__(self, failpoint: str, body: Callable[[], None], stop: threading.Event, name: str = "") -> None:
        """``name`` where several loops pass one failpoint, one for each tenant for instance."""
        super().__init__(name=name or f"rowtide-{failpoint.removeprefix(failpoints.LOOP)}", daemon=True)
        self.problem: RowtideError | None = None
        self.pulse = Pulse(self.name)
        self._failpoint = failpoint
        self._body = body
        self._stop_asked = stop
        self._trouble = Trouble("loop failed", "loop has run well for a while", loop=self.name)
        self._failed_at = 0.0

    def run(self) -> None:
        """The thread: the body, and again after each unexpected error until it returns."""
        with pulse.of_this_thread(self.pulse):
            while True:
                try:
                    self._body()
                    return
                except Exception as error:
                    wait_s = self.note(error)
                if pulse.wait(self._stop_asked, wait_s):
                    return

    @property
    def is_wanted(self) -> bool:
        """Whether it runs and nobody has asked it to end."""
        return self.is_alive() and not self._stop_asked.is_set()

    def turn(self) -> None:
        """Called by the body in each of its turns."""
        self.pulse.tick()
        failpoints.hit(self._failpoint)

    def note(self, error: Exception) -> float:
        """Say (once) and count an error that nobody expected; seconds to wait before the next attempt."""
        problem = self._count(error)
        now = time.monotonic()
        if now - self._failed_at > 2 * UNEXPECTED.most_s:  # it has run well for a while
            self._trouble.succeeded()
        self._failed_at = now
        return self._trouble.failed(problem, error)

    def count(self, error: Exception) -> None:
        """Count what the body caught, survives and says itself, unless it is one of the errors that we expect."""
        if not isinstance(error, RowtideError):
            self._count(error)

    def _count(self, error: Exception) -> RowtideError:
        self.problem = process_errors.LOOP_FAILED(loop=self.name, error=type(error).__name__)
        _failures[self.name] += 1
        return self.problem


@contextmanager
def as_main(own: Pulse) -> Iterator[None]:
    """The calling thread is looked at as the loops are, though it is none: the engine runs on it."""
    with pulse.of_this_thread(own):
        _main.append(own)
        try:
            yield
        finally:
            _main.remove(own)


async def tick_while_turning() -> None:
    """A task that ticks for as long as the event loop of its thread turns."""
    while True:
        pulse.tick()
        await asyncio.sleep(1.0)


@asynccontextmanager
async def ticking() -> AsyncIterator[None]:
    """Tick while the event loop turns, whatever its tasks wait for."""
    task = asyncio.create_task(tick_while_turning())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def pulses() -> Sequence[Pulse]:
    """Of every loop that is to go on, and of the main thread."""
    found = [one.pulse for one in threading.enumerate() if isinstance(one, Loop) and one.is_wanted]
    return [*_main, *found]


def oldest_tick() -> dict[str, Any] | None:
    """The loop that has been silent longest, and what it waits for (state.processes)."""
    now = time.monotonic()
    oldest = min(pulses(), key=lambda one: one.ticked, default=None)
    if oldest is None:
        return None
    silent_s = round(max(0.0, now - oldest.ticked), 1)
    return {"loop": oldest.name, "silent_s": silent_s, "waits_for": oldest.waits_for}


def failures() -> Mapping[str, int]:
    """Unexpected errors by loop since the process started."""
    return dict(_failures)


def health() -> dict[str, Any]:
    """The loops that met an unexpected error: how often, and the last one while its loop lives (state.processes)."""
    problems = {one.name: one.problem for one in threading.enumerate() if isinstance(one, Loop) and one.problem}
    return {
        name: {"failures": count, "problem": problem and {"code": problem.code, "sentence": problem.sentence}}
        for name, count in failures().items()
        for problem in [problems.get(name)]
    }


class Beside(Generic[T]):
    """One call beside its caller; a daemon, so that nobody waits for one that hangs."""

    def __init__(self, name: str, act: Callable[[], T]) -> None:
        self._act = act
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._act()
        except BaseException as error:
            self._error = error

    def ended(self, timeout_s: float) -> bool:
        """Whether the call is over, waiting so long for it."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def result(self) -> T:
        """What the call returned or raised, once it has."""
        while not self.ended(pulse.TURN_S):
            pulse.tick()
        pulse.tick()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]
