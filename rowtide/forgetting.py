"""Whether what is known of a row or of a sync may be forgotten.

In: what waits, what is on record, whether the sync is retired. Out: why not, as a UserError; None: nothing would be
lost. Rules (docs/decisions/0035-what-is-forgotten.md): nobody forgets what is still to be written, or whose outcome is
not known; a retired sync is compared anew when it comes back, so that its waiting changes are no loss.
"""

from dataclasses import dataclass

from rowtide.change import Operation
from rowtide.error_catalogue import command_errors
from rowtide.errors import UserError


@dataclass(frozen=True, slots=True)
class RowStanding:
    """What is on record of a row. ``op``: of the change that waits (None: none). ``busy``: it is claimed, or an attempt
    is not explained yet. ``has_item``: the ledger has a live item of it. ``is_edited``: an edit of its item waits to be
    applied.
    """

    op: Operation | None = None
    busy: bool = False
    has_item: bool = False
    is_edited: bool = False


@dataclass(frozen=True, slots=True)
class SyncRecords:
    """How much is on record of a sync.

    ``waiting``: rows and edits that wait or are parked; ``leased``: those that a process has claimed; ``left``: rows of
    which an item is still to be removed from a list that they have left, or may still be made by a request without an
    answer.
    """

    retired: bool
    waiting: int = 0
    leased: int = 0
    left: int = 0
    rows: int = 0
    lists: int = 0


def why_row_stays(sync: str, key: str, row: RowStanding, retired: bool) -> UserError | None:
    """Why the values of a row may not be forgotten."""
    if row.busy:
        return command_errors.FORGET_BUSY(key=key, sync=sync)
    if retired:
        return None
    if row.is_edited:
        return command_errors.FORGET_EDITED(key=key, sync=sync)
    if row.op == "d":
        return None
    if row.op is not None:
        return command_errors.FORGET_WAITS(key=key, sync=sync)
    return command_errors.FORGET_LIVE(key=key, sync=sync) if row.has_item else None


def why_sync_stays(sync: str, records: SyncRecords, discard: bool) -> UserError | None:
    """Why a sync may not be purged. ``discard``: what waits and what is left behind goes, too."""
    if not records.retired:
        return command_errors.PURGE_IN_FORCE(sync=sync)
    if records.leased:
        return command_errors.PURGE_LEASED(sync=sync, rows=records.leased)
    if (records.waiting or records.left) and not discard:
        return command_errors.PURGE_WOULD_LOSE(sync=sync, rows=records.waiting, left=records.left)
    return None
