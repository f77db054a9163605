"""Each interleaving that decide closes, by name."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rowtide.change import Fields
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
from rowtide.deciding.outcomes import Complete, ParkRow, Release, Settle
from rowtide.deciding.progress import Progress, Rules
from rowtide.deciding.push import Plan
from rowtide.deciding.records import Desired, Leftover, Pair, Sent, Work
from rowtide.position import Position

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = timedelta(seconds=100)


class Mapped:
    def wire_fields(self, fields: Fields) -> Fields:
        return fields

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        return {name: value if isinstance(value := wire.get(name), str) else None for name in ("a", "b")}

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        return {
            name: value
            for name, value in desired.items()
            if (name not in base or base[name] != value) and (name not in kept or kept[name] != value)
        }


RULES = Rules(Mapped(), 7, PATIENCE)


def desired(op: Any = "u", list_id: str | None = "A", **changes: Any) -> Desired:
    made = Desired(
        "orders", "1", op, list_id, list_id, {"a": "2", "b": "x"} if op == "u" else {}, False, Position(1, 20, 0), 9, 7,
        1, "t", NOW + timedelta(seconds=120), 0, 0, NOW,
    )  # fmt: skip
    return replace(made, **changes)


def pair(**changes: Any) -> Pair:
    made = Pair("live", "A", "11", '"g,3"', {"a": "1", "b": "x"}, {}, Position(1, 10, 0), 5, 7)
    return replace(made, **changes)


def sent(op: Any = "u", list_id: str | None = "A", age_s: float = 10, **fields: str) -> Sent:
    return Sent("s", op, list_id, {"a": "2", "b": "x", **fields} if op == "u" else {}, NOW - timedelta(seconds=age_s))


def item(version: int, item_id: str = "11", by_app: bool = False, **fields: str) -> Item:
    return Item(item_id, f'"g,{version}"', {"a": "1", "b": "x", **fields}, by_app, "orders:1")


def run(work: Work, *answers: Answer, now: datetime = NOW) -> tuple[list[Command], Plan]:
    """The commands that these answers bring about, and what comes after the last one."""
    plan = push.first(work, RULES, now)
    commands: list[Command] = []
    for answer in answers:
        assert isinstance(plan, Progress), plan
        commands.append(plan.command)
        plan = push.after(plan, answer, RULES, now)
    return commands, plan


def ended(plan: Plan) -> Settle:
    assert isinstance(plan, Settle), plan
    return plan


# --- certain rows -------------------------------------------------------------------------------------------------


def test_no_pair_is_created() -> None:
    commands, plan = run(Work(desired(), None), Written("11", '"g,1"'))
    assert commands == [CreateItem("A", {"a": "2", "b": "x"})]
    settled = ended(plan)
    assert settled.pair == Pair(
        "live", "A", "11", '"g,1"', {"a": "2", "b": "x"}, {}, Position(1, 20, 0), 9, 7
    )  # fmt: skip
    assert (settled.writes, settled.again, settled.foreign_edit) == (1, False, False)


def test_only_what_differs_is_written() -> None:
    commands, plan = run(Work(desired(), pair()), Written("11", '"g,4"', {"a": "2", "b": "x"}))
    assert commands == [UpdateItem("A", "11", '"g,3"', {"a": "2"})]
    assert ended(plan).pair.etag == '"g,4"'


def test_nothing_differs_and_nothing_is_written() -> None:
    plan = push.first(Work(desired(fields={"a": "1", "b": "x"}), pair()), RULES, NOW)
    assert ended(plan).writes == 0
    assert ended(plan).pair.position == Position(1, 20, 0)


def test_a_state_below_the_ledger_is_dropped_but_an_equal_one_is_done() -> None:
    above = pair(position=Position(1, 20, 1))
    assert ended(push.first(Work(desired(), above), RULES, NOW)).pair == above
    assert isinstance(push.first(Work(desired(), pair(position=Position(1, 20, 0))), RULES, NOW), Progress)


def test_a_delete_without_a_pair_leaves_a_tombstone() -> None:
    settled = ended(push.first(Work(desired("d", None), None), RULES, NOW))
    assert (settled.pair.state, settled.pair.position, settled.writes) == ("tombstone", Position(1, 20, 0), 0)


def test_a_delete_is_conditional_and_keeps_id_and_version() -> None:
    commands, plan = run(Work(desired("d", None), pair()), Deleted())
    assert commands == [DeleteItem("A", "11", '"g,3"')]
    assert (ended(plan).pair.state, ended(plan).pair.item_id, ended(plan).pair.etag) == ("tombstone", "11", '"g,3"')


@pytest.mark.parametrize("state", ["kept", "ignored"])
def test_refused_deletes_are_not_sent(state: str) -> None:
    settled = ended(push.first(Work(desired("d", None), pair(state=state)), RULES, NOW))
    assert (settled.pair.state, settled.writes) == (state, 0)


IGNORING = replace(RULES, deletes="ignore")


def test_an_ignored_delete_leaves_the_item_and_the_next_upsert_takes_it_up_again() -> None:
    settled = ended(push.first(Work(desired("d", None), pair()), IGNORING, NOW))
    assert (settled.pair.state, settled.pair.item_id, settled.writes) == ("ignored", "11", 0)
    assert settled.pair.position == Position(1, 20, 0)
    plan = push.first(Work(desired(position=Position(1, 30, 0)), settled.pair), IGNORING, NOW)
    assert isinstance(plan, Progress)
    assert plan.command == UpdateItem("A", "11", '"g,3"', {"a": "2"})
    plan = push.after(plan, Written("11", '"g,4"', {"a": "2", "b": "x"}), IGNORING, NOW)
    assert ended(plan).pair.state == "live"


def test_an_outdated_delete_ignores_nothing() -> None:
    above = pair(position=Position(1, 20, 1))
    assert ended(push.first(Work(desired("d", None), above), IGNORING, NOW)).pair == above


def test_an_ignored_delete_of_an_item_that_is_gone_leaves_a_tombstone() -> None:
    plan = push.first(Work(desired("d", None, sent=(sent(),)), pair()), IGNORING, NOW)
    assert isinstance(plan, Progress)
    assert ended(push.after(plan, Missing(), IGNORING, NOW)).pair.state == "tombstone"


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        (desired("r", None), None),
        (desired(mapping_version=6), pair()),
        (desired(partial=True), None),
        (desired(partial=True), pair(state="tombstone")),
        (desired(partial=True), pair(mapping_version=6)),
    ],
)
def test_what_cannot_be_known_is_read(wanted: Desired, known: Pair | None) -> None:
    assert isinstance(push.first(Work(wanted, known), RULES, NOW), Complete)
    assert push.needs_source(Work(wanted, known), RULES)


def test_what_is_outdated_needs_no_reading() -> None:
    """Whatever the source says now, the ledger already has something newer."""
    above = pair(position=Position(1, 20, 1))
    for wanted in (desired("r", None), desired(mapping_version=6), desired(partial=True), desired("d", None)):
        assert not push.needs_source(Work(wanted, above), RULES)


def test_a_partial_move_takes_the_rest_from_the_base() -> None:
    commands, _ = run(Work(desired(list_id="B", partial=True, fields={"a": "2"}), pair()), NotApplied(1.0, ""))
    assert commands == [MoveItem("B", {"a": "2", "b": "x"}, Leftover("A", "11", None, '"g,3"'))]


def test_a_list_nobody_knows_waits() -> None:
    plan = push.first(Work(desired(list_id=None, target="Gone"), None), RULES, NOW)
    assert isinstance(plan, Release)
    assert not plan.unknown
    assert "'Gone'" in plan.reason


# --- moves and leftovers ------------------------------------------------------------------------------------------


def test_a_move_is_settled_before_the_old_item_goes() -> None:
    _, plan = run(Work(desired(list_id="B"), pair()), Written("12", '"h,1"'))
    settled = ended(plan)
    assert settled.again
    assert settled.pair.leftovers == (Leftover("A", "11", None, '"g,3"'),)
    commands, plan = run(Work(desired(list_id="B"), settled.pair), Deleted())
    assert commands == [DeleteItem("A", "11", '"g,3"')]
    assert (ended(plan).pair.leftovers, ended(plan).again) == ((), False)


def test_a_leftover_is_removed_whatever_it_holds_but_conditionally() -> None:
    moved = pair(list_id="B", item_id="12", leftovers=(Leftover("A", "11", None, '"g,3"'),))
    work = Work(desired(list_id="B", fields=dict(moved.base)), moved)
    commands, plan = run(work, Changed(), Found((item(5, a="theirs"),)), Deleted())
    assert commands == [DeleteItem("A", "11", '"g,3"'), LookAtItem("A", "11"), DeleteItem("A", "11", '"g,5"')]
    assert ended(plan).pair.leftovers == ()


def test_an_unknown_end_of_a_leftovers_delete_stays_known() -> None:
    moved = pair(list_id="B", item_id="12", leftovers=(Leftover("A", "11", None, '"g,3"'),))
    _, plan = run(Work(desired(list_id="B", fields=dict(moved.base)), moved), Unknown("lost"))
    assert isinstance(plan, Release)
    assert plan.unknown


def test_a_row_that_moves_back_adopts_its_leftover() -> None:
    moved = pair(list_id="B", item_id="12", etag='"h,1"', leftovers=(Leftover("A", "11", None, '"g,3"'),))
    refused = Rejected(400, "invalidRequest", "duplicate value", duplicate=True)
    commands, plan = run(
        Work(desired(), moved), refused, Found((item(3),)), Written("11", '"g,4"', {"a": "2", "b": "x"})
    )
    assert [type(command) for command in commands] == [MoveItem, LookForKey, UpdateItem]
    settled = ended(plan)
    assert (settled.pair.list_id, settled.pair.item_id, settled.again) == ("A", "11", True)
    assert settled.pair.leftovers == (Leftover("B", "12", None, '"h,1"'),)


def test_ids_are_the_lists_own() -> None:
    """An uncertain move whose new item has the old one's number: they are two items all the same."""
    work = Work(desired(list_id="B", sent=(sent(list_id="B"),)), pair())
    commands, plan = run(work, Found((item(3),)), Found((item(1, by_app=True, a="2"),)))
    assert commands == [LookAtItem("A", "11"), LookForKey("B")]
    assert (ended(plan).pair.list_id, ended(plan).pair.item_id, ended(plan).again) == ("B", "11", True)
    assert [(one.list_id, one.item_id) for one in ended(plan).pair.leftovers] == [("A", "11")]
    both = (Leftover("A", "7", None, '"g,1"'), Leftover("C", "7", None, '"h,1"'))
    moved = Work(desired(list_id="B", fields={"a": "1", "b": "x"}), pair(list_id="B", leftovers=both))
    commands, _ = run(moved, Changed(), Found((item(5, "7"),)), Deleted(), Deleted())
    assert commands[2:] == [DeleteItem("A", "7", '"g,5"'), DeleteItem("C", "7", '"h,1"')]


