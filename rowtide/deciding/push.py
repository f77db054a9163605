"""What to do next for a claimed row, as total functions: no IO, no clock.

In: `Work` (what is wanted, and what the ledger knows) and, after each request, the `Answer`. Out: the next command
(`InFlight`), or the outcome that settle records. Rules (docs/design.md sections 6 and 7): a state below the ledger's
position is dropped; an uncertain row is looked at before anything is decided; a search by key follows a refused POST,
before the refusal is believed; an item left behind stays a leftover until it is known to be gone.
rowtide.deciding.conflicts says who wins.

Each answer has one meaning for each step. ``Found`` are items with our key, ``None`` is a look that shows none::

    ==========  =============  =======  =======  ==========  ==========  =======  ==========  =======  ============
    Step        Written        Deleted  Missing  Changed     Found       None     NotApplied  Unknown  Rejected
    ==========  =============  =======  =======  ==========  ==========  =======  ==========  =======  ============
    Post        Verify Settle  unsure   unsure   unsure      unsure      unsure   wait        unsure   Search Park
    Patch       Verify Settle  unsure   Search   Look        unsure      unsure   wait        unsure   Park
    Remove      unsure         Settle   Settle   Look        unsure      unsure   wait        unsure   Park
    Look        wait           wait     gone     wait        seen        gone     wait        wait     Park
    Search      wait           wait     wait     wait        either      nothing  wait        wait     Park
    Verify      Settle         Settle   Settle   Settle      Settle      Settle   Settle      Settle   Settle
    RemoveLeft  unsure         left     left     LookAtLeft  unsure      unsure   wait        unsure   Park
    LookAtLeft  wait           wait     left     wait        RemoveLeft  left     wait        wait     Park
    SearchLost  wait           wait     wait     wait        left        left     wait        wait     Park
    FreeKey     freed          unsure   freed    LookAtKey   unsure      unsure   wait        unsure   Park
    LookAtKey   wait           wait     freed    wait        again       freed    wait        wait     Park
    ==========  =============  =======  =======  ==========  ==========  =======  ==========  =======  ============

    wait     Release: the command is known not to have changed anything
    unsure   Release: the command may have been carried out, the row stays uncertain
    seen     Post Patch Remove Search Settle wait Park
    gone     Post Search Settle wait
    ours     Patch Settle wait
    nothing  Post wait Park
    either   ours nothing
    left     RemoveLeft LookAtLeft SearchLost Settle wait
    freed    Post Patch Remove Look Search FreeKey Settle wait
    again    freed

A claim is released when a look or a 412 would bring about more than `MOST_COMMANDS` commands.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from rowtide.backoff import wait_s
from rowtide.change import Fields
from rowtide.deciding import conflicts
from rowtide.deciding.answers import (
    Answer,
    Changed,
    Deleted,
    Fact,
    Found,
    Item,
    Missing,
    NotApplied,
    Rejected,
    Unknown,
    Written,
)
from rowtide.deciding.commands import LookAtItem, LookForKey, MoveItem
from rowtide.deciding.conflicts import Conflict, Winner
from rowtide.deciding.in_flight import (
    Ended,
    FreeKey,
    InFlight,
    Known,
    Look,
    LookAtKey,
    LookAtLeft,
    Patch,
    Post,
    Remove,
    RemoveLeft,
    Rules,
    Search,
    SearchLost,
    Step,
    Verify,
    ask,
    is_write,
    look,
    of_asked_item,
    own_items,
    park,
    release,
    release_misfit,
    with_leftovers,
    with_observation,
    wrote,
)
from rowtide.deciding.leftovers import (
    after_free_key,
    after_look_at_key,
    after_look_at_left,
    after_remove_left,
    after_search_lost,
    with_attempts,
    with_lost_post,
    with_nothing_found,
)
from rowtide.deciding.observation import (
    adopt_found,
    interpret_look,
    interpret_readback,
    is_base,
    is_item,
    without_item,
)
from rowtide.deciding.outcomes import Complete, Release, Settle
from rowtide.deciding.records import (
    Arriving,
    AsOf,
    ETag,
    Held,
    LeftItem,
    ListId,
    NoItem,
    PairedItem,
    Standing,
    Work,
    is_next_version,
    version_of,
)
from rowtide.deciding.wanted import finish, is_outdated, leaves_item, next_command, wanted, with_marks, without_held
from rowtide.error_catalogue import row_errors
from rowtide.errors import STALE, RowError
from rowtide.position import Position

UNKNOWN_AFTER_S = 1.0
"""Seconds until the item of an attempt with an unknown end is looked at for the first time."""
ARRIVING_AFTER_S = 1.0
"""Seconds that a row waits while an item that a person made is being inserted into PostgreSQL."""
MOST_COMMANDS = 12
"""A claim that needs more commands is contended, and is released for a moment."""
MOST_ATTEMPTS = 8
"""A row whose item keeps showing an older version than the ledger's is parked after so many looks."""

