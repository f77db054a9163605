"""Connections: what an operator reads when the state database is away or says no, and how a link comes back."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from demo.postgres import Cluster, free_port
from rowtide.errors import RowError, StateRefused, StateUnavailable
from state import database


def ask(connection: database.Connection) -> int:
    [(answer,)] = connection.execute("SELECT 42").fetchall()
    return int(answer)


def test_a_session_is_pinned(state_dsn: str) -> None:
    with database.connect(state_dsn, "rowtide test") as connection:
        assert connection.autocommit
        for name, value in [("TimeZone", "UTC"), ("synchronous_commit", "on"), ("application_name", "rowtide test")]:
            assert connection.execute(f"SHOW {name}").fetchone() == (value,)


def test_options_of_the_dsn_win(state_dsn: str) -> None:
    with database.connect(make_conninfo(state_dsn, options="-c jit=on", application_name="mine")) as connection:
        assert connection.execute("SHOW jit").fetchone() == ("on",)
        assert connection.execute("SHOW application_name").fetchone() == ("mine",)


def test_nobody_listens() -> None:
    link = database.Link(f"host=127.0.0.1 port={free_port()} user=x dbname=x")
    with pytest.raises(StateUnavailable) as unavailable:
        link.run(ask)
    assert unavailable.value.code == "state_unreachable"
    assert unavailable.value.remedy


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"password": "wrong"}, "state_login"),
        ({"user": "nobody_at_all"}, "state_login"),
        ({"dbname": "no_such_database"}, "state_database_missing"),
    ],
)
def test_a_refused_connection_says_why(changed: dict[str, Any], code: str, state_dsn: str) -> None:
    with pytest.raises(StateRefused) as refused:
        database.connect(make_conninfo(state_dsn, **changed))
    assert refused.value.code == code


def test_a_role_without_rights(state_dsn: str, pg: Cluster) -> None:
    with database.connect(state_dsn) as connection:
        connection.execute("CREATE ROLE visitor LOGIN PASSWORD 'visitor'")
    try:
        link = database.Link(make_conninfo(state_dsn, user="visitor", password="visitor"))
        with pytest.raises(StateRefused) as refused:
            link.run(lambda connection: connection.execute("SELECT FROM rowtide.outbox"))
        link.close()
        assert refused.value.code == "state_privilege"
        assert "grant" in refused.value.remedy
    finally:
        with database.connect(pg.dsn("postgres")) as connection:
            connection.execute("DROP ROLE visitor")


def test_a_row_it_cannot_hold_shows_no_value(state_dsn: str) -> None:
    link = database.Link(state_dsn)
    with pytest.raises(RowError) as refused:
        link.run(lambda connection: connection.execute("SELECT 'secret-value'::int"))
    link.close()
    assert "secret-value" not in str(refused.value)


def test_a_link_comes_back_after_the_server(new_cluster: Callable[..., Cluster]) -> None:
    cluster = new_cluster()
    link = database.Link(cluster.create_database("state"))
    assert link.run(ask) == 42
    cluster.stop()
    for _ in range(2):
        with pytest.raises(StateUnavailable):
            link.run(ask)
    cluster.start()
    assert link.run(ask) == 42
    link.close()


def test_a_terminated_session_is_unavailable_once(state_dsn: str) -> None:
    link = database.Link(state_dsn)
    pid = link.run(lambda connection: connection.info.backend_pid)
    with database.connect(state_dsn) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(StateUnavailable):
        link.run(ask)
    assert link.run(ask) == 42
    link.close()


def test_an_error_inside_a_transaction_leaves_a_clean_link(state_dsn: str) -> None:
    link = database.Link(state_dsn)

    def leave_open(connection: database.Connection) -> None:
        connection.execute("BEGIN")
        raise RowError("x", "y")

    with pytest.raises(RowError):
        link.run(leave_open)
    assert link.run(lambda connection: connection.info.transaction_status) == psycopg.pq.TransactionStatus.IDLE
    link.close()


def test_a_deadlock_is_tried_again_and_not_for_ever(state_dsn: str) -> None:
    link = database.Link(state_dsn)
    tries: list[int] = []

    def fail(connection: database.Connection) -> None:
        tries.append(1)
        connection.execute("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$")

    with pytest.raises(StateUnavailable):
        link.run(fail)
    link.close()
    assert len(tries) == database.ATTEMPTS
    assert issubclass(errors.DeadlockDetected, psycopg.OperationalError)
