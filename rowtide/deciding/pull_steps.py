"""The requests and ends of an entry that was taken.

In: what `rowtide.deciding.pull` concludes. Out: `PullInFlight` entries, whose command the puller carries out at Graph
or in the state database; ends, which the state database records. Rule: each step carries what it was decided on, each
end names the entry that it ends, so that a lease which is lost writes nothing.
"""

from dataclasses import dataclass

from rowtide.deciding.answers import Answer
from rowtide.deciding.commands import LookAtItem, UpdateItem
from rowtide.deciding.conflicts import ConflictRecord
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import ListId, PairedItem
from rowtide.deciding.taken import Apply, Taken

AGAIN_AFTER_S = 1.0
"""Seconds until an entry is taken again that waits for something of ours."""

# --- requests -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LookAtList:
    """GET the list and its columns."""

    list_id: ListId


@dataclass(frozen=True, slots=True)
class ReserveKey:
    """In the state database: note ``key`` in the entry, and write ``Arriving`` unless the key has an item.

    The answer is `Reserved` with all read anew, or `KeyBusy` if the key's outbox row is leased or uncertain.
    """

    key: str
    item: PairedItem


PullCommand = LookAtItem | UpdateItem | LookAtList | ReserveKey


@dataclass(frozen=True, slots=True)
class ListSeen:
    """The list is there; name -> id of its columns."""

    columns: dict[str, str]


@dataclass(frozen=True, slots=True)
class ListGone:
    """SharePoint has the list no more, and `apply` knows: its rows belong to another one by now."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """The key is the entry's, or was its already; ``taken`` is all that is known now."""

    taken: Taken


@dataclass(frozen=True, slots=True)
class KeyBusy:
    """The key's outbox row is leased or uncertain."""


PullAnswer = Answer | ListSeen | ListGone | Reserved | KeyBusy


# --- steps --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LookAtOwn:
    """Is the entry's item still there, and in which version?"""

    command: LookAtItem
    entry: InboxEntry


@dataclass(frozen=True, slots=True)
class LookAtPaired:
    """Is the item still there that the row has, now that another shows its key?"""

    command: LookAtItem
    entry: InboxEntry


@dataclass(frozen=True, slots=True)
class LookAtMoved:
    """Is the item there that shows the key of a row whose own item is gone? An old page may show one that is not."""

    command: LookAtItem
    entry: InboxEntry


@dataclass(frozen=True, slots=True)
class AskList:
    """Is the list there, and its columns?"""

    command: LookAtList
    apply: Apply


@dataclass(frozen=True, slots=True)
class ClearKey:
    """A copy loses the key, and is a new item from then on."""

    command: UpdateItem
    entry: InboxEntry


@dataclass(frozen=True, slots=True)
class Reserve:
    """The key is to be the item's, before any row of it can be seen by push."""

    command: ReserveKey
    entry: InboxEntry


@dataclass(frozen=True, slots=True)
class GiveKey:
    """The item gets its row's key; ``recorded`` is written once it has it."""

    command: UpdateItem
    recorded: Recorded


@dataclass(frozen=True, slots=True)
class Tell:
    """The item's status field gets a text; then the entry ends as it would have."""

    command: UpdateItem
    end: "ParkEntry | HoldOpen | Recorded"


PullStep = LookAtOwn | LookAtPaired | LookAtMoved | AskList | ClearKey | Reserve | GiveKey | Tell


@dataclass(frozen=True, slots=True)
class PullInFlight:
    """An entry in flight: what is known, and the step whose command is carried out now."""

    taken: Taken
    step: PullStep

    @property
    def command(self) -> PullCommand:
        """The request to carry out."""
        return self.step.command


# --- how an entry ends --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drop:
    """The entry says nothing that is not known: it goes if its revision is still the one taken."""

    taken: Taken


@dataclass(frozen=True, slots=True)
class Later:
    """The entry is due again in ``after_s``; ``grows``: it waits longer each time."""

    taken: Taken
    after_s: float
    reason: str
    grows: bool = False


@dataclass(frozen=True, slots=True)
class WaitForCapture:
    """The row was absent: the source's insert LSN is read, and the entry is due when the cursor has passed it."""

    taken: Taken


@dataclass(frozen=True, slots=True)
class GoTo:
    """The entry belongs to another row: it is taken again as one of that key."""

    taken: Taken
    key: str


@dataclass(frozen=True, slots=True)
class ParkEntry:
    """The entry is set aside; a newer one of its item takes its place. A pair that was only reserved goes."""

    taken: Taken
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class HoldOpen:
    """The entry stays as a conflict until a person decides, or both sides say the same."""

    taken: Taken
    conflict: ConflictRecord


@dataclass(frozen=True, slots=True)
class ListRestored:
    """The list shows older versions than it did: it was restored; a new incarnation, and a deep pass."""

    taken: Taken
    list_id: ListId


PullEnd = Drop | Later | WaitForCapture | GoTo | ParkEntry | HoldOpen | ListRestored | Recorded

PullPlan = PullInFlight | Apply | PullEnd
