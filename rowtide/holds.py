"""What holds rows back: a hold on everything, a source, a tenant, a sync, a table or a list, with who and why.

In: the holds on record, where a sync belongs. Out: those that cover it. Rules (docs/design.md section 11): a sync runs
when no hold covers it, whenever it was applied; holds of different kinds stand beside each other, and each goes by what
it waits for; an unknown kind, of a newer release, holds too. A fault covers no sync: what fails has its own time of the
next trial.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from rowtide.error_catalogue.process_errors import FAULT_ON_RECORD
from rowtide.errors import RowtideError
from rowtide.position import Position

Scope = Literal["all", "source", "tenant", "sync", "table", "list"]
"""What a hold is on. Its object is the name of the source or tenant, the id of the list, or of the sync; a table is
named by the sync that reads it. Of all it is empty."""

FaultScope = Literal["tenant", "table", "list"]
"""What may fail by itself: every request to a tenant, reading the table of a sync, writing to a list."""

PERSON: Final = "person"
"""A person paused it: until that person, or another, resumes the very same object."""
CAPTURE: Final = "capture"
"""Its changes pass by, because it cannot be carried: until it is captured again, in a new era with a reconcile."""
SLOT: Final = "slot"
"""Another installation reads the slot of its source: until a person says that the slot is this one's."""
REFUSED: Final = "refused"
"""Something is there that delivering must not go on with: until a look finds it gone."""
DELETES: Final = "deletes"
"""More deletions wait than the breaker lets pass: until a person approves these, or has them judged anew."""
CREATES: Final = "creates"
"""More items are missing than the breaker lets be made anew: until a person approves these, or has them looked at."""
MATCH: Final = "match"
"""Its rows and the items that its lists held before are still to be paired: until a deep pass has done so."""
FAULT: Final = "fault"
"""Something fails: its rows wait until it is tried again, with few of them, and an answer to that lifts it."""

_ORDER: Final = (PERSON, CAPTURE, SLOT, REFUSED, DELETES, CREATES, MATCH)


@dataclass(frozen=True, slots=True)
class HeldDeletes:
    """The deletions that a hold names, or the items to be made anew: an approval lets exactly these through.

    ``upto``: those that wait in the outbox at this position or below; None: those that a reconcile has found.
    """

    count: int
    sample: tuple[str, ...]
    upto: Position | None


@dataclass(frozen=True, slots=True)
class Hold:
    """A row of table ``hold``."""

    scope: str
    object: str
    kind: str
    code: str
    reason: str
    actor: str
    at: datetime
    deletes: HeldDeletes | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class FaultHold:
    """What fails: why, after how many failures in a row, and in how many seconds it is tried again.

    ``object`` is the id of the list, the id of the sync whose table it is, or the name of the tenant.
    """

    scope: FaultScope
    object: str
    code: str
    sentence: str
    remedy: str
    failures: int
    wait_s: float

    @classmethod
    def of(cls, scope: FaultScope, object_: str, error: RowtideError, failures: int, wait_s: float) -> "FaultHold":
        """The fault that this error makes."""
        return cls(scope, object_, error.code, error.sentence, error.remedy, failures, wait_s)

    @property
    def place(self) -> tuple[FaultScope, str]:
        """What fails."""
        return self.scope, self.object

    @property
    def problem(self) -> RowtideError:
        """Why it fails, for a process that was only told of it."""
        return FAULT_ON_RECORD(code=self.code, sentence=self.sentence, remedy=self.remedy)


class Place(Protocol):
    """Where a sync belongs (`rowtide.mapping.compiled_sync.CompiledSync`)."""

    @property
    def sync(self) -> str:
        """Its id."""

    @property
    def postgres(self) -> str:
        """Its source."""

    @property
    def graph(self) -> str:
        """Its tenant."""


def covering(holds: Iterable[Hold], place: Place) -> tuple[Hold, ...]:
    """The holds on a sync and on what it belongs to, in the order in which `status` names them."""
    over = places(place)
    found = (hold for hold in holds if (hold.scope, hold.object) in over and hold.kind != FAULT)
    return tuple(sorted(found, key=_rank))


def places(place: Place) -> frozenset[tuple[Scope, str]]:
    """Scope and object of all that a sync is covered by."""
    return frozenset({("all", ""), ("source", place.postgres), ("tenant", place.graph), ("sync", place.sync)})


def capture_hold(holds: Iterable[Hold], sync: str) -> Hold | None:
    """Why the changes of a sync pass by; None while they are staged."""
    return next((hold for hold in holds if (hold.scope, hold.object, hold.kind) == ("sync", sync, CAPTURE)), None)


def _rank(hold: Hold) -> tuple[int, str]:
    return (_ORDER.index(hold.kind) if hold.kind in _ORDER else len(_ORDER), hold.scope)
