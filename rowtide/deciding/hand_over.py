"""Push for a two-way sync: what a person did is never decided here, it is handed to the way back.

In and out: as in rowtide.deciding.push, around which this is wrapped; besides, `AskVersions` and `HandOver`. Called by
deliver for two-way syncs only. Rules (docs/design.md section 19): a foreign edit and a 404 that nothing of ours
explains go into the inbox with the row's release; an item that somebody else wrote while an attempt is unexplained is
decided by its versions, not by what it holds; an item is left once no attempt can arrive in it any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from rowtide.deciding import push
from rowtide.deciding.answers import Answer, Found, Item, Missing, NotApplied, Unknown
from rowtide.deciding.commands import LookForKey, MoveItem
from rowtide.deciding.in_flight import (
    Ended,
    InFlight,
    Known,
    Look,
    LookAtLeft,
    Patch,
    Remove,
    Rules,
    Search,
    SearchLost,
    ask,
    is_write,
    of_asked_item,
    own_items,
    patience_s,
    release,
    with_leftovers,
)
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.item_versions import Attempts, ItemVersion, ReadVersions, Versions, attempts_on, made_since
from rowtide.deciding.leftovers import lost_post_in, next_leftover, unexplained_post
from rowtide.deciding.observation import (
    adopt_found,
    interpret_look,
    is_base,
    is_item,
    left_behind,
    without_item,
)
from rowtide.deciding.outcomes import Complete, HandOver, Settle
from rowtide.deciding.push import UNKNOWN_AFTER_S
from rowtide.deciding.records import (
    AsOf,
    Held,
    LeftItem,
    Leftover,
    ListId,
    NoItem,
    Pair,
    PairedItem,
    Standing,
    Work,
    is_same_item,
    version_of,
)
from rowtide.deciding.sides import Base, edited
from rowtide.deciding.taken import etag_of_version, place
from rowtide.deciding.wanted import is_outdated, next_command, wanted


@dataclass(frozen=True, slots=True)
class AskVersions:
    """A claim in flight: did an attempt of ours arrive before somebody else wrote ``item``?

    ``to_go``: the item is a lost POST's, and its row wants it no more.
    """

    known: Known
    item: Item
    command: ReadVersions
    to_go: bool = False

    @property
    def work(self) -> Work:
        """The claimed row."""
        return self.known.work


PlanT = TypeVar("PlanT")

TwoWayStep = InFlight | AskVersions | HandOver | Ended

TwoWayPlan = TwoWayStep | Complete


def first(work: Work, rules: Rules, now: datetime, looks_only: bool = False) -> TwoWayPlan:
    """As `push.first`. ``looks_only``: an entry of the pair waits, and the row is uncertain; nothing is written."""
    pair = work.pair
    if isinstance(pair, NoItem) and pair.ignored:
        if work.desired.op == "d":
            work = replace(work, pair=replace(pair, ignored=False))
        elif not work.desired.sent and not pair.leftovers:
            return _ignored(work, pair)
    plan = push.first(work, rules, now)
    return _without_writing(plan, rules, now) if looks_only else plan


def _ignored(work: Work, pair: NoItem) -> Settle:
    """The row's item was deleted, and the sync leaves it at that until the row goes."""
    desired = work.desired
    as_of = pair.as_of if is_outdated(work) else AsOf(desired.position, desired.xid, desired.mapping_version)
    return Settle(work, replace(pair, as_of=as_of))


def after(
    in_flight: InFlight | AskVersions, answer: Answer | Versions, rules: Rules, now: datetime, looks_only: bool = False
) -> TwoWayStep:
    """As `push.after`; what a person did ends the claim."""
    if isinstance(in_flight, AskVersions):
        return _after_versions(in_flight, answer, rules, now)
    if isinstance(answer, Versions):
        return release(in_flight.known, UNKNOWN_AFTER_S, "Graph's answer does not fit the request", unknown=True)
    answer = of_asked_item(in_flight.step, answer)
    plan: TwoWayPlan | None = _instead(in_flight, answer, rules, now)
    if plan is None:
        plan = push.after(in_flight, answer, rules, now)
    if isinstance(plan, InFlight) and isinstance(plan.step.command, MoveItem):
        plan = _until_certain(plan.known, rules, now) or plan
    if looks_only:
        if isinstance(plan, Settle) and isinstance(in_flight.step, SearchLost):
            return HandOver(plan.work, None, plan.pair)  # a lost POST is explained, nothing is said of the row's item
        plan = _without_writing(plan, rules, now)
    assert not isinstance(plan, Complete), "a row is completed before its first command"
    return plan


