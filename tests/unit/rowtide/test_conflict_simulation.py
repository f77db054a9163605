"""What other policies would have done with three conflicts."""

from datetime import UTC, datetime, timedelta

import pytest

from rowtide.conflict_simulation import PastConflict, simulate
from rowtide.deciding.conflicts import TwoWayPolicy, Winner

AT = datetime(2026, 11, 29, tzinfo=UTC)
POSTGRES, SHAREPOINT, NOBODY = Winner.POSTGRES, Winner.SHAREPOINT, Winner.NOBODY
RECORDED = [
    PastConflict(1, POSTGRES, {"Title": POSTGRES, "Qty": SHAREPOINT}, AT, AT + timedelta(minutes=1)),
    PastConflict(2, POSTGRES, {"Title": POSTGRES}, AT, AT + timedelta(seconds=1)),
    PastConflict(3, SHAREPOINT, {}),
]


@pytest.mark.parametrize(
    ("policy", "wins", "other", "by_field"),
    [
        ("postgres_wins", {POSTGRES: 4}, (1, 3), {"Qty": 1}),
        ("merge", {POSTGRES: 4}, (1, 3), {"Qty": 1}),
        ("sharepoint_wins", {SHAREPOINT: 4}, (1, 2), {"Title": 2}),
        # A second apart is the same moment; without times nobody can say.
        ("latest_wins", {SHAREPOINT: 2, POSTGRES: 2}, (1, 3), {"Title": 1}),
        ("manual", {NOBODY: 4}, (1, 2, 3), {"Title": 2, "Qty": 1}),
    ],
)
def test_simulate(
    policy: TwoWayPolicy, wins: dict[Winner, int], other: tuple[int, ...], by_field: dict[str, int]
) -> None:
    found = simulate(RECORDED, policy)
    assert (found.conflicts, found.wins, found.other, found.by_field) == (3, wins, other, by_field)
