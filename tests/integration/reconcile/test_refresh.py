"""Rows that wait to be read are read by a thread of their source, whatever becomes of their tables."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from connectors.postgres.source_sessions import SourceSessions
from flows.applied_view import View
from flows.refresh import Refresher
from state import holds
from tests.integration.reconcile.bench import Bench, eventually, sessions_on

Make = Callable[..., Refresher]


@pytest.fixture
def new_refresher() -> Iterator[Make]:
    """Makes the refresher of a bench; ``dsn``: where its source is now, ``view``: what it obeys."""
    made: list[Refresher] = []

    def make(bench: Bench, dsn: Callable[[], str] | None = None, view: Callable[[], View] | None = None) -> Refresher:
        def sessions() -> SourceSessions:
            return sessions_on(dsn or (lambda: bench.source_dsn))

        made.append(Refresher(bench.state_dsn, "p0", view or bench.view, sessions))
        return made[-1]

    yield make
    for refresher in made:
        refresher.stop()


def waiting(bench: Bench) -> dict[str, tuple[Any, ...]]:
    """Key -> operation, fields, whether it is due and nobody's."""
    rows = bench.state.execute("SELECT key, op, fields, due_at <= now(), lease_token IS NULL FROM rowtide.outbox")
    return {key: tuple(rest) for key, *rest in rows}


def refresh(bench: Bench, *keys: str) -> None:
    """These rows wait to be read."""
    for place, key in enumerate(keys):
        bench.streamed(key, op="r", position=(1, 500, place))


def all_are(bench: Bench, refresher: Refresher, op: str) -> bool:
    """Whether every row has this operation; if not, the refresher is told again, as each survey does."""
    if {row[0] for row in waiting(bench).values()} == {op}:
        return True
    refresher.wake(["orders"])
    return False


def test_rows_are_read_and_wait_for_their_list(bench: Bench, new_refresher: Make) -> None:
    refresh(bench, "2", "9")
    new_refresher(bench).wake(["orders"])
    eventually(lambda: {op for op, *_ in waiting(bench).values()} == {"u", "d"}, "read")
    found = eventually(
        lambda: all(row[2:] == (True, True) for row in waiting(bench).values()) and waiting(bench), "due"
    )
    assert found["2"][:2] == ("u", {"Title": "order 2", "Amount": 2})
    assert found["9"][0] == "d"
    assert bench.state.execute("SELECT DISTINCT sent::text FROM rowtide.outbox").fetchall() == [("[]",)]


def test_a_locked_table_is_tried_with_one_row_until_it_is_free(bench: Bench, new_refresher: Make) -> None:
    refresh(bench, *map(str, range(1, 6)))
    with psycopg.connect(bench.source_dsn) as locker:
        locker.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        refresher = new_refresher(bench)
        refresher.wake(["orders"])
        reasons = "SELECT count(*) FROM rowtide.outbox WHERE reason IS NOT NULL AND due_at > now()"
        eventually(lambda: bench.state.execute(reasons).fetchone() == (5,), "handed back, with the reason")
        assert refresher.sessions()[0].problems() == {}
        locker.rollback()
    eventually(lambda: all_are(bench, refresher, "u"), "read")


def test_a_source_that_does_not_answer_is_tried_again(bench: Bench, new_refresher: Make) -> None:
    refresh(bench, "1")
    dsns = [bench.source_dsn, "host=127.0.0.1 port=1 dbname=none"]
    refresher = new_refresher(bench, lambda: dsns[-1])
    refresher.wake(["orders"])
    [sessions] = refresher.sessions()
    eventually(sessions.problems, "the source is accused")
    dsns.pop()
    eventually(lambda: all_are(bench, refresher, "u"), "read")


def test_waking_never_waits(bench: Bench, new_refresher: Make) -> None:
    """The claiming thread calls it, for rows of every tenant."""
    refresh(bench, "1")
    refresher = new_refresher(bench)

    def wake_often() -> None:
        for _ in range(100):
            refresher.wake(["orders", "gone"])

    with psycopg.connect(bench.source_dsn) as locker:
        locker.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        woken = threading.Thread(target=wake_often)
        woken.start()
        woken.join(2.0)
        assert not woken.is_alive()


def test_of_a_source_that_is_held_nothing_is_read(bench: Bench, new_refresher: Make) -> None:
    refresh(bench, *map(str, range(1, 4)))
    holds.place(bench.state, "source", "erp", "person", "paused", "maintenance", "a person")
    asked: list[str] = []

    def view() -> View:
        asked.append(threading.current_thread().name)
        return bench.view()

    refresher = new_refresher(bench, view=view)

    def is_asked_again() -> bool:
        refresher.wake(["orders"])
        return asked.count("rowtide-refresh-erp") > 2

    eventually(is_asked_again, "it looked and went to sleep")
    assert {row[0] for row in waiting(bench).values()} == {"r"}
    holds.lift(bench.state, "source", "erp", "person")
    eventually(lambda: all_are(bench, refresher, "u"), "read")
