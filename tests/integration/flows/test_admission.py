"""The mass-delete breaker before claims, against a state database."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows.admission import Admission
from flows.deletion_judge import DeletionJudge
from rowtide.definition.model import BreakerDefinition
from rowtide.holds import HeldDeletes, Hold
from rowtide.position import Position
from state import database, holds
from state.database import Connection, Link
from tests.e2e.stack import wait_until

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


@dataclass
class Breaker:
    """The breaker as claims meet it, and its judge, whose thread is the test's own."""

    admission: Admission
    judge: DeletionJudge
    link: Link
    judged: list[str]

    def admit(self, *syncs: str) -> list[str]:
        """The syncs that may carry deletions out, once the judge has done what it was asked."""
        first = self.admission.admit(self.link, syncs)
        self.judge.judge_asked(self.link)
        return first if len(first) == len(syncs) else self.admission.admit(self.link, syncs)


MakeBreaker = Callable[..., Breaker]


@pytest.fixture
def breaker(state_dsn: str) -> Iterator[MakeBreaker]:
    """Makes the breaker of a sync that asks before a fifth of its items goes."""
    link = Link(state_dsn, "test")

    def make(share: float = 0.2, rows: int = 500, deletes: str = "propagate") -> Breaker:
        limits, judged = BreakerDefinition(share=share, rows=rows), list[str]()
        compiled = {
            "lines": cast(Any, SimpleNamespace(sync="lines", carries_deletions=deletes != "ignore", breaker=limits))
        }
        judge = DeletionJudge(state_dsn, lambda sync: compiled[sync])
        judge.tell(judged.append)
        return Breaker(Admission(lambda sync: compiled[sync], judge), judge, link, judged)

    yield make
    link.close()


def know(connection: Connection, first: int, last: int) -> None:
    connection.execute(LEDGER, [first, last])


def wait(connection: Connection, op: str, first: int, last: int) -> None:
    connection.execute(OUTBOX, [op, op, op, first, last])


def test_deletions_are_a_share_of_what_the_lists_will_hold(state_dsn: str, breaker: MakeBreaker) -> None:
    """In the middle of a first load few rows have an item yet; a cascade over some of them is no catastrophe."""
    with database.connect(state_dsn) as connection:
        know(connection, 1, 100)
        wait(connection, "u", 101, 1000)
        wait(connection, "d", 1, 38)
        assert breaker().admit("lines") == ["lines"]
        connection.execute("DELETE FROM rowtide.outbox WHERE op = 'u'")
        assert breaker().admit("lines") == []
        [hold] = holds.read(connection)
        assert (hold.object, hold.kind, hold.code) == ("lines", "deletes", "mass_delete")
        assert hold.deletes == HeldDeletes(38, ("1", "10", "11", "12", "13"), Position(1, 2, 0))


def test_few_deletions_are_judged_at_once_and_others_beside_the_claims(state_dsn: str, breaker: MakeBreaker) -> None:
    one = breaker()
    with database.connect(state_dsn) as connection:
        know(connection, 1, 100)
        wait(connection, "d", 1, 4)
        assert one.admission.admit(one.link, ["lines"]) == ["lines"]
        wait(connection, "d", 5, 10)
        assert one.admission.admit(one.link, ["lines"]) == []
        assert one.judged == []
        one.judge.judge_asked(one.link)
        assert one.judged == ["lines"]
        assert one.admission.admit(one.link, ["lines"]) == ["lines"]


def test_nobody_is_stopped_for_an_old_count(state_dsn: str, breaker: MakeBreaker) -> None:
    one = breaker()
    with database.connect(state_dsn) as connection:
        know(connection, 1, 100)
        wait(connection, "d", 1, 10)
        assert one.admit("lines") == ["lines"]
        know(connection, 101, 1000)
        wait(connection, "d", 11, 100)
        assert not one.admission.may_go({"lines": 100})
        assert one.admit("lines") == ["lines"]
        assert one.admission.may_go({"lines": 100})


def test_deletions_beyond_an_approval_wait_while_the_approved_ones_go(state_dsn: str, breaker: MakeBreaker) -> None:
    """Both wait at once; then the others are held in turn."""
    one = breaker()
    with database.connect(state_dsn) as connection:
        know(connection, 1, 40)
        wait(connection, "d", 1, 20)
        assert one.admit("lines") == []
        wait(connection, "d", 21, 35)
        connection.execute("UPDATE rowtide.outbox SET lsn = 3 WHERE key::int > 20")
        holds.approve(connection, "lines")
        # Once more where the machine was so slow that the verdict was over before it was asked for.
        wait_until(lambda: one.admit("lines") == ["lines"], "the approved ones may go")
        assert not one.admission.may_go({"lines": 1}), "none but those that are approved"
        due = connection.execute("DELETE FROM rowtide.outbox WHERE due_at <= now() RETURNING key").fetchall()
        assert sorted(int(key) for (key,) in due) == list(range(1, 21))

        def held() -> tuple[Hold, ...]:
            one.judge.judge_asked(one.link)  # nothing is due, so no claim asks
            return holds.read(connection)

        [hold] = wait_until(held, "the others are held")
        assert hold.deletes is not None
        assert hold.deletes.count == 15


def test_a_sync_that_is_not_applied_any_more_is_passed_over(state_dsn: str, breaker: MakeBreaker) -> None:
    one = breaker()
    with database.connect(state_dsn) as connection:
        know(connection, 1, 10)
        wait(connection, "d", 1, 2)
        assert one.admission.admit(one.link, ["gone", "lines"]) == ["lines"]
        one.judge.ask(["gone"])
        one.judge.judge_asked(one.link)
        assert one.judged == []
        assert one.admission.may_go({"gone": 1, "lines": 2})


def test_a_sync_that_leaves_items_alone_is_not_judged(state_dsn: str, breaker: MakeBreaker) -> None:
    one = breaker(deletes="ignore")
    with database.connect(state_dsn) as connection:
        know(connection, 1, 10)
        wait(connection, "d", 1, 10)
        assert one.admission.admit(one.link, ["lines"]) == ["lines"]
        assert one.admission.may_go({"lines": 10})


def test_a_verdict_lets_no_more_deletions_through_than_were_counted(state_dsn: str, breaker: MakeBreaker) -> None:
    """Those of rows that are in no list count nothing, so the verdict on very many of them stands for a while."""
    one = breaker(share=0.5)
    with database.connect(state_dsn) as connection:
        know(connection, 1, 100)
        wait(connection, "d", 1, 3)
        wait(connection, "d", 101, 1200)
        assert one.admit("lines") == ["lines"]
        assert one.judged == ["lines"]
        assert one.admission.may_go({"lines": 2})
        wait(connection, "d", 4, 90)
        assert one.admit("lines") == ["lines"]  # as judged
        assert one.judged == ["lines"]
        assert not one.admission.may_go({"lines": 2})
        assert one.admit("lines") == []
