"""What a pass over a sync of two ways finds and does not mend: it is handed to the way back.

In: pairs as a deep pass compares them. Out: entries of the inbox, and what the ledger has to say for them. Called by
the phases of a pass. Rules (docs/design.md section 19): a person's edit of an item is applied, not overwritten; an item
that is missing is not made anew, nor its row deleted without a person's word; in a list that was restored to earlier a
person decides about what people wrote; what our own application wrote last yields to the table, which had it.
"""

from dataclasses import dataclass, replace

from rowtide.deciding.records import Held, NoItem, version_of
from rowtide.deciding.taken import etag_of_version
from rowtide.enumeration import Compared, Differs, Finding, Kind
from rowtide.keys import ROWTIDE_KEY
from rowtide.mapping.compiled_sync import CompiledSync
from state import deletes_back, inbox, suspect
from state.database import Connection
from state.inbox import Shown
from state.reconcile.items import Doubtful
from state.reconcile.mends import Mend


@dataclass(frozen=True, slots=True)
class HandedBack:
    """As what it is counted, and what the ledger says of the pair meanwhile (None: nothing else than before)."""

    counted: str
    mend: Mend | None = None


class WayBack:
    """What is handed back of some pairs; `end` puts it into the inbox."""

    def __init__(self, state: Connection, sync: CompiledSync) -> None:
        self._state = state
        self._sync = sync
        self._restored = suspect.lists(state, sync.sync) if sync.two_ways else frozenset[str]()
        self._edited: list[Compared] = []
        self._doubted: list[Compared] = []
        self._others: list[Compared] = []

    def take(self, one: Doubtful, found: Differs) -> HandedBack | None:
        """What is handed back of a pair; None: the pass mends it."""
        if not self._sync.two_ways:
            return None
        item = one.compared.item
        if item is not None and item.by_app:
            return None  # all that it says was in the row
        list_id = one.compared.pair.item.list_id
        if found.finding.kind is Kind.OLDER and list_id not in self._restored:
            suspect.note_restored(self._state, self._sync.sync, list_id)
            self._restored |= {list_id}
        if item is not None and list_id in self._restored:
            return self._take_restored(one, found.finding)
        if not _is_of_person(found.finding):
            return None
        self._edited.append(one.compared)
        return HandedBack("handed_over")

    def _take_restored(self, one: Doubtful, finding: Finding) -> HandedBack | None:
        compared, waits = one.compared, one.waits is not None
        assert compared.item is not None, "it was seen"
        if compared.item.row_key != compared.row_key:
            # A list that went back gives numbers a second time: somebody has made this item since.
            self._others.append(compared)
            pair = NoItem(compared.pair.as_of, compared.pair.item, compared.pair.leftovers)
            return HandedBack("renumbered", Mend(compared.key, one.updated_at, pair, True, waits, one.untouched))
        if not any(name != ROWTIDE_KEY for name in finding.fields):
            return None
        self._doubted.append(compared)
        return HandedBack("doubted", Mend(compared.key, one.updated_at, _below(compared), stage=waits, waits=waits))

    def end(self) -> None:
        """Put all of it into the inbox."""
        shown = [_shown(one, self._sync) for one in self._edited if one.item is not None]
        missing = [one.key for one in self._edited if one.item is None]
        if not (shown or missing or self._doubted or self._others):
            return
        with self._state.transaction():
            inbox.put(self._state, self._sync.sync, shown, told=False)
            deletes_back.infer(self._state, self._sync.sync, missing)
            suspect.doubt(self._state, self._sync.sync, [_shown(one, self._sync) for one in self._doubted])
            suspect.forget_owners(self._state, [(one.pair.item.list_id, one.pair.item.item_id) for one in self._others])


def _is_of_person(finding: Finding) -> bool:
    """Whether the way back has to say what follows: an edit of values, or an item that is missing."""
    if finding.kind is Kind.EDITED:
        return any(name != ROWTIDE_KEY for name in finding.fields)
    return finding.kind is Kind.MISSING


def _below(one: Compared) -> Held:
    """The pair with what was agreed, one version below what the item shows: so that its entry says something new."""
    item = one.item
    assert item is not None, "only what was seen has a version"
    return replace(one.pair, item=replace(one.pair.item, etag=etag_of_version(item.etag, version_of(item.etag) - 1)))


def _shown(one: Compared, sync: CompiledSync) -> Shown:
    item = one.item
    assert item is not None, "only what was seen is shown"
    fields = sync.wire_fields(item.fields)
    version = version_of(item.etag)
    return Shown(one.pair.item.list_id, item.item_id, version, item.etag, False, fields, item.row_key, item.by_app)
