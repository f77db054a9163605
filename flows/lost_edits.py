"""After a break in the source's history: which edits it has lost that were applied to its rows; they are applied again.

In: the pairs of a sync of which that is not known in its present era, the source's record of them. Out: entries of the
inbox; counts. Called by the puller, before it takes an entry of the sync, under the source's lock of it. Rules
(docs/design.md section 19): until a pair was looked at nothing of it goes to its list; what is lost is told by the
record, which shares the fate of the row, and never by the row.
"""

from collections import Counter
from functools import partial
from typing import Final

import structlog

from connectors.postgres import apply_record
from flows import applied_documents
from flows.pulled_entry import Bench
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.lost_edits import Again, again
from rowtide.deciding.records import ETag
from rowtide.mapping.compiled_sync import CompiledSync
from state import pulled
from state.inbox import Shown
from state.pulled import PulledAgain, UnconfirmedPairs

log = structlog.get_logger()

AT_ONCE: Final = 500
"""Pairs that are looked at together."""


def look_through(bench: Bench, looked_at: UnconfirmedPairs) -> Counter[str]:
    """See whether the source has what was pulled into these rows; how many edits, rows and deletions it has lost."""
    compiled = bench.sync.compiled
    sync, keys = compiled.sync, [one.key for one in looked_at.pairs]
    records = apply_record.read_many(bench.session.connection, sync, keys)
    found: dict[str, Again] = {}
    for one in looked_at.pairs:
        applied = applied_documents.to_applied(records.get(one.key))
        if (lost := again(sync, one.key, one.pair, one.pulled, applied)) is not None:
            found[one.key] = lost
    bench.state.run(partial(pulled.confirm, sync=sync, looked_at=looked_at, again=_to_apply(found, compiled)))
    counts = Counter(_kind(one) for one in found.values())
    if counts:
        log.warning("the source has lost edits: they are applied again", sync=sync, era=looked_at.era, **counts)
    return counts


def _kind(one: Again) -> str:
    return "deletions" if one.entry.deleted else "rows" if one.frees else "edits"


def _to_apply(found: dict[str, Again], sync: CompiledSync) -> PulledAgain:
    return PulledAgain(
        {key: _shown(one.entry, sync) for key, one in found.items() if not one.entry.deleted},
        [key for key, one in found.items() if one.frees],
        {key: one.entry.place for key, one in found.items() if one.entry.deleted},
        [_shown(one.left, sync) for one in found.values() if one.left is not None],
    )


def _shown(entry: InboxEntry, sync: CompiledSync) -> Shown:
    """The item as it was agreed; if it has another version by now, its list tells."""
    fields = sync.wire_fields(entry.fields)
    return Shown(entry.list_id, entry.item_id, entry.version, entry.etag or ETag(""), False, fields, entry.item_key)
