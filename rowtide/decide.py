"""What to do next for a claimed row, as total functions: no IO, no clock.

In: `Work` (what should be so, and what the ledger knows) and, after each request, the `Answer`. Out: the next command
(`Progress`), or the outcome that settle records. Called by flows.steps (`first`) and connectors.graph.writer (`after`).
Rules (DESIGN section 3): a state below the ledger's position is dropped; an uncertain row is looked at before anything
is decided; PATCH and DELETE are conditional; a POST is repeated only after looks that outlast the time it could take;
an item left behind stays a leftover until it is known to be gone. Push-only: PostgreSQL wins, and foreign edits count.

A claim ends with `Settle` only if nothing that was sent before can still change what it records.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from rowtide.change import Fields
from rowtide.commands import (
    Answer,
    Changed,
    Complete,
    CreateItem,
    Deleted,
    DeleteItem,
    Found,
    Item,
    Leftover,
    LookAtItem,
    LookForKey,
    Missing,
    MoveItem,
    NotApplied,
    Pair,
    ParkRow,
    Rejected,
    Release,
    Sent,
    Settle,
    Unknown,
    UpdateItem,
    Work,
    Written,
    version_of,
)
from rowtide.commands import Command as Command
from rowtide.keys import rowtide_key
from rowtide.seen import FieldMapping as FieldMapping
from rowtide.seen import Seen, adopt, blank_pair, holds_item, is_base, meet, without_list, written

UNKNOWN_AFTER_S = 1.0
"""An attempt with an unknown end is looked at this soon."""
LIST_AFTER_S = 30.0
"""A row whose list is not to be had waits this long."""
MOST_COMMANDS = 12
"""A claim that needs more is contended: it is released for a moment."""
MOST_ATTEMPTS = 8
"""An item that keeps showing an older version than the ledger's is set aside after so many looks."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How rows of one sync are decided; ``patience``: how long after its claim an attempt may still arrive."""

    mapping: FieldMapping
    mapping_version: int
    patience: timedelta


class Step(Enum):
    """What the command under way is for."""

    WRITE = "the row's own item"
    LOOK = "what became of the pair's item"
    SEARCH = "whether our own POST made an item"
    VERIFY = "the version our write left"
    CLEAN = "a leftover"


@dataclass(frozen=True, slots=True)
class Progress:
    """A claim under way: the command to carry out now, and what is known so far."""

    work: Work
    command: Command
    step: Step
    pair: Pair
    looked: bool = False  # the pair's item was looked at, or needs no look
    learned: bool = False  # `pair` says more than the ledger does
    searched: frozenset[str] = frozenset()  # lists that showed no item with our key in this claim
    rejected: Rejected | None = None  # a POST's answer that a search has to explain
    pending_until: datetime | None = None
    writes: int = 0
    foreign_edit: bool = False
    commands: int = 1


Ended = Settle | ParkRow | Release
Plan = Progress | Ended | Complete


def first(work: Work, rules: Rules, now: datetime) -> Plan:
    """The first command for a claimed row, or its outcome when nothing has to be asked of Graph."""
    desired, ledger = work.desired, work.pair
    if _is_outdated(work) and ledger is not None and not desired.sent:
        return Settle(work, ledger, again=bool(ledger.leftovers))
    if _is_incomplete(work, rules):
        return Complete(work)
    pair = ledger or blank_pair(rules.mapping_version)
    if desired.sent:
        pair = replace(pair, leftovers=_suspects(pair, desired.sent, rules.patience))
    # The placeholder is replaced by `_next` before anybody sees it.
    progress = Progress(work, LookForKey(""), Step.LOOK, pair, looked=not desired.sent, commands=0)
    return _next(progress, rules, now)