Plan = InFlight | Ended | Complete


def first(work: Work, rules: Rules, now: datetime) -> Plan:
    """The first command for a claimed row, or its outcome when nothing has to be asked of Graph."""
    if rules.held:
        work = without_held(work, rules)
    work = with_marks(work, rules)
    desired, ledger = work.desired, work.pair
    if isinstance(ledger, Arriving):
        return Release(work, ARRIVING_AFTER_S, unknown=False, reason="its item is on its way into PostgreSQL")
    pair = ledger or NoItem(AsOf(Position(0, 0, 0), 0, rules.mapping_version))
    if not desired.sent and not pair.leftovers and is_outdated(work):
        return Settle(work, pair)
    if needs_source(work, rules):
        return Complete(work)
    if desired.sent:
        pair = replace(pair, leftovers=with_attempts(pair, desired.sent, rules.patience))
    return next_command(Known(work, pair, looked=not desired.sent), rules, now)


def needs_source(work: Work, rules: Rules) -> bool:
    """Whether the row has to be read from the source before anything can be decided (`first` says `Complete`)."""
    desired, pair = work.desired, work.pair
    if desired.op == "d" or isinstance(pair, Arriving) or is_outdated(work):
        return False
    if desired.op == "r" or desired.mapping_version != rules.mapping_version:
        return True
    # The fields a partial upsert lacks come from the base; a base of another mapping may lack them too.
    has_base = isinstance(pair, Held) and pair.as_of.mapping_version == rules.mapping_version
    return desired.partial and not has_base


def after(in_flight: InFlight, answer: Answer, rules: Rules, now: datetime) -> InFlight | Ended:
    """The next command of a claim, or its outcome, now that its last command was answered."""
    answer = of_asked_item(in_flight.step, answer)
    plan = _after(in_flight.known, in_flight.step, answer, rules, now)
    contended = in_flight.known.commands >= MOST_COMMANDS and isinstance(answer, Changed | Found | Missing)
    if contended and isinstance(plan, InFlight):
        return release(plan.known, UNKNOWN_AFTER_S, "the item is changing all the time", grows=True)
    return plan


def _after(known: Known, step: Step, answer: Answer, rules: Rules, now: datetime) -> InFlight | Ended:
    match answer:
        case Written() | Deleted() | Missing() | Changed() | Found():
            return _after_fact(known, step, answer, rules, now)
        case _ if isinstance(step, Verify):
            return finish(known, rules, now)
        case NotApplied(after_s, reason, of_row):
            # Under another mapping it is read anew first, perhaps for another list: nothing is to be waited for.
            return release(known, 0.0 if needs_source(known.work, rules) else after_s, reason, grows=of_row)
        case Unknown(reason, of_row):
            return release(known, UNKNOWN_AFTER_S, reason, is_write(step), grows=of_row)
        case Rejected():
            return _after_rejected(known, step, answer)
        case _:
            assert_never(answer)


