"""How a reconcile goes: when one is wanted, and which phase follows which until its pass is complete.

In: what the record of a pass says, what the snapshot of the source has passed. Out: reasons and phases. Rule
(docs/design.md section 6): everything committed before the pass is staged before its first read (the mark); pages that
were read while a transaction from before the opening was under way are read once more when no such transaction is
left; until then the other phases go on, so that a long transaction blocks nothing.

    mark -> compare -> ask -> delete -> done                                     no transaction from before the opening
    mark -> compare -> again -> ask -> delete -> done                            all of them ended while comparing
    mark -> compare -> ask -> delete -> opening -> again -> ask -> delete -> done     one of them goes on

A deep pass reads the lists too: ``enumerate`` stands between mark and compare, and ``round -> judge`` before done, as
often as something moved while it was judged (at most `MOST_TURNS` times).
"""

from dataclasses import dataclass
from typing import Literal

Phase = Literal["mark", "enumerate", "compare", "again", "ask", "delete", "opening", "round", "judge", "done"]
"""mark: wait until everything committed before the pass is staged · enumerate: wait until every item was seen, and take
up those that the ledger does not know · compare: judge the table page by page · again: read
and judge once more the pages from before the opening had passed · ask: which keys the source no longer has · delete:
stage their deletes · opening: wait for transactions from before the opening · round: wait for what changed in the lists
since · judge: compare the items with the ledger."""

MOST_TURNS = 3
"""How often what moves is judged before it is reported as moving."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a pass covers: the sync's era, and the version of its mapping."""

    era: int
    mapping_version: int


def next_phase(phase: Phase, unread: bool, passed: bool, deep: bool = False) -> Phase:
    """What follows a finished ``phase``.

    ``unread``: something was read before the opening had passed and has not been read again; ``passed``: it has now.
    ``deep``: the pass reads the lists too.
    """
    match phase:
        case "mark":
            return "enumerate" if deep else "compare"
        case "enumerate":
            return "compare"
        case "compare":
            return "again" if unread and passed else "ask"
        case "opening":
            return "again"
        case "again":
            return "ask"
        case "ask":
            return "delete"
        case "delete":
            return "opening" if unread else "round" if deep else "done"
        case "round":
            return "judge"
        case "judge" | "done":
            return "done"


def why_wanted(covered: Coverage | None, now: Coverage) -> str | None:
    """Why a sync has to be reconciled although nobody asked; None when its last pass ``covered`` what holds ``now``."""
    if covered is None:
        return "first load"
    if covered.era != now.era:
        return "a new stream of the sync began"
    if covered.mapping_version != now.mapping_version:
        return "the definition of the sync changed"
    return None
