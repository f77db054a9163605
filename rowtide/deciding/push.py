"""What to do next for a claimed row, as total functions: no IO, no clock.

In: `Work` (what should be so, and what the ledger knows) and, after each request, the `Answer`. Out: the next command
(`Progress`), or the outcome that settle records. Rules (docs/design.md sections 6 and 7): a state below the ledger's
position is dropped; an uncertain row is looked at before anything is decided; PATCH and DELETE are conditional; a POST
is repeated only after looks that outlast the time it could take; an item left behind stays a leftover until it is known
to be gone. Push-only: PostgreSQL wins, and foreign edits count.

A claim ends with `Settle` only if nothing that was sent before can still change what it records.
"""

from dataclasses import replace
from datetime import datetime

from rowtide.change import Fields
from rowtide.deciding.answers import Answer, Changed, Deleted, Found, Missing, NotApplied, Rejected, Unknown, Written
from rowtide.deciding.commands import CreateItem, DeleteItem, LookAtItem, LookForKey, MoveItem, UpdateItem
from rowtide.deciding.leftovers import add_suspect, after_clean, next_leftover, suspects_of
from rowtide.deciding.observation import (
    adopt_found,
    blank_pair,
    holds_item,
    interpret_look,
    interpret_readback,
    is_base,
    without_list,
)
from rowtide.deciding.outcomes import Complete, Settle
from rowtide.deciding.progress import (
    UNKNOWN_AFTER_S,
    Ended,
    Progress,
    Rules,
    Step,
    command,
    own_items,
    park,
    patience_s,
    release,
    with_leftovers,
    with_observation,
    wrote,
)
from rowtide.deciding.records import Leftover, Pair, Work, version_of
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowError

LIST_AFTER_S = 30.0
"""A row whose list is not to be had waits this long."""
MOST_COMMANDS = 12
"""A claim that needs more is contended: it is released for a moment."""
MOST_ATTEMPTS = 8
"""An item that keeps showing an older version than the ledger's is set aside after so many looks."""

Plan = Progress | Ended | Complete


def first(work: Work, rules: Rules, now: datetime) -> Plan:
    """The first command for a claimed row, or its outcome when nothing has to be asked of Graph."""
    desired, ledger = work.desired, work.pair
    if _is_outdated(work) and ledger is not None and not desired.sent:
        return Settle(work, ledger, again=bool(ledger.leftovers))
    if needs_source(work, rules):
        return Complete(work)
    pair = ledger or blank_pair(rules.mapping_version)
    if desired.sent:
        pair = replace(pair, leftovers=suspects_of(pair, desired.sent, rules.patience))
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
            return after_clean(progress, answer, rules, now)


# --- what is wanted -----------------------------------------------------------------------------------------------


def _is_outdated(work: Work) -> bool:
    """Whether the ledger is above the state. An equal one is done again: reconciled rows carry its position."""
    return work.pair is not None and work.pair.position > work.desired.position


def needs_source(work: Work, rules: Rules) -> bool:
    """Whether the row has to be read from the source before anything can be decided: `first` would say `Complete`."""
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


# --- what to do next ----------------------------------------------------------------------------------------------


def _next(progress: Progress, rules: Rules, now: datetime) -> Progress | Ended:
    """The next command by what is known now."""
    pair, wanted = progress.pair, _wanted(progress.work)
    held = holds_item(pair)
    if held and pair.list_id and pair.item_id and (not progress.looked or pair.etag is None):
        return command(progress, LookAtItem(pair.list_id, pair.item_id), Step.LOOK)
    if wanted is None:
        if not held or pair.state in ("kept", "ignored") or rules.deletes == "ignore":
            return _finish(progress, rules, now)
        return command(progress, DeleteItem(pair.list_id or "", pair.item_id or "", pair.etag), Step.WRITE)
    list_id, fields = wanted
    if list_id is None:
        title = progress.work.desired.target
        return release(progress, LIST_AFTER_S, f"the list '{title}' is not in the applied definition")
    if held and pair.list_id == list_id:
        differing = rules.mapping.differing(fields, pair.base, pair.kept)
        if not differing:
            return _finish(progress, rules, now)
        return command(progress, UpdateItem(list_id, pair.item_id or "", pair.etag or "", differing), Step.WRITE)
    return _next_create(progress, list_id, fields, rules, now)


