"""Items of a row that are still to be removed, and lists where a lost POST may have made one.

In: a claim whose own item is as it should be. Out: its next command, or its outcome. Rules
(docs/design.md sections 7 and 8): a leftover stays in the ledger until it is known to be gone; its DELETE is
conditional like every other; a lost POST counts as having made nothing only when it is too late for it to arrive.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from rowtide.deciding.answers import Changed, Deleted, Fact, Found, Missing, Written
from rowtide.deciding.commands import DeleteItem, LookAtItem, LookForKey
from rowtide.deciding.in_flight import (
    Ended,
    InFlight,
    Known,
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
from rowtide.deciding.records import ETag, Held, LeftItem, Leftover, ListId, LostPost, NoItem, Sent


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


def next_leftover(known: Known, rules: Rules, now: datetime) -> InFlight | Ended:
    """The command for the next leftover, or the end of the claim; all that was sent before is in the ledger by now."""
    waits = []
    for one in known.pair.leftovers:
        match one:
            case LostPost(list_id, until) if list_id in known.searched:
                waits.append(patience_s(until, rules.patience, now))
            case LostPost(list_id):
                return ask(known, SearchLost(LookForKey(list_id)))
            case LeftItem(list_id, item_id, etag) if etag is not None:
                return ask(known, RemoveLeft(DeleteItem(list_id, item_id, etag), one))
            case LeftItem(list_id, item_id):
                return ask(known, LookAtLeft(LookAtItem(list_id, item_id), one))
            case _:
                assert_never(one)
    if waits:
        return release(known, min(waits), "an earlier POST may still arrive")
    return Settle(known.work, known.pair, known.writes, False, known.foreign_edit)


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
            return next_leftover(_with_etag(known, step.left, None), rules, now)
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
            leftovers = known.pair.leftovers
            if found := own_items(known.work, items):
                left = LeftItem(list_id, found[0].item_id, found[0].etag)
                return next_leftover(with_leftovers(known, (left, *leftovers)), rules, now)
            lost = lost_post_in(leftovers, list_id)
            known = replace(known, searched=known.searched | {list_id})
            if lost is not None and lost.until <= now:
                known = with_leftovers(known, tuple(one for one in leftovers if one is not lost))
            return next_leftover(known, rules, now)
        case Written() | Deleted() | Missing() | Changed():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def _without(known: Known, left: LeftItem) -> Known:
    rest = tuple(one for one in known.pair.leftovers if not is_item(one, left.list_id, left.item_id))
    return with_leftovers(known, rest)


def _with_etag(known: Known, left: LeftItem, etag: ETag | None) -> Known:
    newer = tuple(
        replace(one, etag=etag) if isinstance(one, LeftItem) and is_item(one, left.list_id, left.item_id) else one
        for one in known.pair.leftovers
    )
    return with_leftovers(known, newer)
