"""What push of a two-way sync hands over, by name. Most were found by the model in tests/property/both_ways."""

from dataclasses import replace
from datetime import timedelta

from rowtide.deciding import hand_over
from rowtide.deciding.answers import Answer, Changed, Found, Missing, Written
from rowtide.deciding.commands import LookForKey, MoveItem
from rowtide.deciding.hand_over import AskVersions, TwoWayPlan
from rowtide.deciding.in_flight import InFlight, Post
from rowtide.deciding.item_versions import ItemVersion, Versions
from rowtide.deciding.outcomes import HandOver, Release, Settle
from rowtide.deciding.records import Held, LeftItem, LostPost, NoItem, Work
from tests.unit.rowtide.deciding.rows import ITEM, NEW, NOW, PATIENCE, RULES, A, B, desired, g, h, held, item, sent


def run(work: Work, *answers: Answer | Versions, looks_only: bool = False) -> TwoWayPlan:
    plan = hand_over.first(work, RULES, NOW, looks_only)
    for answer in answers:
        assert isinstance(plan, InFlight | AskVersions), plan
        plan = hand_over.after(plan, answer, RULES, NOW, looks_only)
    return plan


def handed(plan: TwoWayPlan) -> HandOver:
    assert isinstance(plan, HandOver), plan
    return plan


def test_an_edit_that_a_patch_meets_is_handed_over_and_not_decided() -> None:
    over = handed(run(Work(desired(), held()), Changed(), Found((item(4, a="person"),))))
    assert over.entry is not None
    assert (over.entry.version, over.entry.fields["a"]) == (4, "person")
    assert over.pair is None


def test_a_404_that_nothing_of_ours_explains_is_handed_over_as_a_deletion() -> None:
    over = handed(run(Work(desired(), held()), Missing()))
    assert over.entry is not None
    assert over.entry.deleted


def test_an_attempt_without_a_list_explains_no_404() -> None:
    """Nothing of it was sent: its list was not applied yet. Else the item would be made once more."""
    over = handed(run(Work(desired(sent=(sent(list_id=None),)), held()), Missing()))
    assert over.entry is not None
    assert over.entry.deleted


def test_an_item_written_back_to_what_it_was_is_known_by_its_versions() -> None:
    """Our PATCH arrived, its answer was lost, and a person wrote the old value back: by content nothing happened."""
    versions = Versions((ItemVersion(5, False, {"a": "1", "b": "x"}), ItemVersion(4, True, {"a": "2", "b": "x"})))
    over = handed(run(Work(desired(sent=(sent(),)), held()), Found((item(5),)), versions))
    assert isinstance(over.pair, Held)
    assert over.pair.item.etag == g(4)
    assert over.pair.item.base["a"] == "2"
    assert over.entry is not None
    assert over.entry.fields["a"] == "1"


def test_versions_are_numbered_without_what_sharepoint_does_by_itself() -> None:
    """The item was touched twice: what was agreed at eTag 3 is version 1, and version 2 is above it."""
    agreed = ItemVersion(1, True, {"a": "1", "b": "x"})
    ours, edited = ItemVersion(2, True, {"a": "2", "b": "x"}), ItemVersion(3, False, {"a": "2", "b": "person"})
    work = Work(desired(sent=(sent(),)), held())
    over = handed(run(work, Found((item(5, a="2", b="person"),)), Versions((edited, ours, agreed))))
    assert isinstance(over.pair, Held)
    assert (over.pair.item.etag, over.pair.item.base["a"]) == (g(4), "2")
    over = handed(run(work, Found((item(5, b="person"),)), Versions((replace(edited, number=2), agreed))))
    assert over.pair is None, "no attempt arrived"


def test_a_version_that_holds_what_was_sent_is_agreed_whoever_is_named_by_it() -> None:
    """Approving an item puts another name on the version that is there."""
    versions = Versions((ItemVersion(4, False, {"a": "2", "b": "x"}),))
    over = handed(run(Work(desired(sent=(sent(),)), held()), Found((item(5, a="2"),)), versions))
    assert isinstance(over.pair, Held)
    assert over.pair.item.base["a"] == "2"


