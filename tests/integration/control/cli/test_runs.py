"""`rowtide runs`: what ran and what was done, as documents and as tables."""

from datetime import UTC, datetime
from uuid import UUID

from flows.process_run import ProcessRun
from state import database, history, runs
from state.history import SyncMinute
from state.runs import ProcessLife
from tests.integration.control.desk import Desk

OURS = UUID(int=7)


def record(desk: Desk) -> datetime:
    """A process that runs, a reconcile that is done, and this minute of two syncs; the minute."""
    with database.connect(desk.state_dsn) as connection:
        ProcessRun(ProcessLife("rowtide:capture:0", OURS, [], {"pid": 1})).note(connection)
        run = runs.start(connection, "reconcile", "parts", {"why": "asked"})
        runs.finish(connection, run, "done", {"rows": 12}, {"parts": {"era": 1, "lsn": 0x1_0000_00FF}})
        [(minute,)] = connection.execute("SELECT date_trunc('minute', now(), 'UTC')").fetchall()
        push = [8, 0, 2]
        for incarnation in (OURS, UUID(int=8)):
            one = SyncMinute(minute, "parts", incarnation, [5, 4], push, [], [0] * len(history.BOUNDS_MS) + [1])
            history.write(connection, [one, SyncMinute(minute, "other", incarnation, [1], [], [], [])])
    assert isinstance(minute, datetime)
    return minute


def test_runs_are_listed_and_shown(applied: Desk) -> None:
    assert applied.type("runs", "list").out == "nothing has run\n"
    record(applied)
    found = applied.type("runs", "list", "--json").json["runs"]
    assert [(one["kind"], one["sync"], one["state"]) for one in found] == [
        ("reconcile", "parts", "done"),
        ("process", None, "running"),
    ]
    assert found[0]["to_position"] == {"parts": {"era": 1, "lsn": "1/FF"}}
    assert found[0]["detail"] == {"why": "asked", "rows": 12}
    assert [one["kind"] for one in applied.type("runs", "list", "parts", "--json").json["runs"]] == ["reconcile"]
    shown = applied.type("runs", "show", str(found[1]["id"]), "--json").json
    assert [(one["sync"], one["counts"]["changes"], one["counts"]["delivered"]) for one in shown["did"]] == [
        ("other", 1, 0),
        ("parts", 5, 4),
    ]
    assert applied.type("runs", "show", str(found[0]["id"]), "--json").json["did"] == []
    text = applied.type("runs", "list", "--kind", "process").out.splitlines()
    assert len(text) == 2
    assert "rowtide:capture:0" in text[1]
    assert "parts" in applied.type("runs", "show", str(found[1]["id"])).out
    missing = applied.type("runs", "show", "99", "--json")
    assert (missing.code, missing.json["error"]["code"]) == (2, "unknown_run")


def test_minutes_and_hours_are_shown(applied: Desk) -> None:
    assert applied.type("runs", "minutes").out == "nothing was done\n"
    minute = record(applied)
    document = applied.type("runs", "minutes", "parts", "--json").json
    assert (document["by"], document["bounds_ms"]) == ("minute", list(history.BOUNDS_MS))
    [did] = document["did"]
    assert datetime.fromisoformat(did["at"]) == minute.astimezone(UTC)
    assert (did["counts"]["changes"], did["counts"]["delivered"], did["counts"]["parked"]) == (10, 8, 0)
    assert did["push"] == {"buckets": [16, 0, 4], "p50_ms": 50, "p95_ms": 200, "p99_ms": 200}
    assert (did["bulk"]["p50_ms"], did["bulk"]["buckets"], did["pull"]["p50_ms"]) == (None, [], None)
    head, *lines = applied.type("runs", "minutes").out.splitlines()
    assert head.startswith("AT")
    assert [line.split()[2] for line in lines] == ["other", "parts"]
    assert "0.05 s/0.2 s" in lines[1]
    assert applied.type("runs", "minutes", "--hours", "--json").json["did"] == []
