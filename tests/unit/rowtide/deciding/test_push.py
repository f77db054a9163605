"""Each interleaving that push closes, by name."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rowtide.deciding import push
from rowtide.deciding.answers import (
    Answer,
    Changed,
    Deleted,
    Found,
    Item,
    Missing,
    NotApplied,
    Rejected,
    Unknown,
    Written,
)
from rowtide.deciding.commands import Command, CreateItem, DeleteItem, LookAtItem, LookForKey, MoveItem, UpdateItem
from rowtide.deciding.in_flight import InFlight
from rowtide.deciding.outcomes import Complete, ParkRow, Release, Settle
from rowtide.deciding.push import Plan
from rowtide.deciding.records import (
    Arriving,
    AsOf,
    Desired,
    ETag,
    Held,
    ItemId,
    LeftItem,
    LostPost,
    NoItem,
    Pair,
    PairedItem,
    Standing,
    Work,
    WrongKey,
    is_same_item,
)
from rowtide.keys import ROWTIDE_KEY
from rowtide.position import Position
from tests.unit.rowtide.deciding.rows import BASE, ITEM, NEW, NOW, RULES, A, B, C, desired, g, h, held, item, sent


def run(work: Work, *answers: Answer, now: datetime = NOW) -> tuple[list[Command], Plan]:
    """The commands that these answers bring about, and what comes after the last one."""
    plan = push.first(work, RULES, now)
    commands: list[Command] = []
    for answer in answers:
        assert isinstance(plan, InFlight), plan
        commands.append(plan.command)
        plan = push.after(plan, answer, RULES, now)
    return commands, plan


def ended(plan: Plan) -> Settle:
    assert isinstance(plan, Settle), plan
    return plan


def paired(plan: Plan) -> PairedItem:
    """The item that is settled."""
    pair = ended(plan).pair
    assert isinstance(pair, Held)
    return pair.item


def standing_of(plan: Plan) -> Standing:
    pair = ended(plan).pair
    assert isinstance(pair, Held)
    return pair.standing


# --- certain rows -------------------------------------------------------------------------------------------------


def test_no_pair_is_created() -> None:
    commands, plan = run(Work(desired(), None), Written(ITEM, g(1)))
    assert commands == [CreateItem(A, {"a": "2", "b": "x"})]
    settled = ended(plan)
    item = PairedItem(A, ITEM, g(1), {"a": "2", "b": "x"}, {})
    assert settled.pair == Held(AsOf(Position(1, 20, 0), 9, 7), item)
    assert (settled.writes, settled.again, settled.foreign_edit) == (1, False, False)


def test_only_what_differs_is_written() -> None:
    commands, plan = run(Work(desired(), held()), Written(ITEM, g(4), {"a": "2", "b": "x"}))
    assert commands == [UpdateItem(A, ITEM, g(3), {"a": "2"})]
    assert paired(plan).etag == g(4)


def test_nothing_differs_and_nothing_is_written() -> None:
    plan = push.first(Work(desired(fields={"a": "1", "b": "x"}), held()), RULES, NOW)
    assert ended(plan).writes == 0
    assert ended(plan).pair.as_of.position == Position(1, 20, 0)


def test_a_state_below_the_ledger_is_dropped_but_an_equal_one_is_done() -> None:
    above = held(position=Position(1, 20, 1))
    assert ended(push.first(Work(desired(), above), RULES, NOW)).pair == above
    assert isinstance(push.first(Work(desired(), held(position=Position(1, 20, 0))), RULES, NOW), InFlight)


def test_a_delete_without_a_pair_leaves_a_tombstone() -> None:
    settled = ended(push.first(Work(desired("d", None), None), RULES, NOW))
    assert (settled.pair, settled.writes) == (NoItem(AsOf(Position(1, 20, 0), 9, 7)), 0)


def test_a_delete_is_conditional_and_keeps_id_and_version() -> None:
    commands, plan = run(Work(desired("d", None), held()), Deleted())
    assert commands == [DeleteItem(A, ITEM, g(3))]
    assert ended(plan).pair == NoItem(AsOf(Position(1, 20, 0), 9, 7), held().item)


@pytest.mark.parametrize("standing", [Standing.KEPT, Standing.IGNORED])
def test_refused_deletes_are_not_sent(standing: Standing) -> None:
    settled = ended(push.first(Work(desired("d", None), held(standing=standing)), RULES, NOW))
    assert (standing_of(settled), settled.writes) == (standing, 0)


IGNORING = replace(RULES, deletes="ignore")


def test_an_ignored_delete_leaves_the_item_and_the_next_upsert_takes_it_up_again() -> None:
    settled = ended(push.first(Work(desired("d", None), held()), IGNORING, NOW))
    assert (standing_of(settled), paired(settled).item_id, settled.writes) == (Standing.IGNORED, ITEM, 0)
    assert settled.pair.as_of.position == Position(1, 20, 0)
    plan = push.first(Work(desired(position=Position(1, 30, 0)), settled.pair), IGNORING, NOW)
    assert isinstance(plan, InFlight)
    assert plan.command == UpdateItem(A, ITEM, g(3), {"a": "2"})
    plan = push.after(plan, Written(ITEM, g(4), {"a": "2", "b": "x"}), IGNORING, NOW)
    assert standing_of(plan) is Standing.LIVE


def test_an_edit_of_an_item_that_is_left_where_it_is_is_nobodys_loss() -> None:
    uncertain = Work(desired("d", None, sent=(sent("d", None, age_s=200),)), held())
    plan = push.first(uncertain, IGNORING, NOW)
    assert isinstance(plan, InFlight)
    settled = ended(push.after(plan, Found((item(8, b="theirs"),)), IGNORING, NOW))
    assert (standing_of(settled), settled.writes, settled.foreign_edit) == (Standing.IGNORED, 0, False)
    _, plan = run(uncertain, Found((item(8, b="theirs"),)), Deleted())
    assert ended(plan).foreign_edit


def test_an_outdated_delete_ignores_nothing() -> None:
    above = held(position=Position(1, 20, 1))
    assert ended(push.first(Work(desired("d", None), above), IGNORING, NOW)).pair == above


def test_an_ignored_delete_of_an_item_that_is_gone_leaves_a_tombstone() -> None:
    plan = push.first(Work(desired("d", None, sent=(sent(),)), held()), IGNORING, NOW)
    assert isinstance(plan, InFlight)
    assert isinstance(ended(push.after(plan, Missing(), IGNORING, NOW)).pair, NoItem)


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        (desired("r", None), None),
        (desired(mapping_version=6), held()),
        (desired(partial=True), None),
        (desired(partial=True), NoItem(held().as_of, held().item)),
        (desired(partial=True), held(mapping_version=6)),
    ],
)
def test_what_cannot_be_known_is_read(wanted: Desired, known: Pair | None) -> None:
    assert isinstance(push.first(Work(wanted, known), RULES, NOW), Complete)
    assert push.needs_source(Work(wanted, known), RULES)


def test_what_is_outdated_needs_no_reading() -> None:
    """Whatever the source says now, the ledger already has something newer."""
    above = held(position=Position(1, 20, 1))
    for wanted in (desired("r", None), desired(mapping_version=6), desired(partial=True), desired("d", None)):
        assert not push.needs_source(Work(wanted, above), RULES)


def test_a_partial_move_takes_the_rest_from_the_base() -> None:
    commands, _ = run(Work(desired(list_id=B, partial=True, fields={"a": "2"}), held()), NotApplied(1.0, ""))
    assert commands == [MoveItem(B, {"a": "2", "b": "x"}, LeftItem(A, ITEM, g(3), None, BASE, {}))]


def test_a_row_waits_for_the_item_that_is_arriving() -> None:
    arriving = Arriving(held().as_of, held().item)
    for wanted in (desired(), desired("d", None), desired("r", None), desired(sent=(sent(),))):
        plan = push.first(Work(wanted, arriving), RULES, NOW)
        assert isinstance(plan, Release)
        assert (plan.unknown, plan.pair) == (False, None)
        assert not push.needs_source(Work(wanted, arriving), RULES)


def test_a_list_nobody_knows_waits() -> None:
    plan = push.first(Work(desired(list_id=None, target="Gone"), None), RULES, NOW)
    assert isinstance(plan, Release)
    assert not plan.unknown
    assert "'Gone'" in plan.reason


# --- moves and leftovers ------------------------------------------------------------------------------------------


def test_a_move_is_settled_before_the_old_item_goes() -> None:
    _, plan = run(Work(desired(list_id=B), held()), Written(NEW, h(1)))
    settled = ended(plan)
    assert settled.again
    assert settled.pair.leftovers == (LeftItem(A, ITEM, g(3), None, BASE, {}),)
    commands, plan = run(Work(desired(list_id=B), settled.pair), Deleted())
    assert commands == [DeleteItem(A, ITEM, g(3))]
    assert (ended(plan).pair.leftovers, ended(plan).again) == ((), False)


def test_a_leftover_is_removed_whatever_it_holds_but_conditionally() -> None:
    moved = held(list_id=B, item_id=NEW, leftovers=(LeftItem(A, ITEM, g(3)),))
    work = Work(desired(list_id=B, fields=dict(moved.item.base)), moved)
    commands, plan = run(work, Changed(), Found((item(5, a="theirs"),)), Deleted())
    assert commands == [DeleteItem(A, ITEM, g(3)), LookAtItem(A, ITEM), DeleteItem(A, ITEM, g(5))]
    assert ended(plan).pair.leftovers == ()


def test_an_unknown_end_of_a_leftovers_delete_stays_known() -> None:
    moved = held(list_id=B, item_id=NEW, leftovers=(LeftItem(A, ITEM, g(3)),))
    _, plan = run(Work(desired(list_id=B, fields=dict(moved.item.base)), moved), Unknown("lost"))
    assert isinstance(plan, Release)
    assert plan.unknown


def test_a_row_that_moves_back_adopts_its_leftover() -> None:
    moved = held(list_id=B, item_id=NEW, etag=h(1), leftovers=(LeftItem(A, ITEM, g(3)),))
    refused = Rejected(400, "invalidRequest", "duplicate value", duplicate=True)
    commands, plan = run(Work(desired(), moved), refused, Found((item(3),)), Written(ITEM, g(4), {"a": "2", "b": "x"}))
    assert [type(command) for command in commands] == [MoveItem, LookForKey, UpdateItem]
    settled = ended(plan)
    assert (paired(settled).list_id, paired(settled).item_id, settled.again) == (A, ITEM, True)
    assert settled.pair.leftovers == (LeftItem(B, NEW, h(1), None, BASE, {}),)


def test_ids_are_the_lists_own() -> None:
    """An uncertain move whose new item has the old one's number: they are two items all the same."""
    work = Work(desired(list_id=B, sent=(sent(list_id=B),)), held())
    commands, plan = run(work, Found((item(3),)), Found((item(1, by_app=True, a="2"),)))
    assert commands == [LookAtItem(A, ITEM), LookForKey(B)]
    assert (paired(plan).list_id, paired(plan).item_id, ended(plan).again) == (B, ITEM, True)
    assert ended(plan).pair.leftovers == (LeftItem(A, ITEM, g(3), None, BASE, {}),)
    both = (LeftItem(A, ItemId("7"), g(1)), LeftItem(C, ItemId("7"), h(1)))
    moved = Work(desired(list_id=B, fields={"a": "1", "b": "x"}), held(list_id=B, leftovers=both))
    commands, _ = run(moved, Changed(), Found((item(5, ItemId("7")),)), Deleted(), Deleted())
    assert commands[2:] == [DeleteItem(A, ItemId("7"), g(5)), DeleteItem(C, ItemId("7"), h(1))]


