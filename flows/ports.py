"""What a step, an output or a part of the process may ask of the process it runs in.

In: nothing. Out: Protocols; `flows.compose` gives the product's implementations, tests give their own. Rule: a step
knows these and the core, never a part of the process itself.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from rowtide.deciding.in_flight import InFlight, Rules
from rowtide.deciding.outcomes import Outcome
from rowtide.errors import SyncError
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.shape import Prints

ALREADY: Final = datetime.fromtimestamp(0, UTC)
"""What the engine gets as the time of anything: it compares times with this machine's clock, and whatever is set for
later waits longer when that clock is set back. This one is over by every clock; the inputs pace the engine by waiting.
"""


class Stream(NamedTuple):
    """One unbroken stream: a PostgreSQL, its slot, the slot's incarnation."""

    postgres: str
    slot: str
    incarnation: int


class InForce(Protocol):
    """What the applied definition says now."""

    @property
    def routing(self) -> int:
        """A number that grows with each new definition and each new era of a sync; older bindings are made again."""

    def routed(self, stream: Stream, schema: str, table: str) -> Sequence[tuple[CompiledSync, int]]:
        """Syncs whose changes of that table are staged from that stream, with the era it is of each."""

    def compiled(self, sync: str) -> CompiledSync:
        """The sync as it is compiled; KeyError for one that is not applied (any more)."""


class CaptureActs(Protocol):
    """What capture does to a sync; each is durable when it returns."""

    def stop_capture_of(self, sync: str, error: SyncError) -> None:
        """Let the sync's changes pass by from here on; resuming it takes a reconcile."""

    def request_reconcile(self, sync: str, why: str) -> None:
        """Have the sync reconciled soon."""


class ShapeActs(Protocol):
    """What follows from a look at what a sync reads; each is durable when it returns."""

    def stop_capture_of(self, sync: str, error: SyncError) -> None:
        """The sync's changes pass by from here on, until its shape fits again."""

    def end_stop_of(self, sync: str) -> None:
        """Its shape fits again: the sync is captured in a new era."""

    def note_shape(self, sync: str, shape: Prints) -> None:
        """The shape is on record; another one than before asks for a reconcile."""


class Decisions(Protocol):
    """What planning needs beside the claimed row."""

    def rules_of(self, sync: str) -> Rules:
        """How rows of the sync are decided; KeyError for one that is not applied (any more)."""

    def graph_of(self, sync: str) -> str:
        """Name of the graph the sync delivers to; KeyError for one that is not applied (any more)."""

    def now(self) -> datetime:
        """The state database's clock."""

    def refund(self, graph: str, units: float) -> None:
        """Give back resource units that were taken for a row and are not needed."""


class Lanes(Protocol):
    """The writers, as the delivering step sees them."""

    def submit(self, lane: str, begun: Sequence[InFlight]) -> None:
        """Hand claims under way to the writer of the lane's graph; never waits."""

    def completed(self, lane: str) -> list[Outcome]:
        """Outcomes of the lane since the last call; never waits."""


class Worker(Protocol):
    """A part of the process with threads of its own."""

    def start(self) -> None:
        """Begin; called once."""

    def stop(self) -> None:
        """End soon, whatever is under way."""
