"""The judge of histories both ways: it finds what it is for, and takes nothing for it that is none."""

import pytest

from tests.e2e.crash.both.lineage import Lineage, Place

AT: Place = ("list", "7")
KEY = "1"
ITEM_SEEN, ROW_SEEN = (f"all that the {what} said was seen by whoever deleted" for what in ("item", "row"))


def conflict(lineage: Lineage, postgres: str | None, sharepoint: str | None) -> str:
    """Why a conflict between two values of one field is none."""
    fields = {"Note": {"postgres": postgres, "sharepoint": sharepoint}}
    return lineage.note_conflict("update_differing", KEY, AT, 2, fields)


def test_a_value_that_nobody_saw_go_is_lost() -> None:
    lineage = Lineage()
    first = lineage.value("n")
    second = lineage.value("n")
    assert lineage.lost([{"Note": second}]) == {first}
    assert lineage.lost([{"Note": first}, {"Note": second}]) == set()


def test_a_value_is_not_lost_that_somebody_saw_or_that_is_told_of() -> None:
    lineage = Lineage()
    first = lineage.value("n")
    second = lineage.value("n", first)
    third = lineage.value("n", second)
    assert lineage.lost([{"Note": third}]) == set(), "each was seen by who wrote the next"
    there = lineage.value("n")
    named = lineage.value("n")
    assert lineage.lost([{"Note": third}, {"Note": there}]) == {named}
    assert conflict(lineage, there, named) == ""
    assert lineage.lost([{"Note": third}, {"Note": there}]) == set(), "a conflict names it"
    gone = lineage.value("n")
    lineage.row_gone(KEY, {"Note": gone})
    assert lineage.lost([{"Note": third}, {"Note": there}]) == set(), "it went with its row"
    unanswered = lineage.value("n")
    lineage.doubtful.add(unanswered)
    assert lineage.lost([{"Note": third}, {"Note": there}]) == set(), "its commit was not answered"


def test_a_field_that_was_emptied_accounts_for_what_was_in_it() -> None:
    lineage = Lineage()
    first = lineage.value("n")
    nothing = lineage.emptied(first)
    assert lineage.lost([{"Note": None}]) == set()
    lineage.said(AT, 2, {"Note": None}, {"Note": nothing})
    lineage.said(AT, 3, {"Note": None}, {})
    assert lineage.of_item[AT][3] == {"Note": nothing}, "the nothing stands until something else is there"
    other = lineage.value("n")
    lineage.said(AT, 4, {"Note": other}, {})
    lineage.said(AT, 5, {"Note": None}, {})
    assert lineage.of_item[AT][5] == {"Note": None}


@pytest.mark.parametrize("seen_by", ["sharepoint", "postgres"])
def test_a_conflict_of_values_of_which_one_was_seen_is_invented(seen_by: str) -> None:
    lineage = Lineage()
    first = lineage.value("n")
    last = lineage.value("n", lineage.value("n", first))
    postgres, sharepoint = (first, last) if seen_by == "sharepoint" else (last, first)
    assert conflict(lineage, postgres, sharepoint) == f"Note: {last} was written over {first}"


def test_a_conflict_of_values_that_did_not_see_each_other_is_none_of_ours() -> None:
    lineage = Lineage()
    base = lineage.value("n")
    assert conflict(lineage, lineage.value("n", base), lineage.value("n", base)) == ""
    assert conflict(lineage, None, lineage.value("n", base)) == ""


def test_a_deletion_that_had_seen_every_edit_is_no_conflict() -> None:
    lineage = Lineage()
    edit = lineage.value("n")
    lineage.said(AT, 2, {"Note": edit}, {})
    assert lineage.note_conflict("update_deleted", KEY, AT, 2, {}) == "an edit of the item meets no deletion"
    lineage.row_gone(KEY, {"Note": edit})
    assert lineage.note_conflict("update_deleted", KEY, AT, 2, {}) == ITEM_SEEN
    unseen = lineage.value("n", edit)
    lineage.said(AT, 3, {"Note": unseen}, {})
    assert lineage.note_conflict("update_deleted", KEY, AT, 3, {}) == ""


def test_a_row_that_was_changed_beside_a_deletion_of_its_item() -> None:
    lineage = Lineage()
    known = lineage.value("n")
    lineage.of_row[KEY].add(known)
    assert lineage.note_conflict("delete_updated", KEY, AT, 2, {}) == "an edit of the row meets no deletion"
    lineage.item_gone(KEY, AT, {"Note": known}, known=True, blurred=False)
    assert lineage.note_conflict("delete_updated", KEY, AT, 2, {}) == ROW_SEEN
    lineage.of_row[KEY].add(lineage.value("n", known))
    assert lineage.note_conflict("delete_updated", KEY, AT, 2, {}) == ""


def test_of_a_moved_row_and_of_an_unexplained_attempt_nothing_is_said() -> None:
    for is_moved in (False, True):
        lineage = Lineage()
        known = lineage.value("n")
        lineage.of_row[KEY].add(known)
        lineage.item_gone(KEY, AT, {"Note": known}, known=True, blurred=not is_moved)
        if is_moved:
            lineage.moved.add(KEY)
        assert lineage.note_conflict("delete_updated", KEY, AT, 2, {}) == ""


def test_a_deletion_is_lost_while_its_row_says_what_was_deleted() -> None:
    lineage = Lineage()
    lineage.born(KEY)
    value, later = lineage.value("n"), lineage.value("n")
    made = lineage.row_gone(KEY, {"Note": value})
    assert lineage.deletions_lost({KEY: {"Note": value}}) == [made]
    assert lineage.deletions_lost({}) == []
    assert lineage.deletions_lost({KEY: {"Note": later}}) == [], "somebody else's values are there"
    lineage.born(KEY)
    assert lineage.deletions_lost({KEY: {"Note": value}}) == [], "it was made again, knowingly"


def test_a_deletion_needs_no_trace_that_a_conflict_tells_of_or_that_nobody_could_see() -> None:
    told, unknown, moved = Lineage(), Lineage(), Lineage()
    for lineage in (told, unknown, moved):
        value = lineage.value("n")
        lineage.of_row[KEY].add(value)
        lineage.item_gone(KEY, AT, {"Note": value}, known=lineage is not unknown, blurred=False)
    assert len(told.deletions_lost({KEY: {"Note": "n1"}})) == 1
    told.note_conflict("delete_updated", KEY, AT, 2, {})
    moved.moved.add(KEY)
    for lineage in (told, unknown, moved):
        assert lineage.deletions_lost({KEY: {"Note": "n1"}}) == []
