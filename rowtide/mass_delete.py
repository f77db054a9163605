"""The breaker: when deletions, or items to be made anew, are so many that a person is asked before the first one.

In: how many deletions wait (or a reconcile found) that nobody has approved, how many pairs the sync has, its limits.
Out: None, or the `SyncError` that holds the sync. Rule (docs/design.md section 10): it judges all deletions
that wait, never a batch; a deletion that is held back costs nothing, a deletion that was carried out cannot be undone.
"""

from typing import Protocol

from rowtide.error_catalogue import sync_errors
from rowtide.error_catalogue.entries import Entry
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


def judge_deletes(sync: str, deletes: int, pairs: int, limits: Limits) -> SyncError | None:
    """The reason to hold the sync, or None when the deletions may pass.

    ``pairs``: rows of the sync that have an item, those to be deleted among them, or wait for one.
    """
    return _judged(sync_errors.MASS_DELETE, sync, deletes, pairs, limits)


def judge_missing(sync: str, missing: int, pairs: int, limits: Limits) -> SyncError | None:
    """The reason to hold the sync, or None when the items that lists lack may be made anew."""
    return _judged(sync_errors.MASS_MISSING, sync, missing, pairs, limits)


def _judged(entry: Entry[SyncError], sync: str, count: int, pairs: int, limits: Limits) -> SyncError | None:
    if count < FEW and count <= limits.rows:
        return None
    if count <= limits.rows and count <= limits.share * pairs:
        return None
    return entry(
        sync=sync,
        count=f"{count:,}",
        share=f"{count / pairs:.0%} of " if pairs else "",
        pairs=f"{pairs:,}",
        share_limit=f"{limits.share:.0%}",
        rows_limit=f"{limits.rows:,}",
    )
