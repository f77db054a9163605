"""SIGKILL at each failpoint of the records: all of a transaction is there afterwards, or nothing of it."""

import signal
from typing import Any

import pytest

from rowtide.change import Change, ChangeBatch
from rowtide.deciding.outcomes import Settle
from rowtide.deciding.records import AsOf, ETag, Held, ItemId, ListId, PairedItem, Work
from state import database, failpoints, outbox
from tests.integration.forks import preload, run_forked

preload(__name__)


def stage_twenty(dsn: str) -> None:
    """Stage one transaction of twenty changes."""
    changes = [Change(str(n), "u", "L", {"A": n}, False, 101, n, 9, 0, 2) for n in range(20)]
    with database.connect(dsn) as connection:
        outbox.stage(connection, "slot", [ChangeBatch("orders", 1, 1, changes)])


def deliver_all(dsn: str) -> None:
    """Claim and settle every waiting row."""
    lists = {"orders": {"Orders EU": "l"}}
    with database.connect(dsn) as connection:
        request = outbox.ClaimRequest(outbox.survey(connection, ["orders"]), "p0", "token", 120, lists)
        outbox.settle(connection, [delivered(work) for work in outbox.claim(connection, request).works])


def delivered(work: Work) -> Settle:
    """The outcome of a write of what the work wants."""
    wanted = work.desired
    item = PairedItem(ListId("l"), ItemId(wanted.key), ETag('"g,1"'), wanted.fields, {})
    return Settle(work, Held(AsOf(wanted.position, wanted.xid, 1), item), 1)


@pytest.mark.parametrize(
    ("failpoint", "staged"), [(failpoints.STAGE_BEFORE_COMMIT, 1), (failpoints.STAGE_AFTER_COMMIT, 20)]
)
def test_killed_while_staging(failpoint: str, staged: int, records: Any, make_change: Any) -> None:
    records.stage(make_change("0"))
    assert run_forked(stage_twenty, records.dsn, trap=f"{failpoint}=kill") == -signal.SIGKILL
    assert records.conn.execute("SELECT count(*) FROM rowtide.outbox").fetchone() == (staged,)
    assert records.waiting("0")["revision"] == (1 if staged == 1 else 2)


@pytest.mark.parametrize(
    ("failpoint", "known", "uncertain"),
    [
        (failpoints.CLAIM_AFTER_LEASE, 0, 5),
        (failpoints.SETTLE_BEFORE_COMMIT, 0, 5),
        (failpoints.SETTLE_AFTER_COMMIT, 5, 0),
    ],
)
def test_killed_while_delivering(failpoint: str, known: int, uncertain: int, records: Any, make_change: Any) -> None:
    """Whatever may have been sent is uncertain, until it is known."""
    records.stage(*[make_change(str(number)) for number in range(5)])
    assert run_forked(deliver_all, records.dsn, trap=f"{failpoint}=kill") == -signal.SIGKILL
    assert records.conn.execute("SELECT count(*) FROM rowtide.ledger").fetchone() == (known,)
    records.conn.execute("UPDATE rowtide.outbox SET lease_until = now() - interval '1 second'")
    assert sum(work.desired.uncertain for work in records.claim()) == uncertain
