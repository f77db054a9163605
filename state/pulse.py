"""Signs of life: when a thread was last seen to go on, and what it waits for.

In: `tick`, by the thread itself, in each turn of its loop and of each of its waits. Out: who has been silent too
long, for `connectors.liveness` and for `status`; nothing is sent or written here. Called by every loop and by every
wait for a PostgreSQL. Rules (docs/design.md section 25): a wait is a loop of turns that tick, so that whoever waits for
a server, a lock or a moment is alive, however long it takes; a call that cannot tick is declared, and may take longer.
A tick is one attribute write.
"""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg.rows import TupleRow

TURN_S: Final = 2.0
"""No wait is longer without a tick."""
SILENT_S: Final = 60.0
"""A loop that has been silent for so long is stuck."""
CALL_S: Final = 600.0
"""The same within one declared call."""

Wanted = TypeVar("Wanted")
Ready = TypeVar("Ready")
Result = TypeVar("Result")


class Pulse:
    """The sign of life of one thread: ``ticked`` by the monotonic clock, ``waits_for`` empty while it works."""

    __slots__ = ("name", "ticked", "waits_for")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ticked = time.monotonic()
        self.waits_for = ""

    def tick(self) -> None:
        """The thread goes on."""
        self.ticked = time.monotonic()


@dataclass(frozen=True, slots=True)
class Silence:
    """A loop, for how long it has not ticked, and what it waits for (empty: it does not say)."""

    loop: str
    silent_s: float
    waits_for: str

    @property
    def is_stuck(self) -> bool:
        """Whether that is too long."""
        return self.silent_s > (CALL_S if self.waits_for else SILENT_S)

    @property
    def doing(self) -> str:
        """What it was last seen to do, for a sentence."""
        return f"waits for {self.waits_for}" if self.waits_for else "works, or waits for something unsaid"


class _Here(threading.local):
    pulse: Pulse | None = None


_here: Final = _Here()


@contextmanager
def of_this_thread(pulse: Pulse) -> Iterator[None]:
    """Have the waits of the calling thread tick this pulse."""
    before, _here.pulse = _here.pulse, pulse
    pulse.tick()
    try:
        yield
    finally:
        _here.pulse = before


def tick() -> None:
    """The calling thread goes on; of one that is no loop nobody asks."""
    pulse = _here.pulse
    if pulse is not None:
        pulse.ticked = time.monotonic()


@contextmanager
def call(what: str) -> Iterator[None]:
    """Declare a call that cannot tick, by what it waits for."""
    pulse = _here.pulse
    if pulse is None:
        yield
        return
    before, pulse.waits_for = pulse.waits_for, what
    try:
        yield
    finally:
        pulse.tick()
        pulse.waits_for = before


def wait(event: threading.Event, wait_s: float | None) -> bool:
    """Wait for the event as ``event.wait`` does, in turns that tick; None: until it is set."""
    until = None if wait_s is None else time.monotonic() + wait_s
    while True:
        tick()
        left_s = TURN_S if until is None else min(TURN_S, until - time.monotonic())
        if event.wait(max(0.0, left_s)):
            return True
        if until is not None and time.monotonic() >= until:
            return False


@contextmanager
def holding(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock that others hold while they wait for a server; waiting for it ticks."""
    while not lock.acquire(timeout=TURN_S):
        tick()
    try:
        yield
    finally:
        lock.release()


class Connection(psycopg.Connection[TupleRow]):
    """A connection to a PostgreSQL whose waits tick: a server that does not answer makes no thread look stuck."""

    @classmethod
    def connect(cls, conninfo: str = "", **settings: Any) -> Self:
        """As psycopg's, declared as a call: the name of a host is looked up without turns."""
        with call("PostgreSQL"):
            return super().connect(conninfo, **settings)

    def wait(self, gen: Generator[Wanted, Ready, Result], *how: Any, **more: Any) -> Result:
        """As psycopg's, which wakes ten times a second to look for signals."""
        pulse = _here.pulse
        if pulse is None:
            return super().wait(gen, *how, **more)  # type: ignore[arg-type]
        before, pulse.waits_for = pulse.waits_for, "PostgreSQL"
        try:
            return super().wait(_ticking(gen, pulse), *how, **more)  # type: ignore[arg-type]
        finally:
            pulse.waits_for = before


def _ticking(gen: Generator[Wanted, Ready, Result], pulse: Pulse) -> Generator[Wanted, Ready, Result]:
    """The same conversation with libpq; each time the other side wakes, the pulse ticks."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            pulse.ticked = time.monotonic()
            wanted = gen.send(ready)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
