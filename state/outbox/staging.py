"""Staging: changes from capture merged into the outbox in one transaction.

In: `ChangeBatch`es of any syncs. Out: outbox rows, the slot's staged position, the changes counted in `state.progress`,
a NOTIFY on `DUE`; `StageCounts`. Rules (docs/design.md sections 3 and 5): two changes of a row fold as
`rowtide.change.fold` says: changes of one call here, a change and the waiting row in state.outbox.staging_sql. A
batch that the database refuses is halved until the bad row stands alone; that row is parked. A change at or below the
slot's staged position was counted when it was first staged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
import structlog
from psycopg import errors

from rowtide.change import Change, ChangeBatch, fold
from rowtide.error_catalogue import row_errors, state_errors
from rowtide.keys import is_shortened, shortened
from rowtide.log_row import LogRow
from rowtide.position import position_text
from state import failpoints
from state.database import Connection
from state.outbox import staging_sql

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Counts of changes: how many came in, how many another change of their row absorbed, how many were known already.

    ``new``: changes of each sync that were counted, because nobody had staged them before.
    """

    changes: int = 0
    merged: int = 0
    dropped: int = 0
    new: Mapping[str, int] = field(default_factory=dict, compare=False)


def stage(conn: Connection, slot: str, batches: Sequence[ChangeBatch]) -> StageCounts:
    """Commit ``batches`` to the outbox; they are durable when it returns.

    Raises psycopg's errors (`state.database.Link` translates them), and StateRefused for a row that cannot even be
    parked.
    """
    batches = [batch for batch in batches if batch.changes]
    if not batches:
        return StageCounts()
    changes = sum(len(batch.changes) for batch in batches)
    folded = _folded(_grouped(batches))
    left = sum(len(batch.changes) for batch in folded)
    staged = _stage(conn, slot, folded, batches)
    failpoints.hit(failpoints.STAGE_AFTER_COMMIT)
    return StageCounts(changes, staged.merged + changes - left, staged.dropped, staged.new)


def _grouped(batches: Sequence[ChangeBatch]) -> list[ChangeBatch]:
    """One batch for all buckets of a sync, mapping version and era; stream order within a row is kept."""
    groups: dict[tuple[str, int, int], list[Change]] = {}
    for batch in batches:
        groups.setdefault((batch.sync, batch.mapping_version, batch.era), []).extend(batch.changes)
    return [ChangeBatch(*name, changes) for name, changes in sorted(groups.items())]


def _folded(batches: list[ChangeBatch]) -> list[ChangeBatch]:
    """``batches`` with at most one change a row."""
    single = len({batch.sync for batch in batches}) == len(batches)
    if single and all(len({change.key for change in batch.changes}) == len(batch.changes) for batch in batches):
        return batches
    latest: dict[tuple[str, str], tuple[ChangeBatch, Change]] = {}
    for batch in batches:
        for change in batch.changes:
            older = latest.get((batch.sync, change.key))
            if older is not None:
                # Fields of another mapping, or from before a gap, cannot fill in for missing ones.
                known = older[1] if older[0] is batch else older[1]._replace(op="r", target=None, fields=None)
                change = fold(known, change)
            latest[batch.sync, change.key] = (batch, change)
    return _grouped([batch._replace(changes=[change]) for batch, change in latest.values()])


# orjson raises TypeError for a value that no JSON text can hold.
_REFUSALS = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded, TypeError)


def _stage(
    conn: Connection, slot: str, batches: list[ChangeBatch], counted: Sequence[ChangeBatch]
) -> staging_sql.Staged:
    """Stage in one transaction, or, if the database refuses a row, in halves, of which the first counts everything."""
    try:
        return staging_sql.transaction(conn, slot, batches, counted)
    except _REFUSALS as error:
        refusal = getattr(error, "sqlstate", None) or type(error).__name__
    if sum(len(batch.changes) for batch in batches) == 1:
        return _stage(conn, slot, [_refused(batches[0], refusal)], counted)
    first, second = _halves(batches)
    staged = _stage(conn, slot, first, counted)
    merged, dropped, _ = _stage(conn, slot, second, ())
    return staging_sql.Staged(staged.merged + merged, staged.dropped + dropped, staged.new)


def _halves(batches: list[ChangeBatch]) -> tuple[list[ChangeBatch], list[ChangeBatch]]:
    if len(batches) > 1:
        middle = len(batches) // 2
        return batches[:middle], batches[middle:]
    batch = batches[0]
    middle = len(batch.changes) // 2
    return [batch._replace(changes=batch.changes[:middle])], [batch._replace(changes=batch.changes[middle:])]


def _refused(batch: ChangeBatch, refusal: str) -> ChangeBatch:
    """The single change of ``batch``, parked; under a shortened key if that was refused too; at last StateRefused."""
    change = batch.changes[0]
    parked = row_errors.STATE_REFUSES_ROW(refusal=refusal)
    if change.park is None or change.park[0] != parked.code:
        hashed, place = LogRow(batch.sync, change.key), position_text(batch.era, change.lsn, change.ordinal)
        log.warning("row refused by state database", sync=batch.sync, key_hash=hashed, position=place, refusal=refusal)
        change = change._replace(op="r", target=None, fields=None, partial=False, park=(parked.code, parked.sentence))
    elif not is_shortened(change.key):
        parked = row_errors.STATE_REFUSES_KEY(refusal=refusal)
        change = change._replace(key=shortened(change.key), park=(parked.code, parked.sentence))
    else:
        raise state_errors.STATE_REFUSES_PARKED(refusal=refusal)
    return batch._replace(changes=[change])
