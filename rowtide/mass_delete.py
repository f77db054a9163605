"""The mass-delete breaker: when deletions are so many that a person is asked before the first one.

In: how many deletions wait (or a reconcile found), how many pairs the sync has, its limits, whether a person has
approved. Out: None, or the `SyncError` that pauses the sync. Rule (docs/design.md section 10): it judges all deletions
that wait, never a batch; a deletion that is held back costs nothing, a deletion that was carried out cannot be undone.
"""

from datetime import datetime
from typing import Protocol

from rowtide.error_catalogue import sync_errors
from rowtide.errors import SyncError

FEW = 5
"""Fewer deletions than this always pass: a share of a list of four items says nothing."""


class Limits(Protocol):
    """``breaker:`` of a sync (`rowtide.definition.model.BreakerDefinition`)."""

    @property
    def share(self) -> float:
        """Deletions above this share of the sync's pairs trip it."""

    @property
    def rows(self) -> int:
        """Deletions above this number trip it."""


def judge_deletes(
    sync: str, deletes: int, pairs: int, limits: Limits, approved_until: datetime | None, now: datetime
) -> SyncError | None:
    """The reason to pause, or None when the deletions may pass.

    ``pairs``: rows of the sync that have an item, those to be deleted among them, or wait for one. ``approved_until``:
    up to when a person lets deletions pass (`resume --approve-deletes`), by the clock ``now`` is read from.
    """
    if deletes < FEW and deletes <= limits.rows:
        return None
    if approved_until is not None and now < approved_until:
        return None
    if deletes <= limits.rows and deletes <= limits.share * pairs:
        return None
    return sync_errors.MASS_DELETE(
        sync=sync,
        deletes=f"{deletes:,}",
        share=f"{deletes / pairs:.0%} of " if pairs else "",
        pairs=f"{pairs:,}",
        share_limit=f"{limits.share:.0%}",
        rows_limit=f"{limits.rows:,}",
    )
