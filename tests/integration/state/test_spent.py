"""What an app has spent: hour by hour, added to by every process, old hours forgotten."""

import psycopg
import pytest

from state import spent

APP = "tenant/client"


def test_units_are_added_to_the_hour_that_it_is(state_dsn: str) -> None:
    with psycopg.connect(state_dsn, autocommit=True) as connection:
        assert [units for _, units in spent.read(connection, APP)] == [0.0] * (spent.HOURS + 1)
        for units in (20, 30, -5):
            spent.add(connection, APP, units)
        spent.add(connection, "tenant/another", 7)
        hours = spent.read(connection, APP)
        assert sum(units for _, units in hours) == 45
        assert [seconds for seconds, _ in hours[:-1]] == [3600.0] * spent.HOURS
        assert 0 <= hours[-1][0] <= 3600


def test_an_hour_counts_for_a_day_and_is_forgotten_after_two(state_dsn: str) -> None:
    with psycopg.connect(state_dsn, autocommit=True) as connection:
        old = "INSERT INTO rowtide.spent VALUES (%s, date_trunc('hour', now()) - %s * interval '1 hour', %s)"
        for hours, units in ((24, 1), (25, 2), (60, 4)):
            connection.execute(old, [APP, hours, units])
        assert sum(units for _, units in spent.read(connection, APP)) == pytest.approx(1)
        spent.add(connection, APP, 10)
        left = connection.execute("SELECT count(*) FROM rowtide.spent").fetchall()
        assert left == [(3,)]
