"""The mass-delete breaker before claims, against a state database."""

from types import SimpleNamespace
from typing import Any, cast

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
INSERT INTO rowtide.outbox (sync, key, op, target, fields, mapping_version, era, lsn, ordinal, xid, priority, lane,
                            committed_at)
SELECT 'lines', n::text, %s, CASE %s WHEN 'u' THEN 'Lines' END, CASE %s WHEN 'u' THEN '{}'::json END, 1, 1, 2, 0, 2, 0,
       0, now() FROM generate_series(%s::int, %s::int) n
"""


def admission() -> Admission:
    """Of a sync that asks before a fifth of its items goes."""
    compiled = cast(Any, SimpleNamespace(deletes="propagate", breaker=BreakerDefinition(share=0.2, rows=500)))
    return Admission(lambda _: compiled)


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
        assert admission().admit(link, ["lines"]) == ["lines"]
        connection.execute("DELETE FROM rowtide.outbox WHERE op = 'u'")
        assert admission().admit(link, ["lines"]) == []
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
        assert judge.admit(link, ["lines"]) == ["lines"]
        know(connection, 101, 1000)
        wait(connection, "d", 11, 100)
        assert judge.admit(link, ["lines"]) == ["lines"]
    link.close()


def test_deletions_beyond_an_approval_wait_while_the_approved_ones_go(state_dsn: str) -> None:
    """Both wait at once; then the others are held in turn."""
    link, judge = Link(state_dsn, "test"), admission()
    with database.connect(state_dsn) as connection:
        know(connection, 1, 40)
        wait(connection, "d", 1, 20)
        assert judge.admit(link, ["lines"]) == []
        wait(connection, "d", 21, 35)
        connection.execute("UPDATE rowtide.outbox SET lsn = 3 WHERE key::int > 20")
        holds.approve(connection, "lines")
        assert judge.admit(link, ["lines"]) == ["lines"]
        due = connection.execute("DELETE FROM rowtide.outbox WHERE due_at <= now() RETURNING key").fetchall()
        assert sorted(int(key) for (key,) in due) == list(range(1, 21))
        assert judge.admit(link, ["lines"]) == []
        [hold] = holds.read(connection)
        assert hold.deletes is not None
        assert hold.deletes.count == 15
    link.close()