# --- uncertain rows -----------------------------------------------------------------------------------------------


def test_an_uncertain_create_is_looked_for_not_repeated() -> None:
    commands, plan = run(Work(desired(sent=(sent(),)), None), Found((item(1, by_app=True, a="2"),)))
    assert commands == [LookForKey("A")]
    assert (ended(plan).writes, ended(plan).pair.item_id, ended(plan).foreign_edit) == (0, "11", False)


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
    for wanted in (desired("d", None, sent=(sent(list_id="B"),)), desired(sent=(sent(list_id="B"),))):
        answers = () if wanted.op == "d" else (Written("11", '"g,1"'),)
        _, plan = run(Work(wanted, None), *answers)
        settled = ended(plan)
        assert settled.again
        assert settled.pair.leftovers == (Leftover("B", None, NOW + timedelta(seconds=90)),)
        clean = Work(replace(wanted, sent=()), settled.pair)
        _, waiting = run(clean, Found(()))
        assert isinstance(waiting, Release)
        commands, plan = run(clean, Found((item(1, "21"),)), Deleted(), Found(()), now=NOW + timedelta(seconds=91))
        assert [type(command) for command in commands] == [LookForKey, DeleteItem, LookForKey]
        assert ended(plan).pair.leftovers == ()


def test_an_uncertain_update_that_got_through_is_ours() -> None:
    commands, plan = run(Work(desired(sent=(sent(),)), pair()), Found((item(4, a="2"),)))
    assert commands == [LookAtItem("A", "11")]
    assert (ended(plan).writes, ended(plan).foreign_edit, ended(plan).pair.etag) == (0, False, '"g,4"')


