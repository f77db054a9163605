"""Entries of a list that SharePoint has no more, once `apply` has made another in its place."""

from rowtide.deciding import pull, whose
from rowtide.deciding.answers import Missing
from rowtide.deciding.pull_steps import AskList, Drop, ListGone, PullInFlight
from rowtide.deciding.taken import Apply
from tests.unit.rowtide.deciding.entries import deletion, edit, ruled, taken
from tests.unit.rowtide.deciding.rows import NOW


def test_no_item_of_it_was_deleted() -> None:
    rules = ruled("sharepoint_wins")
    plan = whose.first(taken(deletion(), absent_passed=True), rules)
    assert isinstance(plan, PullInFlight)
    plan = pull.after(plan, Missing(), rules, NOW)
    assert isinstance(plan, PullInFlight)
    assert isinstance(plan.step, AskList)
    assert isinstance(pull.after(plan, ListGone(), rules, NOW), Drop)


def test_what_was_typed_counts_and_what_is_empty_does_not() -> None:
    rules = ruled("sharepoint_wins")
    plan = whose.first(taken(edit(a="9", b=None)), rules)
    assert isinstance(plan, PullInFlight)
    applied = pull.after(plan, ListGone(), rules, NOW)
    assert isinstance(applied, Apply)
    assert applied.entry.fields == {"a": "9"}
