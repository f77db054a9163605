"""Whose item an entry is of, and what that says already: total functions, without IO and clock.

In: a `Taken` entry. Out: the first step for it, what is to be applied, or how it ended. Called by the puller, and by
`rowtide.deciding.pull` once an answer shows the item as it is now. Rules (docs/design.md section 19), in this order: an
item with a RowtideKey of ours is never new; an entry that says nothing new is dropped, and teaches how SharePoint keeps
the values; an emptied field is believed only while its column is there.
"""

from dataclasses import replace
from typing import assert_never

from rowtide.deciding.commands import LookAtItem
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.leftovers import lost_post_in
from rowtide.deciding.lost_edits import lost_by, lost_of_left
from rowtide.deciding.pull_steps import (
    AGAIN_AFTER_S,
    AskList,
    Drop,
    Later,
    LookAtList,
    LookAtOwn,
    LookAtPaired,
    ParkEntry,
    PullEnd,
    PullInFlight,
    PullPlan,
    Reserve,
    ReserveKey,
)
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import (
    Arriving,
    AsOf,
    Held,
    LeftItem,
    NoItem,
    Pair,
    PairedItem,
    Standing,
    is_same_item,
    version_of,
)
from rowtide.deciding.sides import NO_BASE, Base, edited, learnt
from rowtide.deciding.taken import (
    Applied,
    Apply,
    How,
    PullRules,
    Taken,
    is_ahead,
    is_on_record,
    is_own,
    known_base,
    known_version,
    left_item,
    place,
)
from rowtide.errors import RowError
from rowtide.keys import rowtide_key
from rowtide.position import Position

# --- whose is it --------------------------------------------------------------------------------------------------


def first(taken: Taken, rules: PullRules) -> PullPlan:
    """The first step for a taken entry."""
    if taken.waiting is not None and taken.waiting.busy:
        return Later(taken, AGAIN_AFTER_S, "its row is on its way to SharePoint")
    if _comes_after_another(taken):
        return Later(taken, AGAIN_AFTER_S, "what was applied of another item of its row is recorded first")
    return _whose(taken, taken.entry, rules)


def _comes_after_another(taken: Taken) -> bool:
    """Whether the entry has to wait: the source's record, which it would replace, tells of another item of the row.

    What an earlier try did for that one, or that the source has lost it, is told by nothing else.
    """
    others = taken.others_wait - {taken.entry.place}
    applied, lost = taken.applied, lost_of_left(taken)
    return lost in others or (applied is not None and applied.place in others and _is_unnoted(applied, taken))


def _is_unnoted(applied: Applied, taken: Taken) -> bool:
    """Whether an entry was applied, and nobody could note it."""
    leftovers = () if taken.pair is None else taken.pair.leftovers
    left = next((one for one in leftovers if isinstance(one, LeftItem) and place(one) == applied.place), None)
    if left is not None:
        return _says_more(applied, left, taken)
    is_newer = taken.pulled is None or taken.pulled.xid < applied.xid
    return applied.agreed is not None and is_newer and not is_on_record(applied, taken.pulled)


