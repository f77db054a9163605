"""The mass-delete breaker before claims, against a state database."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

import flows.admission as admission_module
from flows.admission import Admission
from rowtide.definition.model import BreakerDefinition
from rowtide.holds import HeldDeletes
from rowtide.position import Position
from state import database, holds
from state.database import Connection, Link

LEDGER = """
INSERT INTO rowtide.ledger (sync, key, list_id, item_id, etag, base, mapping_version, era, lsn, ordinal, xid, state)
SELECT 'lines', n::text, 'list', n::text, 'e,1', '{}', 1, 1, 1, 0, 1, 'live' FROM generate_series(%s::int, %s::int) n
"""
OUTBOX = """
INSERT INTO rowtide.outbox (sync, key, op, target, fields, mapping_version, era, lsn, ordinal, xid, priority,
                            committed_at)
SELECT 'lines', n::text, %s, CASE %s WHEN 'u' THEN 'Lines' END, CASE %s WHEN 'u' THEN '{}'::json END, 1, 1, 2, 0, 2, 0,
       now() FROM generate_series(%s::int, %s::int) n
"""


def admission(share: float = 0.2, rows: int = 500) -> Admission:
    """Of a sync that asks before a fifth of its items goes."""
    breaker = BreakerDefinition(share=share, rows=rows)
    compiled = {"lines": cast(Any, SimpleNamespace(sync="lines", deletes="propagate", breaker=breaker))}
    return Admission(lambda sync: compiled[sync])


def know(connection: Connection, first: int, last: int) -> None:
    connection.execute(LEDGER, [first, last])


def wait(connection: Connection, op: str, first: int, last: int) -> None:
    connection.execute(OUTBOX, [op, op, op, first, last])


def test_deletions_are_a_share_of_what_the_lists_will_hold(state_dsn: str) -> None:
    """In the middle of a first load few rows have an item yet; a cascade over some of them is no catastrophe."""
    link = Link(state_dsn, "test")
    with database.connect(state_dsn) as connection:
        know(connection, 1, 100)
        wait(connection, "u", 101, 1000)
        wait(connection, "d", 1, 38)
        assert admission().admit(link, {"lines": 1}) == ["lines"]
        connection.execute("DELETE FROM rowtide.outbox WHERE op = 'u'")
        assert admission().admit(link, {"lines": 1}) == []
        [hold] = holds.read(connection)
        assert (hold.object, hold.kind, hold.code) == ("lines", "deletes", "mass_delete")
        assert hold.deletes == HeldDeletes(38, ("1", "10", "11", "12", "13"), Position(1, 2, 0))
    link.close()


def test_nobody_is_stopped_for_an_old_count(state_dsn: str) -> None:
    link = Link(state_dsn, "test")
    judge = admission()
    with database.connect(state_dsn) as connection:
        know(connection, 1, 100)
        wait(connection, "d", 1, 10)
        assert judge.admit(link, {"lines": 1}) == ["lines"]
        know(connection, 101, 1000)
        wait(connection, "d", 11, 100)
        assert judge.admit(link, {"lines": 1}) == ["lines"]
    link.close()


def test_deletions_beyond_an_approval_wait_while_the_approved_ones_go(
    state_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both wait at once; then the others are held in turn, however slowly they were counted before."""
    monkeypatch.setattr(admission_module, "_QUICK_S", 0.0)
    monkeypatch.setattr(admission_module, "LOOK_AGAIN_S", 0.0)
    link, judge = Link(state_dsn, "test"), admission()
    with database.connect(state_dsn) as connection:
        know(connection, 1, 40)
        wait(connection, "d", 1, 20)
        assert judge.admit(link, {"lines": 1}) == []
        wait(connection, "d", 21, 35)
        connection.execute("UPDATE rowtide.outbox SET lsn = 3 WHERE key::int > 20")
        holds.approve(connection, "lines")
        assert judge.admit(link, {"lines": 1}) == ["lines"]
        due = connection.execute("DELETE FROM rowtide.outbox WHERE due_at <= now() RETURNING key").fetchall()
        assert sorted(int(key) for (key,) in due) == list(range(1, 21))
        judge.look_again(link, ["lines"])  # nothing is due, so no claim asks
        [hold] = holds.read(connection)
        assert hold.deletes is not None
        assert hold.deletes.count == 15
    link.close()


def test_a_sync_that_is_not_applied_any_more_is_passed_over(state_dsn: str) -> None:
    link = Link(state_dsn, "test")
    with database.connect(state_dsn) as connection:
        know(connection, 1, 10)
        wait(connection, "d", 1, 2)
        assert admission().admit(link, {"gone": 3, "lines": 2}) == ["lines"]
    link.close()


def test_what_is_judged_slowly_is_not_counted_again_for_each_claim(
    state_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict lets no more deletions through than were judged."""
    monkeypatch.setattr(admission_module, "_QUICK_S", 0.0)
    monkeypatch.setattr(admission_module, "_REST", 10_000)
    link, judge = Link(state_dsn, "test"), admission(share=0.5)
    with database.connect(state_dsn) as connection:
        know(connection, 1, 100)
        wait(connection, "d", 1, 3)
        assert judge.admit(link, {"lines": 1}) == ["lines"]
        wait(connection, "d", 4, 90)
        assert judge.admit(link, {"lines": 2}) == ["lines"]  # as judged
        assert judge.admit(link, {"lines": 2}) == []
    link.close()
