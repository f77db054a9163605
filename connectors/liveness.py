"""Which loops of this process are stuck, by looking at their pulses once a second.

In: the pulses (`connectors.loops.pulses`). Out: `stuck`, for `/livez` and `/readyz`; one log line and the stacks of all
threads on stderr when a loop is found stuck, before anybody can be told so. Called by the thread that answers
(`connectors.listening`). Rule (docs/design.md section 25): silence is counted in looks, so that a process that stood
still as a whole, stopped or starved, is not taken for stuck when it goes on.
"""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from connectors import loops
from rowtide.error_catalogue import process_errors
from state.pulse import Pulse, Silence

log = structlog.get_logger()

LOOK_S: Final = 1.0
_MOST_S: Final = 2 * LOOK_S
"""What one look adds to a silence at most."""


def _show_stacks() -> None:
    """The stacks of all threads, to stderr: names of functions and lines, no values."""
    names = {thread.ident: thread.name for thread in threading.enumerate() if thread.ident is not None}
    sys.stderr.write("".join(f"thread {ident:#018x} is {name}\n" for ident, name in names.items()))
    sys.stderr.flush()
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)


class Liveness:
    """Looked at from one thread; `silences` and `stuck` from any."""

    def __init__(
        self,
        pulses: Callable[[], Sequence[Pulse]] = loops.pulses,
        monotonic: Callable[[], float] = time.monotonic,
        show_stacks: Callable[[], None] = _show_stacks,
    ) -> None:
        self.silences: Sequence[Silence] = ()
        self._pulses = pulses
        self._monotonic = monotonic
        self._show_stacks = show_stacks
        self._looked_at = monotonic()
        self._seen: dict[Pulse, tuple[float, float]] = {}
        self._said: frozenset[Pulse] = frozenset()

    @property
    def stuck(self) -> Sequence[Silence]:
        """The loops that a restart would mend."""
        return [one for one in self.silences if one.is_stuck]

    def look(self) -> None:
        """Look at every pulse; say which loops are newly stuck, and show what all threads do."""
        now = self._monotonic()
        passed_s, self._looked_at = min(now - self._looked_at, _MOST_S), now
        seen: dict[Pulse, tuple[float, float]] = {}
        for one in self._pulses():
            ticked = one.ticked
            before, silent_s = self._seen.get(one, (ticked, 0.0))
            seen[one] = ticked, silent_s + passed_s if ticked == before else 0.0
        self._seen = seen
        found = {one: Silence(one.name, silent_s, one.waits_for) for one, (_, silent_s) in seen.items()}
        stuck = frozenset(one for one, silence in found.items() if silence.is_stuck)
        if stuck - self._said:
            for one in stuck - self._said:
                _say(found[one])
            self._show_stacks()
        for name in sorted(one.name for one in self._said - stuck):
            log.info("loop goes on", loop=name)
        self._said = stuck
        self.silences = tuple(found.values())  # last: nobody is told before the stacks are there


def _say(silence: Silence) -> None:
    error = process_errors.LOOP_SILENT(loop=silence.loop, seconds=f"{silence.silent_s:.0f}", doing=silence.doing)
    log.error("loop stuck", loop=silence.loop, code=error.code, problem=error.unquoted, remedy=error.remedy)