def after(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    """The next command of a claim, or its outcome, now that its last command was answered."""
    if progress.step is Step.VERIFY:
        return _after_verify(progress, answer, rules, now)
    match answer:
        case NotApplied(after_s, reason):
            return release(progress, after_s, reason)
        case Unknown(reason):
            sent_one = not isinstance(progress.command, LookAtItem | LookForKey)
            return release(progress, UNKNOWN_AFTER_S, reason, unknown=sent_one)
        case Rejected():
            return _after_rejected(progress, answer)
        case Changed() | Found() | Missing() if progress.commands >= MOST_COMMANDS:
            return release(progress, UNKNOWN_AFTER_S, "the item is changing all the time")
        case _:
            pass
    match progress.step:
        case Step.WRITE:
            return _after_write(progress, answer, rules, now)
        case Step.LOOK:
            return _after_look(progress, answer, rules, now)
        case Step.SEARCH:
            return _after_search(progress, answer, rules, now)
        case Step.CLEAN:
            return _after_clean(progress, answer, rules, now)


# --- what is wanted -----------------------------------------------------------------------------------------------


def _is_outdated(work: Work) -> bool:
    """Whether the ledger is above the state. An equal one is done again: reconciled rows carry its position."""
    return work.pair is not None and work.pair.position > work.desired.position


def _is_incomplete(work: Work, rules: Rules) -> bool:
    """Whether the row has to be read before anything can be decided."""
    desired, pair = work.desired, work.pair
    if desired.op == "u" and not _is_outdated(work):
        if desired.mapping_version != rules.mapping_version:
            return True
        # The fields a partial upsert lacks come from the base; a base of another mapping may lack them too.
        has_base = pair is not None and holds_item(pair) and pair.mapping_version == rules.mapping_version
        return desired.partial and not has_base
    return desired.op == "r" and not _is_outdated(work)


def _wanted(work: Work) -> tuple[str | None, Fields] | None:
    """List and fields that should be so; None: no item should be. An outdated state wants what the ledger says."""
    desired, ledger = work.desired, work.pair
    if ledger is not None and _is_outdated(work):
        return (ledger.list_id, ledger.base) if holds_item(ledger) else None
    return None if desired.op == "d" else (desired.list_id, desired.fields)


def _suspects(pair: Pair, sent: Sequence[Sent], patience: timedelta) -> tuple[Leftover, ...]:
    """The pair's leftovers, and the lists where an attempt may have left an item nobody knows of."""
    latest = max(one.at for one in sent) + patience
    # An attempt may also have asked for the removal of a known leftover: noted, should the item be wanted again.
    leftovers = tuple(replace(one, until=latest) if one.item_id is not None else one for one in pair.leftovers)
    alive = pair.list_id if holds_item(pair) else None
    for one in sent:
        if one.op == "u" and one.list_id is not None and one.list_id != alive:
            leftovers = _suspect(leftovers, one.list_id, one.at + patience)
    return leftovers


def _suspect(leftovers: tuple[Leftover, ...], list_id: str, until: datetime) -> tuple[Leftover, ...]:
    """With ``list_id`` among the lists to search, until ``until`` at least."""
    known = [one.until for one in leftovers if one.list_id == list_id and one.item_id is None and one.until]
    rest = tuple(one for one in leftovers if one.list_id != list_id or one.item_id is not None)
    return (*rest, Leftover(list_id, None, max([until, *known])))


# --- what to do next ----------------------------------------------------------------------------------------------


def _next(progress: Progress, rules: Rules, now: datetime) -> Progress | Ended:
    """The next command by what is known now."""
    pair, wanted = progress.pair, _wanted(progress.work)
    held = holds_item(pair)
    if held and pair.list_id and pair.item_id and (not progress.looked or pair.etag is None):
        return _command(progress, LookAtItem(pair.list_id, pair.item_id), Step.LOOK)
    if wanted is None:
        if not held or pair.state in ("kept", "ignored"):
            return _finish(progress, rules, now)
        return _command(progress, DeleteItem(pair.list_id or "", pair.item_id or "", pair.etag), Step.WRITE)
    list_id, fields = wanted
    if list_id is None:
        title = progress.work.desired.target
        return release(progress, LIST_AFTER_S, f"the list '{title}' is not in the applied definition")
    if held and pair.list_id == list_id:
        differing = rules.mapping.differing(fields, pair.base, pair.kept)
        if not differing:
            return _finish(progress, rules, now)
        return _command(progress, UpdateItem(list_id, pair.item_id or "", pair.etag or "", differing), Step.WRITE)
    return _next_create(progress, list_id, fields, rules, now)


def _next_create(progress: Progress, list_id: str, fields: Fields, rules: Rules, now: datetime) -> Progress | Ended:
    """A POST, unless an earlier one may still make the item: then a search, and patience."""
    pair = progress.pair
    suspect = next((one for one in pair.leftovers if one.list_id == list_id and one.item_id is None), None)
    if suspect is not None:
        if list_id not in progress.searched:
            return _command(progress, LookForKey(list_id), Step.SEARCH)
        if suspect.until is not None and now < suspect.until:
            after_s = _patience_s(suspect.until, rules.patience, now)
            return release(progress, after_s, "an earlier POST may still arrive")
    if progress.work.desired.partial:
        fields = {**pair.base, **fields}
    if holds_item(pair):
        old = Leftover(pair.list_id or "", pair.item_id, None, pair.etag)
        return _command(progress, MoveItem(list_id, fields, old), Step.WRITE)
    return _command(progress, CreateItem(list_id, fields), Step.WRITE)


def _finish(progress: Progress, rules: Rules, now: datetime) -> Progress | Ended:
    """Nothing is left to do for the row's own item."""
    if progress.pending_until is not None and now < progress.pending_until:
        # Nothing was written that would make an earlier attempt fail, and it would change what is recorded here.
        after_s = _patience_s(progress.pending_until, rules.patience, now)
        return release(progress, after_s, "an earlier request may still arrive")
    pair = _relevant(_as_settled(progress))
    if pair.leftovers and not progress.learned and not progress.work.desired.sent:
        return _next_leftover(replace(progress, pair=pair), rules, now)
    return Settle(progress.work, pair, progress.writes, bool(pair.leftovers), progress.foreign_edit)


def _next_leftover(progress: Progress, rules: Rules, now: datetime) -> Progress | Ended:
    """The next leftover to remove; all that was sent before is explained and in the ledger."""
    waits = []
    for one in progress.pair.leftovers:
        if one.item_id is None and one.list_id in progress.searched:
            waits.append(_patience_s(one.until or now, rules.patience, now))
        elif one.item_id is None:
            return _command(progress, LookForKey(one.list_id), Step.CLEAN)
        elif one.etag is None:
            return _command(progress, LookAtItem(one.list_id, one.item_id), Step.CLEAN)
        else:
            return _command(progress, DeleteItem(one.list_id, one.item_id, one.etag), Step.CLEAN)
    if waits:
        return release(progress, min(waits), "an earlier POST may still arrive")
    return Settle(progress.work, progress.pair, progress.writes, False, progress.foreign_edit)


def _relevant(pair: Pair) -> Pair:
    """Without leftovers that the live item rules out."""
    if not pair.leftovers or not holds_item(pair) or pair.list_id is None:
        return pair
    return replace(pair, leftovers=without_list(pair.leftovers, pair.list_id, pair.item_id))


def _as_settled(progress: Progress) -> Pair:
    """The pair with the state it now agrees with."""
    work, pair = progress.work, progress.pair
    desired, wanted = work.desired, _wanted(work)
    if _is_outdated(work):
        return pair
    position, xid, version = desired.position, desired.xid, desired.mapping_version
    if wanted is None:
        state = pair.state if holds_item(pair) else "tombstone"
        return replace(pair, state=state, position=position, xid=xid, mapping_version=version)
    base = {**pair.base, **wanted[1]} if desired.partial else dict(wanted[1])
    kept = {name: value for name, value in pair.kept.items() if name in base and base[name] == pair.base.get(name)}
    return replace(pair, state="live", base=base, kept=kept, position=position, xid=xid, mapping_version=version)


# --- answers ------------------------------------------------------------------------------------------------------


def _after_rejected(progress: Progress, answer: Rejected) -> Progress | Ended:
    """A refusal of a POST is looked into first: the unique column may have refused what we already made."""
    if isinstance(progress.command, CreateItem | MoveItem) and answer.status in (400, 409):
        again = progress.rejected is not None and not answer.duplicate
        if not again and progress.commands < MOST_COMMANDS:
            return _command(replace(progress, rejected=answer), LookForKey(progress.command.list_id), Step.SEARCH)
    return _park(progress, "unique_violation" if answer.duplicate else answer.code, answer.sentence)


def _after_write(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    match answer:
        case Written():
            return _after_written(progress, answer, rules, now)
        case Deleted():
            gone = replace(progress.pair, state="tombstone")
            return _finish(_wrote(progress, gone), rules, now)
        case Missing() if not isinstance(progress.command, CreateItem | MoveItem):
            return _after_gone(progress, rules, now)
        case Changed() if not isinstance(progress.command, CreateItem | MoveItem):
            pair = progress.pair
            return _command(progress, LookAtItem(pair.list_id or "", pair.item_id or ""), Step.LOOK)
        case _:
            return release(progress, LIST_AFTER_S, "Graph's answer does not fit the request", unknown=True)


def _after_written(progress: Progress, answer: Written, rules: Rules, now: datetime) -> Progress | Ended:
    command, pair = progress.command, progress.pair
    leftovers = pair.leftovers
    if isinstance(command, UpdateItem):
        base = {**pair.base, **command.fields}
        kept = {name: value for name, value in pair.kept.items() if name not in command.fields}
        if answer.fields is not None:
            otherwise = rules.mapping.differing(command.fields, answer.fields, {})
            kept.update({name: answer.fields.get(name) for name in otherwise})
        made = replace(pair, state="live", base=base, kept=kept)
        if answer.etag is not None and _is_ours(made, answer, rules):
            made = replace(made, etag=answer.etag)
    else:
        if isinstance(command, MoveItem):
            leftovers = (*leftovers, command.old)
        # What a POST's answer shows of the fields is not believed: dates are shown wrong there.
        fields = command.fields if isinstance(command, CreateItem | MoveItem) else {}
        leftovers = without_list(leftovers, command.list_id, answer.item_id)
        made = replace(
            pair, state="live", list_id=command.list_id, item_id=answer.item_id, etag=answer.etag,
            base=dict(fields), kept={}, leftovers=leftovers,
        )  # fmt: skip
    progress = _wrote(progress, made)
    if answer.etag is None:
        return _command(progress, LookAtItem(command.list_id, answer.item_id), Step.VERIFY)
    return _finish(progress, rules, now)


def _is_ours(made: Pair, answer: Written, rules: Rules) -> bool:
    """Whether the version in a PATCH's answer is our write's: one up, or nothing else is in the item."""
    if made.etag is None or answer.etag is None or answer.fields is None:
        return True
    return version_of(answer.etag) == version_of(made.etag) + 1 or is_base(made, answer.fields, rules.mapping)


def _after_verify(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    """The version is taken only if the item still is what we wrote; else the next write meets the edit."""
    if isinstance(answer, Found) and answer.items:
        progress = replace(progress, pair=written(progress.pair, answer.items[0], rules.mapping))
    return _finish(progress, rules, now)


def _after_look(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    match answer:
        case Found((item, *_)):
            pair, sent = progress.pair, progress.work.desired.sent
            if pair.etag is not None and version_of(item.etag) < version_of(pair.etag):
                return _after_stale(progress)
            return _next(_met(progress, meet(pair, sent, item, rules.mapping, rules.patience)), rules, now)
        case _:
            return _after_gone(progress, rules, now)


def _after_stale(progress: Progress) -> Ended:
    """An item older than the ledger's version is a stale page, or of a restored site: nothing is decided."""
    attempts = progress.work.desired.attempts
    if attempts >= MOST_ATTEMPTS:
        return _park(
            progress, "item_older_than_known", "SharePoint shows an older version of this item than was written"
        )
    released = release(progress, min(2.0**attempts, 60.0), "SharePoint shows an older version than was written")
    return replace(released, blame=True)


def _after_gone(progress: Progress, rules: Rules, now: datetime) -> Progress | Ended:
    """The pair's item is 404. A search by key follows: it tells a lost item from a lost list, and finds a lost POST."""
    pair, sent = progress.pair, progress.work.desired.sent
    list_id = pair.list_id or ""
    ends = [one.at + rules.patience for one in sent if one.op == "u" and one.list_id == list_id]
    leftovers = _suspect(pair.leftovers, list_id, max([now, *ends]))
    foreign = _wanted(progress.work) is not None and not any(one.op == "d" for one in sent)
    gone = replace(pair, state="tombstone", leftovers=leftovers)
    progress = replace(
        progress, pair=gone, looked=True, learned=True, pending_until=None,
        searched=progress.searched - {list_id}, foreign_edit=progress.foreign_edit or foreign,
    )  # fmt: skip
    return _next(progress, rules, now)


def _after_search(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    list_id = progress.command.list_id
    found = _own_items(progress, answer)
    if found:
        sent = progress.work.desired.sent
        seen = adopt(progress.pair, list_id, sent, found[0], rules.mapping, rules.patience)
        # Only where the column is not unique (any more) can there be others: each key has one item.
        others = tuple(Leftover(list_id, item.item_id, None, item.etag) for item in found[1:])
        progress = _met(replace(progress, rejected=None), seen)
        known = tuple(one for one in progress.pair.leftovers if one.item_id not in {item.item_id for item in found})
        return _next(_with_leftovers(progress, (*known, *others)), rules, now)
    searched = replace(progress, searched=progress.searched | {list_id})
    refused = progress.rejected
    if refused is not None and (not refused.duplicate or list_id in progress.searched):
        # No item of ours stands in the way: the refusal is about another column, or about the values.
        return _park(searched, "unique_violation" if refused.duplicate else refused.code, refused.sentence)
    return _next(searched, rules, now)


def _after_clean(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    command, pair = progress.command, progress.pair
    match answer, command:
        case Found(), LookForKey(list_id):
            return _after_clean_search(progress, list_id, _own_items(progress, answer), rules, now)
        case Found((item, *_)), LookAtItem(_, item_id):
            changed = (replace(one, etag=item.etag) if one.item_id == item_id else one for one in pair.leftovers)
            progress = _with_leftovers(progress, tuple(changed))
        case Changed(), DeleteItem(_, item_id, _):
            # Whatever somebody wrote into it, the item has left this list.
            changed = (replace(one, etag=None) if one.item_id == item_id else one for one in pair.leftovers)
            progress = _with_leftovers(progress, tuple(changed))
        case _, DeleteItem(list_id, item_id, _) | LookAtItem(list_id, item_id):
            rest = tuple(one for one in pair.leftovers if (one.list_id, one.item_id) != (list_id, item_id))
            progress = replace(_with_leftovers(progress, rest), writes=progress.writes + isinstance(answer, Deleted))
        case _:
            return release(progress, LIST_AFTER_S, "Graph's answer does not fit the request")
    return _next_leftover(progress, rules, now)


def _after_clean_search(
    progress: Progress, list_id: str, found: list[Item], rules: Rules, now: datetime
) -> Progress | Ended:
    """A lost POST's item becomes a leftover with an id; its absence is believed once it is too late to arrive."""
    leftovers = progress.pair.leftovers
    if found:
        one = Leftover(list_id, found[0].item_id, None, found[0].etag)
        return _next_leftover(_with_leftovers(progress, (one, *leftovers)), rules, now)
    progress = replace(progress, searched=progress.searched | {list_id})
    ripe = {one for one in leftovers if one.list_id == list_id and one.item_id is None and (one.until or now) <= now}
    if ripe:
        progress = _with_leftovers(progress, tuple(one for one in leftovers if one not in ripe))
    return _next_leftover(progress, rules, now)


# --- small steps --------------------------------------------------------------------------------------------------


def _command(progress: Progress, command: Command, step: Step) -> Progress:
    return replace(progress, command=command, step=step, commands=progress.commands + 1)


def _wrote(progress: Progress, pair: Pair) -> Progress:
    return replace(progress, pair=pair, learned=True, pending_until=None, writes=progress.writes + 1)


def _met(progress: Progress, seen: Seen) -> Progress:
    return replace(
        progress, pair=seen.pair, looked=True, learned=True, pending_until=seen.pending_until,
        foreign_edit=progress.foreign_edit or seen.foreign,
    )  # fmt: skip


def _with_leftovers(progress: Progress, leftovers: tuple[Leftover, ...]) -> Progress:
    return replace(progress, pair=replace(progress.pair, leftovers=leftovers), learned=True)


def _own_items(progress: Progress, answer: Answer) -> list[Item]:
    """Items with exactly our RowtideKey, oldest first; SharePoint's own comparison ignores case and blanks."""
    if not isinstance(answer, Found):
        return []
    desired = progress.work.desired
    mine = rowtide_key(desired.sync, desired.key)
    return sorted(
        (item for item in answer.items if item.row_key == mine), key=lambda item: (len(item.item_id), item.item_id)
    )


def release(progress: Progress, after_s: float, reason: str, unknown: bool = False) -> Release:
    """Hands the row back, with what was learnt on the way."""
    pair = progress.pair if progress.learned else None
    return Release(progress.work, after_s, unknown, reason=reason, pair=pair)


def _park(progress: Progress, code: str, sentence: str) -> ParkRow:
    return ParkRow(progress.work, code, sentence, pair=progress.pair if progress.learned else None)


def _patience_s(until: datetime, patience: timedelta, now: datetime) -> float:
    """When to look again: at growing intervals, and once it is too late for anything to arrive."""
    left_s = (until - now).total_seconds()
    waited_s = patience.total_seconds() - left_s
    return max(0.2, min(max(waited_s, 0.5), left_s, 15.0))
