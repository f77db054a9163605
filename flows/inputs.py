"""All inputs of a process as one input of the engine, so that their epochs end together.

In: the inputs, by the step that takes what they hand on. Out: `Arrived`s, which `of_step` sorts to those steps. Rules:
a process has one input. Two inputs would end their epochs at moments of their own, and the one that is ahead may hand
on nothing, and spins, until the other has ended its epoch too (docs/facts.md section 14). The engine is asked for no
look at a later time, because it would wait for that time by a clock that may be set back: `Pacer` waits instead.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from flows.ports import ALREADY
from state import pulse

IDLE_S: Final = 0.005
"""Seconds between two looks at inputs that have nothing: the one wait of the thread on which all steps run."""


class Epochs:
    """When the engine was last found to have closed an epoch; noted by its thread, read by any."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._closed_s = monotonic()

    def closed(self) -> None:
        """An epoch is durable on all workers."""
        self._closed_s = self._monotonic()

    def age_s(self) -> float:
        """Seconds since one was, or since the process began."""
        return self._monotonic() - self._closed_s


class Arrived(NamedTuple):
    """What one partition handed on at once, for the step of that name."""

    step: str
    items: Sequence[Any]


class Pacer:
    """Waits a moment, by no clock of the machine, after each round of looks in which no partition had anything."""

    def __init__(self, stop: threading.Event, look: Callable[[], None]) -> None:
        """``stop`` ends a wait; ``look`` is called with each look at a partition."""
        self.parts = 0
        self._stop = stop
        self._look = look
        self._empty = 0

    def looked(self, has_found: bool) -> None:
        """Count a look at a partition."""
        pulse.tick()
        self._look()
        self._empty = 0 if has_found else self._empty + 1
        if self._empty >= self.parts:
            self._empty = 0
            self._stop.wait(IDLE_S)


class Part(StatefulSourcePartition[Arrived, Any]):
    """A partition of one of the inputs."""

    def __init__(self, step: str, part: StatefulSourcePartition[Any, Any], pace: Pacer, epochs: Epochs) -> None:
        self._step = step
        self._part = part
        self._pace = pace
        self._epochs = epochs
        self._ends_epoch = False
        pace.parts += 1

    def next_batch(self) -> list[Arrived]:
        """What the partition hands on, as one item: a call for each would cost more than this step.

        Called after `snapshot` it also means that the epoch is closed (docs/facts.md section 14).
        """
        if self._ends_epoch:
            self._ends_epoch = False
            self._epochs.closed()
        items = self._part.next_batch()
        self._pace.looked(bool(items))
        return [Arrived(self._step, items)] if items else []  # type: ignore[arg-type]

    def next_awake(self) -> datetime | None:
        """At once: the looks are paced by waiting."""
        return ALREADY

    def snapshot(self) -> Any:
        """The partition's own state."""
        self._ends_epoch = True
        return self._part.snapshot()

    def close(self) -> None:
        """Close the partition."""
        self._part.close()


class Inputs(FixedPartitionedSource[Arrived, Any]):
    """Several inputs as one; a partition is named by its step and its own name."""

    def __init__(
        self,
        inputs: Mapping[str, FixedPartitionedSource[Any, Any]],
        stop: threading.Event,
        epochs: Epochs,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """``inputs`` by the name of the step that takes what they hand on; all of them end when ``stop`` is set."""
        self._inputs = inputs
        self._epochs = epochs
        self._pace = Pacer(stop, look)

    def list_parts(self) -> list[str]:
        """Every partition of every input."""
        return [f"{step}/{part}" for step, one in self._inputs.items() for part in one.list_parts()]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> Part:
        """The partition, made by its own input."""
        step, _, part = for_part.partition("/")
        own = self._inputs[step].build_part(step_id, part, resume_state)
        return Part(step, own, self._pace, self._epochs)


def of_step(step: str) -> Callable[[Sequence[Arrived]], Iterable[Any]]:
    """Picks what arrived for the step."""

    def pick(arrived: Sequence[Arrived]) -> Iterable[Any]:
        pulse.tick()  # once in each activation
        return [item for one in arrived if one.step == step for item in one.items]

    return pick
