"""Conflicts that were decided in the source and not noted before the next entry of the row was applied."""

from rowtide.deciding import whose
from rowtide.deciding.apply import RowThere, Write
from rowtide.deciding.conflicts import Conflict, ConflictRecord, Winner
from rowtide.deciding.pulled import Pulled
from rowtide.deciding.sides import Base
from rowtide.deciding.taken import Applied
from tests.unit.rowtide.deciding.entries import BASE, edit, judged, ruled, taken
from tests.unit.rowtide.deciding.rows import ITEM, A

UNNOTED = ConflictRecord(Conflict.UPDATE_DIFFERING, A, ITEM, 4, "postgres_wins", Winner.POSTGRES)
APPLIED = Applied(A, ITEM, 4, Base(dict(BASE)), "1", 60, (UNNOTED,))


def conflicts_after(pulled: Pulled | None) -> tuple[ConflictRecord, ...]:
    of = taken(edit(5, a="5"), applied=APPLIED, pulled=pulled)
    done = judged(whose.first(of, ruled()), RowThere(A, dict(BASE)), ruled())
    assert isinstance(done, Write)
    return done.applied.conflicts


def test_they_go_along_with_what_replaces_their_record() -> None:
    assert conflicts_after(None) == (UNNOTED,)


def test_those_that_are_noted_do_not() -> None:
    assert conflicts_after(Pulled(A, ITEM, 4, "update", 60)) == ()
