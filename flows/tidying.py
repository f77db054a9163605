"""Takes away what is over: records that nothing can speak of any more, and what is kept for a time only.

In: the definition's `retention`, the state database, for tombstones a session on their source. Out: fewer rows.
Rules (docs/design.md section 3): a tombstone goes only when stream and snapshots are beyond it, however old it is;
every process with the role capture does this, and doing it twice does no harm.
"""

from datetime import timedelta

from connectors.postgres import apply_record, table_pages
from rowtide.definition.model import Retention
from rowtide.holds import Place
from state import gauges, history, ledger, pulled, retention
from state.database import Connection
from state.reconcile import record as reconcile


def tidy(
    state: Connection,
    source: table_pages.Connection,
    place: Place,
    slot: str,
    older_than: timedelta,
    key: str | None = None,
) -> int:
    """Forget tombstones of a sync whose reconcile is done, or only that of ``key``; the number of them."""
    # In this order: a pass that begins later reads under a snapshot that sees what this one sees.
    xmin = table_pages.read_snapshot(source).xmin
    record = reconcile.read(state, place.sync)
    standing = reconcile.read_standing(state, place, slot)
    if standing.cursor_lsn is None or record is None or record.state != "done":
        return 0
    return ledger.prune_tombstones(state, place.sync, standing.era, standing.cursor_lsn, xmin, older_than, key)


def tidy_edits(state: Connection, writer: table_pages.Connection, sync: str) -> int:
    """Forget what the source remembers of edits that have arrived and are old; the number of records.

    ``writer``: a session of the role that writes edits, by whoever holds the sync's lock.
    """
    count, after = 0, ""
    while old := apply_record.read_old(writer, sync, after):
        over = pulled.clear(state, sync, old)
        count += apply_record.prune(writer, sync, [one for one in old if one.key in over])
        after = old[-1].key
    return count


def tidy_records(state: Connection, kept: Retention) -> None:
    """Forget what is kept for a time only: runs, history, readings, tombstones of retired syncs, conflicts."""
    retention.prune_runs(state, kept.runs)
    gauges.prune_minutes(state, kept.runs)
    retention.prune_readings(state)
    retention.prune_retired(state, kept.tombstones)
    retention.prune_conflicts(state, kept.conflicts)
    history.roll(state)
    history.prune(state, kept.runs)
