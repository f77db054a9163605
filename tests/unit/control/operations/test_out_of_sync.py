"""What `status` says of the last look, and of what has happened since: never a 0 that nobody knows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from control.operations import out_of_sync
from control.operations.out_of_sync import Moment, StandingNow
from rowtide.gauge import Minutes
from state.gauges import GaugeRow

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
S = timedelta(seconds=1)
LOOK = GaugeRow("orders", 3, 1, 0, 0, 0, NOW - 9 * S, 9.04, None, None, None, NOW - 900 * S, NOW - S)
REST = replace(LOOK, waiting=0, parked=0, oldest=None, push_lag_s=0.0)
BOTH = replace(REST, pull_lag_s=0.0)
MOMENT = Moment(NOW, 7, 12.5, None, NOW - 5000 * S)


@pytest.mark.parametrize(
    ("row", "moment", "standing"),
    [
        (LOOK, MOMENT, StandingNow(4, None, 9.0, None)),
        (REST, MOMENT, StandingNow(0, None, 0.0, None)),
        (BOTH, MOMENT, StandingNow(0, None, 0.0, 0.0)),
        # One way that is not known says nothing of the other's lag, and makes the rows the least there are.
        (replace(REST, push_unknown_since=NOW - 40 * S), MOMENT, StandingNow(0, NOW - 40 * S, None, None)),
        (replace(LOOK, push_unknown_since=NOW - 40 * S), MOMENT, StandingNow(4, NOW - 40 * S, 9.0, None)),
        (replace(BOTH, pull_unknown_since=NOW - 40 * S), MOMENT, StandingNow(0, NOW - 40 * S, 0.0, None)),
        # Status sees by itself that nothing is captured, before a look does.
        (REST, replace(MOMENT, unknown_since=NOW - 2 * S), StandingNow(0, NOW - 2 * S, None, None)),
        # Nobody has looked for a while.
        (replace(BOTH, as_of=NOW - 90 * S), MOMENT, StandingNow(0, None, 0.0, 0.0)),
        (replace(BOTH, as_of=NOW - 91 * S), MOMENT, StandingNow(0, NOW - 91 * S, None, None)),
        # Nobody has looked at all.
        (None, MOMENT, StandingNow(7, NOW - 5000 * S, 12.5, None)),
        (None, replace(MOMENT, rows=0, oldest_s=0.0), StandingNow(0, NOW - 5000 * S, None, None)),
        (None, replace(MOMENT, unknown_since=NOW - 60 * S), StandingNow(7, NOW - 60 * S, 12.5, None)),
    ],
)
def test_where_a_sync_stands(row: GaugeRow | None, moment: Moment, standing: StandingNow) -> None:
    assert out_of_sync.standing_of(row, moment) == standing


def test_documents_before_the_first_look_are_none() -> None:
    assert out_of_sync.gauge_document(None, out_of_sync.standing_of(None, MOMENT)) is None
    assert out_of_sync.minutes_document(None) is None


def test_the_parts_of_a_look_add_up_to_its_rows() -> None:
    found = out_of_sync.gauge_document(LOOK, out_of_sync.standing_of(LOOK, MOMENT))
    assert found is not None
    parts = (found["waiting"], found["parked"], found["held"], found["pulling"], found["found"])
    assert (parts, sum(parts)) == ((3, 1, 0, 0, 0), LOOK.rows)
    assert (found["as_of"], found["push_lag_s"], found["pull_lag_s"]) == (NOW - S, 9.0, None)


def test_minutes_that_nobody_knows_are_shown_beside_the_share() -> None:
    found = out_of_sync.minutes_document(Minutes(total=100, looked=90, late=10, unknown=20, held=30))
    assert found == {"total": 100, "good": 30, "late": 10, "held": 30, "unknown": 30, "good_share": 0.75}
