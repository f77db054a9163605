"""What is decided while a column cannot be written, and while the key proves nothing."""

from dataclasses import replace

from rowtide.deciding import push
from rowtide.deciding.commands import CreateItem, DeleteItem, LookAtItem, UpdateItem
from rowtide.deciding.in_flight import InFlight
from rowtide.deciding.outcomes import Release, Settle
from rowtide.deciding.records import Held, NoItem, Work, WrongKey
from rowtide.keys import ROWTIDE_KEY
from rowtide.lists import HeldColumns
from tests.unit.rowtide.deciding.rows import ITEM, NEW, NOW, RULES, A, desired, g, held

GONE = replace(RULES, held={A: HeldColumns({"b": "is gone"})})
NO_KEY = replace(RULES, held={A: HeldColumns({ROWTIDE_KEY: "is gone"}, "is gone")})
NOT_UNIQUE = replace(RULES, held={A: HeldColumns({}, "is not unique")})


def test_a_held_field_is_neither_written_nor_agreed() -> None:
    wanted = desired(fields={"a": "2", "b": "y"})
    plan = push.first(Work(wanted, held()), GONE, NOW)
    assert isinstance(plan, InFlight)
    assert plan.command == UpdateItem(A, ITEM, g(3), {"a": "2"})
    plan = push.first(Work(wanted, None), GONE, NOW)
    assert isinstance(plan, InFlight)
    assert plan.command == CreateItem(A, {"a": "2"})
    same = push.first(Work(desired(fields={"a": "1", "b": "y"}), held()), GONE, NOW)
    assert isinstance(same, Settle)
    assert isinstance(same.pair, Held)
    assert same.pair.item.base == {"a": "1"}


def test_a_list_whose_key_proves_nothing_takes_no_new_item() -> None:
    for rules in (NO_KEY, NOT_UNIQUE):
        plan = push.first(Work(desired(), None), rules, NOW)
        assert isinstance(plan, Release)
        assert "no new items" in plan.reason
        gone = push.first(Work(desired(), NoItem(held().as_of, held().item)), rules, NOW)
        assert isinstance(gone, Release)


def test_it_takes_changes_and_deletions_by_id() -> None:
    change = push.first(Work(desired(), held()), NO_KEY, NOW)
    assert isinstance(change, InFlight)
    assert isinstance(change.command, UpdateItem)
    delete = push.first(Work(desired("d", None), held()), NO_KEY, NOW)
    assert isinstance(delete, InFlight)
    assert isinstance(delete.command, DeleteItem | LookAtItem)


def test_a_lost_key_is_written_once_it_can_be() -> None:
    lost = held(base={"a": "2", "b": "x", ROWTIDE_KEY: None})
    assert isinstance(push.first(Work(desired(), lost), NO_KEY, NOW), Settle)
    plan = push.first(Work(desired(), lost), NOT_UNIQUE, NOW)
    assert isinstance(plan, InFlight)
    assert plan.command == UpdateItem(A, ITEM, g(3), {ROWTIDE_KEY: "orders:1"})


def test_an_item_that_is_not_ours_loses_the_key_first() -> None:
    lost = held(base={"a": "2", "b": "x", ROWTIDE_KEY: None}, leftovers=(WrongKey(A, NEW, g(1)),))
    plan = push.first(Work(desired(), lost), RULES, NOW)
    assert isinstance(plan, InFlight)
    assert plan.command == UpdateItem(A, NEW, g(1), {ROWTIDE_KEY: None})