def _until_certain(known: Known, rules: Rules, now: datetime) -> Ended | None:
    """A wait while an attempt may still arrive.

    Of an item that its row has left nobody asks any more which of its versions is ours.
    """
    pending = known.pending_until
    if pending is None or now >= pending:
        return None
    return release(known, patience_s(pending, rules.patience, now), "an earlier request may still arrive")


def _without_writing(plan: PlanT, rules: Rules, now: datetime) -> PlanT | InFlight | Ended | HandOver:
    """The plan, or its end before it would write; what became of every attempt is known by then, or waited for."""
    if not (isinstance(plan, InFlight) and is_write(plan.step)):
        return plan
    known = plan.known
    if (explains := _until_posts_are_explained(known, rules, now)) is not None:
        return explains
    if (lost := unexplained_post(known.pair.leftovers)) is not None:
        known = with_leftovers(known, tuple(one for one in known.pair.leftovers if one is not lost))
    return _until_certain(known, rules, now) or HandOver(known.work, None, _learnt(known))


def _until_posts_are_explained(known: Known, rules: Rules, now: datetime) -> InFlight | Ended | None:
    """The search for a lost POST of which nothing is known, or a wait while it may still arrive."""
    lost = unexplained_post(known.pair.leftovers)
    if lost is None:
        return None
    if lost.list_id not in known.searched:
        return ask(known, SearchLost(LookForKey(lost.list_id)))
    if now < lost.until:
        return release(known, patience_s(lost.until, rules.patience, now), "an earlier POST may still arrive")
    return None


def _instead(in_flight: InFlight, answer: Answer, rules: Rules, now: datetime) -> TwoWayStep | None:
    """What is done in place of what a push-only sync would do; None: the same."""
    known, step = in_flight.known, in_flight.step
    match step, answer:
        case Look(_, held), Found((item, *_)):
            return _after_look(known, held, item, rules)
        case Look(_, held) | Patch(_, held) | Remove(_, held), Missing() | Found(()):
            return _after_gone(known, held, rules)
        case Search(command), Found(items):
            return _after_search(known, command.list_id, own_items(known.work, items), rules, now)
        case SearchLost(command), Found(items):
            return _after_search_lost(known, command.list_id, own_items(known.work, items), rules, now)
        case LookAtLeft(_, left), Found((item, *_)):
            return _after_left(known, left, item, rules)
        case _:
            return None


# --- the row's own item -------------------------------------------------------------------------------------------


def _after_look(known: Known, held: Held, item: Item, rules: Rules) -> AskVersions | HandOver | None:
    is_newer = version_of(item.etag) > version_of(held.item.etag)
    if not is_newer or item.by_app or held.standing is not Standing.LIVE:
        return None
    if known.work.desired.sent:
        return _ask_versions(known, held.item.list_id, item)
    if is_base(held.item, item.fields, rules.mapping):
        return None
    return _hand(known, held.item.list_id, item)


def _after_gone(known: Known, held: Held, rules: Rules) -> HandOver | None:
    """A 404 that is not our own deletion's. One in the middle of a move is: the old item was to go.

    With the item its versions are gone: of a field that an unexplained attempt was to change, nobody can say what
    whoever deleted it saw. So it has no base any more, and the deletion is a conflict.
    """
    work, item = known.work, held.item
    if wanted(work) is None or held.standing is not Standing.LIVE:
        return None
    if any(one.op == "d" or one.list_id not in (None, item.list_id) for one in work.desired.sent):
        return None
    gone = InboxEntry(item.list_id, item.item_id, 0, None, True, {}, None, False, None, None)
    attempts = [one.fields for one in work.desired.sent if one.list_id is not None]
    unsure = {name for one in attempts for name in rules.mapping.differing(one, item.base, {})}
    if unsure:
        base = {name: value for name, value in item.base.items() if name not in unsure}
        kept = {name: value for name, value in item.kept.items() if name not in unsure}
        known = replace(known, pair=replace(held, item=replace(item, base=base, kept=kept)), learned=True)
    return HandOver(work, gone, _learnt(known))


