"""Minutes and hours of syncs in the state database: absolute values, added up over incarnations, rolled, pruned."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from state import database, history
from state.database import Connection
from state.history import SyncMinute

OURS, OTHERS = UUID(int=1), UUID(int=2)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
BUCKETS = len(history.BOUNDS_MS) + 1


@pytest.fixture
def conn(state_dsn: str) -> Iterator[Connection]:
    """Hands on a session of the state database."""
    with database.connect(state_dsn, "tests") as connection:
        yield connection


@pytest.fixture
def hour(conn: Connection) -> datetime:
    """The hour that it is, by the database's clock."""
    [(now,)] = conn.execute("SELECT now()").fetchall()
    assert isinstance(now, datetime)
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def minute(at: datetime, sync: str = "orders", by: UUID = OURS, n: int = 1, bucket: int = 0) -> SyncMinute:
    """A minute with ``n`` of the first figure and twice as many of the last, and a latency of each kind."""
    counts = [n, *[0] * (len(history.COUNTS) - 2), 2 * n]
    push, bulk, pull = ([0] * BUCKETS for _ in range(3))
    push[bucket], bulk[bucket], pull[BUCKETS - 1] = n, 10 * n, 100 * n
    return SyncMinute(at, sync, by, counts, push, bulk, pull)


def test_what_is_written_twice_is_written_once_and_incarnations_add_up(conn: Connection, hour: datetime) -> None:
    first = minute(hour, n=3)
    for _ in range(2):
        history.write(conn, [first, minute(hour, "customers", n=7)])
    history.write(conn, [minute(hour, n=5), minute(hour, by=OTHERS, n=20, bucket=2)])
    customers, orders = history.read_minutes(conn, hour)
    assert (customers.sync, customers.counts["changes"]) == ("customers", 7)
    assert (orders.counts["changes"], orders.counts["pull_reverted"], orders.counts["writes"]) == (25, 50, 0)
    assert (orders.push_ms, orders.bulk_ms) == ([5, 0, 20], [50, 0, 200])
    assert orders.pull_ms == [*[0] * (BUCKETS - 1), 2500]
    assert history.read_minutes(conn, hour, "customers") == [customers]
    assert history.read_minutes(conn, hour + MINUTE) == []


def test_hours_are_rolled_when_no_minute_of_them_is_written_any_more(conn: Connection, hour: datetime) -> None:
    ago = [hour - i * HOUR for i in range(5)]
    history.write(conn, [minute(at + i * MINUTE, by=by) for at in ago for i in range(60) for by in (OURS, OTHERS)])
    assert history.roll(conn) == 2
    assert history.roll(conn) == 0
    hours = history.read_hours(conn, ago[4])
    assert [one.at for one in hours] == [ago[4], ago[3]]
    assert [one.counts["changes"] for one in hours] == [120, 120]
    assert [one.push_ms for one in hours] == [[120], [120]]
    # Rolled again it says the same: absolute values.
    conn.execute("DELETE FROM rowtide.sync_hour WHERE hour = %s", [ago[4]])
    assert history.roll(conn) == 1
    assert history.read_hours(conn, ago[4]) == hours


def test_minutes_live_two_days_and_hours_as_long_as_runs(conn: Connection, hour: datetime) -> None:
    ages = [10 * HOUR, 47 * HOUR, 50 * HOUR]
    history.write(conn, [minute(hour - age) for age in ages])
    assert history.prune(conn, timedelta(days=90)) == 0  # the hours of none are there yet
    assert history.roll(conn) == 3
    assert history.prune(conn, timedelta(days=90)) == 1
    assert [one.at for one in history.read_minutes(conn, hour - 99 * HOUR)] == [hour - ages[1], hour - ages[0]]
    assert len(history.read_hours(conn, hour - 99 * HOUR)) == 3
    assert history.prune(conn, 48 * HOUR) == 1
    assert len(history.read_hours(conn, hour - 99 * HOUR)) == 2


def test_quantiles_are_bounds_of_buckets() -> None:
    buckets = [0] * BUCKETS
    assert history.to_quantile_ms(buckets, 0.5) is None
    buckets[1], buckets[3] = 9, 1
    assert [history.to_quantile_ms(buckets, share) for share in (0.5, 0.9, 0.95, 1.0)] == [100, 100, 400, 400]
    buckets[-1] = 90
    assert history.to_quantile_ms(buckets, 0.5) is None


SYNCS, MINUTES = 40, 5
SIZE = "SELECT (pg_relation_size(%s) + pg_indexes_size(%s)) / (SELECT count(*) FROM {})::float8"


def test_a_thousand_busy_syncs_for_ninety_days_stay_under_five_gigabytes(conn: Connection, hour: datetime) -> None:
    """At worst: every figure and every bucket of every minute is in use, and each minute is written 60 times."""
    # Its snapshot keeps old versions for a moment: of a few pages each one more counts as if all were larger.
    conn.execute("ALTER TABLE rowtide.sync_minute SET (autovacuum_enabled = off)")
    counts, buckets = [100_000] * len(history.COUNTS), [1_000] * BUCKETS
    for i in range(MINUTES):
        at = hour - 3 * HOUR + i * MINUTE
        rows = [SyncMinute(at, f"orders_{k:014}", OURS, counts, buckets, buckets, buckets) for k in range(SYNCS)]
        for _ in range(60):
            history.write(conn, rows)
    history.roll(conn)
    copied = "INSERT INTO rowtide.sync_hour SELECT hour - i * interval '1 hour', sync, n, push_ms, bulk_ms, pull_ms"
    conn.execute(f"{copied} FROM rowtide.sync_hour CROSS JOIN generate_series(1, 50) AS i".encode())
    tables = ("rowtide.sync_minute", "rowtide.sync_hour")
    minute_bytes, hour_bytes = (conn.execute(SIZE.format(one).encode(), [one, one]).fetchall()[0][0] for one in tables)
    # Beside the 48 hours: the one that runs, and up to two until the next round.
    assert 1_000 * (51 * 60 * minute_bytes + 90 * 24 * hour_bytes) < 5e9, (minute_bytes, hour_bytes)
