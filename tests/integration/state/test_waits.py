"""A thread that waits for a PostgreSQL ticks, though the server says nothing; and it says what it waits for."""

import threading
from collections.abc import Callable

import psycopg
import pytest

from connectors.postgres.connections import open_unproven
from state import database, pulse
from state.pulse import Pulse

LONG_AGO = -1000.0


@pytest.mark.parametrize("connect", [database.connect, open_unproven])
def test_a_query_that_takes_long_ticks(state_dsn: str, connect: Callable[[str], psycopg.Connection]) -> None:
    own, done = Pulse("own"), threading.Event()

    def ask() -> None:
        with pulse.of_this_thread(own), connect(state_dsn) as connection:
            connection.execute("SELECT pg_advisory_lock(1)")
        done.set()

    with psycopg.connect(state_dsn, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(1)")
        thread = threading.Thread(target=ask)
        thread.start()
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while holder.execute(waits).fetchone() == (0,):
            thread.join(0.01)
        for _ in range(2):
            own.ticked = LONG_AGO
            while own.ticked == LONG_AGO:
                thread.join(0.01)
            assert own.waits_for == "PostgreSQL"
        assert not done.is_set()
    thread.join(30)
    assert done.is_set()
    assert own.waits_for == ""


def test_results_and_errors_are_psycopgs_own(state_dsn: str) -> None:
    with pulse.of_this_thread(Pulse("own")), database.connect(state_dsn) as connection:
        assert connection.execute("SELECT n FROM generate_series(1, 3) n").fetchall() == [(1,), (2,), (3,)]
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / 0")
        with connection.transaction(), connection.cursor() as cursor, cursor.copy("COPY (SELECT 7) TO STDOUT") as copy:
            assert b"".join(copy) == b"7\n"
