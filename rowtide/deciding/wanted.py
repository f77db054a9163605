"""What a claimed row wants, compared with what is known: the next command, or the end of the claim.

In: what is known of the row (`Known`). Out: the next `InFlight`, or the outcome. Rules
(docs/design.md sections 6 and 7): an uncertain row is looked at before anything is decided; PATCH and DELETE name the
version they were decided on; a POST is repeated only after looks that outlast the time it could take; a claim is
settled only if nothing that was sent before can still change what is recorded.
"""

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from rowtide.change import Fields
from rowtide.deciding.commands import CreateItem, DeleteItem, LookForKey, MoveItem, UpdateItem
from rowtide.deciding.conflicts import MarkItem
from rowtide.deciding.in_flight import (
    Ended,
    InFlight,
    Known,
    Patch,
    Post,
    Remove,
    Rules,
    Search,
    ask,
    look,
    patience_s,
    release,
)
from rowtide.deciding.leftovers import free_key, lost_post_in, next_leftover, wrong_key_in
from rowtide.deciding.observation import is_item, left_behind
from rowtide.deciding.outcomes import Settle
from rowtide.deciding.records import AsOf, Held, ListId, NoItem, Standing, Work
from rowtide.keys import ROWTIDE_KEY, rowtide_key
from rowtide.lists import NOTHING_HELD

LIST_AFTER_S = 30.0
"""Seconds that a row waits whose list is not in the applied definition."""


class Wanted(NamedTuple):
    """The item that should be there; ``list_id`` is None when the row's list is not in the applied definition."""

    list_id: ListId | None
    fields: Fields


def is_outdated(work: Work) -> bool:
    """Whether the ledger is above the wanted state. An equal one is done again: reconciled rows carry its position."""
    return work.pair is not None and work.pair.as_of.position > work.desired.position


def wanted(work: Work) -> Wanted | None:
    """The item that should be there, or None. An outdated state wants what the ledger says."""
    if is_outdated(work):
        pair = work.pair
        return Wanted(pair.item.list_id, pair.item.base) if isinstance(pair, Held) else None
    desired = work.desired
    return None if desired.op == "d" else Wanted(desired.list_id, desired.fields)


def without_held(work: Work, rules: Rules) -> Work:
    """The work without the fields that its list cannot take now: they are written once it can."""
    held = rules.held.get(work.desired.list_id or "")
    if held is None or not held.fields:
        return work
    fields = {name: value for name, value in work.desired.fields.items() if name not in held.fields}
    return replace(work, desired=replace(work.desired, fields=fields))


def leaves_item(held: Held, rules: Rules) -> bool:
    """Whether the item stays where it is although its row is gone."""
    return rules.deletes != "propagate" or held.standing is not Standing.LIVE


def marks_of(held: Held, rules: Rules) -> Fields:
    """What is written into the item of a row that is gone, in place of deleting it, if it does not say so yet."""
    if not isinstance(rules.deletes, MarkItem) or held.standing is not Standing.LIVE:
        return {}
    mark = {rules.deletes.field: rules.deletes.value}
    return rules.mapping.differing(mark, held.item.base, held.item.kept)


def with_marks(work: Work, rules: Rules) -> Work:
    """The work with each attempt to delete as what it was: one to mark the item."""
    desired, pair = work.desired, work.pair
    if not isinstance(rules.deletes, MarkItem) or not isinstance(pair, Held) or not desired.sent:
        return work
    mark = {rules.deletes.field: rules.deletes.value}
    sent = tuple(
        replace(one, op="u", list_id=pair.item.list_id, fields=mark) if one.op == "d" else one for one in desired.sent
    )
    return replace(work, desired=replace(desired, sent=sent))


# --- the next command ---------------------------------------------------------------------------------------------


def next_command(known: Known, rules: Rules, now: datetime) -> InFlight | Ended:
    """The next command by what is known now."""
    pair, want = known.pair, wanted(known.work)
    wrong = wrong_key_in(pair.leftovers) if pair.leftovers else None
    if wrong is not None and rules.writes_key(wrong.list_id):
        return free_key(known, wrong)
    if isinstance(pair, NoItem):
        return finish(known, rules, now) if want is None else _post(known, want, rules, now)
    item = pair.item
    if not known.looked or item.etag is None:
        return look(known, pair)
    if want is None:
        if leaves_item(pair, rules):
            return _mark(known, pair, rules, now)
        return ask(known, Remove(DeleteItem(item.list_id, item.item_id, item.etag), pair))
    if want.list_id != item.list_id:
        return _post(known, want, rules, now)
    differing = rules.mapping.differing(want.fields, item.base, item.kept)
    if ROWTIDE_KEY in item.base and rules.writes_key(item.list_id):
        differing = {**differing, **_lost_key(known.work, item.base)}
    if not differing:
        return finish(known, rules, now)
    return ask(known, Patch(UpdateItem(item.list_id, item.item_id, item.etag, differing), pair))