def _after_fact(known: Known, step: Step, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    match step:
        case Post():
            return _after_post(known, step, fact, rules, now)
        case Patch():
            return _after_patch(known, step, fact, rules, now)
        case Remove():
            return _after_remove(known, step, fact, rules, now)
        case Look():
            return _after_look(known, step, fact, rules, now)
        case Search():
            return _after_search(known, step, fact, rules, now)
        case Verify():
            return _after_verify(known, step, fact, rules, now)
        case RemoveLeft():
            return after_remove_left(known, step, fact, rules, now)
        case LookAtLeft():
            return after_look_at_left(known, step, fact, rules, now)
        case SearchLost():
            return after_search_lost(known, step, fact, rules, now)
        case FreeKey():
            return _with_key_free(after_free_key(known, step, fact), rules, now)
        case LookAtKey():
            return _with_key_free(after_look_at_key(known, step, fact), rules, now)
        case _:
            assert_never(step)


def _with_key_free(found: Known | InFlight | Ended, rules: Rules, now: datetime) -> InFlight | Ended:
    return next_command(found, rules, now) if isinstance(found, Known) else found


# --- the row's own item is written --------------------------------------------------------------------------------


def _after_post(known: Known, step: Post, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    match fact:
        case Written(item_id, etag):
            done, leftovers = step.command, known.pair.leftovers
            if isinstance(done, MoveItem):
                leftovers = (*leftovers, done.old)
            leftovers = without_item(leftovers, done.list_id, item_id)
            # The fields in a POST's answer are not believed: it shows dates wrong.
            item = PairedItem(done.list_id, item_id, etag, dict(done.fields), {})
            return _after_written(known, Held(known.pair.as_of, item, leftovers=leftovers), etag, rules, now)
        case Deleted() | Missing() | Changed() | Found():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def _after_patch(known: Known, step: Patch, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    match fact:
        case Written(_, etag):
            item = _patched(step.held.item, step.command.fields, fact, rules)
            return _after_written(known, replace(step.held, item=item, standing=Standing.LIVE), etag, rules, now)
        case Missing():
            return _after_gone(known, step.held, rules, now)
        case Changed():
            return look(known, step.held)
        case Deleted() | Found():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def _after_remove(known: Known, step: Remove, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    held = step.held
    match fact:
        case Deleted():
            return finish(wrote(known, NoItem(held.as_of, held.item, held.leftovers)), rules, now)
        case Missing():
            return _after_gone(known, held, rules, now)
        case Changed():
            return look(known, held)
        case Written() | Found():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def _patched(item: PairedItem, fields: Fields, answer: Written, rules: Rules) -> PairedItem:
    """The item after our PATCH, with its new version only if that version is our write's."""
    kept = {name: value for name, value in item.kept.items() if name not in fields}
    if answer.fields is not None:
        otherwise = rules.mapping.differing(fields, answer.fields, {})
        kept.update({name: answer.fields.get(name) for name in otherwise})
    made = replace(item, base={**item.base, **fields}, kept=kept)
    if answer.etag is None or not _is_ours(made, answer, answer.etag, rules):
        return made
    return replace(made, etag=answer.etag)


def _is_ours(made: PairedItem, answer: Written, etag: ETag, rules: Rules) -> bool:
    """Whether the version in a PATCH's answer is our write's: one above ours, or the item holds nothing else."""
    if made.etag is None or answer.fields is None:
        return True
    return is_next_version(etag, made.etag) or is_base(made, answer.fields, rules.mapping)


def _after_written(known: Known, made: Held, shown: ETag | None, rules: Rules, now: datetime) -> InFlight | Ended:
    """The end of the claim, or a look at the version that our write left when the answer did not show it."""
    known = wrote(known, made)
    if shown is None:
        return ask(known, Verify(LookAtItem(made.item.list_id, made.item.item_id), made))
    return finish(known, rules, now)


def _after_verify(known: Known, step: Verify, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    """The claim goes on or ends. The version is taken only from what we wrote; else the next write meets the edit."""
    if isinstance(fact, Found) and fact.items:
        known = replace(known, pair=interpret_readback(step.held, fact.items[0], rules.mapping))
    return finish(known, rules, now)


def _after_rejected(known: Known, step: Step, answer: Rejected) -> InFlight | Ended:
    """A search by key after a refused POST: the unique column may have refused what we already made. Else park."""
    if isinstance(step, Post) and answer.status in (400, 409):
        again = known.rejected is not None and not answer.duplicate
        if not again and known.commands < MOST_COMMANDS:
            return ask(replace(known, rejected=answer), Search(LookForKey(step.command.list_id)))
    return park(known, _why_refused(answer))


def _why_refused(answer: Rejected) -> RowError:
    if answer.duplicate:
        return row_errors.UNIQUE_VIOLATION(sentence=answer.sentence)
    return row_errors.GRAPH_REFUSED_ROW(code=answer.code, sentence=answer.sentence)


# --- the row's own item is looked for -----------------------------------------------------------------------------


def _after_look(known: Known, step: Look, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    held = step.held
    match fact:
        case Found((item, *_)):
            if version_of(item.etag) < version_of(held.item.etag):
                return _after_stale(known)
            observation = interpret_look(held, known.work.desired.sent, item, rules.mapping, rules.patience)
            known = with_observation(known, observation)
            return next_command(_with_edit(known, rules) if observation.foreign else known, rules, now)
        case Found() | Missing():
            return _after_gone(known, held, rules, now)
        case Written() | Deleted() | Changed():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def _after_search(known: Known, step: Search, fact: Fact, rules: Rules, now: datetime) -> InFlight | Ended:
    match fact:
        case Found(items):
            found = own_items(known.work, items)
            list_id = step.command.list_id
            if found:
                return next_command(adopted(known, list_id, found, rules), rules, now)
            return _after_nothing_found(known, list_id, rules, now)
        case Written() | Deleted() | Missing() | Changed():
            return release_misfit(known, step)
        case _:
            assert_never(fact)


def adopted(known: Known, list_id: ListId, found: Sequence[Item], rules: Rules) -> Known:
    """What is known with the oldest item of our key as the row's own; any others become leftovers."""
    sent = known.work.desired.sent
    observation = adopt_found(known.pair, list_id, sent, found[0], rules.mapping, rules.patience)
    known = with_observation(replace(known, rejected=None), observation)
    if observation.foreign:
        known = _with_edit(known, rules)
    # There can be others only where the column is not unique (any more): each key has one item.
    others = tuple(LeftItem(list_id, item.item_id, item.etag) for item in found[1:])
    rest = tuple(one for one in known.pair.leftovers if not any(is_item(one, list_id, item.item_id) for item in found))
    return with_leftovers(known, (*rest, *others))


def _after_nothing_found(known: Known, list_id: ListId, rules: Rules, now: datetime) -> InFlight | Ended:
    refused = known.rejected
    before, known = known.searched, with_nothing_found(known, list_id, now)
    if refused is not None and (not refused.duplicate or list_id in before):
        # No item of ours stands in the way: the refusal is about another column, or about the values.
        return park(known, _why_refused(refused))
    return next_command(known, rules, now)


def _after_stale(known: Known) -> Ended:
    """A release, or after many looks a park. An item older than the ledger's is a stale page or of a restored site."""
    attempts = known.work.desired.attempts
    if attempts >= MOST_ATTEMPTS:
        return park(known, row_errors.ITEM_OLDER_THAN_KNOWN())
    released = release(known, wait_s(STALE, attempts + 1), "SharePoint shows an older version than was written")
    return replace(released, blame=True)


def _after_gone(known: Known, held: Held, rules: Rules, now: datetime) -> InFlight | Ended:
    """A search by key after the item's 404: it tells a lost item from a lost list, and finds a lost POST."""
    sent, list_id = known.work.desired.sent, held.item.list_id
    ends = [one.at + rules.patience for one in sent if one.op == "u" and one.list_id == list_id]
    gone = NoItem(held.as_of, held.item, with_lost_post(held.leftovers, list_id, max([now, *ends])))
    if wanted(known.work) is not None and not any(one.op == "d" for one in sent):
        known = _with_conflict(known, Conflict.UPDATE_DELETED, rules)
    known = replace(
        known, pair=gone, looked=True, learned=True, pending_until=None, searched=known.searched - {list_id}
    )  # fmt: skip
    return next_command(known, rules, now)


# --- conflicts ----------------------------------------------------------------------------------------------------


def _with_edit(known: Known, rules: Rules) -> Known:
    """What is known once a person's edit of the row's own item was met. Nobody wins an item that stays as it is."""
    if wanted(known.work) is not None:
        return _with_conflict(known, Conflict.UPDATE_DIFFERING, rules)
    if isinstance(known.pair, Held) and leaves_item(known.pair, rules):
        return known
    return _with_conflict(known, Conflict.DELETE_UPDATED, rules)


def _with_conflict(known: Known, conflict: Conflict, rules: Rules) -> Known:
    match conflicts.winner(conflict, rules.policy):
        case Winner.POSTGRES:
            return replace(known, foreign_edit=True)
        case other:
            assert_never(other)
