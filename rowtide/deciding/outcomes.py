"""How a claim ended, which settle records.

In: what push concludes. Out: what `state.outbox.settling` records and counts. Rule: each outcome names the claim it
ends, so that a claim which no longer holds its lease writes nothing.
"""

from dataclasses import dataclass

from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.records import ListId, Pair, Work


@dataclass(frozen=True, slots=True)
class Settle:
    """The list is known to be right: write ``pair`` to the ledger and empty ``sent``.

    The outbox row is deleted if lease token and revision are still the claimed ones, ``again`` is false and
    ``pair.leftovers`` is empty. Else it is released and due at once (``again``: something is left to do for it).
    ``writes`` counts requests that changed a list; 0 is a suppressed no-op. ``foreign_edit``: a person's edit was
    met and overwritten by policy.
    """

    work: Work
    pair: Pair
    writes: int = 0
    again: bool = False
    foreign_edit: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """Make the row due again in ``after_s``. ``unknown`` keeps this claim's ``sent``; ``blame`` counts an attempt.

    ``grows``: with each such release in a row ``after_s`` doubles. ``reread``: before it is claimed again, it is read
    from its source. ``list_id``: the list that does not answer, for which a delete waits from now on.
    """

    work: Work
    after_s: float
    unknown: bool
    blame: bool = False
    reason: str = ""
    pair: Pair | None = None  # goes to the ledger: what was learnt on the way (a newer version, an adopted item)
    reread: bool = False
    grows: bool = False
    list_id: ListId | None = None


@dataclass(frozen=True, slots=True)
class ParkRow:
    """Set the row aside with a code and a sentence; ``unknown`` keeps this claim's ``sent``."""

    work: Work
    code: str
    sentence: str
    unknown: bool = False
    pair: Pair | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """Hand the row back: it has to be read from the source before anything can be decided."""

    work: Work


@dataclass(frozen=True, slots=True)
class HandOver:
    """In one transaction: put ``entry`` into the inbox, write ``pair`` (None: nothing was learnt), release the row.

    The row's ``sent`` is emptied: what became of every attempt is known. It is due again once the entry is applied.
    ``entry`` None: an entry waits already, and for its sake the row was only looked at.
    """

    work: Work
    entry: InboxEntry | None
    pair: Pair | None


Outcome = Settle | Release | ParkRow | HandOver
