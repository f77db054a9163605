"""What to do next for an entry that was taken, as total functions: no IO, no clock.

In: a `Taken` entry and, after each request, the `PullAnswer`. Out: the next step (`PullInFlight`), what is to be
applied (`Apply`), or how it ended. Called by the puller of a sync, under the source's advisory lock of it. Rules
(docs/design.md section 19), in this order: an item with a RowtideKey of ours is never new; an entry that says nothing
new is dropped, and teaches how SharePoint keeps the values; a deletion needs the item's 404, then the list's answer;
an emptied field is believed only while its column is there; a copy loses the key, a moved item keeps it.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from rowtide.deciding import status_text
from rowtide.deciding.answers import (
    Changed,
    Found,
    Item,
    Missing,
    NotApplied,
    Rejected,
    Unknown,
    Written,
)
from rowtide.deciding.apply import Absent, Open, Rekeyed, Unwritable
from rowtide.deciding.commands import LookAtItem, UpdateItem
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.leftovers import lost_post_in
from rowtide.deciding.lost_edits import lost_by
from rowtide.deciding.pull_steps import (
    AskList,
    ClearKey,
    Drop,
    GiveKey,
    HoldOpen,
    KeyBusy,
    Later,
    ListGone,
    ListRestored,
    ListSeen,
    LookAtList,
    LookAtMoved,
    LookAtOwn,
    LookAtPaired,
    ParkEntry,
    PullAnswer,
    PullEnd,
    PullInFlight,
    PullPlan,
    PullStep,
    Reserve,
    Reserved,
    ReserveKey,
    Tell,
    WaitForCapture,
)
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import (
    Arriving,
    AsOf,
    Held,
    NoItem,
    Pair,
    PairedItem,
    Standing,
    version_of,
)
from rowtide.deciding.sides import NO_BASE, Base, edited, learnt
from rowtide.deciding.taken import (
    Apply,
    How,
    PullRules,
    Taken,
    is_ahead,
    is_own,
    known_base,
    known_version,
    left_item,
    place,
)
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowError
from rowtide.keys import ROWTIDE_KEY, rowtide_key
from rowtide.position import Position

AGAIN_AFTER_S = 1.0
"""Seconds until an entry is taken again that waits for something of ours."""
UNANSWERED_AFTER_S = 30.0
"""Seconds until an entry is taken again whose list does not answer, or answers what does not fit."""
RESTORED_AFTER = timedelta(seconds=60)
"""An item that shows an older version for this long is of a list that was restored."""


# --- whose is it --------------------------------------------------------------------------------------------------


def first(taken: Taken, rules: PullRules) -> PullPlan:
    """The first step for a taken entry."""
    if taken.waiting is not None and taken.waiting.busy:
        return Later(taken, AGAIN_AFTER_S, "its row is on its way to SharePoint")
    return _whose(taken, taken.entry, rules)


def _whose(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    """By the item itself, else by its key: the row's own item, one it has left, one with its key, a new one."""
    pair = taken.pair
    if taken.key is not None and pair is not None and is_own(pair, entry):
        return _deleted(taken, entry) if entry.deleted else _own(taken, entry, rules)
    if left_item(pair, entry) is not None:
        return _left_gone(taken, entry) if entry.deleted else _left(taken, entry, rules)
    if entry.deleted:
        return _look(taken, entry) if _is_deleted_again(taken, entry) else Drop(taken)
    if taken.key is not None and entry.item_key == rowtide_key(rules.sync, taken.key):
        if pair is not None and lost_post_in(pair.leftovers, entry.list_id) is not None:
            return Later(taken, AGAIN_AFTER_S, "push looks for a lost POST that may have made it")
        if isinstance(pair, NoItem | None):
            return _look(taken, entry)
        return PullInFlight(taken, LookAtPaired(LookAtItem(*place(pair.item)), entry))
    return _new(taken, entry, rules)


def _is_deleted_again(taken: Taken, entry: InboxEntry) -> bool:
    """Whether the source has lost that this deletion was applied to the row, which is there again."""
    pulled = taken.pulled
    if pulled is None or not isinstance(taken.pair, NoItem):
        return False
    return entry.place == pulled.place and lost_by(taken).gone is not None


def _look(taken: Taken, entry: InboxEntry) -> PullInFlight:
    return PullInFlight(taken, LookAtOwn(LookAtItem(entry.list_id, entry.item_id), entry))


# --- the row's own item -------------------------------------------------------------------------------------------