def _after_search(
    known: Known, list_id: ListId, found: Sequence[Item], rules: Rules, now: datetime
) -> TwoWayStep | None:
    """An item with the row's key: our POST's, kept otherwise than it was sent; or one that somebody else wrote last."""
    if not found:
        return None
    if isinstance(known.pair, Held) and (waits := _until_certain(known, rules, now)) is not None:
        return waits
    if _is_left(known.pair.leftovers, list_id, found[0]):
        return None
    if found[0].by_app:
        ours = ItemVersion(version_of(found[0].etag), True, found[0].fields)
        attempts = _attempts(known, list_id, None)
        attempt = attempts.that_made(ours, rules.mapping)
        if attempt is None:
            return None
        then = push.adopted(known, list_id, found, rules)
        assert isinstance(then.pair, Held), "an adopted item is the row's"
        base = attempts.agreed_at(ours, rules.mapping)
        item = replace(then.pair.item, base=base.agreed, kept=base.kept)
        then = replace(then, pair=replace(then.pair, item=item), foreign_edit=known.foreign_edit)
        if all((one.op, one.list_id, one.fields) == ("u", list_id, attempt) for one in known.work.desired.sent):
            then = replace(then, pending_until=known.pending_until)  # this one, and the key is unique
        return next_command(then, rules, now)
    posted = any(one.op == "u" and one.list_id == list_id for one in known.work.desired.sent)
    if posted or lost_post_in(known.pair.leftovers, list_id) is not None:
        return _ask_versions(known, list_id, found[0])
    return _hand(known, list_id, found[0])


def _is_left(leftovers: tuple[Leftover, ...], list_id: ListId, item: Item) -> bool:
    """Whether the row has left the item and every edit of it is known: it may be taken up again."""
    return any(
        isinstance(one, LeftItem) and _is_of(one, list_id, item) and version_of(item.etag) <= version_of(one.etag)
        for one in leftovers
    )


def _after_search_lost(
    known: Known, list_id: ListId, found: Sequence[Item], rules: Rules, now: datetime
) -> AskVersions | InFlight | Ended | None:
    """A lost POST's item, which is to go. What somebody else wrote into it goes to the row first."""
    if not found or _own(known.pair, list_id, found[0]) is not None:
        return None
    if not found[0].by_app:
        return replace(_ask_versions(known, list_id, found[0]), to_go=True)
    ours = ItemVersion(version_of(found[0].etag), True, found[0].fields)
    pair = _with_left(known, list_id, found[0], ours, rules)
    return next_leftover(replace(known, pair=pair, learned=True), rules, now)


def _after_left(known: Known, left: LeftItem, item: Item, rules: Rules) -> HandOver | None:
    if item.by_app or left.base is None:
        return None
    if left.etag is not None and version_of(item.etag) <= version_of(left.etag):
        return None
    if not edited(Base(left.base, left.kept or {}), item.fields, rules.mapping):
        return None
    return _hand(known, left.list_id, item)


# --- versions -----------------------------------------------------------------------------------------------------


def _ask_versions(known: Known, list_id: ListId, item: Item) -> AskVersions:
    known = replace(known, commands=known.commands + 1)
    return AskVersions(known, item, ReadVersions(list_id, item.item_id))


def _after_versions(
    asked: AskVersions, answer: Answer | Versions, rules: Rules, now: datetime
) -> InFlight | HandOver | Ended:
    """Whether an attempt arrived. Without versions none is taken to have: a difference is a conflict, and recorded.

    An item of which something was agreed, as the row's, as one that it has left or as its last, is no POST's as long as
    none of its versions since then is ours.
    """
    if isinstance(answer, NotApplied | Unknown | Missing):
        return release(asked.known, UNKNOWN_AFTER_S, "the item's versions cannot be read", grows=True)
    known, list_id = asked.known, asked.command.list_id
    seen = answer.versions if isinstance(answer, Versions) else ()
    then = _as_agreed(known.pair, list_id, asked.item)
    since = seen if then is None else made_since(then.item, asked.item, seen, rules.mapping)
    attempts = _attempts(known, list_id, then)
    found = [one for one in since if one.by_app or attempts.asked_for(one, rules.mapping)]
    ours = max(found, key=lambda one: one.number, default=None)
    if ours is not None and asked.to_go:
        known = replace(known, pair=_with_left(known, list_id, asked.item, ours, rules), learned=True)
    elif ours is not None:
        known = replace(known, pair=_with_ours(known, list_id, asked.item, ours, rules), learned=True)
    elif _left(known.pair, list_id, asked.item) is not None:
        if (explains := _until_posts_are_explained(known, rules, now)) is not None:
            return explains  # no entry of the row is taken before, and each claim of it would come as far as here
    elif (lost := lost_post_in(known.pair.leftovers, list_id)) is not None:
        # The item is somebody else's, and keeps a POST of ours from arriving only as long as it has the key.
        if now < lost.until:
            return release(known, patience_s(lost.until, rules.patience, now), "an earlier POST may still arrive")
        known = with_leftovers(known, tuple(one for one in known.pair.leftovers if one is not lost))
    return _hand(known, list_id, asked.item)


