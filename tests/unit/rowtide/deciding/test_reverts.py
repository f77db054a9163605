"""What the table refuses and a sync takes back: the row stays, and its item is made what the row says."""

from dataclasses import replace
from typing import Any

import pytest

from rowtide.deciding.apply import Nothing, Row, RowAbsent, RowThere, Write, decide
from rowtide.deciding.conflicts import Conflict, ConflictRecord, TwoWayPolicy, Values, Winner
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.recorded import Commit, Recorded, recorded
from rowtide.deciding.records import Held, NoItem
from rowtide.deciding.sides import Base
from rowtide.deciding.taken import Applied, Apply, How, PullRules, SourceRefusal, WaitingRow
from tests.unit.rowtide.deciding.entries import BASE, deletion, edit, entry, ruled, taken
from tests.unit.rowtide.deciding.rows import ITEM, A, B, g

SAID = "table orders does not take what the item says: check constraint few"
REFUSED = SourceRefusal(Conflict.REFUSED_BY_SOURCE, SAID)
RULES = ruled(reverts=True)


def refused(of: InboxEntry, how: How = How.EDIT, **known: Any) -> Apply:
    return Apply(taken(of, **known), how, "1", of, Base(dict(BASE)), refused=REFUSED)


def done(apply: Apply, row: Row, rules: PullRules = RULES) -> tuple[ConflictRecord, Recorded]:
    verdict = decide(apply, None, row, rules)
    assert isinstance(verdict, Nothing), verdict
    [record] = verdict.applied.conflicts
    return record, recorded(apply, verdict, row, Commit("1", 77, 500), rules)


@pytest.mark.parametrize("policy", ["postgres_wins", "sharepoint_wins", "manual"])
def test_what_the_item_says_is_on_record_and_the_rows_values_go_back(policy: TwoWayPolicy) -> None:
    record, end = done(refused(edit(a="9")), RowThere(A, dict(BASE)), ruled(policy, reverts=True))
    assert record == ConflictRecord(
        Conflict.REFUSED_BY_SOURCE, A, ITEM, 4, policy, Winner.POSTGRES,
        {"a": Values("1", "1", "9", Winner.POSTGRES)}, SAID,
    )  # fmt: skip
    assert isinstance(end.pair, Held)
    assert (end.pair.item.base, end.pair.item.etag) == ({**BASE, "a": "9"}, g(4)), "push sees that the item differs"
    assert end.reread
    assert end.conflicts == (record,)


def test_what_the_row_changed_too_is_on_record_and_travels() -> None:
    record, end = done(refused(edit(a="9")), RowThere(A, {**BASE, "a": "2", "b": "y"}))
    assert record.fields == {"a": Values("1", "2", "9", Winner.POSTGRES)}
    assert end.reread


def test_a_change_that_waits_may_not_name_what_goes_back() -> None:
    """It has only what the row changed; the row is read anew."""
    _, end = done(refused(edit(a="9"), waiting=WaitingRow("u")), RowThere(A, {**BASE, "b": "y"}))
    assert end.reread
    ordinary = replace(refused(edit(a="9"), waiting=WaitingRow("u")), refused=None)
    verdict = decide(ordinary, None, RowThere(A, {**BASE, "b": "y"}), RULES)
    assert isinstance(verdict, Write)
    assert not recorded(ordinary, verdict, RowThere(A, {**BASE, "b": "y"}), Commit("1", 77, 500), RULES).reread


def test_a_refused_deletion_makes_the_item_again() -> None:
    record, end = done(refused(deletion(), How.DELETE), RowThere(A, dict(BASE)))
    assert (record.kind, record.fields, record.version) == (Conflict.REFUSED_BY_SOURCE, {}, 3)
    assert isinstance(end.pair, NoItem)
    assert not end.pair.ignored
    assert end.reread


def test_a_refused_move_moves_the_item_back() -> None:
    moved = entry(5, list_id=B)
    _, end = done(refused(moved, How.MOVE), RowThere(A, dict(BASE)))
    assert isinstance(end.pair, Held)
    assert end.pair.item.list_id == B
    assert end.reread


def test_what_was_recorded_before_a_crash_is_not_refused_again() -> None:
    before = Applied(A, ITEM, 4, Base({**BASE, "a": "9"}))
    verdict = decide(refused(edit(a="9")), before, RowThere(A, dict(BASE)), RULES)
    assert verdict.__class__.__name__ == "AlreadyApplied"


def test_a_row_that_went_meanwhile_is_judged_as_gone() -> None:
    verdict = decide(refused(edit(a="9"), absent_passed=True), None, RowAbsent(), RULES)
    assert isinstance(verdict, Nothing)
    assert [one.kind for one in verdict.applied.conflicts] == [Conflict.UPDATE_DELETED]