def _whose(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    """By the item itself, else by its key: the row's own item, one it has left, one with its key, a new one."""
    pair = taken.pair
    if taken.key is not None and pair is not None and is_own(pair, entry):
        return _deleted(taken, entry) if entry.deleted else own(taken, entry, rules)
    if left_item(pair, entry) is not None:
        return _left_gone(taken, entry) if entry.deleted else _left(taken, entry, rules)
    if entry.deleted:
        return look(taken, entry) if is_deleted_again(taken, entry) else Drop(taken)
    if taken.key is not None and entry.item_key == rowtide_key(rules.sync, taken.key):
        if pair is not None and lost_post_in(pair.leftovers, entry.list_id) is not None:
            return Later(taken, AGAIN_AFTER_S, "push looks for a lost POST that may have made it")
        if isinstance(pair, NoItem | None):
            return look(taken, entry)
        return PullInFlight(taken, LookAtPaired(LookAtItem(*place(pair.item)), entry))
    return new(taken, entry, rules)


def is_deleted_again(taken: Taken, entry: InboxEntry) -> bool:
    """Whether the source has lost that this deletion was applied to the row, which is there again."""
    pulled = taken.pulled
    if pulled is None or not isinstance(taken.pair, NoItem):
        return False
    return entry.place == pulled.place and lost_by(taken).gone is not None


def look(taken: Taken, entry: InboxEntry) -> PullInFlight:
    """The item is asked for first."""
    return PullInFlight(taken, LookAtOwn(LookAtItem(entry.list_id, entry.item_id), entry))


# --- the row's own item -------------------------------------------------------------------------------------------


def own(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    """What the row's own item says: nothing new, how SharePoint keeps it, or an edit."""
    pair = taken.pair
    assert isinstance(pair, Held | Arriving), "the entry is of the pair's own item"
    noted = version_of(pair.item.etag)
    if isinstance(pair, Held) and not is_same_item(pair.item.etag, entry.etag):
        return look(taken, entry)
    if isinstance(pair, Held) and pair.standing is not Standing.LIVE:
        return _note(taken, pair, entry, Base(dict(entry.fields)))
    if entry.version < noted:
        return look(taken, entry)
    lost = lost_by(taken)
    if isinstance(pair, Held) and lost.of_item:
        how = How.EDIT if lost.moved_from is None else How.MOVE
        return _believed(Apply(taken, how, taken.key, entry, known_base(taken)), rules)
    ahead = taken.applied is not None and is_ahead(taken.applied, pair, taken.pulled)
    if entry.version == noted and isinstance(pair, Held) and not ahead:
        if is_of_another_history(taken, pair.item, entry, rules):
            return look(taken, entry)
        return _learn(taken, pair, entry, rules)
    base = known_base(taken)
    if isinstance(pair, Arriving) and taken.applied is None:
        return Apply(taken, How.ARRIVE, taken.key, entry, base)
    same_key = entry.item_key == rowtide_key(rules.sync, taken.key or "")
    if isinstance(pair, Held) and not ahead and same_key and not edited(base, entry.fields, rules.mapping):
        return _note(taken, pair, entry, _learning(base, entry, rules))
    return _believed(Apply(taken, How.EDIT, taken.key, entry, base), rules)


def is_of_another_history(taken: Taken, noted: PairedItem | LeftItem, entry: InboxEntry, rules: PullRules) -> bool:
    """Whether the item had another content in this version: its list was restored, and a person edited it since.

    What our own application wrote last is how SharePoint keeps it; of what a person wrote the moment tells.
    """
    if entry.version != version_of(noted.etag) or entry.by_app or entry.suspect:
        return False
    if not edited(Base(noted.base or {}, noted.kept or {}), entry.fields, rules.mapping):
        return False
    pulled = taken.pulled
    if pulled is None or (pulled.place, pulled.version) != (entry.place, entry.version):
        return True
    return None not in (pulled.modified_at, entry.modified_at) and pulled.modified_at != entry.modified_at


def _learn(taken: Taken, pair: Held, entry: InboxEntry, rules: PullRules) -> PullPlan:
    """An echo. Whatever it shows is how SharePoint keeps what was agreed."""
    base = learnt(Base(pair.item.base, pair.item.kept), entry.fields, rules.mapping)
    return Drop(taken) if base.kept == pair.item.kept else _note(taken, pair, entry, base)


def _learning(base: Base, entry: InboxEntry, rules: PullRules) -> Base:
    return learnt(base, entry.fields, rules.mapping)


def _note(taken: Taken, pair: Held, entry: InboxEntry, base: Base) -> PullEnd:
    """The version goes into the ledger: every edit up to it is in PostgreSQL. Nothing is written to the source."""
    if entry.version < version_of(pair.item.etag):
        return Drop(taken)
    item = replace(pair.item, etag=entry.etag, base=base.agreed, kept=base.kept)
    return Recorded(taken, taken.key, replace(pair, item=item))


def _believed(apply: Apply, rules: PullRules) -> PullPlan:
    """What is applied of an entry; where a field was emptied, its column is asked for first."""
    columns = rules.columns.get(apply.entry.list_id, {})
    emptied = [
        name
        for name in edited(apply.base, apply.entry.fields, rules.mapping)
        if name in columns and apply.entry.fields[name] in (None, "")
    ]
    if not emptied:
        return apply
    return PullInFlight(apply.taken, AskList(LookAtList(apply.entry.list_id), apply))


def _deleted(taken: Taken, entry: InboxEntry) -> PullPlan:
    return look(taken, entry)


# --- an item that its row has left, or that has its row's key ------------------------------------------------------


def _left(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    """An item that is to be removed: what a person wrote into it while its row left it goes to the row first."""
    left, pair = left_item(taken.pair, entry), taken.pair
    assert left is not None, "the entry is of a leftover"
    assert pair is not None, "a leftover is a pair's"
    if not is_same_item(left.etag, entry.etag):
        return Later(taken, AGAIN_AFTER_S, "push looks for an item that had its number before a restore", grows=True)
    is_lost = lost_of_left(taken) == entry.place
    if left.base is not None and not is_lost and is_of_another_history(taken, left, entry, rules):
        # Its list was restored, and no deep pass looks at it: whatever it says, a person decides.
        doubtful = replace(entry, suspect=True)
        return _believed(Apply(taken, How.LEFT, taken.key, doubtful, Base(left.base, left.kept or {})), rules)
    if isinstance(pair, Held) and lost_by(taken).of_item and not is_lost:
        return Later(taken, AGAIN_AFTER_S, "an edit of the row's own item is applied again first")
    is_known = entry.version <= known_version(taken) and left.etag is not None
    if is_known and version_of(left.etag) >= entry.version and not is_lost:
        return Drop(taken)
    applied = taken.applied
    is_behind = applied is not None and not isinstance(pair, NoItem) and is_ahead(applied, pair, taken.pulled)
    if is_behind:
        return Later(taken, AGAIN_AFTER_S, "an edit of the row's own item is recorded first")
    base = NO_BASE if left.base is None else Base(left.base, left.kept or {})
    if applied is not None and applied.agreed is not None and _says_more(applied, left, taken):
        base = applied.agreed
    elif not is_lost and left.base is not None and (entry.by_app or not edited(base, entry.fields, rules.mapping)):
        # A late attempt of ours, which the version it was sent for kept from writing over anybody; or no edit at all.
        newer = replace(left, etag=entry.etag)
        if entry.by_app:
            newer = replace(newer, base=dict(entry.fields), kept={})
        leftovers = tuple(newer if one == left else one for one in pair.leftovers)
        return Recorded(taken, taken.key, replace(pair, leftovers=leftovers))
    return _believed(Apply(taken, How.LEFT, taken.key, entry, base), rules)


def _says_more(applied: Applied, left: LeftItem, taken: Taken) -> bool:
    """Whether the source says more of the item than its pair: an entry was applied, and nobody could note it."""
    if applied.place != place(left) or is_on_record(applied, taken.pulled):
        return False
    return left.etag is None or applied.version > version_of(left.etag)


def _left_gone(taken: Taken, entry: InboxEntry) -> PullEnd:
    """An item that was to be removed is gone. It rules out a lost POST of its list no more: that is looked for."""
    left, pair = left_item(taken.pair, entry), taken.pair
    assert pair is not None, "a leftover is a pair's"
    if lost_post_in(pair.leftovers, entry.list_id) is None:
        return Drop(taken)
    leftovers = tuple(one for one in pair.leftovers if one != left)
    return Recorded(taken, taken.key, replace(pair, leftovers=leftovers))


def moved(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    """A person moved the item: it has the key, and the row's own is gone."""
    return _believed(Apply(taken, How.MOVE, taken.key, entry, known_base(taken)), rules)


# --- a new item ---------------------------------------------------------------------------------------------------


def new(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    """An item of which no row is known: its key is reserved, unless the table draws it."""
    key = taken.applied.key if taken.applied is not None and taken.applied.place == entry.place else None
    chosen = key or rules.key_of(entry.fields)
    if isinstance(chosen, RowError):
        return ParkEntry(taken, chosen.code, chosen.sentence)
    if chosen is None:
        return Apply(taken, How.ARRIVE, None, entry, NO_BASE)
    return reserve(taken, entry, chosen)


def reserve(taken: Taken, entry: InboxEntry, key: str) -> PullInFlight:
    """The key is the item's before its row can be seen."""
    item = PairedItem(entry.list_id, entry.item_id, entry.etag, {}, {})
    return PullInFlight(taken, Reserve(ReserveKey(key, item), entry))


def reserved_pair(before: Pair | None, item: PairedItem, mapping_version: int) -> Arriving | None:
    """What the ledger gets for a reserved key; None: the key has an item, which stays its own.

    A row that the table gives its key is reserved between the INSERT and the commit.
    """
    match before:
        case None:
            return Arriving(AsOf(Position(0, 0, 0), 0, mapping_version), item)
        case NoItem(as_of, _, leftovers):
            return Arriving(replace(as_of, mapping_version=mapping_version), item, leftovers)
        case Held() | Arriving():
            return None
        case _:
            assert_never(before)