def _own(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    pair = taken.pair
    assert isinstance(pair, Held | Arriving), "the entry is of the pair's own item"
    noted = version_of(pair.item.etag)
    if isinstance(pair, Held) and pair.standing is not Standing.LIVE:
        return _note(taken, pair, entry, Base(dict(entry.fields)))
    if entry.version < noted:
        return _look(taken, entry)
    lost = lost_by(taken)
    if isinstance(pair, Held) and lost.of_item:
        how = How.EDIT if lost.moved_from is None else How.MOVE
        return _believed(Apply(taken, how, taken.key, entry, known_base(taken)), rules)
    ahead = taken.applied is not None and is_ahead(taken.applied, pair, taken.pulled)
    if entry.version == noted and isinstance(pair, Held) and not ahead:
        if _is_of_another_history(taken, pair, entry, rules):
            return _look(taken, entry)
        return _learn(taken, pair, entry, rules)
    base = known_base(taken)
    if isinstance(pair, Arriving) and taken.applied is None:
        return Apply(taken, How.ARRIVE, taken.key, entry, base)
    same_key = entry.item_key == rowtide_key(rules.sync, taken.key or "")
    if isinstance(pair, Held) and not ahead and same_key and not edited(base, entry.fields, rules.mapping):
        return _note(taken, pair, entry, _learning(base, entry, rules))
    return _believed(Apply(taken, How.EDIT, taken.key, entry, base), rules)


def _is_of_another_history(taken: Taken, pair: Held, entry: InboxEntry, rules: PullRules) -> bool:
    """Whether the item had another content in this version: its list was restored, and a person edited it since.

    What our own application wrote last is how SharePoint keeps it; of what a person wrote the moment tells.
    """
    if entry.version != version_of(pair.item.etag) or entry.by_app or entry.suspect:
        return False
    if not edited(Base(pair.item.base, pair.item.kept), entry.fields, rules.mapping):
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


# --- an item that its row has left, or that has its row's key ------------------------------------------------------


def _left(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    """An item that is to be removed: what a person wrote into it while its row left it goes to the row first."""
    left, pair = left_item(taken.pair, entry), taken.pair
    assert left is not None, "the entry is of a leftover"
    assert pair is not None, "a leftover is a pair's"
    if entry.version <= known_version(taken) and left.etag is not None and version_of(left.etag) >= entry.version:
        return Drop(taken)
    applied = taken.applied
    is_behind = applied is not None and not isinstance(pair, NoItem) and is_ahead(applied, pair, taken.pulled)
    if is_behind or (isinstance(pair, Held) and lost_by(taken).of_item):
        return Later(taken, AGAIN_AFTER_S, "an edit of the row's own item is recorded first")
    base = NO_BASE if left.base is None else Base(left.base, left.kept or {})
    if applied is not None and applied.place == entry.place and applied.agreed is not None:
        base = applied.agreed
    elif left.base is not None and (entry.by_app or not edited(base, entry.fields, rules.mapping)):
        # A late attempt of ours, which the version it was sent for kept from writing over anybody; or no edit at all.
        newer = replace(left, etag=entry.etag)
        if entry.by_app:
            newer = replace(newer, base=dict(entry.fields), kept={})
        leftovers = tuple(newer if one == left else one for one in pair.leftovers)
        return Recorded(taken, taken.key, replace(pair, leftovers=leftovers))
    return _believed(Apply(taken, How.LEFT, taken.key, entry, base), rules)


def _left_gone(taken: Taken, entry: InboxEntry) -> PullEnd:
    """An item that was to be removed is gone. It rules out a lost POST of its list no more: that is looked for."""
    left, pair = left_item(taken.pair, entry), taken.pair
    assert pair is not None, "a leftover is a pair's"
    if lost_post_in(pair.leftovers, entry.list_id) is None:
        return Drop(taken)
    leftovers = tuple(one for one in pair.leftovers if one != left)
    return Recorded(taken, taken.key, replace(pair, leftovers=leftovers))


def _moved(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    """A person moved the item: it has the key, and the row's own is gone."""
    return _believed(Apply(taken, How.MOVE, taken.key, entry, known_base(taken)), rules)


# --- a new item ---------------------------------------------------------------------------------------------------


def _new(taken: Taken, entry: InboxEntry, rules: PullRules) -> PullPlan:
    key = taken.applied.key if taken.applied is not None and taken.applied.place == entry.place else None
    chosen = key or rules.key_of(entry.fields)
    if isinstance(chosen, RowError):
        return ParkEntry(taken, chosen.code, chosen.sentence)
    if chosen is None:
        return Apply(taken, How.ARRIVE, None, entry, NO_BASE)
    return _reserve(taken, entry, chosen)


def _reserve(taken: Taken, entry: InboxEntry, key: str) -> PullInFlight:
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


# --- answers ------------------------------------------------------------------------------------------------------


def after(in_flight: PullInFlight, answer: PullAnswer, rules: PullRules, now: datetime) -> PullPlan:
    """The next step of an entry, or its end, now that its last request was answered."""
    taken, step = in_flight.taken, in_flight.step
    match answer:
        case NotApplied(after_s, reason):
            return Later(taken, after_s, reason)
        case Unknown(reason):
            return Later(taken, AGAIN_AFTER_S, reason, grows=True)
        case Rejected():
            return _after_rejected(taken, step, answer)
        case _ if isinstance(step, Tell):
            return status_text.after_tell(step, answer)
        case _:
            pass
    match step:
        case LookAtOwn(_, entry):
            return _after_look(taken, entry, answer, rules, now)
        case LookAtPaired(_, entry):
            return _after_paired(taken, entry, answer)
        case LookAtMoved(_, entry):
            return _after_moved(taken, entry, answer, rules)
        case AskList(_, apply):
            return _after_list(apply, answer, rules)
        case ClearKey(_, entry):
            return _after_clear(taken, entry, answer, rules)
        case Reserve(_, entry):
            return _after_reserve(taken, entry, answer, rules)
        case GiveKey(_, recorded):
            return _after_give(recorded, answer)
        case _:
            assert_never(step)


def _misfit(taken: Taken) -> Later:
    return Later(taken, UNANSWERED_AFTER_S, "the answer does not fit the request", grows=True)


def _after_rejected(taken: Taken, step: PullStep, answer: Rejected) -> PullPlan:
    if isinstance(step, Tell):
        return step.end  # the list has no such column (any more), or another one
    if isinstance(step, LookAtOwn | LookAtPaired | LookAtMoved | AskList):
        return Later(taken, UNANSWERED_AFTER_S, "the list cannot be read", grows=True)
    if answer.duplicate:
        why = row_errors.UNIQUE_VIOLATION(sentence=answer.sentence)
    else:
        why = row_errors.GRAPH_REFUSED_ROW(code=answer.code, sentence=answer.sentence)
    return ParkEntry(taken, why.code, why.sentence)


def _after_look(taken: Taken, entry: InboxEntry, answer: PullAnswer, rules: PullRules, now: datetime) -> PullPlan:
    own = is_own(taken.pair, entry)
    match answer:
        case Found((item, *_)):
            shown = shown_by(entry, item)
            if not own:
                return _reserve(taken, shown, taken.key or "")
            if shown.version < known_version(taken):
                return _older(taken, entry, now)
            if isinstance(taken.pair, Held) and _is_of_another_history(taken, taken.pair, shown, rules):
                return ListRestored(taken, entry.list_id)
            return _own(taken, shown, rules)
        case Missing() | Found():
            if not entry.deleted or not (own or _is_deleted_again(taken, entry)):
                return Drop(taken)  # a delete entry follows if it was there
            if taken.twin or not taken.rounds_ended:
                return Later(taken, AGAIN_AFTER_S, "the item may have been moved to another list")
            apply = Apply(taken, How.DELETE, taken.key, entry, known_base(taken))
            return PullInFlight(taken, AskList(LookAtList(entry.list_id), apply))
        case _:
            return _misfit(taken)


def _deleted(taken: Taken, entry: InboxEntry) -> PullPlan:
    return _look(taken, entry)


def _older(taken: Taken, entry: InboxEntry, now: datetime) -> PullPlan:
    if entry.seen_at is not None and now - entry.seen_at >= RESTORED_AFTER:
        return ListRestored(taken, entry.list_id)
    return Later(taken, RESTORED_AFTER.total_seconds() / 4, "the item shows an older version than was written")


def shown_by(entry: InboxEntry, item: Item) -> InboxEntry:
    """The entry as a look shows it now."""
    return replace(
        entry,
        version=version_of(item.etag),
        etag=item.etag,
        deleted=False,
        fields=item.fields,
        item_key=item.row_key,
        by_app=item.by_app,
    )


def _after_paired(taken: Taken, entry: InboxEntry, answer: PullAnswer) -> PullPlan:
    match answer:
        case Found((_, *_)):
            if entry.etag is None:
                return _look(taken, entry)
            clear = UpdateItem(entry.list_id, entry.item_id, entry.etag, {ROWTIDE_KEY: None})
            return PullInFlight(taken, ClearKey(clear, entry))
        case Missing() | Found():
            return PullInFlight(taken, LookAtMoved(LookAtItem(entry.list_id, entry.item_id), entry))
        case _:
            return _misfit(taken)


def _after_moved(taken: Taken, entry: InboxEntry, answer: PullAnswer, rules: PullRules) -> PullPlan:
    match answer:
        case Found((item, *_)):
            shown = shown_by(entry, item)
            return _moved(taken, shown, rules) if shown.item_key == entry.item_key else _again(taken)
        case Missing() | Found():
            return Drop(taken)
        case _:
            return _misfit(taken)


def _again(taken: Taken) -> Later:
    return Later(taken, AGAIN_AFTER_S, "the item was changed meanwhile")


def _after_list(apply: Apply, answer: PullAnswer, rules: PullRules) -> PullPlan:
    match answer:
        case ListSeen(columns):
            wanted = rules.columns.get(apply.entry.list_id, {})
            there = {name for name in wanted if columns.get(name) == wanted[name]}
            if apply.how is How.DELETE:
                return apply
            fields = {name: one for name, one in apply.entry.fields.items() if name not in wanted or name in there}
            return replace(apply, entry=replace(apply.entry, fields=fields))
        case ListGone() if apply.how is How.DELETE:
            return Drop(apply.taken)  # somebody deleted the list, and no item of it
        case ListGone():  # nobody can say what became of its columns: what was typed counts, what is empty does not
            fields = {name: one for name, one in apply.entry.fields.items() if one not in (None, "")}
            return replace(apply, entry=replace(apply.entry, fields=fields))
        case _:
            return Later(apply.taken, UNANSWERED_AFTER_S, "the list does not answer", grows=True)


def _after_clear(taken: Taken, entry: InboxEntry, answer: PullAnswer, rules: PullRules) -> PullPlan:
    match answer:
        case Written(_, etag) if etag is not None:
            free = replace(entry, etag=etag, version=version_of(etag), item_key=None)
            return _new(replace(taken, key=None, pair=None, waiting=None, applied=None), free, rules)
        case Missing():
            return Drop(taken)
        case Written() | Changed():
            return _again(taken)
        case _:
            return _misfit(taken)


def _after_reserve(taken: Taken, entry: InboxEntry, answer: PullAnswer, rules: PullRules) -> PullPlan:
    match answer:
        case Reserved(now_known):
            if not is_own(now_known.pair, entry):
                if entry.item_key == rowtide_key(rules.sync, now_known.key or ""):
                    return _again(taken)  # its row has got another item meanwhile: this one is a copy, or was moved
                why = row_errors.INSERT_EXISTS()
                return ParkEntry(taken, why.code, why.sentence)
            return Apply(now_known, How.ARRIVE, now_known.key, entry, known_base(now_known))
        case KeyBusy():
            return Later(taken, AGAIN_AFTER_S, "the row of its key is on its way to SharePoint")
        case _:
            return _misfit(taken)


def _after_give(recorded: Recorded, answer: PullAnswer) -> PullPlan:
    taken, pair = recorded.taken, recorded.pair
    match answer:
        case Written(_, etag) if etag is not None and isinstance(pair, Held):
            return replace(recorded, pair=replace(pair, item=replace(pair.item, etag=etag)))
        case Written() | Changed() | Missing():
            # It is taken again as it is now: with the key, with a person's edit, or as deleted.
            return _again(taken)
        case _:
            return _misfit(taken)


# --- what follows a transaction of the source ----------------------------------------------------------------------


def without_commit(apply: Apply, verdict: Absent | Open | Rekeyed | Unwritable) -> Apply | PullEnd:
    """How an entry ends whose transaction was rolled back; or the same for the row's new key."""
    match verdict:
        case Absent():
            return WaitForCapture(apply.taken)
        case Rekeyed(key):
            return replace(apply, row_key=key)
        case Open(conflict):
            return HoldOpen(apply.taken, conflict)
        case Unwritable(code, sentence):
            return ParkEntry(apply.taken, code, sentence)
        case _:
            assert_never(verdict)


def with_key(apply: Apply, done: Recorded, rules: PullRules) -> PullInFlight | Recorded:
    """What follows a commit: an item that lacks its row's key gets it; then, or else, all is recorded."""
    pair, entry = done.pair, apply.entry
    if apply.how in (How.LEFT, How.DELETE) or not isinstance(pair, Held) or pair.item.etag is None:
        return done
    wanted = rowtide_key(rules.sync, done.key or "")
    if entry.item_key == wanted:
        return done
    give = UpdateItem(entry.list_id, entry.item_id, pair.item.etag, {ROWTIDE_KEY: wanted})
    return PullInFlight(apply.taken, GiveKey(give, done))