def test_an_uncertain_update_that_did_not_is_written_again() -> None:
    commands, plan = run(Work(desired(sent=(sent(),)), pair()), Found((item(3),)), Written("11", '"g,4"'))
    assert commands == [LookAtItem("A", "11"), UpdateItem("A", "11", '"g,3"', {"a": "2"})]
    assert ended(plan).pair.etag == '"g,4"'


def test_nothing_is_settled_while_a_late_request_may_still_change_it() -> None:
    """The value went there and back; the first PATCH is still on its way, and nothing was written to make it fail."""
    back = desired(fields={"a": "1", "b": "x"}, sent=(sent(age_s=10),))
    _, plan = run(Work(back, pair()), Found((item(3),)))
    assert isinstance(plan, Release)
    assert not plan.unknown
    _, plan = run(Work(back, pair()), Found((item(3),)), now=NOW + timedelta(seconds=91))
    assert ended(plan).writes == 0


def test_a_late_delete_may_still_come_after_the_row_is_back() -> None:
    back = desired(fields={"a": "1", "b": "x"}, sent=(sent("d", None),))
    _, plan = run(Work(back, pair()), Found((item(3),)))
    assert isinstance(plan, Release)


def test_of_several_attempts_nobody_guesses_which_it_was() -> None:
    """The item is one up and by our app, but holds neither attempt exactly: it is written again, nobody's edit."""
    uncertain = desired(sent=(sent(a="5"), sent()))
    commands, plan = run(Work(uncertain, pair()), Found((item(4, by_app=True, a="FIVE"),)), Written("11", '"g,5"'))
    assert commands[-1] == UpdateItem("A", "11", '"g,4"', {"a": "2"})
    assert not ended(plan).foreign_edit