def test_without_a_version_of_ours_nothing_of_ours_arrived() -> None:
    versions = Versions((ItemVersion(4, False, {"a": "9", "b": "x"}),))
    over = handed(run(Work(desired(sent=(sent(),)), held()), Found((item(4, a="9"),)), versions))
    assert over.pair is None


def test_an_item_that_its_row_leaves_takes_along_what_was_agreed() -> None:
    plan = run(Work(desired(list_id=B), held()))
    assert isinstance(plan, InFlight)
    assert isinstance(plan.step, Post)
    assert isinstance(plan.step.command, MoveItem)
    assert plan.step.command.old.base == {"a": "1", "b": "x"}


def test_an_item_that_its_row_leaves_takes_along_what_an_unanswered_write_agreed() -> None:
    """The look shows that our PATCH arrived: an edit that comes after it is no conflict with what it wrote."""
    work = Work(desired(list_id=B, sent=(sent(),)), held())
    plan = run(work, Found((item(4, a="2", by_app=True),)))
    while isinstance(plan, InFlight) and not isinstance(plan.step, Post):
        plan = hand_over.after(plan, Found(()), RULES, NOW)
    assert isinstance(plan, InFlight)
    assert isinstance(plan.step, Post)
    assert isinstance(plan.step.command, MoveItem)
    assert (plan.step.command.old.etag, plan.step.command.old.base) == (g(4), {"a": "2", "b": "x"})


def test_an_item_is_left_once_no_write_of_ours_can_arrive_any_more() -> None:
    """Else it arrives in an item of which nobody asks whose versions are whose, and is taken for agreed by nobody."""
    released = run(Work(desired(list_id=B, sent=(sent(),)), held()), Found((item(3),)))
    assert isinstance(released, Release)
    assert released.after_s > 0
    moves = run(Work(desired(list_id=B, sent=(sent(age_s=PATIENCE.total_seconds()),)), held()), Found((item(3),)))
    assert isinstance(moves, InFlight)
    assert isinstance(moves.step.command, MoveItem)


def test_an_item_is_not_left_for_that_of_a_lost_post_before_either() -> None:
    """A POST to the other list was lost before; its item is there, and is the row's once the PATCH cannot arrive."""
    pair = held(leftovers=(LostPost(B, NOW + PATIENCE),))
    posted = item(1, NEW, by_app=True, a="2")
    looked = run(Work(desired(list_id=B, sent=(sent(),)), pair), Found((item(3),)))
    assert isinstance(looked, InFlight)
    assert isinstance(looked.step.command, LookForKey)
    released = hand_over.after(looked, Found((posted,)), RULES, NOW)
    assert isinstance(released, Release), released
    assert released.after_s > 0
    left = LeftItem(B, NEW, posted.etag, None, {"a": "2", "b": "x"}, {})
    before = Work(desired(list_id=B, sent=(sent(),)), replace(pair, leftovers=(left, *pair.leftovers)))
    looked = run(before, Found((item(3),)))
    assert isinstance(looked, InFlight)
    released = hand_over.after(looked, Found((posted,)), RULES, NOW)
    assert isinstance(released, Release), "nor for one that it has left before"
    assert isinstance(released.pair, Held)
    assert released.pair.item.item_id == ITEM
    certain = sent(age_s=PATIENCE.total_seconds())
    settled = run(Work(desired(list_id=B, sent=(certain,)), pair), Found((item(3),)), Found((posted,)))
    assert isinstance(settled, Settle), settled
    assert isinstance(settled.pair, Held)
    assert (settled.pair.item.list_id, settled.pair.item.item_id) == (B, NEW)


VERSIONS = Versions(
    (
        ItemVersion(1, True, {"a": "0", "b": "x"}),
        ItemVersion(2, False, {"a": "1", "b": "x"}),
        ItemVersion(3, False, {"a": "person", "b": "x"}),
    )
)


def test_an_item_that_was_restored_is_no_lost_post_s() -> None:
    """What our own application wrote into it before is older than what was agreed of it last."""
    tombstone = NoItem(held().as_of, held().item, (LostPost(A, NOW),))
    plan = run(Work(desired("d"), tombstone), Found((item(5, a="person"),)), VERSIONS)
    over = handed(plan)
    assert isinstance(over.pair, NoItem)
    assert (over.pair.last, over.pair.leftovers) == (held().item, ())
    assert over.entry is not None


