"""Which list a target has: by its applied title, by its id, by a free title, or none yet."""

import pytest

from connectors.graph.list_schema import FoundList, FoundSite, KeepName, RenameList, WantedList
from connectors.graph.list_targets import resolve
from rowtide.errors import GraphRefused
from rowtide.lists import KnownList, ListState


def site(**titles: str) -> FoundSite:
    """A site with lists: id -> title."""
    return FoundSite("s", {title.casefold(): FoundList(list_id, title, {}) for list_id, title in titles.items()})


def wants(title: str, *targets: str, sync: str = "parts") -> WantedList:
    return WantedList(title, (), sync, targets or ("default",))


def known(
    list_id: str, title: str, *targets: str, sync: str = "parts", state: ListState = ListState.APPLIED
) -> KnownList:
    return KnownList(list_id, "s", sync, targets or ("default",), title, state)


def ids(site: FoundSite, wanted: list[WantedList], lists: list[KnownList]) -> dict[str, str]:
    return {title: one.id for title, one in resolve(site, wanted, lists).lists.items()}


def test_a_list_nobody_knows_is_taken_by_its_title_and_a_missing_one_is_not_there() -> None:
    assert ids(site(a="parts"), [wants("Parts"), wants("More", "map:M")], []) == {"Parts": "a"}


def test_a_new_title_renames_the_targets_own_list() -> None:
    resolved = resolve(site(a="Old"), [wants("New")], [known("a", "Old")])
    assert resolved.lists["New"].id == "a"
    assert resolved.naming == [RenameList("New", "Old")]


def test_a_name_that_a_person_gave_stays() -> None:
    resolved = resolve(site(a="Theirs"), [wants("Old")], [known("a", "Old")])
    assert (resolved.lists["Old"].id, resolved.naming) == ("a", [])
    resolved = resolve(site(a="Theirs"), [wants("New")], [known("a", "Old")])
    assert (resolved.lists["New"].id, resolved.naming) == ("a", [KeepName("New", "Theirs")])


def test_a_title_that_another_list_has_is_not_given_twice() -> None:
    resolved = resolve(site(a="Old", b="New"), [wants("New")], [known("a", "Old")])
    assert (resolved.lists["New"].id, resolved.naming) == ("a", [KeepName("New", "Old")])


def test_titles_exchanged_between_targets_move_rows_and_rename_nothing() -> None:
    lists = [known("a", "EU", "map:EU"), known("b", "US", "map:US")]
    resolved = resolve(site(a="EU", b="US"), [wants("US", "map:EU"), wants("EU", "map:US")], lists)
    assert {title: one.id for title, one in resolved.lists.items()} == {"US": "b", "EU": "a"}
    assert resolved.naming == []


def test_targets_that_part_keep_the_list_for_the_first_of_them() -> None:
    lists = [known("a", "Europe", "map:DE", "map:FR")]
    assert ids(site(a="Europe"), [wants("Germany", "map:DE"), wants("France", "map:FR")], lists) == {"Germany": "a"}


def test_a_list_that_rows_leave_is_taken_up_again_by_its_title() -> None:
    lists = [known("a", "US", "map:US", state=ListState.LEAVING)]
    assert ids(site(a="US"), [wants("US", "map:US")], lists) == {"US": "a"}


def test_a_list_of_another_site_or_that_is_gone_is_not_the_targets() -> None:
    elsewhere = KnownList("x", "t", "parts", ("default",), "Parts", ListState.APPLIED)
    assert ids(site(), [wants("Parts")], [elsewhere, known("y", "Parts")]) == {}


@pytest.mark.parametrize("state", list(ListState))
def test_a_list_of_another_sync_is_refused_with_its_id(state: ListState) -> None:
    with pytest.raises(GraphRefused) as refused:
        resolve(site(a="Parts"), [wants("Parts", sync="pieces")], [known("a", "Parts", state=state)])
    assert "id: parts" in refused.value.remedy


def test_a_title_that_a_person_gave_to_another_target_is_refused() -> None:
    lists = [known("a", "EU", "map:EU")]
    with pytest.raises(GraphRefused, match="another list of the sync"):
        resolve(site(a="US"), [wants("EU", "map:EU"), wants("US", "map:US")], lists)
