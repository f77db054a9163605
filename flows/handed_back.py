"""What a pass over a sync of two ways finds and does not mend: it is handed to the way back.

In: pairs as a deep pass compares them, rows that the source has not. Out: entries of the inbox. Called by the phases
of a pass. Rules (docs/design.md section 19): a person's edit of an item is applied, not overwritten; an item that is
missing is not made anew, nor its row deleted without a person's word; a row that was made from an item and that a
source has lost with its history is made again, and its item is not deleted.
"""

from collections.abc import Sequence

from rowtide.deciding.records import ETag, Held, version_of
from rowtide.enumeration import Compared, Finding, Kind
from rowtide.keys import ROWTIDE_KEY, rowtide_key
from rowtide.mapping.compiled_sync import CompiledSync
from state import deletes_back, inbox, ledger
from state.database import Connection
from state.inbox import Shown


def is_of_person(finding: Finding) -> bool:
    """Whether the way back has to say what follows: an edit of values, or an item that is missing."""
    if finding.kind is Kind.EDITED:
        return any(name != ROWTIDE_KEY for name in finding.fields)
    return finding.kind is Kind.MISSING


def hand_back(state: Connection, sync: CompiledSync, found: Sequence[Compared]) -> None:
    """Put these into the inbox."""
    shown = [_shown(one, sync) for one in found if one.item is not None]
    missing = [one.key for one in found if one.item is None]
    if shown or missing:
        with state.transaction():
            inbox.put(state, sync.sync, shown, told=False)
            deletes_back.infer(state, sync.sync, missing)


def _shown(one: Compared, sync: CompiledSync) -> Shown:
    item = one.item
    assert item is not None, "only what was seen is shown"
    fields = sync.wire_fields(item.fields)
    version = version_of(item.etag)
    return Shown(one.pair.item.list_id, item.item_id, version, item.etag, False, fields, item.row_key, item.by_app)


def without_lost(state: Connection, sync: CompiledSync, era: int, absent: list[str]) -> list[str]:
    """The absent keys without those whose rows are made again."""
    lost = deletes_back.lost_inserts(state, sync.sync, absent, era)
    pairs = ledger.read(state, sync.sync, sorted(lost)) if lost else {}
    shown = {
        key: Shown(
            pair.item.list_id,
            pair.item.item_id,
            version_of(pair.item.etag),
            pair.item.etag or ETag(""),
            False,
            sync.wire_fields({**pair.item.base, **pair.item.kept}),
            rowtide_key(sync.sync, key),
        )
        for key, pair in pairs.items()
        if isinstance(pair, Held)
    }
    if shown:
        deletes_back.pull_again(state, sync.sync, shown)
    return [key for key in absent if key not in shown]