def test_an_item_that_its_row_has_left_is_no_lost_post_s_either() -> None:
    left = LeftItem(A, ITEM, g(2), None, {"a": "1", "b": "x"}, {})
    pair = held(list_id=B, item_id=NEW, leftovers=(left,))
    work = Work(desired(sent=(sent(),)), pair)
    over = handed(run(work, Found((item(3, NEW),)), Found((item(3, a="person"),)), VERSIONS))
    assert over.entry is not None
    assert over.entry.item_id == ITEM
    assert isinstance(over.pair, Held)
    assert (over.pair.item.item_id, over.pair.leftovers[0]) == (NEW, replace(left, until=NOW + timedelta(seconds=90)))


def test_another_lost_post_is_explained_before_an_edit_of_what_the_row_has_left_is_handed_over() -> None:
    """Else no entry of the row is taken, and each claim of it finds the same item and hands the same edit over."""
    left = LeftItem(A, ITEM, g(2), None, {"a": "1", "b": "x"}, {})
    for until, ends in ((NOW, HandOver), (NOW + PATIENCE, Release)):
        pair = NoItem(held().as_of, None, (left, LostPost(A, NOW + PATIENCE), LostPost(B, until)))
        plan = run(Work(desired(), pair), Found((item(3, a="person"),)), VERSIONS, looks_only=True)
        assert isinstance(plan, InFlight), plan
        assert plan.step.command == LookForKey(B)
        over = hand_over.after(plan, Found(()), RULES, NOW, True)
        assert isinstance(over, ends)


def test_a_version_of_ours_that_is_newer_than_what_its_row_left_makes_it_the_row_s() -> None:
    left = LeftItem(A, ITEM, g(2), None, {"a": "1", "b": "x"}, {})
    ours = ItemVersion(3, True, {"a": "2", "b": "x"})
    versions = Versions((*VERSIONS.versions[:2], ours, ItemVersion(4, False, {"a": "2", "b": "person"})))
    work = Work(desired(sent=(sent(),)), held(list_id=B, item_id=NEW, leftovers=(left,)))
    over = handed(run(work, Found((item(3, NEW),)), Found((item(4, a="2", b="person"),)), versions))
    assert isinstance(over.pair, Held)
    assert (over.pair.item.item_id, over.pair.item.base) == (ITEM, {"a": "2", "b": "x"})
    assert [one.item_id for one in over.pair.leftovers if isinstance(one, LeftItem)] == [NEW]


def test_an_edit_of_an_item_that_its_row_left_is_handed_over() -> None:
    left = LeftItem(B, NEW, g(2), None, {"a": "1", "b": "x"}, {})
    pair = replace(held(item_id=ITEM, base={"a": "2", "b": "x"}), leftovers=(left,))
    over = handed(run(Work(desired(), pair), Changed(), Found((item(3, NEW, a="person"),))))
    assert over.entry is not None
    assert over.entry.place == (B, NEW)


def test_a_row_for_whose_sake_an_entry_waits_is_only_looked_at() -> None:
    """The attempt did not arrive and cannot any more: the row is certain, and nothing was written."""
    over = handed(run(Work(desired(sent=(sent(age_s=200),)), held()), Found((item(3),)), looks_only=True))
    assert over.entry is None


def test_a_lost_post_is_searched_for_before_a_row_that_is_looked_at_is_certain() -> None:
    lost = LostPost(B, NOW + PATIENCE)
    plan = run(Work(desired(), NoItem(held().as_of, None, (lost,))), looks_only=True)
    assert isinstance(plan, InFlight)
    assert plan.command == LookForKey(B)


def test_a_row_that_stays_without_an_item_gets_none_until_it_is_deleted() -> None:
    ignored = NoItem(held().as_of, None, ignored=True)
    kept, gone = run(Work(desired(), ignored)), run(Work(desired("d"), ignored))
    assert isinstance(kept, Settle)
    assert isinstance(gone, Settle)
    assert isinstance(kept.pair, NoItem)
    assert kept.pair.ignored
    assert isinstance(gone.pair, NoItem)
    assert not gone.pair.ignored


def test_a_patch_that_meets_nobody_settles_as_in_a_sync_that_pushes() -> None:
    assert isinstance(run(Work(desired(), held()), Written(ITEM, g(4), {"a": "2", "b": "x"})), Settle)


