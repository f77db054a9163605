"""SIGKILL at each failpoint of the records: all of a transaction is there afterwards, or nothing of it."""

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from state import failpoints

_STAGE = """
import sys
from rowtide.change import Change, ChangeBatch
from state import database, outbox
changes = [Change(str(n), "u", "L", {"A": n}, False, 101, n, 9, 0, 2) for n in range(20)]
outbox.stage(database.connect(sys.argv[1]), "slot", [ChangeBatch("orders", 1, 1, changes)])
"""

_DELIVER = """
import sys
from rowtide.deciding.outcomes import Settle
from rowtide.deciding.records import AsOf, Held, PairedItem
from state import database, outbox
conn = database.connect(sys.argv[1])
lists = {"orders": {"Orders EU": "l"}}
works = outbox.claim(conn, outbox.ClaimRequest(["orders"], [0, 1, 2, 3], 100, "p0", "token", 120, lists))
outcomes = []
for work in works:
    wanted = work.desired
    item = PairedItem("l", wanted.key, '"g,1"', wanted.fields, {})
    pair = Held(AsOf(wanted.position, wanted.xid, 1), item)
    outcomes.append(Settle(work, pair, 1))
outbox.settle(conn, outcomes)
"""


def run_until_killed(code: str, dsn: str, failpoint: str) -> None:
    environment = {**os.environ, "ROWTIDE_FAILPOINTS": f"{failpoint}=kill"}
    done = subprocess.run([sys.executable, "-c", code, dsn], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    ("failpoint", "staged"), [(failpoints.STAGE_BEFORE_COMMIT, 1), (failpoints.STAGE_AFTER_COMMIT, 20)]
)
def test_killed_while_staging(failpoint: str, staged: int, records: Any, make_change: Any) -> None:
    records.stage(make_change("0"))
    run_until_killed(_STAGE, records.dsn, failpoint)
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
    run_until_killed(_DELIVER, records.dsn, failpoint)
    assert records.conn.execute("SELECT count(*) FROM rowtide.ledger").fetchone() == (known,)
    records.conn.execute("UPDATE rowtide.outbox SET lease_until = now() - interval '1 second'")
    assert sum(work.desired.uncertain for work in records.claim()) == uncertain
