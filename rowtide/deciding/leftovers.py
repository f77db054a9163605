"""Items of a row that are still to be removed, and lists where a lost POST may have made one.

In: a claim whose own item is as it should be; other items that carry its key. Out: its next command, or its outcome.
Rules (docs/design.md sections 7 and 8): an item that is not ours loses our key before anything else is done, because
the key is unique; a leftover stays in the ledger until it is known to be gone; its DELETE is
conditional like every other; a lost POST counts as having made nothing only when it is too late for it to arrive.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from rowtide.deciding.answers import Changed, Deleted, Fact, Found, Item, Missing, Written
from rowtide.deciding.commands import DeleteItem, LookAtItem, LookForKey, UpdateItem
from rowtide.deciding.in_flight import (
    Ended,
    FreeKey,
    InFlight,
    Known,
    LookAtKey,
    LookAtLeft,
    RemoveLeft,
    Rules,
    SearchLost,
    ask,
    own_items,
    patience_s,
    release,
    release_misfit,
    with_leftovers,
)
from rowtide.deciding.observation import is_item
from rowtide.deciding.outcomes import Settle
from rowtide.deciding.records import ETag, Held, LeftItem, Leftover, ListId, LostPost, NoItem, Sent, WrongKey
from rowtide.keys import ROWTIDE_KEY

WRONG_KEY_AFTER_S = 30.0
"""Seconds until an item that is not ours is tried again whose key cannot be emptied."""


def with_attempts(pair: NoItem | Held, sent: Sequence[Sent], patience: timedelta) -> tuple[Leftover, ...]:
    """The pair's leftovers, and the lists where an attempt may have left an item nobody knows of."""
    latest = max(one.at for one in sent) + patience
    # An attempt may also have asked for the removal of a known leftover. That is noted: the item may be wanted again.
    leftovers = tuple(replace(one, until=latest) if isinstance(one, LeftItem) else one for one in pair.leftovers)
    alive = pair.item.list_id if isinstance(pair, Held) else None
    for one in sent:
        if one.op == "u" and one.list_id is not None and one.list_id != alive:
            leftovers = with_lost_post(leftovers, one.list_id, one.at + patience)
    return leftovers


def with_lost_post(leftovers: tuple[Leftover, ...], list_id: ListId, until: datetime) -> tuple[Leftover, ...]:
    """``leftovers`` with ``list_id`` among the lists to search, until ``until`` at least."""
    known = lost_post_in(leftovers, list_id)
    rest = tuple(one for one in leftovers if one is not known)
    return (*rest, LostPost(list_id, until if known is None else max(until, known.until)))


def lost_post_in(leftovers: tuple[Leftover, ...], list_id: ListId) -> LostPost | None:
    """The POST to ``list_id`` that is unaccounted for, if there is one."""
    return next((one for one in leftovers if isinstance(one, LostPost) and one.list_id == list_id), None)


def unexplained_post(leftovers: tuple[Leftover, ...]) -> LostPost | None:
    """A lost POST of which no item is known: where one is, the key is unique, and rules out another for now."""
    found = {one.list_id for one in leftovers if isinstance(one, LeftItem)}
    return next((one for one in leftovers if isinstance(one, LostPost) and one.list_id not in found), None)


def next_leftover(known: Known, rules: Rules, now: datetime) -> InFlight | Ended:
    """The command for the next leftover, or the end of the claim; all that was sent before is in the ledger by now."""
    waits = []
    for one in known.pair.leftovers:
        match one:
            case LostPost(list_id, until) if list_id in known.searched or not rules.takes_items(list_id):
                waits.append(patience_s(until, rules.patience, now))
            case LostPost(list_id):
                return ask(known, SearchLost(LookForKey(list_id)))
            case LeftItem(list_id, item_id, etag) if etag is not None:
                return ask(known, RemoveLeft(DeleteItem(list_id, item_id, etag), one))
            case LeftItem(list_id, item_id):
                return ask(known, LookAtLeft(LookAtItem(list_id, item_id), one))
            case WrongKey():
                waits.append(WRONG_KEY_AFTER_S)  # it would have been freed before, could its key be written
            case _:
                assert_never(one)
    if waits:
        return release(known, min(waits), "an earlier POST may still arrive")
    return Settle(known.work, known.pair, known.writes, False, known.foreign_edit)


def wrong_key_in(leftovers: tuple[Leftover, ...]) -> WrongKey | None:
    """The first item that carries the row's key and is not its own."""
    return next((one for one in leftovers if isinstance(one, WrongKey)), None)