# --- uncertain rows -----------------------------------------------------------------------------------------------


def test_an_uncertain_create_is_looked_for_not_repeated() -> None:
    commands, plan = run(Work(desired(sent=(sent(),)), None), Found((item(1, by_app=True, a="2"),)))
    assert commands == [LookForKey(A)]
    assert (ended(plan).writes, paired(plan).item_id, ended(plan).foreign_edit) == (0, ITEM, False)


def test_absence_is_believed_only_when_nothing_can_arrive_any_more() -> None:
    _, early = run(Work(desired(sent=(sent(age_s=99),)), None), Found(()))
    assert isinstance(early, Release)
    assert not early.unknown  # this claim sent nothing: its own attempt must not keep the row waiting
    assert early.after_s <= 1.0
    commands, _ = run(Work(desired(sent=(sent(age_s=100),)), None), Found(()), NotApplied(0.0, ""))
    assert [type(command) for command in commands] == [LookForKey, CreateItem]


def test_looks_are_spread_over_the_time_it_may_take() -> None:
    waits = []
    for age_s in (0, 1, 5, 30, 90):
        _, plan = run(Work(desired(sent=(sent(age_s=age_s),)), None), Found(()))
        assert isinstance(plan, Release)
        waits.append(plan.after_s)
    assert waits == [0.5, 1.0, 5.0, 15.0, 10.0]