def test_an_uncertain_delete_that_happened() -> None:
    commands, plan = run(Work(desired("d", None, sent=(sent("d", None),)), pair()), Missing())
    assert commands == [LookAtItem("A", "11")]
    settled = ended(plan)
    assert settled.pair.state == "tombstone"
    # One more look by key tells a lost item from a lost list.
    assert settled.pair.leftovers == (Leftover("A", None, NOW),)


def test_an_item_gone_under_an_uncertain_row_may_have_been_posted_anew() -> None:
    """The earlier claim met the 404 as well, and its POST got lost."""
    uncertain = desired(sent=(sent(age_s=10),))
    commands, plan = run(Work(uncertain, pair()), Missing(), Found(()))
    assert commands == [LookAtItem("A", "11"), LookForKey("A")]
    assert isinstance(plan, Release)
    assert not plan.unknown


def test_a_leftover_that_is_wanted_again_may_still_be_deleted_late() -> None:
    removal = Leftover("A", "11", NOW + timedelta(seconds=50), '"g,3"')
    moved = pair(list_id="B", item_id="12", etag='"h,1"', leftovers=(removal,))
    back = Work(desired(fields={"a": "1", "b": "x"}), moved)
    refused = Rejected(400, "invalidRequest", "duplicate value", duplicate=True)
    _, plan = run(back, refused, Found((item(3),)))
    assert isinstance(plan, Release)
    _, plan = run(back, refused, Found((item(3),)), now=NOW + timedelta(seconds=51))
    assert ended(plan).pair.item_id == "11"


def test_an_uncertain_claim_dates_the_leftovers_it_may_have_removed() -> None:
    moved = pair(list_id="B", item_id="12", leftovers=(Leftover("A", "11", None, '"g,3"'),))
    work = Work(desired(list_id="B", sent=(sent(list_id="B", age_s=10),)), moved)
    _, plan = run(work, Found((item(3, "12", a="2"),)))
    assert ended(plan).pair.leftovers == (Leftover("A", "11", NOW + timedelta(seconds=90), '"g,3"'),)


# --- 412, foreign edits, items gone -------------------------------------------------------------------------------


def test_412_and_only_the_version_moved() -> None:
    commands, plan = run(Work(desired(), pair()), Changed(), Found((item(8),)), Written("11", '"g,9"'))
    assert commands[-1] == UpdateItem("A", "11", '"g,8"', {"a": "2"})
    assert not ended(plan).foreign_edit


def test_412_and_a_foreign_edit_is_overwritten_and_counted() -> None:
    commands, plan = run(Work(desired(), pair()), Changed(), Found((item(8, b="theirs"),)), Written("11", '"g,9"'))
    assert commands[-1] == UpdateItem("A", "11", '"g,8"', {"a": "2", "b": "x"})
    assert ended(plan).foreign_edit


def test_412_without_end_is_handed_back() -> None:
    answers: list[Answer] = []
    for version in range(4, 20):
        answers += [Changed(), Found((item(version),))]
    plan: Plan = push.first(Work(desired(), pair()), RULES, NOW)
    for answer in answers:
        if not isinstance(plan, Progress):
            break
        plan = push.after(plan, answer, RULES, NOW)
    assert isinstance(plan, Release)
    assert not plan.unknown


