"""How a reconcile goes: when one is wanted, and what follows what until its pass is complete.

In: what the record of a pass says, what the snapshot of the source has passed. Out: reasons and phases. Rule
(docs/design.md section 9): what was read while a transaction from before the opening was under way is read once more
when none is left; until then the rest goes on, so that nothing blocks on a long one.

    compare -> ask -> delete -> done                          no transaction of before the opening was under way
    compare -> again -> ask -> delete -> done                 all of them ended while comparing
    compare -> ask -> delete -> opening -> again -> ask -> delete -> done     one of them goes on
"""

from dataclasses import dataclass
from typing import Literal

Phase = Literal["compare", "again", "ask", "delete", "opening", "done"]
"""compare: chunks of the table · again: those of before the opening · ask: which keys the source no longer has ·
delete: stage their deletes · opening: wait for transactions of before the opening."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a pass has to cover: the stream's era and the first position it is whole from, and the mapping."""

    era: int
    since_lsn: int
    mapping_version: int


def next_phase(phase: Phase, unread: bool, passed: bool) -> Phase:
    """What follows a finished ``phase``.

    ``unread``: something was read before the opening had passed and has not been read again; ``passed``: it has now.
    """
    match phase:
        case "compare":
            return "again" if unread and passed else "ask"
        case "opening":
            return "again"
        case "again":
            return "ask"
        case "ask":
            return "delete"
        case "delete":
            return "opening" if unread else "done"
        case "done":
            return "done"


def why_wanted(covered: Opening | None, now: Opening) -> str | None:
    """Why a sync has to be reconciled although nobody asked; None when its last pass covers what is so ``now``."""
    if covered is None:
        return "first load"
    if covered.era != now.era:
        return "continuity of the stream was lost"
    if covered.since_lsn != now.since_lsn:
        return "changes passed by while the sync was not captured"
    if covered.mapping_version != now.mapping_version:
        return "the definition of the sync changed"
    return None