def test_a_lost_post_in_another_list_is_kept_as_a_leftover() -> None:
    for wanted in (desired("d", None, sent=(sent(list_id=B),)), desired(sent=(sent(list_id=B),))):
        answers = () if wanted.op == "d" else (Written(ITEM, g(1)),)
        _, plan = run(Work(wanted, None), *answers)
        settled = ended(plan)
        assert settled.again
        assert settled.pair.leftovers == (LostPost(B, NOW + timedelta(seconds=90)),)
        clean = Work(replace(wanted, sent=()), settled.pair)
        _, waiting = run(clean, Found(()))
        assert isinstance(waiting, Release)
        commands, plan = run(
            clean, Found((item(1, ItemId("21")),)), Deleted(), Found(()), now=NOW + timedelta(seconds=91)
        )
        assert [type(command) for command in commands] == [LookForKey, DeleteItem, LookForKey]
        assert ended(plan).pair.leftovers == ()


def test_an_uncertain_update_that_got_through_is_ours() -> None:
    commands, plan = run(Work(desired(sent=(sent(),)), held()), Found((item(4, a="2"),)))
    assert commands == [LookAtItem(A, ITEM)]
    assert (ended(plan).writes, ended(plan).foreign_edit, paired(plan).etag) == (0, False, g(4))


