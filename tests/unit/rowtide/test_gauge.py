"""What is out of sync, how late, whether that is known, and what a minute comes to: each definition by its cases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rowtide import gauge
from rowtide.gauge import Counted, HeardStream, Knowledge, ListRead, Minute, Minutes
from rowtide.holds import Hold
from rowtide.reconcile import Coverage

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
CAPTURED = Hold("sync", "orders", "capture", "relation_mismatch", "a column is gone", "capture", NOW - 2 * HOUR)
PAUSED = replace(CAPTURED, kind="person")
KNOWN = Knowledge(NOW - 5 * HOUR, (), True, Coverage(7, 1), Coverage(7, 1), NOW - HOUR, None)
HEARD = HeardStream(NOW - timedelta(seconds=3), timedelta(seconds=10))
READ = ListRead(NOW - timedelta(seconds=3), 5.0, whole=False)


def ago(seconds: float) -> datetime:
    """So long before now."""
    return NOW - timedelta(seconds=seconds)


def test_a_row_counts_once_and_the_oldest_of_all_has_the_age() -> None:
    counted = Counted(1, 2, 3, 4, 5, push_since=ago(10), pull_since=ago(20), aside_since=ago(30))
    assert (counted.rows, counted.oldest) == (15, ago(30))
    assert replace(counted, aside_since=None).oldest == ago(20)
    assert (Counted().rows, Counted().oldest) == (0, None)


# --- is it known --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "since"),
    [
        (KNOWN, None),
        (replace(KNOWN, holds=(PAUSED,)), None),
        (replace(KNOWN, holds=(CAPTURED,)), NOW - 2 * HOUR),
        (replace(KNOWN, reconcile_done=False), NOW - HOUR),
        (replace(KNOWN, coverage=Coverage(8, 1)), NOW - HOUR),
        (replace(KNOWN, coverage=Coverage(7, 2)), NOW - HOUR),
        (replace(KNOWN, reconcile_done=False, covered=None, asked_at=None), NOW - 5 * HOUR),
        (replace(KNOWN, silent_since=NOW - 3 * HOUR, holds=(CAPTURED,)), NOW - 3 * HOUR),
    ],
)
def test_push_is_known_while_everything_that_would_show_it_works(known: Knowledge, since: datetime | None) -> None:
    assert gauge.push_unknown_since(known) == since


@pytest.mark.parametrize(
    ("heard_s_ago", "heartbeat_s", "silent"),
    [(None, 10, False), (9, 1, False), (11, 1, True), (29, 10, False), (31, 10, True)],
)
def test_a_slot_is_silent_after_three_heartbeats(heard_s_ago: int | None, heartbeat_s: int, silent: bool) -> None:
    heard_at = None if heard_s_ago is None else ago(heard_s_ago)
    assert gauge.silent_since(heard_at, NOW, timedelta(seconds=heartbeat_s)) == (heard_at if silent else None)


@pytest.mark.parametrize(
    ("lists", "since"),
    [
        ([READ], None),
        ([], None),
        ([READ, ListRead(None, None, whole=True)], NOW - 5 * HOUR),
        # Two polls of five seconds are less than the least silence that is noticed.
        ([ListRead(ago(9), 5.0, whole=False)], None),
        ([ListRead(ago(11), 5.0, whole=False)], ago(11)),
        ([ListRead(ago(119), 60.0, whole=False)], None),
        ([ListRead(ago(121), 60.0, whole=False)], ago(121)),
        ([ListRead(ago(121), None, whole=False)], ago(121)),
        # Read from its beginning again: what is missing in it is not known before the end.
        ([READ, ListRead(ago(1), 5.0, whole=True)], ago(1)),
        ([ListRead(ago(20), 5.0, whole=False), ListRead(ago(30), 5.0, whole=False)], ago(30)),
    ],
)
def test_pull_is_known_while_every_list_was_read_within_two_polls(
    lists: list[ListRead], since: datetime | None
) -> None:
    assert gauge.pull_unknown_since(lists, NOW - 5 * HOUR, NOW) == since


def test_a_stream_without_any_heartbeat_is_not_known_since_its_pass_was_asked_for() -> None:
    never = HeardStream(None, timedelta(seconds=10))
    assert gauge.to_gauge(Counted(), KNOWN, never, None, NOW).push_unknown_since == NOW - HOUR
    unasked = replace(KNOWN, asked_at=None)
    assert gauge.to_gauge(Counted(), unasked, never, None, NOW).push_unknown_since == NOW - 5 * HOUR


# --- how late -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waits_s", "heard_s_ago", "lag_s"),
    [
        (None, 3, 0.0),  # at rest
        (None, 12, 0.0),  # the next heartbeat is being written, read and staged
        (None, 20, 8.0),  # one is overdue: what was committed since is not staged
        (5, 3, 5.0),
        (5, 20, 8.0),
        (50, 20, 50.0),
        (-5, 3, 0.0),  # the source's clock is ahead
        (None, None, 0.0),
        (5, None, 5.0),
    ],
)
def test_push_lag_is_the_larger_of_what_waits_and_what_the_stream_has_not_shown(
    waits_s: float | None, heard_s_ago: float | None, lag_s: float
) -> None:
    stream = replace(HEARD, heard_at=None if heard_s_ago is None else ago(heard_s_ago))
    assert gauge.push_lag_s(None if waits_s is None else ago(waits_s), stream, NOW) == lag_s


def test_pull_lag_is_the_age_of_the_oldest_edit_that_waits_and_there_is_none_of_one_way() -> None:
    counted = Counted(pulling=1, pull_since=ago(7), aside_since=ago(900))
    assert gauge.to_gauge(counted, KNOWN, HEARD, [READ], NOW).pull_lag_s == 7.0
    assert gauge.to_gauge(Counted(), KNOWN, HEARD, [READ], NOW).pull_lag_s == 0.0
    assert gauge.to_gauge(counted, KNOWN, HEARD, None, NOW).pull_lag_s is None


def test_parked_and_held_rows_have_an_age_and_are_no_lag() -> None:
    found = gauge.to_gauge(Counted(parked=1, held=1, aside_since=ago(900)), KNOWN, HEARD, [READ], NOW)
    assert (found.push_lag_s, found.pull_lag_s, found.counted.oldest) == (0.0, 0.0, ago(900))


def test_rows_are_at_least_so_many_since_the_first_way_is_not_known() -> None:
    unread = [ListRead(ago(600), 5.0, whole=False)]
    found = gauge.to_gauge(Counted(), KNOWN, HEARD, [READ], NOW)
    assert found.unknown_since is None
    found = gauge.to_gauge(Counted(), KNOWN, HEARD, unread, NOW)
    assert (found.push_unknown_since, found.unknown_since) == (None, ago(600))
    silent = replace(HEARD, heard_at=ago(900))
    found = gauge.to_gauge(Counted(), KNOWN, silent, unread, NOW)
    assert (found.push_unknown_since, found.pull_unknown_since, found.unknown_since) == (ago(900), ago(600), ago(900))


@pytest.mark.parametrize(
    ("took_s", "pause_s"), [(0.0, 1.0), (0.01, 1.0), (0.02, 2.0), (0.3, 30.0), (0.5, 50.0), (60.0, 50.0)]
)
def test_a_pause_is_a_hundred_times_the_look_and_lets_no_minute_pass(took_s: float, pause_s: float) -> None:
    assert gauge.pause_s(took_s) == pytest.approx(pause_s)


# --- minutes ------------------------------------------------------------------------------------------------------

GOOD = gauge.to_gauge(Counted(), KNOWN, HEARD, None, NOW)
LATE = replace(GOOD, push_lag_s=60.1)
UNKNOWN = replace(GOOD, push_unknown_since=ago(40))


@pytest.mark.parametrize(
    ("found", "holds", "observing", "minute"),
    [
        (GOOD, (), False, Minute.GOOD),
        (replace(GOOD, push_lag_s=60.0), (), False, Minute.GOOD),
        (LATE, (), False, Minute.LATE),
        (UNKNOWN, (), False, Minute.UNKNOWN),
        (replace(LATE, push_unknown_since=ago(40)), (), False, Minute.UNKNOWN),
        (LATE, (PAUSED,), False, Minute.HELD),
        (UNKNOWN, (PAUSED,), False, Minute.HELD),
        (LATE, (), True, Minute.HELD),
        # What a guard holds back is late all the same.
        (LATE, (replace(PAUSED, kind="deletes"),), False, Minute.LATE),
        (replace(GOOD, pull_lag_s=900.0, pull_unknown_since=ago(900)), (), False, Minute.GOOD),
    ],
)
def test_the_verdict_of_a_look(found: gauge.Gauge, holds: tuple[Hold, ...], observing: bool, minute: Minute) -> None:
    assert gauge.minute_of(found, holds, observing) is minute


def test_of_several_looks_in_a_minute_the_worst_counts() -> None:
    assert Minute.GOOD < Minute.HELD < Minute.UNKNOWN < Minute.LATE


def test_minutes_that_are_not_known_or_held_are_never_good_ones() -> None:
    minutes = Minutes(total=100, looked=90, late=10, unknown=20, held=30)
    assert (minutes.good, minutes.not_known, minutes.share) == (30, 30, 0.75)
    assert Minutes(total=60, looked=0).share is None
    assert Minutes(total=60, looked=60, held=60).share is None
    assert Minutes(total=60, looked=60).share == 1.0
