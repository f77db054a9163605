"""Every combination of what happened to a row and to its item, under every policy, and what becomes of it.

Rows of the table are what happened to the row, columns what happened to the item; a cell names what pull does and,
where a conflict is met, its kind. Nothing of the table is left out, and nothing else is in it.
"""

import itertools
from datetime import timedelta
from typing import Literal, get_args

import pytest

from rowtide.deciding import hand_over, pull, whose
from rowtide.deciding.answers import Missing
from rowtide.deciding.apply import Delete, Insert, Nothing, Open, Row, RowAbsent, RowThere, Verdict, Write
from rowtide.deciding.conflicts import Conflict, Times, TwoWayPolicy, Winner
from rowtide.deciding.in_flight import InFlight
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.outcomes import Settle
from rowtide.deciding.pull_steps import (
    AskList,
    Drop,
    Later,
    ListSeen,
    LookAtOwn,
    PullAnswer,
    PullInFlight,
    PullPlan,
    Reserve,
    Reserved,
)
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import NoItem, Work
from rowtide.deciding.taken import Taken, WaitingRow
from tests.unit.rowtide.deciding import rows
from tests.unit.rowtide.deciding.entries import BASE, deletion, edit, entry, judged, ruled, taken
from tests.unit.rowtide.deciding.rows import NOW, A, desired, held

Side = Literal["unchanged", "changed", "deleted", "absent"]
SIDES: tuple[Side, ...] = get_args(Side)
POLICIES: tuple[TwoWayPolicy, ...] = get_args(TwoWayPolicy)

# "absent": there never was one. W the row gets the item's value, I it is inserted, D deleted, - it stays as it is,
# = the entry says nothing new, ? the conflict waits for a person; P push alone has something to do.
TABLE = """
row \\ item  unchanged  changed             deleted             absent
unchanged   =          W                   D                   P
changed     =          update_differing    delete_updated      P
deleted     =          update_deleted      -                   P
absent      I          I                   =                   P
"""

# What a conflict ends in: PostgreSQL wins, SharePoint wins, nobody does.
ENDS = {
    Conflict.UPDATE_DIFFERING: ("-", "W", "?"),
    Conflict.DELETE_UPDATED: ("-", "D", "?"),
    Conflict.UPDATE_DELETED: ("-", "I", "?"),
}
WINS: dict[TwoWayPolicy, int] = {
    "postgres_wins": 0, "sharepoint_wins": 1, "latest_wins": 1, "merge": 0, "manual": 2,
}  # fmt: skip
LATER_IN_SHAREPOINT = Times(NOW, NOW + timedelta(seconds=3))


def cells() -> dict[tuple[str, str], str]:
    header, *lines = [line.split() for line in TABLE.strip().splitlines()]
    items = header[3:]
    return {(line[0], item): cell for line in lines for item, cell in zip(items, line[1:], strict=True)}


def test_no_combination_is_left_out() -> None:
    assert set(cells()) == set(itertools.product(SIDES, SIDES))
    assert set(WINS) == set(POLICIES)


def an_entry(row: Side, item: Side) -> InboxEntry:
    if item == "deleted":
        return deletion()
    key = None if row == "absent" else "orders:1"
    return edit(a="9", b="x") if item == "changed" else entry(item_key=key)


def a_row(row: Side) -> Row:
    match row:
        case "unchanged":
            return RowThere(A, dict(BASE))
        case "changed":
            return RowThere(A, {**BASE, "a": "2"})
        case "deleted" | "absent":
            return RowAbsent()


def planned(of: Taken, policy: TwoWayPolicy) -> PullPlan:
    """The plan once the list answered what is asked: the item is as the entry says, the list is there."""
    rules = ruled(policy)
    plan = whose.first(of, rules)
    while isinstance(plan, PullInFlight):
        plan = pull.after(plan, answer_to(plan, of), rules, NOW)
    return plan


def answer_to(plan: PullInFlight, of: Taken) -> PullAnswer:
    match plan.step:
        case LookAtOwn():
            return Missing()
        case AskList():
            return ListSeen({"a": "ca", "b": "cb"})
        case Reserve(command):
            return Reserved(Taken(of.entry, "5", whose.reserved_pair(None, command.item, 7)))
        case step:
            raise AssertionError(step)


def sign(verdict: Verdict) -> str:
    match verdict:
        case Write():
            return "W"
        case Insert():
            return "I"
        case Delete():
            return "D"
        case Nothing():
            return "-"
        case Open():
            return "?"
        case _:
            raise AssertionError(verdict)


@pytest.mark.parametrize("uncertain", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("item", SIDES)
@pytest.mark.parametrize("row", SIDES)
def test_what_becomes_of_it(row: Side, item: Side, policy: TwoWayPolicy, uncertain: bool) -> None:
    cell = cells()[row, item]
    if item == "absent":
        assert cell == "P"
        only_push_acts(row, uncertain)
        return
    waiting = WaitingRow("d" if row == "deleted" else "u", busy=uncertain) if row != "unchanged" else None
    if uncertain and waiting is None:
        waiting = WaitingRow("u", busy=True)
    of = taken(an_entry(row, item), waiting=waiting, absent_passed=True, times=LATER_IN_SHAREPOINT)
    if row == "absent":
        of = Taken(of.entry, waiting=WaitingRow("u", busy=True) if uncertain else None)
    plan = planned(of, policy)
    if uncertain:
        assert isinstance(plan, Later)
        return
    if cell == "=":
        assert isinstance(plan, Drop | Recorded)
        return
    verdict = judged(plan, a_row(row), ruled(policy))
    if cell in "WID-":
        assert sign(verdict) == cell
        assert not isinstance(verdict, Open)
        return
    kind = Conflict[cell.upper()]
    assert sign(verdict) == ENDS[kind][WINS[policy]]
    record = verdict.conflict if isinstance(verdict, Open) else verdict.applied.conflicts[0]  # type: ignore[union-attr]
    assert record.kind is kind
    assert record.winner is [Winner.POSTGRES, Winner.SHAREPOINT, Winner.NOBODY][WINS[policy]]
    assert record.policy == policy


def only_push_acts(row: Side, uncertain: bool) -> None:
    """There is no item, so there is no entry: push makes one for a row that is there, and looks first if uncertain."""
    pair = None if row == "absent" else NoItem(held().as_of)
    attempts = (rows.sent(),) if uncertain else ()
    work = Work(desired("d" if row in ("deleted", "absent") else "u", sent=attempts), pair)
    plan = hand_over.first(work, rows.RULES, NOW)
    if row in ("deleted", "absent"):
        assert isinstance(plan, Settle)
    else:
        assert isinstance(plan, InFlight)
        assert type(plan.step).__name__ == ("Search" if uncertain else "Post")