def test_an_uncertain_update_that_did_not_is_written_again() -> None:
    commands, plan = run(Work(desired(sent=(sent(),)), held()), Found((item(3),)), Written(ITEM, g(4)))
    assert commands == [LookAtItem(A, ITEM), UpdateItem(A, ITEM, g(3), {"a": "2"})]
    assert paired(plan).etag == g(4)


def test_nothing_is_settled_while_a_late_request_may_still_change_it() -> None:
    """The value went there and back; the first PATCH is still on its way, and nothing was written to make it fail."""
    back = desired(fields={"a": "1", "b": "x"}, sent=(sent(age_s=10),))
    _, plan = run(Work(back, held()), Found((item(3),)))
    assert isinstance(plan, Release)
    assert not plan.unknown
    _, plan = run(Work(back, held()), Found((item(3),)), now=NOW + timedelta(seconds=91))
    assert ended(plan).writes == 0


def test_a_late_delete_may_still_come_after_the_row_is_back() -> None:
    back = desired(fields={"a": "1", "b": "x"}, sent=(sent("d", None),))
    _, plan = run(Work(back, held()), Found((item(3),)))
    assert isinstance(plan, Release)


def test_of_several_attempts_nobody_guesses_which_it_was() -> None:
    """The item is one up and by our app, but holds neither attempt exactly: it is written again, nobody's edit."""
    uncertain = desired(sent=(sent(a="5"), sent()))
    commands, plan = run(Work(uncertain, held()), Found((item(4, by_app=True, a="FIVE"),)), Written(ITEM, g(5)))
    assert commands[-1] == UpdateItem(A, ITEM, g(4), {"a": "2"})
    assert not ended(plan).foreign_edit


def test_an_uncertain_delete_that_happened() -> None:
    commands, plan = run(Work(desired("d", None, sent=(sent("d", None),)), held()), Missing())
    assert commands == [LookAtItem(A, ITEM)]
    settled = ended(plan)
    assert isinstance(settled.pair, NoItem)
    # One more look by key tells a lost item from a lost list.
    assert settled.pair.leftovers == (LostPost(A, NOW),)


