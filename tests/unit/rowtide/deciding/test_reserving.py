"""What becomes of an item whose key was reserved, by what the key's pair is at that moment."""

from dataclasses import replace

from rowtide.deciding import pull
from rowtide.deciding.pull_steps import Later, ParkEntry, PullInFlight, PullPlan, Reserve, Reserved, ReserveKey
from rowtide.deciding.records import Arriving, AsOf, ItemId, PairedItem
from rowtide.deciding.taken import Apply, How, Taken
from rowtide.error_catalogue import row_errors
from rowtide.position import Position
from tests.unit.rowtide.deciding.entries import RULES, entry, taken
from tests.unit.rowtide.deciding.rows import ITEM, NOW, A, held

MINE = Arriving(AsOf(Position(0, 0, 0), 0, 7), PairedItem(A, ITEM, None, {}, {}))
ANOTHERS = held(item_id=ItemId("77"))


def after(of: Taken, now: Taken) -> PullPlan:
    step = Reserve(ReserveKey("1", PairedItem(A, ITEM, of.entry.etag, {}, {})), of.entry)
    return pull.after(PullInFlight(of, step), Reserved(now), RULES, NOW)


def test_a_key_that_is_the_items_is_applied() -> None:
    of = taken(entry(1), pair=None)
    plan = after(of, replace(of, pair=MINE))
    assert isinstance(plan, Apply)
    assert plan.how is How.ARRIVE


def test_a_new_item_whose_key_another_item_has_is_parked() -> None:
    of = taken(entry(1, item_key=None), pair=None)
    plan = after(of, replace(of, pair=ANOTHERS))
    assert isinstance(plan, ParkEntry)
    assert plan.code == row_errors.INSERT_EXISTS.code


def test_an_item_with_the_key_is_looked_at_anew_when_its_row_has_got_another() -> None:
    """It is a copy, or was moved: parked, it would hold its row up for good."""
    of = taken(entry(1), pair=None)
    assert isinstance(after(of, replace(of, pair=ANOTHERS)), Later)
