"""What a pass over a sync of two ways finds and does not mend: it is handed to the way back.

In: pairs as a deep pass compares them. Out: entries of the inbox. Called by the phases
of a pass. Rules (docs/design.md section 19): a person's edit of an item is applied, not overwritten; an item that is
missing is not made anew, nor its row deleted without a person's word.
"""

from collections.abc import Sequence

from rowtide.deciding.records import version_of
from rowtide.enumeration import Compared, Finding, Kind
from rowtide.keys import ROWTIDE_KEY
from rowtide.mapping.compiled_sync import CompiledSync
from state import deletes_back, inbox
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
