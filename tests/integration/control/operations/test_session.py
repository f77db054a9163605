"""What an operation opens, and who PostgreSQL sees there."""

from collections.abc import Callable

import pytest

from control.operations.session import APPLICATION, Session, choose_source, open_session
from rowtide.actor import Actor, claimed_actor
from rowtide.errors import UserError
from state.database import Connection
from tests.integration.control.desk import Desk

ANN = claimed_actor("ann", "host")


def application(connection: Connection) -> str:
    """What PostgreSQL calls this connection."""
    [(name,)] = connection.execute("SELECT current_setting('application_name')").fetchall()
    return str(name)


@pytest.mark.parametrize(("actor", "name"), [(None, APPLICATION), (ANN, f"{APPLICATION} by claimed ann@host")])
def test_an_act_is_seen_with_its_actor(session: Session, actor: Actor | None, name: str) -> None:
    assert session.on_state(application, actor) == name
    with session.source("erp", actor=actor) as connection:
        assert application(connection) == name


def test_a_long_name_is_cut_where_postgresql_would(session: Session) -> None:
    assert len(session.on_state(application, claimed_actor("a" * 90, "host"))) == 63


def test_an_application_name_of_the_dsn_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROWTIDE_STATE_DSN", f"{desk.state_dsn} application_name=ops")
    session = open_session(desk.config)
    assert session.on_state(application, ANN) == "ops"


def test_a_source_that_is_not_there_is_refused(session: Session) -> None:
    assert choose_source(session.definition, None) == "erp"
    assert choose_source(session.definition, "erp") == "erp"
    with pytest.raises(UserError, match="Say which source"):
        choose_source(session.definition, "crm")


def test_a_connection_is_closed_after_its_work(session: Session, new_database: Callable[[str], str]) -> None:
    kept: list[Connection] = []
    session.on_state(kept.append)
    with session.source("erp") as connection:
        pass
    assert [one.closed for one in [*kept, connection]] == [True, True]
