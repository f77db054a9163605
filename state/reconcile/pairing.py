"""The steps of a deep pass that make and mend pairs: what was done, and how far the pass got, in one transaction.

In: a pass's record, items that its lists were seen to hold, pairs of rows and items. Out: ledger rows, rows of the
outbox, the record moved on. Called by the phases of a deep pass. Rule: as of every step (`state.reconcile.record`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from rowtide.holds import MATCH
from rowtide.matching import ItemPlace
from state import channels, failpoints, holds, progress
from state.database import Connection
from state.reconcile import matches, mends
from state.reconcile.items import Loose
from state.reconcile.matches import NewPair, SetAside
from state.reconcile.mends import Mend
from state.reconcile.record import Reconcile, save, step


def adopt(conn: Connection, record: Reconcile, found: Mapping[str, Loose]) -> tuple[Reconcile, set[str]]:
    """Make pairs of keys that have none and the items that carry them; the keys that were taken up."""
    assert record.era is not None
    assert record.mapping_version is not None
    with step(conn):
        taken = mends.adopt(conn, record.sync, record.era, record.mapping_version, found)
        saved = save(conn, record.counting(adopted=len(taken)))
    failpoints.hit(failpoints.RECONCILE_AFTER_COMMIT)
    return saved, taken


def join(conn: Connection, record: Reconcile, pairs: Sequence[NewPair]) -> tuple[Reconcile, set[str]]:
    """Make pairs of rows and items that were there before; the keys for which it was done."""
    assert record.era is not None
    assert record.mapping_version is not None
    with step(conn):
        taken = matches.adopt(conn, record.sync, record.era, record.mapping_version, pairs)
        channels.notify(conn, channels.DUE, record.sync)
        by_policy = sum(one.joined.by_policy for one in pairs if one.key in taken)
        saved = save(conn, record.counting(matched=len(taken), matched_by_policy=by_policy))
    failpoints.hit(failpoints.MATCH_AFTER_BATCH)
    return saved, taken


def end_match(conn: Connection, record: Reconcile, aside: Sequence[SetAside]) -> Reconcile:
    """Set aside what is ambiguous, let go on what is so no more, and the sync that waited for this."""
    assert record.era is not None
    assert record.mapping_version is not None
    with step(conn):
        keys = [key for one in aside for key in one.keys]
        places = [ItemPlace(shown.list_id, shown.item_id) for one in aside for shown in one.shown]
        matches.take_back(conn, record.sync, keys, places)
        for one in aside:
            matches.set_aside(conn, record.sync, record.era, record.mapping_version, one)
        holds.lift(conn, "sync", record.sync, MATCH)
        channels.notify(conn, channels.DUE, record.sync)
        counts = {"ambiguous_rows": len(keys), "ambiguous_items": sum(one.items for one in aside)}
        saved = save(conn, record.counting(**counts))
    failpoints.hit(failpoints.RECONCILE_AFTER_COMMIT)
    return saved


def mend(conn: Connection, record: Reconcile, found: Sequence[Mend], counts: Mapping[str, str]) -> Reconcile:
    """Record what was seen, stage the rows that mend it and save ``record``, in one transaction.

    ``counts``: by key the name under which it is counted.
    """
    assert record.era is not None
    assert record.mapping_version is not None
    with step(conn):
        done = mends.mend(conn, record.sync, record.era, record.mapping_version, found)
        staged = Counter(counts[key] for key in done if key in counts)
        if staged:
            channels.notify(conn, channels.DUE, record.sync)
            progress.add(conn, {record.sync: progress.Counts(foreign_edits=staged.total())})
        saved = save(conn, record.counting(**staged))
    failpoints.hit(failpoints.RECONCILE_AFTER_COMMIT)
    return saved