SENT = {"a": "2 ", "b": "x"}
"""What SharePoint trims."""


def test_a_post_that_is_found_is_agreed_as_it_was_sent() -> None:
    """The answer was lost, and SharePoint keeps the value otherwise: that is no edit, and nothing is left to write."""
    work = Work(desired(fields=SENT, sent=(sent(a="2 "),)), None)
    plan = run(work, Found((item(1, NEW, by_app=True, a="2"),)))
    assert isinstance(plan, Settle)
    assert isinstance(plan.pair, Held)
    assert (plan.pair.item.base, plan.pair.item.kept) == (SENT, {"a": "2"})
    assert not plan.foreign_edit


def test_a_post_whose_row_has_left_is_agreed_as_it_was_sent() -> None:
    """A person edited it meanwhile: against what was sent, only their field is another."""
    work = Work(desired(list_id=B, fields=SENT, sent=(sent(a="2 "),)), NoItem(held().as_of, None))
    plan = run(work, Found((item(2, NEW, a="2", b="person"),)), looks_only=True)
    assert isinstance(plan, AskVersions)
    versions = Versions((ItemVersion(1, True, {"a": "2", "b": "x"}), ItemVersion(2, False, {"a": "2", "b": "person"})))
    over = handed(hand_over.after(plan, versions, RULES, NOW))
    assert isinstance(over.pair, NoItem)
    [left] = (one for one in over.pair.leftovers if isinstance(one, LeftItem))
    assert (left.base, left.kept) == (SENT, {"a": "2"})


def test_a_found_post_remembers_what_was_agreed_of_the_item_that_its_row_left() -> None:
    work = Work(desired(list_id=B, sent=(sent(list_id=B),)), held(item_id=ITEM))
    plan = run(work, Found((item(3),)), Found((item(1, NEW, by_app=True, a="2"),)))
    assert isinstance(plan, Settle)
    assert isinstance(plan.pair, Held)
    [left] = plan.pair.leftovers
    assert isinstance(left, LeftItem)
    assert left.base == {"a": "1", "b": "x"}


def test_a_found_post_remembers_what_an_unanswered_write_had_agreed_of_the_other_item() -> None:
    """The answers of both were lost: a look shows that the PATCH arrived, a search finds the item of the POST."""
    work = Work(desired(list_id=B, sent=(sent(), sent(list_id=B))), held(item_id=ITEM))
    plan = run(work, Found((item(4, by_app=True, a="2"),)), Found((item(1, NEW, by_app=True, a="2"),)))
    assert isinstance(plan, Settle)
    assert isinstance(plan.pair, Held)
    [left] = plan.pair.leftovers
    assert isinstance(left, LeftItem)
    assert (left.etag, left.base) == (g(4), {"a": "2", "b": "x"})


def test_an_item_that_is_gone_while_an_attempt_is_unexplained_has_no_base_where_that_was_to_change_it() -> None:
    over = handed(run(Work(desired(sent=(sent(a="9"),)), held()), Missing()))
    assert over.entry is not None
    assert over.entry.deleted
    assert isinstance(over.pair, Held)
    assert over.pair.item.base == {"b": "x"}


def test_two_lost_posts_that_made_nothing_hold_nothing_back() -> None:
    """An entry waits for them to be explained; a list that was searched once is not waited for any more."""
    late_s = PATIENCE.total_seconds()
    work = Work(
        desired(list_id=B, sent=(sent(age_s=late_s), sent(list_id=B, age_s=late_s))), NoItem(held().as_of, None)
    )
    over = handed(run(work, Found(()), Found(()), looks_only=True))
    assert over.entry is None
    assert over.pair is not None
    assert over.pair.leftovers == ()


def test_another_item_with_the_number_of_ours_says_that_ours_is_gone() -> None:
    """A restore took ours away. Whether its row goes is the way back's to decide, which sees the same."""
    other = replace(item(1, a="theirs"), etag=h(1), row_key=None)
    over = handed(run(Work(desired(), held()), Changed(), Found((other,))))
    assert over.entry is not None
    assert over.entry.deleted
    gone = run(Work(desired("d", None), held()), Changed(), Found((other,)))
    assert isinstance(gone, Settle)
    assert isinstance(gone.pair, NoItem)