def _next_create(progress: Progress, list_id: str, fields: Fields, rules: Rules, now: datetime) -> Progress | Ended:
    """A POST, unless an earlier one may still make the item: then a search, and patience."""
    pair = progress.pair
    suspect = next((one for one in pair.leftovers if one.list_id == list_id and one.item_id is None), None)
    if suspect is not None:
        if list_id not in progress.searched:
            return command(progress, LookForKey(list_id), Step.SEARCH)
        if suspect.until is not None and now < suspect.until:
            after_s = patience_s(suspect.until, rules.patience, now)
            return release(progress, after_s, "an earlier POST may still arrive")
    if progress.work.desired.partial:
        fields = {**pair.base, **fields}
    if holds_item(pair):
        old = Leftover(pair.list_id or "", pair.item_id, None, pair.etag)
        return command(progress, MoveItem(list_id, fields, old), Step.WRITE)
    return command(progress, CreateItem(list_id, fields), Step.WRITE)


def _finish(progress: Progress, rules: Rules, now: datetime) -> Progress | Ended:
    """Nothing is left to do for the row's own item."""
    if progress.pending_until is not None and now < progress.pending_until:
        # Nothing was written that would make an earlier attempt fail, and it would change what is recorded here.
        after_s = patience_s(progress.pending_until, rules.patience, now)
        return release(progress, after_s, "an earlier request may still arrive")
    pair = _relevant(_as_settled(progress))
    if pair.leftovers and not progress.learned and not progress.work.desired.sent:
        return next_leftover(replace(progress, pair=pair), rules, now)
    return Settle(progress.work, pair, progress.writes, bool(pair.leftovers), progress.foreign_edit)


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
        # A row is gone and its item is not: it was left there on purpose.
        left = "ignored" if pair.state == "live" else pair.state
        state = left if holds_item(pair) else "tombstone"
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
            return command(replace(progress, rejected=answer), LookForKey(progress.command.list_id), Step.SEARCH)
    return park(progress, _why_refused(answer))


def _why_refused(answer: Rejected) -> RowError:
    if answer.duplicate:
        return row_errors.UNIQUE_VIOLATION(sentence=answer.sentence)
    return row_errors.GRAPH_REFUSED_ROW(code=answer.code, sentence=answer.sentence)


