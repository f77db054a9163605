"""An item of a list that was restored: a person decides where row and item differ, whatever the policy is."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rowtide.change import Fields
from rowtide.deciding import pull, whose
from rowtide.deciding.answers import Found
from rowtide.deciding.apply import Nothing, Open, RowAbsent, RowThere, Write
from rowtide.deciding.conflicts import Choice, Conflict, TwoWayPolicy, Winner
from rowtide.deciding.pull_steps import Drop, Later, ListRestored, LookAtOwn, PullInFlight
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import Held, LeftItem
from rowtide.deciding.sides import Base
from rowtide.deciding.taken import Applied, Apply, Taken, etag_of_version
from tests.unit.rowtide.deciding import entries
from tests.unit.rowtide.deciding.entries import deletion, edit, entry, judged, ruled, taken
from tests.unit.rowtide.deciding.rows import ITEM, NEW, NOW, A, B, g, h, held, item
from tests.unit.rowtide.deciding.test_lost_edits import pulled

BASE: Fields = dict(entries.BASE)
APPLIED = Applied(A, ITEM, 9, Base(BASE), "1", 50)
"""What the source remembers of before the restore."""


def doubtful(**fields: str) -> Taken:
    """The item is in version 3, which a person wrote; the ledger is one below."""
    of = replace(edit(3, **fields), suspect=True)
    return taken(of, pair=held(etag=etag_of_version(of.etag, 2)), applied=APPLIED, pulled=pulled(version=9))


@pytest.mark.parametrize("policy", ["postgres_wins", "sharepoint_wins", "latest_wins", "merge"])
def test_a_value_that_only_the_item_shows_is_asked_about(policy: TwoWayPolicy) -> None:
    done = judged(whose.first(doubtful(a="0"), ruled(policy)), RowThere(A, BASE), ruled(policy))
    assert isinstance(done, Open)
    assert (done.conflict.kind, set(done.conflict.fields)) == (Conflict.UPDATE_DIFFERING, {"a"})


def test_a_value_that_the_row_has_by_now_is_agreed() -> None:
    row: Fields = {**BASE, "a": "0"}
    assert isinstance(judged(whose.first(doubtful(a="0"), ruled()), RowThere(A, row), ruled()), Nothing)


def test_a_field_that_only_the_row_changed_is_the_rows() -> None:
    row: Fields = {"a": "0", "b": "of the row"}
    assert isinstance(judged(whose.first(doubtful(a="0"), ruled()), RowThere(A, row), ruled()), Nothing)


def test_it_is_done_as_the_person_says() -> None:
    chosen = Choice(Winner.SHAREPOINT, {}, {"a": ("1", "0")})
    done = judged(whose.first(replace(doubtful(a="0"), choice=chosen), ruled()), RowThere(A, BASE), ruled())
    assert isinstance(done, Write)
    assert done.fields == {"a": "0"}


def test_a_row_that_is_gone_is_asked_about() -> None:
    of = replace(doubtful(a="0"), absent_passed=True)
    done = judged(whose.first(of, ruled("sharepoint_wins")), RowAbsent(), ruled("sharepoint_wins"))
    assert isinstance(done, Open)
    assert done.conflict.kind is Conflict.UPDATE_DELETED


def test_an_edit_after_the_restore_is_applied_although_the_source_remembers_a_higher_version() -> None:
    """The ledger knows of that apply, so the record says nothing about what came later."""
    of = taken(edit(4, a="typed"), pair=held(), applied=APPLIED, pulled=pulled(version=9))
    done = judged(whose.first(of, ruled()), RowThere(A, BASE), ruled())
    assert isinstance(done, Write)
    assert done.fields == {"a": "typed"}
    unchanged = whose.first(replace(of, entry=entry(4)), ruled())
    assert isinstance(unchanged, Recorded)


def test_an_apply_that_the_ledger_does_not_know_is_done() -> None:
    of = taken(edit(4, a="typed"), pair=held(), applied=APPLIED, pulled=None)
    plan = whose.first(of, ruled())
    assert not isinstance(judged(plan, RowThere(A, BASE), ruled()), Write)


def test_an_item_that_stays_older_is_of_a_restored_list() -> None:
    of = taken(entry(2), applied=APPLIED, pulled=pulled(version=9))
    plan = whose.first(of, ruled())
    assert isinstance(plan, PullInFlight)
    assert isinstance(plan.step, LookAtOwn)
    found = Found((item(2),))
    assert isinstance(pull.after(plan, found, ruled(), NOW), Later)
    assert isinstance(pull.after(plan, found, ruled(), NOW + pull.RESTORED_AFTER), ListRestored)


# --- records that are older than the list -------------------------------------------------------------------------


def ours(**fields: str) -> Taken:
    """Our own application wrote the item last, and no record knows of it."""
    return taken(replace(edit(6, **fields), by_app=True), pair=held())


@pytest.mark.parametrize("policy", ["sharepoint_wins", "manual"])
def test_what_we_wrote_last_was_in_the_row(policy: TwoWayPolicy) -> None:
    row: Fields = {**BASE, "a": "3"}
    done = judged(whose.first(ours(a="2"), ruled(policy)), RowThere(A, row), ruled(policy))
    assert isinstance(done, Nothing)
    assert done.applied.agreed == Base({**BASE, "a": "2"})
    assert not done.applied.conflicts


def test_a_row_that_went_back_is_no_edit_of_the_item() -> None:
    assert isinstance(judged(whose.first(ours(a="2"), ruled()), RowThere(A, BASE), ruled()), Nothing)


def test_a_row_that_is_gone_since_we_wrote_its_item_is_no_conflict() -> None:
    done = judged(whose.first(replace(ours(a="2"), absent_passed=True), ruled("manual")), RowAbsent(), ruled("manual"))
    assert isinstance(done, Nothing)
    assert not done.applied.conflicts


# --- one version, two contents ------------------------------------------------------------------------------------


def another_content(**changes: Any) -> Taken:
    """The item in the ledger's version, with another value than it had in that."""
    return taken(replace(edit(3, a="typed"), **changes))