def test_what_sharepoint_keeps_otherwise_is_no_edit() -> None:
    kept = pair(kept={"b": "X"})
    assert ended(run(Work(desired(sent=(sent(),)), kept), Found((item(4, a="2", b="x"),)))[1]).writes == 0
    commands, plan = run(Work(desired(), kept), Changed(), Found((item(8, b="X"),)), Written("11", '"g,9"'))
    assert commands[-1] == UpdateItem("A", "11", '"g,8"', {"a": "2"})
    assert (ended(plan).foreign_edit, ended(plan).pair.kept) == (False, {"b": "X"})


def test_an_answer_shows_what_is_kept_otherwise() -> None:
    _, plan = run(Work(desired(), pair()), Written("11", '"g,4"', {"a": "two", "b": "x"}))
    assert (ended(plan).pair.base["a"], ended(plan).pair.kept) == ("2", {"a": "two"})
    again = desired(position=Position(1, 30, 0))
    assert ended(push.first(Work(again, ended(plan).pair), RULES, NOW)).writes == 0


def test_a_version_that_is_not_ours_is_not_taken() -> None:
    _, plan = run(Work(desired(), pair()), Written("11", '"g,6"', {"a": "2", "b": "theirs"}))
    assert ended(plan).pair.etag == '"g,3"'


def test_no_version_in_the_answer_is_looked_up() -> None:
    work = Work(desired(), pair())
    commands, plan = run(work, Written("11", None), Found((item(4, by_app=True, a="2"),)))
    assert commands[-1] == LookAtItem("A", "11")
    assert ended(plan).pair.etag == '"g,4"'
    for lost in (Unknown("lost"), NotApplied(30.0, "throttled"), Missing(), Found((item(7, a="2", b="theirs"),))):
        _, plan = run(work, Written("11", None), lost)
        assert (ended(plan).pair.etag, ended(plan).pair.base["a"], ended(plan).writes) == ('"g,3"', "2", 1)


def test_an_older_version_than_known_decides_nothing() -> None:
    _, plan = run(Work(desired(), pair()), Changed(), Found((item(2),)))
    assert isinstance(plan, Release)
    assert plan.blame
    _, plan = run(Work(desired(attempts=8), pair()), Changed(), Found((item(2),)))
    assert isinstance(plan, ParkRow)


def test_an_item_deleted_by_hand_is_made_again() -> None:
    commands, plan = run(Work(desired(), pair()), Missing(), Found(()), Written("12", '"h,1"'))
    assert [type(command) for command in commands] == [UpdateItem, LookForKey, CreateItem]
    assert (ended(plan).foreign_edit, ended(plan).pair.item_id) == (True, "12")


def test_a_missing_list_is_no_missing_item() -> None:
    _, plan = run(Work(desired(), pair()), Missing(), NotApplied(60.0, "the list is gone"))
    assert isinstance(plan, Release)
    assert (plan.after_s, plan.unknown, plan.blame) == (60.0, False, False)


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_unique_violation_of_ours_is_adopted() -> None:
    refused = Rejected(409, "nameAlreadyExists", "taken", duplicate=True)
    commands, plan = run(Work(desired(), None), refused, Found((item(1, a="2"),)))
    assert commands[-1] == LookForKey("A")
    assert ended(plan).pair.item_id == "11"


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
    _, plan = run(Work(desired(), pair()), Rejected(400, "invalidRequest", "Field 'a' has an invalid value"))
    assert isinstance(plan, ParkRow)


def test_throttled_keeps_what_was_learnt() -> None:
    _, plan = run(Work(desired(), pair()), Changed(), Found((item(8),)), NotApplied(30.0, "throttled"))
    assert isinstance(plan, Release)
    assert (plan.after_s, plan.unknown) == (30.0, False)
    assert plan.pair == pair(etag='"g,8"')


def test_unknown_keeps_the_attempt() -> None:
    for work in (Work(desired(), None), Work(desired(), pair()), Work(desired("d", None), pair())):
        _, plan = run(work, Unknown("lost"))
        assert isinstance(plan, Release)
        assert plan.unknown
    _, plan = run(Work(desired(sent=(sent(),)), None), Unknown("lost"))
    assert isinstance(plan, Release)
    assert not plan.unknown  # only a look was lost
