"""A sync that goes both ways, from the DBA's script to `apply`, under roles that may do no more than it says."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from connectors.postgres import apply_record
from control.operations import apply, db, doctor, plan_document, requirements, slot, validate
from control.operations.session import Session, open_session
from rowtide.actor import claimed_actor
from rowtide.error_catalogue.entries import Level
from tests.e2e.conftest import Simulator
from tests.integration.control.desk import SYNC, Desk

ANN = claimed_actor("ann", "host")
BOTH = SYNC.replace("    fields:", "    direction: both\n    fields:")
ROLES = ("rowtide_writer", "rowtide_admin", "rowtide_reader", "parts_owner")
RECORD = f"{apply_record.SCHEMA}.{apply_record.TABLE}"


@pytest.fixture
def both_ways(desk: Desk, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on a definition whose sync goes both ways, with a role for each use of the source."""
    desk.sql("CREATE SEQUENCE numbers START 100 OWNED BY parts.id")
    for statement in (
        "CREATE ROLE parts_owner",
        "ALTER TABLE parts ALTER id SET DEFAULT nextval('numbers')",
        "ALTER TABLE parts OWNER TO parts_owner",
    ):
        desk.sql(statement)
    keys = {"dsn": "rowtide_reader", "admin_dsn": "rowtide_admin", "apply_dsn": "rowtide_writer"}
    more = {key: f'"env:{role.upper()}_DSN"' for key, role in keys.items() if key != "dsn"}
    desk.write(BOTH, **more)
    names = {f"{role.upper()}_DSN": role for role in keys.values()} | {"ROWTIDE_SOURCE_DSN": "rowtide_reader"}
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    for name, role in names.items():
        monkeypatch.setenv(name, make_conninfo(desk.source_dsn, user=role, password="of-a-role"))
    yield open_session(desk.config)
    with psycopg.connect(desk.source_dsn, autocommit=True) as connection:
        for role in ROLES:
            found = connection.execute("SELECT to_regrole(%s) IS NOT NULL", [role]).fetchone()
            if found and found[0]:
                connection.execute(f"REASSIGN OWNED BY {role} TO postgres")
                connection.execute(f"DROP OWNED BY {role}")
                connection.execute(f"DROP ROLE {role}")


def run_script(desk: Desk, session: Session, monkeypatch: pytest.MonkeyPatch, without: Callable[[str], bool]) -> None:
    """What the DBA runs of the script on the source: roles and grants, but for what the test leaves out."""
    with monkeypatch.context() as as_superuser:
        for name in ("ROWTIDE_SOURCE_DSN", "ROWTIDE_ADMIN_DSN"):
            as_superuser.setenv(name, desk.source_dsn)
        lines = requirements.script(session).lines
    source = lines[: next(place for place, line in enumerate(lines) if line.startswith("-- the state database"))]
    for line in source:
        if line.startswith(("CREATE ROLE", "GRANT", *apply_record.DDL)) and not without(line):
            desk.sql(line)
    for role in ROLES[:3]:
        desk.sql(f"ALTER ROLE {role} PASSWORD 'of-a-role'")


def edits(session: Session) -> list[tuple[Level, str]]:
    """What doctor says of writing people's edits."""
    checks = doctor.run_checks(session)["checks"]
    return [(one["level"], one["sentence"]) for one in checks if one["name"] == "edits"]


def test_with_the_script_nothing_is_missing(desk: Desk, both_ways: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    run_script(desk, both_ways, monkeypatch, lambda _: False)
    assert edits(both_ways) == [("ok", "The role rowtide_writer may write what people edit.")]
    rights = [one for one in doctor.run_checks(both_ways)["checks"] if one["name"] == "rights"]
    assert [one["level"] for one in rights if "rowtide_writer" in one["sentence"]] == ["ok"]
    assert validate.validate(both_ways, offline=False).document()["warnings"] == []


def test_apply_makes_the_record_and_lets_the_writer_use_it(
    desk: Desk, both_ways: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_script(desk, both_ways, monkeypatch, lambda line: apply_record.SCHEMA in line)
    assert [level for level, _ in edits(both_ways)] == ["failure"]
    [warning] = validate.validate(both_ways, offline=False).document()["warnings"]
    assert warning.startswith(f"postgres.erp: There is no complete table {RECORD}")
    db.upgrade(both_ways, ANN)
    plan = plan_document.plan(both_ways, datetime.now(UTC))
    assert [one for one in plan.sources["erp"].steps if apply_record.SCHEMA in one] == list(apply_record.DDL)
    done = apply.apply(both_ways, plan, ANN)["sources"]["erp"]
    assert [one for one in done if one.startswith("GRANT")] == [
        'GRANT USAGE ON SCHEMA "rowtide_pull" TO "rowtide_writer"',
        'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "rowtide_pull"."applied" TO "rowtide_writer"',
    ]
    assert [level for level, _ in edits(both_ways)] == ["ok"]
    again = plan_document.plan(both_ways, datetime.now(UTC))
    assert list(again.sources["erp"].steps) == []
    slot.drop(both_ways, "erp", desk.slot, False, ANN)


def test_an_admin_that_may_not_make_it_stops_apply_before_anything_is_changed(
    desk: Desk, both_ways: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_script(desk, both_ways, monkeypatch, lambda line: apply_record.SCHEMA in line or "CREATE ON DATABASE" in line)
    db.upgrade(both_ways, ANN)
    faults = plan_document.plan(both_ways, datetime.now(UTC)).sources["erp"].faults
    assert [one.name for one in faults if "rowtide_pull" in one.sentence] == ["edits"]
