"""The plan of each hot query, once, on a filled outbox and ledger: indexes only, and no more rows than are taken."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from rowtide.keys import LANES
from state import database, outbox, schema
from state.outbox import claims, settling, staging_sql

COUNT = 100_000


@pytest.fixture(scope="module")
def database_of_plans(pg: Cluster) -> Iterator[str]:
    """One filled state database for all plans."""
    name = f"plans_{os.getpid()}"
    dsn = pg.create_database(name)
    schema.upgrade(dsn)
    yield dsn
    with database.connect(pg.dsn("postgres")) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="module")
def filled_records(database_of_plans: str, records_class: Any) -> Iterator[Any]:
    with database.connect(database_of_plans) as connection:
        records = records_class(database_of_plans, connection)
        records.fill(COUNT)
        yield records


@pytest.fixture
def filled(filled_records: Any) -> Iterator[Any]:
    """The filled records; what a test does to them is rolled back."""
    with filled_records.conn.transaction(force_rollback=True):
        yield filled_records


def claim_parameters(limit: int) -> dict[str, Any]:
    lanes, low = list(range(LANES)), limit // 10
    who = {"owner": "p0", "token": "t", "lease_s": 120, "lists": "{}"}
    return {"syncs": ["s0", "s1"], "lanes": lanes, "limit": limit, "low": low, **who}


def rows_of(plan: str, index: str) -> list[float]:
    """How many rows each scan of the index gave, by loop."""
    return [float(rows) for rows in re.findall(rf"Scan using {index} .*actual time=\S+ rows=([\d.]+)", plan)]


def test_claim(filled: Any) -> None:
    plan = filled.explain(claims.CLAIM, claim_parameters(100))
    assert rows_of(plan, "outbox_due_idx")
    assert max(rows_of(plan, "outbox_due_idx")) <= 100
    assert rows_of(plan, "outbox_pkey")
    assert "Seq Scan on outbox" not in plan


def test_claim_wades_through_nothing_that_is_due_later(filled: Any) -> None:
    """Of sync s4 all but the lowest class is due in an hour."""
    plan = filled.explain(claims.CLAIM, {**claim_parameters(10), "syncs": ["s4"]})
    assert rows_of(plan, "outbox_due_idx")
    [read] = re.findall(r"Update on outbox .*\n(?:.*\n)?? *Buffers: shared hit=(\d+)", plan)
    assert int(read) < 2_000


def test_ledger_of_a_claim(filled: Any) -> None:
    plan = filled.explain(claims.LEDGER, [["s0"] * 100, [str(5 * number) for number in range(100)]])
    assert rows_of(plan, "ledger_pkey")
    assert "Seq Scan on ledger" not in plan


def test_stage(filled: Any) -> None:
    keys = "{" + ",".join(str(5 * number) for number in range(20_000)) + "}"
    parameters = {"sync": "s0", "keys": keys, "era": 1, "lsn": 5}
    plan = filled.explain(staging_sql.LOCK_WAITING, parameters)
    assert rows_of(plan, "outbox_pkey")
    assert "Seq Scan on outbox" not in plan
    plan = filled.explain(staging_sql.ABOVE, parameters)
    assert rows_of(plan, "ledger_pkey")
    assert "Seq Scan on ledger" not in plan
    filled.conn.execute(staging_sql.CREATE)
    filled.conn.execute(
        """
        INSERT INTO rowtide_stage (key, op, partial, lsn, ordinal, xid, committed_at, priority, lane, sync,
                                   mapping_version, era)
        SELECT (5 * i)::text, 'd', false, 900000, 0, 1, now(), 2, 0, 's0', 1, 1 FROM generate_series(1, 20000) AS i
        """
    )
    plan = filled.explain(staging_sql.MERGE)
    assert "Conflict Arbiter Indexes: outbox_pkey" in plan
    assert rows_of(plan, "ledger_pkey")
    assert "Seq Scan on ledger" not in plan


def test_settle(filled: Any) -> None:
    keys = [str(5 * number) for number in range(1, 201)]
    filled.conn.execute("UPDATE rowtide.outbox SET lease_token = 't' WHERE sync = 's0' AND key = ANY (%s)", [keys])
    plan = filled.explain(settling.LOCK, [["s0"] * 200, keys, ["t"] * 200])
    assert rows_of(plan, "outbox_pkey")
    assert "Seq Scan on outbox" not in plan
    kept = {"after_s": 0, "blame": 0, "state": "waiting", "hold": False, "own": True, "newer": False, "emptied": False}
    rows = [{"sync": "s0", "key": key, **kept} for key in keys]
    plan = filled.explain(settling.KEEP, [settling._json(rows)])
    assert rows_of(plan, "outbox_pkey")
    assert "Seq Scan on outbox" not in plan
    plan = filled.explain(settling.DELETE, [["s0"] * 200, keys])
    assert rows_of(plan, "outbox_pkey")
    assert "Seq Scan on outbox" not in plan


def test_leases_of_an_owner(filled: Any) -> None:
    filled.conn.execute("UPDATE rowtide.outbox SET lease_owner = 'p0' WHERE key = '5'")
    plan = filled.explain(claims.VOID, ["p0"])
    assert "outbox_lease_idx" in plan
    assert "Seq Scan on outbox" not in plan


def test_waiting_deletes(filled: Any) -> None:
    plan = filled.explain(outbox.WAITING_DELETES, [["s0"]])
    assert "outbox_deletes_idx" in plan
    assert "Seq Scan on outbox" not in plan
    assert outbox.waiting_deletes(filled.conn, ["s0", "s1"]) == {"s0": 2_000}