def test_an_item_gone_under_an_uncertain_row_may_have_been_posted_anew() -> None:
    """The earlier claim met the 404 as well, and its POST got lost."""
    uncertain = desired(sent=(sent(age_s=10),))
    commands, plan = run(Work(uncertain, held()), Missing(), Found(()))
    assert commands == [LookAtItem(A, ITEM), LookForKey(A)]
    assert isinstance(plan, Release)
    assert not plan.unknown


def test_a_leftover_that_is_wanted_again_may_still_be_deleted_late() -> None:
    removal = LeftItem(A, ITEM, g(3), NOW + timedelta(seconds=50))
    moved = held(list_id=B, item_id=NEW, etag=h(1), leftovers=(removal,))
    back = Work(desired(fields={"a": "1", "b": "x"}), moved)
    refused = Rejected(400, "invalidRequest", "duplicate value", duplicate=True)
    _, plan = run(back, refused, Found((item(3),)))
    assert isinstance(plan, Release)
    _, plan = run(back, refused, Found((item(3),)), now=NOW + timedelta(seconds=51))
    assert paired(plan).item_id == ITEM


def test_an_outdated_state_still_removes_what_is_left_behind() -> None:
    """The row stays for its leftovers alone, and the ledger is above it."""
    moved = held(list_id=B, item_id=NEW, position=Position(1, 20, 1), leftovers=(LeftItem(A, ITEM, g(3)),))
    commands, plan = run(Work(desired(), moved), Deleted())
    assert commands == [DeleteItem(A, ITEM, g(3))]
    assert ended(plan).pair == replace(moved, leftovers=())
    assert not ended(plan).again


def test_an_uncertain_claim_dates_the_leftovers_it_may_have_removed() -> None:
    moved = held(list_id=B, item_id=NEW, leftovers=(LeftItem(A, ITEM, g(3)),))
    work = Work(desired(list_id=B, sent=(sent(list_id=B, age_s=10),)), moved)
    _, plan = run(work, Found((item(3, NEW, a="2"),)))
    assert ended(plan).pair.leftovers == (LeftItem(A, ITEM, g(3), NOW + timedelta(seconds=90)),)


# --- 412, foreign edits, items gone -------------------------------------------------------------------------------


def test_412_and_only_the_version_moved() -> None:
    commands, plan = run(Work(desired(), held()), Changed(), Found((item(8),)), Written(ITEM, g(9)))
    assert commands[-1] == UpdateItem(A, ITEM, g(8), {"a": "2"})
    assert not ended(plan).foreign_edit


def test_412_and_a_foreign_edit_is_overwritten_and_counted() -> None:
    commands, plan = run(Work(desired(), held()), Changed(), Found((item(8, b="theirs"),)), Written(ITEM, g(9)))
    assert commands[-1] == UpdateItem(A, ITEM, g(8), {"a": "2", "b": "x"})
    assert ended(plan).foreign_edit


