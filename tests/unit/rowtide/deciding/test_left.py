"""What a list says of an item that its row has left."""

from rowtide.deciding import whose
from rowtide.deciding.pull_steps import Drop
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import LeftItem, LostPost
from rowtide.deciding.sides import Base
from rowtide.deciding.taken import Applied, Apply
from tests.unit.rowtide.deciding.entries import RULES, deletion, entry, taken
from tests.unit.rowtide.deciding.rows import ITEM, NEW, NOW, A, B, g, held

LEFT = LeftItem(A, ITEM, g(1))


def test_it_says_nothing_new() -> None:
    pair = held(list_id=B, item_id=NEW, leftovers=(LEFT,))
    assert isinstance(whose.first(taken(deletion(), pair=pair), RULES), Drop)


def test_it_rules_out_a_lost_post_of_its_list_no_more() -> None:
    """Else push takes the POST for explained, and pull waits for push to explain it."""
    lost = LostPost(A, NOW)
    plan = whose.first(taken(deletion(), pair=held(list_id=B, item_id=NEW, leftovers=(LEFT, lost))), RULES)
    assert isinstance(plan, Recorded)
    assert plan.pair is not None
    assert plan.pair.leftovers == (lost,)


def test_a_late_attempt_of_ours_is_noted_and_no_edit() -> None:
    left = LeftItem(A, ITEM, g(1), None, {"a": "0", "b": "x"}, {})
    late = entry(2, by_app=True, fields={"a": "1", "b": "x"})
    plan = whose.first(taken(late, pair=held(list_id=B, item_id=NEW, leftovers=(left,))), RULES)
    assert isinstance(plan, Recorded)
    assert plan.pair is not None
    assert plan.pair.leftovers == (LeftItem(A, ITEM, g(2), None, {"a": "1", "b": "x"}, {}),)


def test_an_edit_is_compared_with_what_the_row_left_and_not_with_an_older_one() -> None:
    """The row changed since an edit was applied, its item followed, and then it was left."""
    left = LeftItem(A, ITEM, g(3), None, {"a": "row's", "b": "x"}, {})
    applied = Applied(A, ITEM, 2, Base({"a": "older", "b": "x"}), "k")
    edit = entry(4, fields={"a": "theirs", "b": "x"})
    plan = whose.first(taken(edit, pair=held(list_id=B, item_id=NEW, leftovers=(left,)), applied=applied), RULES)
    assert isinstance(plan, Apply)
    assert plan.base == Base({"a": "row's", "b": "x"}, {})


def test_an_edit_that_nobody_could_note_is_what_the_next_one_is_compared_with() -> None:
    left = LeftItem(A, ITEM, g(3), None, {"a": "row's", "b": "x"}, {})
    applied = Applied(A, ITEM, 4, Base({"a": "theirs", "b": "x"}), "k")
    edit = entry(5, fields={"a": "theirs too", "b": "x"})
    plan = whose.first(taken(edit, pair=held(list_id=B, item_id=NEW, leftovers=(left,)), applied=applied), RULES)
    assert isinstance(plan, Apply)
    assert plan.base == Base({"a": "theirs", "b": "x"})
