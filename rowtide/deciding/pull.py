"""What to do next for an entry once its request was answered or its transaction has ended, as total functions.

In: the step of an entry that was taken, and the `PullAnswer`. Out: the next step (`PullInFlight`), what is to be
applied (`Apply`), or how it ended. Called by the puller of a sync, under the source's advisory lock of it; the first
step is `rowtide.deciding.whose`'s. Rules (docs/design.md section 19): no IO, no clock; a deletion needs the item's 404,
then the list's answer; a copy loses the key, a moved item keeps it.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from rowtide.deciding import status_text, whose
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
from rowtide.deciding.pull_steps import (
    AGAIN_AFTER_S,
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
    Tell,
    WaitForCapture,
)
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import (
    Held,
    is_same_item,
    version_of,
)
from rowtide.deciding.taken import (
    Apply,
    How,
    PullRules,
    Taken,
    is_own,
    known_base,
    known_version,
)
from rowtide.error_catalogue import row_errors
from rowtide.keys import ROWTIDE_KEY, rowtide_key

UNANSWERED_AFTER_S = 30.0
"""Seconds until an entry is taken again whose list does not answer, or answers what does not fit."""
RESTORED_AFTER = timedelta(seconds=60)
"""An item that shows an older version for this long is of a list that was restored."""


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
                return whose.reserve(taken, shown, taken.key or "")
            if isinstance(taken.pair, Held) and not is_same_item(taken.pair.item.etag, shown.etag):
                return ListRestored(taken, entry.list_id)  # it took away the row's item, whose number this one has
            if shown.version < known_version(taken):
                return _older(taken, entry, now)
            if isinstance(taken.pair, Held) and whose.is_of_another_history(taken, taken.pair.item, shown, rules):
                return ListRestored(taken, entry.list_id)
            return whose.own(taken, shown, rules)
        case Missing() | Found():
            if not entry.deleted or not (own or whose.is_deleted_again(taken, entry)):
                return Drop(taken)  # a delete entry follows if it was there
            if taken.twin or not taken.rounds_ended:
                return Later(taken, AGAIN_AFTER_S, "the item may have been moved to another list")
            apply = Apply(taken, How.DELETE, taken.key, entry, known_base(taken))
            return PullInFlight(taken, AskList(LookAtList(entry.list_id), apply))
        case _:
            return _misfit(taken)


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
                return whose.look(taken, entry)
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
            return whose.moved(taken, shown, rules) if shown.item_key == entry.item_key else _again(taken)
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
            return whose.new(replace(taken, key=None, pair=None, waiting=None, applied=None), free, rules)
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