def test_412_without_end_is_handed_back() -> None:
    answers: list[Answer] = []
    for version in range(4, 20):
        answers += [Changed(), Found((item(version),))]
    plan: Plan = push.first(Work(desired(), held()), RULES, NOW)
    for answer in answers:
        if not isinstance(plan, InFlight):
            break
        plan = push.after(plan, answer, RULES, NOW)
    assert isinstance(plan, Release)
    assert not plan.unknown
    assert isinstance(plan.pair, Held)
    assert plan.pair.item.etag == g(4 + push.MOST_COMMANDS // 2 - 1)


def test_what_sharepoint_keeps_otherwise_is_no_edit() -> None:
    kept = held(kept={"b": "X"})
    assert ended(run(Work(desired(sent=(sent(),)), kept), Found((item(4, a="2", b="x"),)))[1]).writes == 0
    commands, plan = run(Work(desired(), kept), Changed(), Found((item(8, b="X"),)), Written(ITEM, g(9)))
    assert commands[-1] == UpdateItem(A, ITEM, g(8), {"a": "2"})
    assert (ended(plan).foreign_edit, paired(plan).kept) == (False, {"b": "X"})


def test_an_answer_shows_what_is_kept_otherwise() -> None:
    _, plan = run(Work(desired(), held()), Written(ITEM, g(4), {"a": "two", "b": "x"}))
    assert (paired(plan).base["a"], paired(plan).kept) == ("2", {"a": "two"})
    again = desired(position=Position(1, 30, 0))
    assert ended(push.first(Work(again, ended(plan).pair), RULES, NOW)).writes == 0


def test_a_version_that_is_not_ours_is_not_taken() -> None:
    _, plan = run(Work(desired(), held()), Written(ITEM, g(6), {"a": "2", "b": "theirs"}))
    assert paired(plan).etag == g(3)


def test_no_version_in_the_answer_is_looked_up() -> None:
    work = Work(desired(), held())
    commands, plan = run(work, Written(ITEM, None), Found((item(4, by_app=True, a="2"),)))
    assert commands[-1] == LookAtItem(A, ITEM)
    assert paired(plan).etag == g(4)
    for lost in (Unknown("lost"), NotApplied(30.0, "throttled"), Missing(), Found((item(7, a="2", b="theirs"),))):
        _, plan = run(work, Written(ITEM, None), lost)
        assert (paired(plan).etag, paired(plan).base["a"], ended(plan).writes) == (g(3), "2", 1)


def test_waits_grow_where_the_row_alone_is_to_blame() -> None:
    """Who waits for its list or its tenant is back as soon as these answer."""
    for answer, grows in (
        (Unknown("lost"), True),
        (Unknown("the batch was lost", of_row=False), False),
        (NotApplied(1.0, "locked", of_row=True), True),
        (NotApplied(30.0, "throttled"), False),
    ):
        _, plan = run(Work(desired(), held()), answer)
        assert isinstance(plan, Release)
        assert plan.grows is grows


def test_an_older_version_than_known_decides_nothing() -> None:
    _, plan = run(Work(desired(), held()), Changed(), Found((item(2),)))
    assert isinstance(plan, Release)
    assert plan.blame
    _, plan = run(Work(desired(attempts=8), held()), Changed(), Found((item(2),)))
    assert isinstance(plan, ParkRow)


def test_an_item_deleted_by_hand_is_made_again() -> None:
    commands, plan = run(Work(desired(), held()), Missing(), Found(()), Written(NEW, h(1)))
    assert [type(command) for command in commands] == [UpdateItem, LookForKey, CreateItem]
    assert (ended(plan).foreign_edit, paired(plan).item_id) == (True, NEW)


def test_a_missing_list_is_no_missing_item() -> None:
    _, plan = run(Work(desired(), held()), Missing(), NotApplied(60.0, "the list is gone"))
    assert isinstance(plan, Release)
    assert (plan.after_s, plan.unknown, plan.blame) == (60.0, False, False)


def test_a_wait_that_another_mapping_ends_is_not_begun() -> None:
    """The list was made anew while the request was under way: the row is read anew, for the new one."""
    plan = push.after(begun(Work(desired(), None)), NotApplied(60.0, "the list is gone"), REMAPPED, NOW)
    assert isinstance(plan, Release)
    assert (plan.after_s, plan.unknown) == (0.0, False)
    # A deletion is not read anew, so it would be asked for again and again.
    plan = push.after(begun(Work(desired("d", None), held())), NotApplied(60.0, "locked"), REMAPPED, NOW)
    assert isinstance(plan, Release)
    assert plan.after_s == 60.0


REMAPPED = replace(RULES, mapping_version=RULES.mapping_version + 1)


def begun(work: Work) -> InFlight:
    """The claim with its first command."""
    plan = push.first(work, RULES, NOW)
    assert isinstance(plan, InFlight)
    return plan


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_unique_violation_of_ours_is_adopted() -> None:
    refused = Rejected(409, "nameAlreadyExists", "taken", duplicate=True)
    commands, plan = run(Work(desired(), None), refused, Found((item(1, a="2"),)))
    assert commands[-1] == LookForKey(A)
    assert paired(plan).item_id == ITEM


def test_a_unique_violation_of_another_column_is_parked() -> None:
    refused = Rejected(409, "nameAlreadyExists", "taken", duplicate=True)
    _, plan = run(Work(desired(), None), refused, Found(()), refused, Found(()))
    assert isinstance(plan, ParkRow)
    assert (plan.code, plan.unknown) == ("unique_violation", False)


def test_an_item_with_a_similar_key_is_not_adopted() -> None:
    refused = Rejected(400, "invalidRequest", "no")
    similar = replace(item(1), row_key="Orders:1")
    _, plan = run(Work(desired(), None), refused, Found((similar,)))
    assert isinstance(plan, ParkRow)
    assert plan.code == "invalidRequest"


def test_a_refused_value_is_parked() -> None:
    _, plan = run(Work(desired(), held()), Rejected(400, "invalidRequest", "Field 'a' has an invalid value"))
    assert isinstance(plan, ParkRow)


def test_throttled_keeps_what_was_learnt() -> None:
    _, plan = run(Work(desired(), held()), Changed(), Found((item(8),)), NotApplied(30.0, "throttled"))
    assert isinstance(plan, Release)
    assert (plan.after_s, plan.unknown) == (30.0, False)
    assert plan.pair == held(etag=g(8))


def test_unknown_keeps_the_attempt() -> None:
    for work in (Work(desired(), None), Work(desired(), held()), Work(desired("d", None), held())):
        _, plan = run(work, Unknown("lost"))
        assert isinstance(plan, Release)
        assert plan.unknown
    _, plan = run(Work(desired(sent=(sent(),)), None), Unknown("lost"))
    assert isinstance(plan, Release)
    assert not plan.unknown  # only a look was lost


# --- a restore took an item away, and its number was given again -----------------------------------------------------


def other(version: int = 1) -> Item:
    """A person's item with the number of ours."""
    return replace(item(version, a="theirs"), etag=h(version), row_key=None)


def test_another_item_with_the_number_of_ours_is_not_written_over() -> None:
    commands, plan = run(Work(desired(), held()), Changed(), Found((other(),)), Found(()))
    assert commands == [UpdateItem(A, ITEM, g(3), {"a": "2"}), LookAtItem(A, ITEM), LookForKey(A)]
    assert isinstance(plan, InFlight)
    assert plan.command == CreateItem(A, {"a": "2", "b": "x"})


def test_nor_is_it_deleted() -> None:
    commands, plan = run(Work(desired("d", None), held()), Changed(), Found((other(5),)))
    assert commands == [DeleteItem(A, ITEM, g(3)), LookAtItem(A, ITEM)]
    assert ended(plan).pair == NoItem(AsOf(Position(1, 20, 0), 9, 7), held().item, (LostPost(A, NOW),))


def test_nor_in_place_of_one_that_the_row_has_left() -> None:
    pair = held(list_id=B, item_id=NEW, leftovers=(LeftItem(A, ITEM, g(1)),))
    work = Work(desired(list_id=B, fields={"a": "1", "b": "x"}), pair)
    commands, plan = run(work, Changed(), Found((other(),)))
    assert commands == [DeleteItem(A, ITEM, g(1)), LookAtItem(A, ITEM)]
    assert ended(plan).pair.leftovers == ()


def test_its_key_stays_where_it_is() -> None:
    wrong = WrongKey(A, ItemId("99"), g(2))
    work = Work(desired(fields={"a": "1", "b": "x"}), held(leftovers=(wrong,)))
    commands, plan = run(work, Changed(), Found((replace(other(), item_id=ItemId("99"), row_key="orders:1"),)))
    assert commands == [UpdateItem(A, ItemId("99"), g(2), {ROWTIDE_KEY: None}), LookAtItem(A, ItemId("99"))]
    assert ended(plan).pair.leftovers == ()


def test_an_etag_is_written_in_several_ways() -> None:
    forms = ['"{G},3"', 'W/"g,2"', "g,9"]
    assert all(is_same_item(g(1), ETag(form)) for form in forms)
    assert is_same_item(g(1), None)
    assert is_same_item(g(1), ETag('"9"')), "one without a GUID may be any item's"
    assert not is_same_item(g(1), h(1))
