"""What tests set at the named places of `state/failpoints.py`: a kill, a delay, an error.

In: a text, ``name=action`` with ``;`` between, and a seed; for a process of its own by ``ROWTIDE_FAILPOINTS`` and
``ROWTIDE_FAILPOINTS_SEED``: ``python -m tests.failpoints run ...`` is ``rowtide run ...`` with these traps. Out:
nothing, a delay, StateUnavailable, or the end of the process. Rule: any name that is none is refused at start, so that
no test passes because of a typo.

Actions: ``kill`` (SIGKILL to oneself), ``raise`` (StateUnavailable), ``fault`` (RuntimeError, which no code expects),
``pause:SECONDS``, ``pause:FILE`` (until that file is removed). ``@3`` after the action: only at the third hit;
``%0.01``: at each hit with that probability.
"""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rowtide.errors import StateUnavailable
from state import failpoints

ACTIONS = frozenset({"kill", "raise", "fault", "pause"})
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Trap:
    """What happens at one name: ``action`` with its ``argument``, at the ``at``-th hit or with ``probability``."""

    action: str
    argument: str = ""
    at: int | None = None
    probability: float | None = None


def parse(spec: str) -> dict[str, Trap]:
    """The traps of ``name=action[:argument][@n|%p];...``; ValueError for a name or action that does not exist."""
    traps = {}
    for part in filter(None, (part.strip() for part in spec.split(";"))):
        name, _, rest = part.partition("=")
        rest, at, nth = rest.partition("@")
        rest, per, probability = rest.partition("%")
        action, _, argument = rest.partition(":")
        known = name in failpoints.NAMES and action in ACTIONS and bool(argument) == (action == "pause")
        try:
            trap = Trap(action, argument, int(nth) if at else None, float(probability) if per else None)
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"there is no failpoint or action {part!r}")
        traps[name] = trap
    return traps


class Failpoints:
    """The traps of one process and how often each name was passed."""

    def __init__(self, spec: str, seed: int = 0) -> None:
        self._traps = parse(spec)
        self._hits: Counter[str] = Counter()
        self._random = random.Random(seed)

    def passed(self, name: str) -> int:
        """How often a trapped name was reached; one that pauses is reached before it does."""
        return self._hits[name]

    def hit(self, name: str) -> None:
        """Pass ``name``: carry out its trap if there is one for this hit."""
        trap = self._traps.get(name)
        if trap is None:
            return
        self._hits[name] += 1
        if trap.at is not None and self._hits[name] != trap.at:
            return
        if trap.probability is not None and self._random.random() >= trap.probability:
            return
        _spring(name, trap)


def _spring(name: str, trap: Trap) -> None:
    if trap.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif trap.action == "raise":
        raise StateUnavailable("failpoint", f"failpoint {name} was hit", "")
    elif trap.action == "fault":
        # A fault of our own, known by its kind: its words are in no log.
        raise type(name, (RuntimeError,), {"__module__": "failpoint"})
    elif trap.argument.replace(".", "", 1).isdigit():
        time.sleep(float(trap.argument))
    else:
        while Path(trap.argument).exists():
            time.sleep(_POLL_S)


def main() -> None:
    """Entry point: set the traps of the environment, and be the command line."""
    failpoints._of_process = Failpoints(
        os.environ.get("ROWTIDE_FAILPOINTS", ""), int(os.environ.get("ROWTIDE_FAILPOINTS_SEED", "0"))
    )
    from control.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