def _mark(known: Known, held: Held, rules: Rules, now: datetime) -> InFlight | Ended:
    """The item stays; where the sync says so, it is marked first."""
    item, marks = held.item, marks_of(held, rules)
    if not marks or item.etag is None:
        return finish(known, rules, now)
    if marks.keys() & rules.held.get(item.list_id, NOTHING_HELD).fields:
        return release(known, LIST_AFTER_S, "the column that marks items of deleted rows cannot be written now")
    return ask(known, Patch(UpdateItem(item.list_id, item.item_id, item.etag, marks), held))


def _lost_key(work: Work, base: Fields) -> Fields:
    """The RowtideKey, where the item was seen with another one: a field of the base like any other."""
    mine = rowtide_key(work.desired.sync, work.desired.key)
    return {} if base[ROWTIDE_KEY] == mine else {ROWTIDE_KEY: mine}


def _post(known: Known, want: Wanted, rules: Rules, now: datetime) -> InFlight | Ended:
    """A POST; a search or a wait while an earlier POST may still make the item."""
    pair, list_id = known.pair, want.list_id
    if list_id is None:
        title = known.work.desired.target
        return release(known, LIST_AFTER_S, f"the list '{title}' is not in the applied definition")
    if not rules.takes_items(list_id):
        return release(known, LIST_AFTER_S, "the list takes no new items: its RowtideKey has to be mended")
    lost = lost_post_in(pair.leftovers, list_id)
    if lost is not None:
        if list_id not in known.searched:
            return ask(known, Search(LookForKey(list_id)))
        if now < lost.until:
            return release(known, patience_s(lost.until, rules.patience, now), "an earlier POST may still arrive")
    fields = {**_base(pair), **want.fields} if known.work.desired.partial else want.fields
    if isinstance(pair, Held):
        return ask(known, Post(MoveItem(list_id, fields, left_behind(pair.item))))
    return ask(known, Post(CreateItem(list_id, fields)))


def _base(pair: NoItem | Held) -> Fields:
    """Values of the fields that a partial state does not name; those of a missing item are its last."""
    item = pair.item if isinstance(pair, Held) else pair.last
    return {} if item is None else item.base


# --- the end of a claim -------------------------------------------------------------------------------------------


def finish(known: Known, rules: Rules, now: datetime) -> InFlight | Ended:
    """The next leftover, or the end of the claim, once the row's own item is as it should be."""
    if known.pending_until is not None and now < known.pending_until:
        # No write of ours makes an earlier attempt fail, and that attempt would change what is recorded here.
        after_s = patience_s(known.pending_until, rules.patience, now)
        return release(known, after_s, "an earlier request may still arrive")
    pair = _as_settled(known)
    if pair.leftovers and not known.learned and not known.work.desired.sent:
        return next_leftover(replace(known, pair=pair), rules, now)
    return Settle(known.work, pair, known.writes, bool(pair.leftovers), known.foreign_edit)


def _as_settled(known: Known) -> NoItem | Held:
    """The pair in agreement with the row; its own item is no leftover."""
    work, pair = known.work, known.pair
    desired, want = work.desired, wanted(work)
    outdated = is_outdated(work)
    as_of = pair.as_of if outdated else AsOf(desired.position, desired.xid, desired.mapping_version)
    if isinstance(pair, NoItem):
        return replace(pair, as_of=as_of)
    item, standing = pair.item, pair.standing
    leftovers = tuple(one for one in pair.leftovers if not is_item(one, item.list_id, item.item_id))
    if want is None:
        # The row is gone and its item was left there on purpose.
        standing = Standing.IGNORED if standing is Standing.LIVE else standing
    elif not outdated:
        standing = Standing.LIVE
        base = {**item.base, **want.fields} if desired.partial else dict(want.fields)
        base.pop(ROWTIDE_KEY, None)  # absent in a base: as posted
        kept = {name: value for name, value in item.kept.items() if name in base and base[name] == item.base.get(name)}
        item = replace(item, base=base, kept=kept)
    return Held(as_of, item, standing, leftovers)
