"""Operations called as functions, by an actor and without a command line: what they answer, and what they record."""

import json
import threading
from datetime import UTC, datetime

import pytest

from connectors.postgres import slots
from control.operations import apply, db, doctor, parked, pause, plan_document, reconcile, requirements, slot, status
from control.operations.parked import EveryRow, RowKeys
from control.operations.pause import Everything, OneSync
from control.operations.session import Session
from rowtide.actor import claimed_actor
from rowtide.catalog import FORMAT
from rowtide.errors import UserError
from state import database, definitions, processes
from tests.e2e.conftest import Simulator
from tests.integration.control.desk import Desk

ANN, BO = claimed_actor("ann", "host"), claimed_actor("bo", "host")


def test_pausing_and_resuming_are_recorded_with_the_actor(applied: Desk, session: Session) -> None:
    paused = pause.pause(session, OneSync("parts"), "stock taking", ANN)
    assert (paused["scope"], paused["placed"], paused["syncs"]) == ("sync", True, ["parts"])
    pause.pause(session, Everything(), "the audit", BO)
    recorded = "SELECT scope, object, kind, reason, actor FROM rowtide.hold ORDER BY scope DESC"
    one, all_ = ("sync", "parts", "person", "stock taking", "ann@host"), ("all", "", "person", "the audit", "bo@host")
    assert applied.state(recorded) == [one, all_]
    found = pause.resume(session, OneSync("parts"), False, BO)
    assert (found["resumed"], found["approved"]) == (True, None)
    [left] = found["remaining"]["parts"]
    assert (left["reason"], left["by"], left["lifts"]) == ("the audit", "bo@host", "`rowtide resume --all`")
    assert applied.state(recorded) == [all_]
    assert pause.resume(session, Everything(), False, BO)["remaining"] == {}
    assert applied.state(recorded) == []


def test_parked_rows_are_tried_again_and_forgotten(applied: Desk, session: Session) -> None:
    applied.park(1, 2, 3)
    listed = parked.list_rows(session, "parts", 2)["parked"]
    assert [(row["key"], row["lsn"]) for row in listed] == [("1", "0/10"), ("2", "0/10")]
    assert "fields" not in listed[0]
    assert parked.show(session, "parts", "3")["fields"] == {"Title": "secret"}
    assert parked.retry(session, "parts", RowKeys(("1",)), ANN) == {"retried": 1}
    assert parked.discard(session, "parts", RowKeys(("2",)), ANN) == {"discarded": 1}
    assert parked.discard(session, "parts", EveryRow(), ANN) == {"discarded": 1}
    assert applied.state("SELECT key, op FROM rowtide.outbox") == [("1", "r")]
    with pytest.raises(UserError, match="There is no sync nothing"):
        parked.retry(session, "nothing", EveryRow(), ANN)


def test_a_slot_is_created_shown_and_dropped(applied: Desk, session: Session) -> None:
    made = slot.create(session, None, ANN)
    assert (made["created"], made["slot"], made["ours"]) == (True, applied.slot, True)
    assert slot.create(session, "erp", ANN)["created"] is False
    assert slot.show(session, None, None)["slot"] == applied.slot
    assert applied.slot in [one["slot"] for one in slot.list_slots(session, None)["slots"]]
    assert slot.drop(session, "erp", applied.slot, False, ANN) == {"slot": applied.slot, "dropped": True}
    with session.source("erp") as connection:
        assert slots.show_slot(connection, applied.slot) is None


def test_the_schema_is_upgraded_once(session: Session) -> None:
    assert any("rowtide db upgrade" in finding for finding in db.check(session)["findings"])
    assert db.upgrade(session, ANN) == {"upgraded": True}
    assert db.upgrade(session, ANN) == {"upgraded": False}


def test_every_document_is_json(applied: Desk, session: Session) -> None:
    documents = [
        status.status(session),
        doctor.run_checks(session),
        plan_document.plan(session, datetime.now(UTC)).document(),
        requirements.script(session).document(),
        requirements.grants(session),
        parked.list_rows(session, None, 10),
        slot.list_slots(session, None),
    ]
    for document in documents:
        assert json.loads(json.dumps(document, default=datetime.isoformat))


def test_a_dry_run_reports_how_far_it_is(applied: Desk, session: Session) -> None:
    reports: list[int] = []
    found = reconcile.dry_run(session, "parts", lambda rows, _estimate: reports.append(rows))
    assert (found["rows"], found["differences"]["creates"], reports[-1]) == (30, 30, 30)


def test_a_reconcile_that_was_stopped_at_once_is_asked_for(applied: Desk, session: Session) -> None:
    stop = threading.Event()
    stop.set()
    found = reconcile.reconcile(session, "parts", ANN, stop, lambda _rows, _estimate: None, pytest.fail)
    assert (found["sync"], found["done"]) == ("parts", False)
    assert "rowtide run" in str(found["waits"])
    assert applied.state("SELECT state FROM rowtide.reconcile WHERE sync = 'parts'") == [("wanted",)]


def test_a_plan_is_made_first_and_then_applied(desk: Desk, simulator: Simulator, session: Session) -> None:
    """The two requests of an API: the plan is looked at, and what was looked at is applied."""
    db.upgrade(session, ANN)
    plan = plan_document.plan(session, datetime.now(UTC))
    assert plan.document()["definition"]["applied"] is None
    found = apply.apply(session, plan, ANN)
    assert (found["version"], found["changed"]) == (1, True)
    assert desk.state("SELECT applied_by FROM rowtide.definition") == [("ann@host",)]
    slot.drop(session, "erp", desk.slot, False, ANN)


def test_a_plan_names_the_processes_that_are_too_old_for_it(desk: Desk, simulator: Simulator, session: Session) -> None:
    db.upgrade(session, ANN)
    apply.apply(session, plan_document.plan(session, datetime.now(UTC)), ANN)
    with database.connect(desk.state_dsn) as connection:
        for pid, format_ in ((11, FORMAT), (12, FORMAT - 1)):
            processes.beat(connection, pid, ["deliver"], pid, "host", datetime.now(UTC), {})
            connection.execute("UPDATE rowtide.process SET format = %s WHERE pid = %s", [format_, pid])
    [warning] = plan_document.plan(session, datetime.now(UTC)).warnings
    assert warning.startswith("process 12 on host is of an older release")
    slot.drop(session, "erp", desk.slot, False, ANN)


def test_a_plan_against_another_version_is_not_applied(desk: Desk, simulator: Simulator, session: Session) -> None:
    db.upgrade(session, ANN)
    plan = plan_document.plan(session, datetime.now(UTC))
    with database.connect(desk.state_dsn) as connection:
        definitions.apply(connection, {"definition": {"syncs": {}}}, "somebody", None)
    with pytest.raises(UserError) as refused:
        apply.apply(session, plan, ANN)
    assert refused.value.code == "plan_outdated"
    assert desk.sql("SELECT count(*) FROM pg_publication") == [(0,)]
