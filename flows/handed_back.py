"""What a pass over a sync of two ways finds and does not mend: it is handed to the way back.

In: pairs as a deep pass compares them. Out: entries of the inbox, and what the ledger has to say for them. Called by
the phases of a pass. Rules (docs/design.md section 19): `rowtide.way_back` says what is handed back; an item that is
missing is not made anew, nor its row deleted without a person's word; a pass that sees older items of a list has it
read as one that was restored.
"""

from dataclasses import dataclass
from typing import assert_never

from rowtide.deciding.records import version_of
from rowtide.enumeration import Compared, Differs, Kind
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.way_back import Doubted, Edited, Renumbered, hand_back
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
        compared, waits = one.compared, one.waits is not None
        match hand_back(compared, found.finding, self._is_restored(compared, found.finding.kind)):
            case None:
                return None
            case Edited():
                self._edited.append(compared)
                return HandedBack("handed_over")
            case Doubted(pair):
                self._doubted.append(compared)
                return HandedBack("doubted", Mend(compared.key, one.updated_at, pair, stage=waits, waits=waits))
            case Renumbered(no_item):
                self._others.append(compared)
                return HandedBack("renumbered", Mend(compared.key, one.updated_at, no_item, True, waits, one.untouched))
            case handed:
                assert_never(handed)

    def _is_restored(self, one: Compared, kind: Kind) -> bool:
        """Whether the item's list was restored; where a person's item is older, or has its number, that is noted."""
        list_id = one.pair.item.list_id
        shows = one.item is not None and not one.item.by_app and (kind is Kind.OLDER or one.is_gone)
        if shows and list_id not in self._restored:
            suspect.note_restored(self._state, self._sync.sync, list_id)
            self._restored |= {list_id}
        return list_id in self._restored

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


def _shown(one: Compared, sync: CompiledSync) -> Shown:
    item = one.item
    assert item is not None, "only what was seen is shown"
    fields = sync.wire_fields(item.fields)
    version = version_of(item.etag)
    return Shown(one.pair.item.list_id, item.item_id, version, item.etag, False, fields, item.row_key, item.by_app)
