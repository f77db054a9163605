"""Items of a row that are still to be removed, and lists where a lost POST may have made one.

In: a claim whose own item is as it should be. Out: the next command, or its outcome. Rules
(docs/design.md sections 7 and 8): a leftover stays in the ledger until it is known to be gone; its DELETE is
conditional as every other; that a lost POST made nothing is believed only when it is too late for it to arrive.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rowtide.deciding.answers import Answer, Changed, Deleted, Found, Item
from rowtide.deciding.commands import DeleteItem, LookAtItem, LookForKey
from rowtide.deciding.observation import holds_item
from rowtide.deciding.outcomes import Settle
from rowtide.deciding.progress import (
    Ended,
    Progress,
    Rules,
    Step,
    command,
    own_items,
    patience_s,
    release,
    with_leftovers,
)
from rowtide.deciding.records import Leftover, Pair, Sent

NO_SENSE_AFTER_S = 30.0
"""After an answer that does not fit its request."""


def suspects_of(pair: Pair, sent: Sequence[Sent], patience: timedelta) -> tuple[Leftover, ...]:
    """The pair's leftovers, and the lists where an attempt may have left an item nobody knows of."""
    latest = max(one.at for one in sent) + patience
    # An attempt may also have asked for the removal of a known leftover: noted, should the item be wanted again.
    leftovers = tuple(replace(one, until=latest) if one.item_id is not None else one for one in pair.leftovers)
    alive = pair.list_id if holds_item(pair) else None
    for one in sent:
        if one.op == "u" and one.list_id is not None and one.list_id != alive:
            leftovers = add_suspect(leftovers, one.list_id, one.at + patience)
    return leftovers


def add_suspect(leftovers: tuple[Leftover, ...], list_id: str, until: datetime) -> tuple[Leftover, ...]:
    """With ``list_id`` among the lists to search, until ``until`` at least."""
    known = [one.until for one in leftovers if one.list_id == list_id and one.item_id is None and one.until]
    rest = tuple(one for one in leftovers if one.list_id != list_id or one.item_id is not None)
    return (*rest, Leftover(list_id, None, max([until, *known])))


def next_leftover(progress: Progress, rules: Rules, now: datetime) -> Progress | Ended:
    """The next leftover to remove; all that was sent before is explained and in the ledger."""
    waits = []
    for one in progress.pair.leftovers:
        if one.item_id is None and one.list_id in progress.searched:
            waits.append(patience_s(one.until or now, rules.patience, now))
        elif one.item_id is None:
            return command(progress, LookForKey(one.list_id), Step.CLEAN)
        elif one.etag is None:
            return command(progress, LookAtItem(one.list_id, one.item_id), Step.CLEAN)
        else:
            return command(progress, DeleteItem(one.list_id, one.item_id, one.etag), Step.CLEAN)
    if waits:
        return release(progress, min(waits), "an earlier POST may still arrive")
    return Settle(progress.work, progress.pair, progress.writes, False, progress.foreign_edit)


def after_clean(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    pair = progress.pair
    match answer, progress.command:
        case Found(), LookForKey(list_id):
            return _after_clean_search(progress, list_id, own_items(progress, answer), rules, now)
        case Found((item, *_)), LookAtItem(list_id, item_id):
            progress = with_leftovers(progress, _with_etag(pair, list_id, item_id, item.etag))
        case Changed(), DeleteItem(list_id, item_id, _):
            # Whatever somebody wrote into it, the item has left this list.
            progress = with_leftovers(progress, _with_etag(pair, list_id, item_id, None))
        case _, DeleteItem(list_id, item_id, _) | LookAtItem(list_id, item_id):
            rest = tuple(one for one in pair.leftovers if (one.list_id, one.item_id) != (list_id, item_id))
            progress = replace(with_leftovers(progress, rest), writes=progress.writes + isinstance(answer, Deleted))
        case _:
            return release(progress, NO_SENSE_AFTER_S, "Graph's answer does not fit the request")
    return next_leftover(progress, rules, now)


def _with_etag(pair: Pair, list_id: str, item_id: str, etag: str | None) -> tuple[Leftover, ...]:
    """The pair's leftovers, one of them with this version. Ids are the list's own: another list may have the same."""
    place = (list_id, item_id)
    return tuple(replace(one, etag=etag) if (one.list_id, one.item_id) == place else one for one in pair.leftovers)


def _after_clean_search(
    progress: Progress, list_id: str, found: list[Item], rules: Rules, now: datetime
) -> Progress | Ended:
    """A lost POST's item becomes a leftover with an id; its absence is believed once it is too late to arrive."""
    leftovers = progress.pair.leftovers
    if found:
        one = Leftover(list_id, found[0].item_id, None, found[0].etag)
        return next_leftover(with_leftovers(progress, (one, *leftovers)), rules, now)
    progress = replace(progress, searched=progress.searched | {list_id})
    ripe = {one for one in leftovers if one.list_id == list_id and one.item_id is None and (one.until or now) <= now}
    if ripe:
        progress = with_leftovers(progress, tuple(one for one in leftovers if one not in ripe))
    return next_leftover(progress, rules, now)