def free_key(known: Known, wrong: WrongKey) -> InFlight:
    """The command that empties the key of such an item; whatever else it holds stays."""
    command = UpdateItem(wrong.list_id, wrong.item_id, wrong.etag, {ROWTIDE_KEY: None})
    return ask(known, FreeKey(command, wrong))


# --- answers ------------------------------------------------------------------------------------------------------


def after_remove_left(known: Known, step: RemoveLeft, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    """What follows a DELETE: the leftover is gone, or is looked at. It goes even if somebody wrote into it."""
    match fact:
        case Deleted():
            gone = _without(known, step.left)
            return next_leftover(replace(gone, writes=gone.writes + 1), rules, now)
        case Missing():
            return next_leftover(_without(known, step.left), rules, now)
        case Changed():
            return ask(known, LookAtLeft(LookAtItem(step.left.list_id, step.left.item_id), step.left))
        case Written() | Found():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def after_look_at_left(known: Known, step: LookAtLeft, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    """What follows a look at a leftover: its version is known, or it is gone."""
    match fact:
        case Found((item, *_)):
            return next_leftover(_with_etag(known, step.left, item.etag), rules, now)
        case Found() | Missing():
            return next_leftover(_without(known, step.left), rules, now)
        case Written() | Deleted() | Changed():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def after_search_lost(known: Known, step: SearchLost, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    """What follows a search: a lost POST's item is a leftover with an id; its absence counts once it is too late."""
    list_id = step.command.list_id
    match fact:
        case Found(items):
            if found := [item for item in own_items(known.work, items) if not _is_own(known, list_id, item)]:
                left = LeftItem(list_id, found[0].item_id, found[0].etag)
                return next_leftover(with_leftovers(known, (left, *known.pair.leftovers)), rules, now)
            return next_leftover(with_nothing_found(known, list_id, now), rules, now)
        case Written() | Deleted() | Missing() | Changed():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def with_nothing_found(known: Known, list_id: ListId, now: datetime) -> Known:
    """What is known once the list showed no item with our key: a POST that is too late to arrive made nothing."""
    lost = lost_post_in(known.pair.leftovers, list_id)
    known = replace(known, searched=known.searched | {list_id})
    if lost is None or now < lost.until:
        return known
    return with_leftovers(known, tuple(one for one in known.pair.leftovers if one is not lost))


def _is_own(known: Known, list_id: ListId, item: Item) -> bool:
    """Whether the row has this item, so that it is not a lost POST's."""
    own = known.pair.item if isinstance(known.pair, Held) else None
    return own is not None and (own.list_id, own.item_id) == (list_id, item.item_id)


def after_free_key(known: Known, step: FreeKey, fact: Fact) -> Known | InFlight | Ended:
    """What is known once the key is free; the next command or a release while it is not."""
    match fact:
        case Written():
            freed = _without_wrong(known, step.wrong)
            return replace(freed, writes=freed.writes + 1)
        case Missing():
            return _without_wrong(known, step.wrong)
        case Changed():
            return ask(known, LookAtKey(LookAtItem(step.wrong.list_id, step.wrong.item_id), step.wrong))
        case Deleted() | Found():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def after_look_at_key(known: Known, step: LookAtKey, fact: Fact) -> Known | InFlight | Ended:
    """What is known of an item that was changed meanwhile: it may have another key by now, or be gone."""
    match fact:
        case Found(items):
            freed = _without_wrong(known, step.wrong)
            if not own_items(known.work, items):
                return freed
            newer = replace(step.wrong, etag=items[0].etag)
            return free_key(with_leftovers(freed, (newer, *freed.pair.leftovers)), newer)
        case Missing():
            return _without_wrong(known, step.wrong)
        case Written() | Deleted() | Changed():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def _without_wrong(known: Known, wrong: WrongKey) -> Known:
    rest = tuple(
        one
        for one in known.pair.leftovers
        if not (isinstance(one, WrongKey) and (one.list_id, one.item_id) == (wrong.list_id, wrong.item_id))
    )
    return with_leftovers(known, rest)


def _without(known: Known, left: LeftItem) -> Known:
    rest = tuple(one for one in known.pair.leftovers if not is_item(one, left.list_id, left.item_id))
    return with_leftovers(known, rest)


def _with_etag(known: Known, left: LeftItem, etag: ETag) -> Known:
    newer = tuple(
        replace(one, etag=etag) if isinstance(one, LeftItem) and is_item(one, left.list_id, left.item_id) else one
        for one in known.pair.leftovers
    )
    return with_leftovers(known, newer)