def _after_write(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    match answer:
        case Written():
            return _after_written(progress, answer, rules, now)
        case Deleted():
            gone = replace(progress.pair, state="tombstone")
            return _finish(wrote(progress, gone), rules, now)
        case Missing() if not isinstance(progress.command, CreateItem | MoveItem):
            return _after_gone(progress, rules, now)
        case Changed() if not isinstance(progress.command, CreateItem | MoveItem):
            pair = progress.pair
            return command(progress, LookAtItem(pair.list_id or "", pair.item_id or ""), Step.LOOK)
        case _:
            return release(progress, LIST_AFTER_S, "Graph's answer does not fit the request", unknown=True)


def _after_written(progress: Progress, answer: Written, rules: Rules, now: datetime) -> Progress | Ended:
    done, pair = progress.command, progress.pair
    leftovers = pair.leftovers
    if isinstance(done, UpdateItem):
        base = {**pair.base, **done.fields}
        kept = {name: value for name, value in pair.kept.items() if name not in done.fields}
        if answer.fields is not None:
            otherwise = rules.mapping.differing(done.fields, answer.fields, {})
            kept.update({name: answer.fields.get(name) for name in otherwise})
        made = replace(pair, state="live", base=base, kept=kept)
        if answer.etag is not None and _is_ours(made, answer, rules):
            made = replace(made, etag=answer.etag)
    else:
        if isinstance(done, MoveItem):
            leftovers = (*leftovers, done.old)
        # What a POST's answer shows of the fields is not believed: dates are shown wrong there.
        fields = done.fields if isinstance(done, CreateItem | MoveItem) else {}
        leftovers = without_list(leftovers, done.list_id, answer.item_id)
        made = replace(
            pair, state="live", list_id=done.list_id, item_id=answer.item_id, etag=answer.etag,
            base=dict(fields), kept={}, leftovers=leftovers,
        )  # fmt: skip
    progress = wrote(progress, made)
    if answer.etag is None:
        return command(progress, LookAtItem(done.list_id, answer.item_id), Step.VERIFY)
    return _finish(progress, rules, now)


def _is_ours(made: Pair, answer: Written, rules: Rules) -> bool:
    """Whether the version in a PATCH's answer is our write's: one up, or nothing else is in the item."""
    if made.etag is None or answer.etag is None or answer.fields is None:
        return True
    return version_of(answer.etag) == version_of(made.etag) + 1 or is_base(made, answer.fields, rules.mapping)


def _after_verify(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    """The version is taken only if the item still is what we wrote; else the next write meets the edit."""
    if isinstance(answer, Found) and answer.items:
        progress = replace(progress, pair=interpret_readback(progress.pair, answer.items[0], rules.mapping))
    return _finish(progress, rules, now)


def _after_look(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    match answer:
        case Found((item, *_)):
            pair, sent = progress.pair, progress.work.desired.sent
            if pair.etag is not None and version_of(item.etag) < version_of(pair.etag):
                return _after_stale(progress)
            return _next(
                with_observation(progress, interpret_look(pair, sent, item, rules.mapping, rules.patience)), rules, now
            )
        case _:
            return _after_gone(progress, rules, now)


def _after_stale(progress: Progress) -> Ended:
    """An item older than the ledger's version is a stale page, or of a restored site: nothing is decided."""
    attempts = progress.work.desired.attempts
    if attempts >= MOST_ATTEMPTS:
        return park(progress, row_errors.ITEM_OLDER_THAN_KNOWN())
    released = release(progress, min(2.0**attempts, 60.0), "SharePoint shows an older version than was written")
    return replace(released, blame=True)


def _after_gone(progress: Progress, rules: Rules, now: datetime) -> Progress | Ended:
    """The pair's item is 404. A search by key follows: it tells a lost item from a lost list, and finds a lost POST."""
    pair, sent = progress.pair, progress.work.desired.sent
    list_id = pair.list_id or ""
    ends = [one.at + rules.patience for one in sent if one.op == "u" and one.list_id == list_id]
    leftovers = add_suspect(pair.leftovers, list_id, max([now, *ends]))
    foreign = _wanted(progress.work) is not None and not any(one.op == "d" for one in sent)
    gone = replace(pair, state="tombstone", leftovers=leftovers)
    progress = replace(
        progress, pair=gone, looked=True, learned=True, pending_until=None,
        searched=progress.searched - {list_id}, foreign_edit=progress.foreign_edit or foreign,
    )  # fmt: skip
    return _next(progress, rules, now)


def _after_search(progress: Progress, answer: Answer, rules: Rules, now: datetime) -> Progress | Ended:
    list_id = progress.command.list_id
    found = own_items(progress, answer)
    if found:
        sent = progress.work.desired.sent
        seen = adopt_found(progress.pair, list_id, sent, found[0], rules.mapping, rules.patience)
        # Only where the column is not unique (any more) can there be others: each key has one item.
        others = tuple(Leftover(list_id, item.item_id, None, item.etag) for item in found[1:])
        progress = with_observation(replace(progress, rejected=None), seen)
        # Ids are the list's own: an item of another list may have the same.
        ours = {(list_id, item.item_id) for item in found}
        known = tuple(one for one in progress.pair.leftovers if (one.list_id, one.item_id) not in ours)
        return _next(with_leftovers(progress, (*known, *others)), rules, now)
    searched = replace(progress, searched=progress.searched | {list_id})
    refused = progress.rejected
    if refused is not None and (not refused.duplicate or list_id in progress.searched):
        # No item of ours stands in the way: the refusal is about another column, or about the values.
        return park(searched, _why_refused(refused))
    return _next(searched, rules, now)