def test_another_content_in_the_same_version_is_of_a_restored_list() -> None:
    plan = whose.first(another_content(), ruled())
    assert isinstance(plan, PullInFlight)
    assert isinstance(plan.step, LookAtOwn)
    assert isinstance(pull.after(plan, Found((item(3, a="typed"),)), ruled(), NOW), ListRestored)
    assert isinstance(pull.after(plan, Found((item(3),)), ruled(), NOW), Drop), "it was shown by an old page"


def test_of_an_item_that_the_row_has_left_in_such_a_list_a_person_decides() -> None:
    """No deep pass looks at it; it would be removed with what was typed."""
    left = LeftItem(A, ITEM, g(3), None, dict(BASE), {})
    pair = held(list_id=B, item_id=NEW, leftovers=(left,))
    typed = replace(another_content(), pair=pair)
    done = judged(whose.first(typed, ruled("postgres_wins")), RowThere(B, dict(BASE)), ruled("postgres_wins"))
    assert isinstance(done, Open)
    assert done.conflict.fields["a"].sharepoint == "typed"
    later = NOW + timedelta(seconds=1)
    same = replace(typed, pulled=pulled(modified_at=NOW), applied=replace(APPLIED, version=3))
    assert isinstance(whose.first(same, ruled()), Drop), "the list shows it in another form"
    assert isinstance(whose.first(replace(same, pulled=pulled(modified_at=later)), ruled()), Apply)


def test_what_we_wrote_ourselves_is_how_sharepoint_keeps_it() -> None:
    learnt = whose.first(another_content(by_app=True), ruled())
    assert isinstance(learnt, Recorded)
    assert isinstance(learnt.pair, Held)
    assert learnt.pair.item.kept == {"a": "typed"}


def test_the_moment_tells_two_edits_of_one_version_apart() -> None:
    later = NOW + timedelta(seconds=1)
    same = replace(another_content(), pulled=pulled(modified_at=NOW), applied=replace(APPLIED, version=3))
    assert isinstance(whose.first(same, ruled()), Recorded), "the list shows it in another form"
    assert isinstance(whose.first(replace(same, pulled=pulled(modified_at=later)), ruled()), PullInFlight)
    assert isinstance(whose.first(replace(same, pulled=pulled()), ruled()), Recorded), "nobody knows when it was"


@pytest.mark.parametrize("version", [1, 3, 9])
def test_another_item_with_the_number_of_the_rows_tells_of_a_restore(version: int) -> None:
    of = taken(entry(version, etag=h(version), item_key=None), pair=held())
    looked = whose.first(of, ruled())
    assert isinstance(looked, PullInFlight)
    assert isinstance(looked.step, LookAtOwn)
    other = replace(item(version), etag=h(version), row_key=None)
    assert pull.after(looked, Found((other,)), ruled(), NOW) == ListRestored(of, A)


def test_nor_is_it_told_as_deleted() -> None:
    looked = whose.first(taken(deletion(), pair=held()), ruled())
    assert isinstance(looked, PullInFlight)
    other = replace(item(1), etag=h(1), row_key=None)
    assert isinstance(pull.after(looked, Found((other,)), ruled(), NOW), ListRestored)


def test_one_with_the_number_of_an_item_that_its_row_has_left_waits_until_that_is_looked_for() -> None:
    pair = held(list_id=B, item_id=NEW, leftovers=(LeftItem(A, ITEM, g(1), None, BASE, {}),))
    assert isinstance(whose.first(taken(entry(3, etag=h(3), item_key=None), pair=pair), ruled()), Later)