def _with_ours(known: Known, list_id: ListId, item: Item, ours: ItemVersion, rules: Rules) -> Held:
    """The pair as it was when our own version was the newest."""
    own = _as_agreed(known.pair, list_id, item)
    # At least; whatever was written above it is judged by what it holds.
    etag = etag_of_version(item.etag, max(ours.number, 0 if own is None else version_of(own.item.etag) + 1))
    assert etag is not None, "an item that was seen has an eTag"
    then = replace(item, etag=etag, fields=ours.fields, by_app=True)
    sent, mapping = known.work.desired.sent, rules.mapping
    if own is not None:
        pair = interpret_look(own, sent, then, mapping, rules.patience).pair
    else:
        pair = adopt_found(known.pair, list_id, sent, then, mapping, rules.patience).pair
    attempts = _attempts(known, list_id, own)
    if attempts.that_made(ours, mapping) is None:
        return pair
    base = attempts.agreed_at(ours, mapping)
    return replace(pair, item=replace(pair.item, base=base.agreed, kept=base.kept))


def _attempts(known: Known, list_id: ListId, own: Held | None) -> Attempts:
    return attempts_on(list_id, known.work.desired.sent, None if own is None else own.item)


def _with_left(known: Known, list_id: ListId, item: Item, ours: ItemVersion, rules: Rules) -> NoItem | Held:
    """The pair with the item among those that are to go, as it was when our own version was the newest."""
    base = _attempts(known, list_id, _as_agreed(known.pair, list_id, item)).agreed_at(ours, rules.mapping)
    left = LeftItem(list_id, item.item_id, etag_of_version(item.etag, ours.number), None, base.agreed, base.kept)
    rest = tuple(one for one in known.pair.leftovers if not is_item(one, list_id, item.item_id))
    return replace(known.pair, leftovers=(left, *rest))


def _own(pair: NoItem | Held, list_id: ListId, item: Item) -> Held | None:
    """The pair if the item is its own."""
    return pair if isinstance(pair, Held) and _is_of(pair.item, list_id, item) else None


def _is_of(known: PairedItem | LeftItem, list_id: ListId, item: Item) -> bool:
    """Whether the item is the known one; where a restore took that away, another may have its number."""
    return place(known) == (list_id, item.item_id) and is_same_item(known.etag, item.etag)


def _left(pair: NoItem | Held, list_id: ListId, item: Item) -> LeftItem | None:
    """The item among those that the row has left and of which something was agreed."""
    found = (one for one in pair.leftovers if isinstance(one, LeftItem) and _is_of(one, list_id, item))
    return next((one for one in found if one.base is not None), None)


def _as_agreed(pair: NoItem | Held, list_id: ListId, item: Item) -> Held | None:
    """The pair with the item as its own and what was agreed of it last; None: nothing was."""
    left = _left(pair, list_id, item)
    if left is not None:
        rest = without_item(pair.leftovers, list_id, item.item_id)
        leftovers = (*rest, left_behind(pair.item)) if isinstance(pair, Held) else rest
        agreed = PairedItem(list_id, item.item_id, left.etag, left.base or {}, left.kept or {})
        return Held(pair.as_of, agreed, leftovers=leftovers)
    if isinstance(pair, NoItem) and pair.last is not None and _is_of(pair.last, list_id, item):
        return Held(pair.as_of, pair.last, leftovers=pair.leftovers)
    return _own(pair, list_id, item)


# --- what is handed over, and what goes along with a leftover ------------------------------------------------------


def _hand(known: Known, list_id: ListId, item: Item) -> HandOver:
    version = version_of(item.etag)
    entry = InboxEntry(
        list_id, item.item_id, version, item.etag, False, item.fields, item.row_key, item.by_app, None, None
    )  # fmt: skip
    return HandOver(known.work, entry, _learnt(known))


def _learnt(known: Known) -> Pair | None:
    """What goes to the ledger. A POST that may still arrive elsewhere is a leftover there: `sent` says it no longer."""
    before = known.work.pair
    leftovers = () if before is None else before.leftovers
    return known.pair if known.learned or known.pair.leftovers != leftovers else None
