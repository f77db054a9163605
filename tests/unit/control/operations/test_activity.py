"""What a sync does, when it will be done, and since when that is not known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from control.operations import activity
from control.operations.activity import Knowledge, Rates
from rowtide.holds import Hold
from rowtide.reconcile import Coverage

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOTHING = Rates()


@pytest.mark.parametrize(
    ("rates", "lives", "waiting", "unknown", "expected"),
    [
        (NOTHING, True, False, False, "idle"),
        (NOTHING, True, False, True, "unknown"),
        (NOTHING, True, True, False, "waiting"),
        (NOTHING, True, True, True, "waiting"),
        (Rates(changes=2.0), True, True, False, "staging"),
        (Rates(compared=900.0, changes=2.0), True, True, True, "comparing"),
        (Rates(delivered=0.1, compared=900.0), True, True, True, "moving"),
        (Rates(delivered=8.0), False, True, False, "stopped"),
        (NOTHING, False, False, False, "stopped"),
    ],
)
def test_movement_is_believed_only_where_something_was_done(
    rates: Rates, lives: bool, waiting: bool, unknown: bool, expected: str
) -> None:
    assert activity.activity_of(rates, lives, waiting, unknown) == expected


def test_the_rates_of_all_processes_are_added() -> None:
    beats = [
        {"pace": {"orders": {"delivered": 1.5, "changes": 1.0}}},
        {"pace": {"orders": {"delivered": 2.0}, "lines": {"compared": 9.0}}},
        {},
    ]
    assert activity.rates_of(beats, "orders") == Rates(changes=1.0, delivered=3.5)
    assert activity.rates_of(beats, "far") == NOTHING


@pytest.mark.parametrize(
    ("delivered", "waiting", "to_come", "expected"),
    [
        (8.0, 80, 0.0, 10.0),
        (8.0, 80, 720.0, 100.0),
        (0.0, 80, 0.0, None),
        (8.0, 80, None, None),
        (0.0, 0, 0.0, 0.0),
    ],
)
def test_the_end_is_foretold_from_counts_and_rate_or_not_at_all(
    delivered: float, waiting: int, to_come: float | None, expected: float | None
) -> None:
    assert activity.eta_s(Rates(delivered=delivered), waiting, to_come) == expected


@pytest.mark.parametrize(
    ("state", "phase", "counts", "estimate", "expected"),
    [
        (None, None, {}, 0, 0.0),
        ("done", "done", {"rows": 100}, 100, 0.0),
        ("wanted", None, {}, 0, None),
        ("running", "mark", {}, 1000, None),
        ("running", "compare", {"rows": 100, "creates": 100}, 0, None),
        ("running", "compare", {"rows": 100, "creates": 100}, 1000, 900.0),
        ("running", "compare", {"rows": 100, "creates": 5, "updates": 4, "moves": 1}, 1000, 90.0),
        ("running", "compare", {"rows": 1100, "creates": 1100}, 1000, 0.0),
        ("running", "ask", {"rows": 1000, "creates": 1000}, 1000, None),
    ],
)
def test_what_a_pass_will_stage_goes_by_what_it_has_staged(
    state: str | None, phase: str | None, counts: dict[str, int], estimate: int, expected: float | None
) -> None:
    assert activity.still_to_stage(state, phase, counts, estimate) == expected


CAPTURED = Hold("sync", "orders", "capture", "relation_mismatch", "a column is gone", "capture", NOW - 2 * HOUR)
KNOWN = Knowledge(NOW - 5 * HOUR, (), True, Coverage(7, 1), Coverage(7, 1), NOW - HOUR, None)


@pytest.mark.parametrize(
    ("known", "since"),
    [
        (KNOWN, None),
        (replace(KNOWN, holds=(replace(CAPTURED, kind="person"),)), None),
        (replace(KNOWN, holds=(CAPTURED,)), NOW - 2 * HOUR),
        (replace(KNOWN, reconcile_done=False), NOW - HOUR),
        (replace(KNOWN, coverage=Coverage(8, 1)), NOW - HOUR),
        (replace(KNOWN, coverage=Coverage(7, 2)), NOW - HOUR),
        (replace(KNOWN, reconcile_done=False, covered=None, asked_at=None), NOW - 5 * HOUR),
        (replace(KNOWN, silent_since=NOW - 3 * HOUR, holds=(CAPTURED,)), NOW - 3 * HOUR),
    ],
)
def test_what_is_out_of_sync_is_known_while_everything_that_would_show_it_works(
    known: Knowledge, since: datetime | None
) -> None:
    assert activity.unknown_since(known) == since


@pytest.mark.parametrize(
    ("staged_s_ago", "heartbeat_s", "silent"),
    [(None, 10, False), (9, 1, False), (11, 1, True), (29, 10, False), (31, 10, True)],
)
def test_a_slot_is_silent_after_three_heartbeats(staged_s_ago: int | None, heartbeat_s: int, silent: bool) -> None:
    staged_at = None if staged_s_ago is None else NOW - timedelta(seconds=staged_s_ago)
    found = activity.silent_since(staged_at, NOW, timedelta(seconds=heartbeat_s))
    assert found == (staged_at if silent else None)
