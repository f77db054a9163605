"""Runs of processes on record: one end each, predecessors lost, short ones that end alike folded into one."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from flows.process_run import ProcessRun
from state import database, retention, runs
from state.database import Connection
from state.runs import PROCESS, ProcessLife, Run

NAME, OTHER = "rowtide:capture,deliver:0", "rowtide:deliver:1"


@pytest.fixture
def conn(state_dsn: str) -> Iterator[Connection]:
    """Hands on a session of the state database."""
    with database.connect(state_dsn, "tests") as connection:
        yield connection


def life(number: int, name: str = NAME) -> ProcessLife:
    return ProcessLife(name, UUID(int=number), ["slot"], {"pid": number})


def began(conn: Connection, number: int, name: str = NAME) -> ProcessRun:
    """A run that is on record."""
    run = ProcessRun(life(number, name))
    run.note(conn)
    return run


def age(conn: Connection, minutes: float) -> None:
    """Let so much time pass for what is on record."""
    moved = ", ".join(f"{name} = {name} - %(by)s" for name in ("started_at", "seen_at", "ended_at"))
    conn.execute(f"UPDATE rowtide.runs SET {moved}".encode(), {"by": timedelta(minutes=minutes)})


def on_record(conn: Connection) -> list[Run]:
    """Every run, the first one first."""
    return runs.read(conn, 100)[::-1]


def verdicts(conn: Connection) -> list[tuple[str, str | None, int]]:
    return [(one.actor, one.verdict, one.turns) for one in on_record(conn)]


def put_cursor(conn: Connection, lsn: int) -> None:
    conn.execute(
        "INSERT INTO rowtide.slot_cursor (slot, incarnation, lsn, system_id, timeline, staged_lsn, publication_oid)"
        " VALUES ('slot', 3, %(lsn)s, 's', 1, 0, 1) ON CONFLICT (slot) DO UPDATE SET lsn = excluded.lsn",
        {"lsn": lsn},
    )


def test_a_process_is_seen_from_its_beginning_to_its_end(conn: Connection) -> None:
    put_cursor(conn, 100)
    run = began(conn, 1)
    put_cursor(conn, 250)
    age(conn, 5)
    [before] = on_record(conn)
    run.note(conn)
    [after] = on_record(conn)
    assert (before.verdict, after.verdict, after.kind, after.incarnation) == (None, None, PROCESS, UUID(int=1))
    assert before.silent_s > 290 > 10 > after.silent_s
    run.end(conn, "failed", "slot_lost")
    run.end(conn, "stopped", None)
    run.note(conn)
    [ended] = on_record(conn)
    assert (ended.verdict, ended.detail) == ("failed", {"pid": 1, "code": "slot_lost"})
    assert ended.from_pos == {"slot": {"incarnation": 3, "lsn": 100}}
    assert ended.to_pos == {"slot": {"incarnation": 3, "lsn": 250}}
    assert ended.ended_at is not None
    assert runs.read_one(conn, ended.id + 1) is None


def test_whoever_starts_ends_those_before_it_at_the_moment_they_were_seen_last(conn: Connection) -> None:
    began(conn, 1)
    began(conn, 2, OTHER)
    age(conn, 30)
    began(conn, 3)
    again = ProcessRun(life(3))
    again.note(conn)  # as after an answer that was lost
    assert verdicts(conn) == [(NAME, "lost", 1), (OTHER, None, 1), (NAME, None, 1)]
    first = on_record(conn)[0]
    assert first.ended_at == first.seen_at
    assert runs.lose(conn, OTHER) == 1
    assert runs.lose(conn, OTHER) == 0
    assert verdicts(conn) == [(NAME, "lost", 1), (OTHER, "lost", 1), (NAME, None, 1)]


def test_a_crash_loop_is_one_run(conn: Connection) -> None:
    for number in range(1, 4):
        began(conn, number).end(conn, "failed", "state_login")
        age(conn, 2)
    assert verdicts(conn) == [(NAME, "failed", 3)]
    assert on_record(conn)[0].incarnation == UUID(int=3)
    began(conn, 4).end(conn, "failed", "slot_lost")  # for another reason
    began(conn, 5, OTHER).end(conn, "failed", "slot_lost")  # another process
    assert [one[2] for one in verdicts(conn)] == [3, 1, 1]
    age(conn, 11)
    began(conn, 6).end(conn, "failed", "slot_lost")  # long after
    assert [one[2] for one in verdicts(conn)] == [3, 1, 1, 1]
    run = began(conn, 7)
    conn.execute("UPDATE rowtide.runs SET started_at = now() - interval '1 hour' WHERE ended_at IS NULL")
    run.end(conn, "failed", "slot_lost")  # it ran well for an hour
    assert [one[2] for one in verdicts(conn)] == [3, 1, 1, 1, 1]
    for number in (8, 9):
        began(conn, number)
    assert runs.lose(conn, NAME) == 1
    assert verdicts(conn)[-1] == (NAME, "lost", 2)


def test_the_run_of_a_process_that_lives_is_kept(conn: Connection) -> None:
    run = began(conn, 1)
    began(conn, 2, OTHER)
    age(conn, 60 * 24 * 8)
    run.note(conn)
    assert retention.prune_runs(conn, timedelta(days=7)) == 1
    assert [one.actor for one in on_record(conn)] == [NAME]


def test_a_list_of_runs_is_of_a_sync_or_of_a_kind(conn: Connection) -> None:
    began(conn, 1)
    first = runs.start(conn, "reconcile", "orders", {"why": "asked"})
    runs.start(conn, "forget", "customers", actor="ada@desk")
    runs.finish(conn, first, "done", {"rows": 3}, {"orders": {"era": 2, "lsn": 77}})
    assert [one.kind for one in runs.read(conn, 9)] == ["forget", "reconcile", PROCESS]
    assert [one.kind for one in runs.read(conn, 9, sync="orders")] == ["reconcile"]
    [found] = runs.read(conn, 1, kind="reconcile")
    assert (found.verdict, found.to_pos, found.detail) == (
        "done",
        {"orders": {"era": 2, "lsn": 77}},
        {"why": "asked", "rows": 3},
    )
    assert [one.actor for one in runs.read(conn, 1)] == ["ada@desk"]
