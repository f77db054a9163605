"""One side at a time: whether a claimed row of a two-way sync may be written to SharePoint now.

In: what the claim has read of the row's pair, after it has locked the row. Out: a `RowTurn`. Called by
state.outbox.one_side. Rules (docs/design.md section 3): while an edit of the pair's item waits to be applied, nothing
of the row is sent; nor while capture has not passed the last edit that was applied to it; one that was applied in an
older era has no position in this one, so that the row is read after it; before that it is looked whether the source
has lost such an edit.
"""

from dataclasses import dataclass
from enum import Enum


class RowTurn(Enum):
    """What becomes of a claimed row."""

    GO = "it is written"
    LOOK = "what became of earlier attempts is looked at, and nothing is sent"
    EDITED = "it waits until the edit of its item is applied"
    SET_ASIDE = "it waits until a person has seen to the edit of its item"
    BEHIND = "it waits until capture has passed what was applied to it"
    SUSPECT = "it waits until its list, which was restored, has been read"
    UNCONFIRMED = "it waits until it is known whether the source has the last edit of its item still"
    READ = "it is read anew"


@dataclass(frozen=True, slots=True)
class RowSide:
    """What is known of a claimed row.

    ``entry_waits``, ``entry_is_aside``: an entry of the pair is due or being applied; one is parked or a conflict.
    ``era``, ``cursor_lsn``: the sync's, as read before the row was locked (None: its slot has none). ``applied``: era
    and insert LSN after the last edit that was applied to the row. ``is_read``: the row is as it was read from the
    source since, no change has been merged into it. ``is_confirmed``: in this era it was looked whether the source has
    what was pulled into the row. ``is_suspect``: a list of the sync was restored, and is not read by a deep pass yet.
    """

    era: int
    cursor_lsn: int | None
    uncertain: bool = False
    entry_waits: bool = False
    entry_is_aside: bool = False
    applied: tuple[int, int] | None = None
    is_read: bool = False
    is_confirmed: bool = True
    is_suspect: bool = False


def turn_of(side: RowSide) -> RowTurn:
    """Whether the row may go."""
    if side.is_suspect:
        return RowTurn.SUSPECT
    if side.entry_waits or side.entry_is_aside:
        # Until an earlier attempt is explained, nobody may apply the edit either.
        if side.uncertain:
            return RowTurn.LOOK
        return RowTurn.EDITED if side.entry_waits else RowTurn.SET_ASIDE
    if not side.is_confirmed:
        return RowTurn.LOOK if side.uncertain else RowTurn.UNCONFIRMED
    if side.applied is None:
        return RowTurn.GO
    era, lsn = side.applied
    if era != side.era:
        return RowTurn.GO if side.is_read else RowTurn.READ
    return RowTurn.GO if side.cursor_lsn is not None and side.cursor_lsn >= lsn else RowTurn.BEHIND
