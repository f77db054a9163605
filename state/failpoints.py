"""Places where a test may kill, hold up or break the process; inert unless ``ROWTIDE_FAILPOINTS`` is set.

In: environment ``ROWTIDE_FAILPOINTS`` (``name=action`` with ``;`` between) and ``ROWTIDE_FAILPOINTS_SEED``. Out:
nothing, a delay, StateUnavailable, or the end of the process. Code passes them where a crash must do no harm. Rule
(docs/design.md section 16): names are the constants below; any other name is refused at start, so that no
test passes because of a typo.

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

from rowtide.error_catalogue import command_errors, state_errors

EPOCH_CLOSING = "epoch.closing"
EPOCH_CLOSED = "epoch.closed"
STAGE_BEFORE_COMMIT = "stage.before_commit"
STAGE_AFTER_COMMIT = "stage.after_commit"
CONFIRM_BEFORE_CURSOR = "confirm.before_cursor"
CONFIRM_AFTER_CURSOR = "confirm.after_cursor"
OPEN_AFTER_SLOT = "open.after_slot"
OPEN_BEFORE_COMMIT = "open.before_commit"
OPEN_AFTER_COMMIT = "open.after_commit"
CLAIM_AFTER_LEASE = "claim.after_lease"
DELIVER_BEFORE_SEND = "deliver.before_send"
DELIVER_AFTER_SEND = "deliver.after_send"
DELIVER_AFTER_ANSWER = "deliver.after_answer"
SETTLE_BEFORE_COMMIT = "settle.before_commit"
SETTLE_AFTER_COMMIT = "settle.after_commit"
MOVE_BEFORE_DELETE = "move.before_delete"
RECONCILE_BEGUN = "reconcile.begun"
RECONCILE_AFTER_READ = "reconcile.after_read"
RECONCILE_BEFORE_COMMIT = "reconcile.before_commit"
RECONCILE_AFTER_COMMIT = "reconcile.after_commit"
RECONCILE_BEFORE_FINISH = "reconcile.before_finish"
RECONCILE_FINISHED = "reconcile.finished"
APPLY_STORED = "apply.stored"
ENUMERATION_AFTER_PAGE = "enumeration.after_page"
ENUMERATION_BEFORE_TAKE_UP = "enumeration.before_take_up"

LOOP = "loop."
"""Before the name of a background loop: these are passed in each of its turns."""
LOOP_BEAT = f"{LOOP}beat"
LOOP_CONTROL = f"{LOOP}control"
LOOP_CONTROL_LISTEN = f"{LOOP}control-listen"
LOOP_READER = f"{LOOP}reader"
LOOP_CONFIRMER = f"{LOOP}confirmer"
LOOP_SHAPE = f"{LOOP}shape"
LOOP_RECONCILE = f"{LOOP}reconcile"
LOOP_DUE = f"{LOOP}due"
LOOP_DUE_LISTEN = f"{LOOP}due-listen"
LOOP_REFRESH = f"{LOOP}refresh"
LOOP_ENUMERATE = f"{LOOP}enumerate"
LOOP_COLUMNS = f"{LOOP}columns"
LOOP_GRAPH = f"{LOOP}graph"
LOOPS = frozenset(
    {LOOP_BEAT, LOOP_CONTROL, LOOP_CONTROL_LISTEN, LOOP_READER, LOOP_CONFIRMER, LOOP_SHAPE, LOOP_RECONCILE}
    | {LOOP_DUE, LOOP_DUE_LISTEN, LOOP_REFRESH, LOOP_ENUMERATE, LOOP_COLUMNS, LOOP_GRAPH}
)

NAMES = frozenset(
    {
        EPOCH_CLOSING,
        EPOCH_CLOSED,
        STAGE_BEFORE_COMMIT,
        STAGE_AFTER_COMMIT,
        CONFIRM_BEFORE_CURSOR,
        CONFIRM_AFTER_CURSOR,
        OPEN_AFTER_SLOT,
        OPEN_BEFORE_COMMIT,
        OPEN_AFTER_COMMIT,
        CLAIM_AFTER_LEASE,
        DELIVER_BEFORE_SEND,
        DELIVER_AFTER_SEND,
        DELIVER_AFTER_ANSWER,
        SETTLE_BEFORE_COMMIT,
        SETTLE_AFTER_COMMIT,
        MOVE_BEFORE_DELETE,
        RECONCILE_BEGUN,
        RECONCILE_AFTER_READ,
        RECONCILE_BEFORE_COMMIT,
        RECONCILE_AFTER_COMMIT,
        RECONCILE_BEFORE_FINISH,
        RECONCILE_FINISHED,
        APPLY_STORED,
        ENUMERATION_AFTER_PAGE,
        ENUMERATION_BEFORE_TAKE_UP,
        *LOOPS,
    }
)

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
    """The traps of ``name=action[:argument][@n|%p];...``; UserError for a name or action that does not exist."""
    traps = {}
    for part in filter(None, (part.strip() for part in spec.split(";"))):
        name, _, rest = part.partition("=")
        rest, at, nth = rest.partition("@")
        rest, per, probability = rest.partition("%")
        action, _, argument = rest.partition(":")
        known = name in NAMES and action in ACTIONS and bool(argument) == (action == "pause")
        try:
            trap = Trap(action, argument, int(nth) if at else None, float(probability) if per else None)
        except ValueError:
            known = False
        if not known:
            raise command_errors.FAILPOINTS(part=repr(part))
        traps[name] = trap
    return traps


class Failpoints:
    """The traps of one process and how often each name was passed."""

    def __init__(self, spec: str, seed: int = 0) -> None:
        self._traps = parse(spec)
        self._hits: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 (chance for tests, not secrets)

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
        raise state_errors.FAILPOINT(name=name)
    elif trap.action == "fault":
        raise RuntimeError(f"the failpoint {name} stands for a fault of our own")
    elif trap.argument.replace(".", "", 1).isdigit():
        time.sleep(float(trap.argument))
    else:
        while Path(trap.argument).exists():
            time.sleep(_POLL_S)


_of_process: Failpoints | None = None
if _spec := os.environ.get("ROWTIDE_FAILPOINTS", ""):
    _of_process = Failpoints(_spec, int(os.environ.get("ROWTIDE_FAILPOINTS_SEED", "0")))


def hit(name: str) -> None:
    """Pass the failpoint ``name`` of this process."""
    if _of_process is not None:
        _of_process.hit(name)
