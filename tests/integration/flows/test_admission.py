"""The mass-delete breaker before claims, against a state database."""

from types import SimpleNamespace
from typing import Any, cast

from flows.admission import Admission
from rowtide.definition.model import BreakerDefinition
from state import database, definitions
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
    return Admission(lambda _: compiled, dict)


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
        assert definitions.sync_states(connection)["lines"].state == "paused"
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
