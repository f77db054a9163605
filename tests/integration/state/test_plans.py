"""The plan of each hot query, once, on a filled outbox and ledger: indexes only, and no more rows than are taken."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from rowtide.deciding.outcomes import Release, Settle
from rowtide.deciding.records import AsOf, ETag, Held, ItemId, ListId, PairedItem, Work
from rowtide.turns import LITTLE
from state import database, outbox, progress, schema
from state.applying import taking
from state.outbox import claims, lines, one_side, settling, staging_sql
from tests.integration.state.conftest import change

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


def claim_parameters(*syncs: str, rows: int) -> dict[str, Any]:
    """A claim of so many rows of each line of these syncs."""
    waits_for = ["to L", outbox.REMOVAL]
    lines = [(sync, name, priority) for sync in syncs for name in waits_for for priority in range(4)]
    of_lines = {"syncs": [sync for sync, _, _ in lines], "waits_for": [name for _, name, _ in lines]}
    rest = {"priorities": [priority for _, _, priority in lines], "rows": [rows] * len(lines)}
    return {**of_lines, **rest, "owner": "p0", "token": "t", "lease_s": 120, "lists": "{}", "most_bytes": 1 << 30}


def rows_of(plan: str, index: str) -> list[float]:
    """How many rows each scan of the index gave, by loop."""
    return [float(rows) for rows in re.findall(rf"Scan using {index} .*actual time=\S+ rows=([\d.]+)", plan)]


def test_survey(filled: Any) -> None:
    plan = filled.explain(lines.SURVEY, {"syncs": ["s0", "s1", "s4", "none"], "most": LITTLE})
    assert max(rows_of(plan, "outbox_due_idx")) <= LITTLE
    assert "Seq Scan on outbox" not in plan
    [buffers] = re.findall(r"Buffers: shared hit=(\d+)", plan)[:1]
    assert int(buffers) < 24 * (LITTLE + 20)  # lines, however many rows wait


def test_claim(filled: Any) -> None:
    plan = filled.explain(claims.CLAIM, claim_parameters("s0", "s1", rows=20))
    assert rows_of(plan, "outbox_due_idx")
    assert max(rows_of(plan, "outbox_due_idx")) <= 20
    assert "Tid Scan on outbox" in plan
    assert "Seq Scan on outbox" not in plan


def test_claim_wades_through_nothing_that_is_due_later(filled: Any) -> None:
    """Of sync s4 all but the lowest class is due in an hour."""
    plan = filled.explain(claims.CLAIM, claim_parameters("s4", rows=10))
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
        INSERT INTO rowtide_stage (key, op, partial, lsn, ordinal, xid, committed_at, priority, sync,
                                   mapping_version, era)
        SELECT (5 * i)::text, 'd', false, 900000, 0, 1, now(), 2, 's0', 1, 1 FROM generate_series(1, 20000) AS i
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
    rows = [{"place": place, **kept} for place in places(filled, keys)]
    plan = filled.explain(settling.KEEP, [settling._json(rows)])
    assert "Tid Scan on outbox" in plan
    assert "Seq Scan on outbox" not in plan
    gone = "{" + ",".join(f'"{place}"' for place in places(filled, keys)) + "}"
    plan = filled.explain(settling.LEAVE, {"gone": gone, **progress.to_parameters({})})
    assert "Tid Scan on outbox" in plan
    assert "Seq Scan on outbox" not in plan


def places(records: Any, keys: list[str]) -> list[str]:
    """Where the rows of s0 are."""
    found = records.conn.execute("SELECT ctid FROM rowtide.outbox WHERE sync = 's0' AND key = ANY (%s)", [keys])
    return [place for (place,) in found]


def test_what_was_planned_on_empty_tables_serves_full_ones(state_dsn: str, records_class: Any) -> None:
    """Stage and settle plan once for a connection's life, and an outbox grows within seconds."""
    with database.connect(state_dsn, settings=database.ONE_PLAN) as connection:
        records = records_class(state_dsn, connection)
        records.open_era()
        connection.execute("VACUUM ANALYZE rowtide.outbox, rowtide.ledger")
        for number in range(10):  # psycopg prepares what it has sent five times
            records.stage(change(f"few {number}"))
            works = records.claim()
            ends = [Release(work, 0.0, unknown=False) if number % 2 else Settle(work, held(work)) for work in works]
            outbox.settle(connection, ends)
        connection.execute("DELETE FROM rowtide.outbox")
        records.fill(COUNT // 5, analyzed=False)  # analyzing would have it planned anew
        records.stage(*(change(f"later {number}", lsn=200) for number in range(20)))
        works = records.claim()
        read = rows_read(connection)
        records.stage(*(change(f"later {number}", lsn=300) for number in range(30)))
        back = [Release(work, 0.0, unknown=False) for work in works[:10]]
        outbox.settle(connection, [*back, *(Settle(work, held(work)) for work in works[10:])])
        assert len(works) == 20
        assert records.waiting("later 25")
        assert rows_read(connection) - read < 500


def held(work: Work) -> Held:
    """An item that is as the row wants it."""
    desired = work.desired
    item = PairedItem(ListId("list-eu"), ItemId(desired.key), ETag('"g,1"'), desired.fields, {})
    return Held(AsOf(desired.position, desired.xid, 1), item)


def rows_read(connection: database.Connection) -> int:
    """Rows of outbox and ledger, or entries of their indexes, that statements have read so far."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT 1")
    entries = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname IN ('outbox', 'ledger')"
    rows = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('outbox', 'ledger')"
    [(read,)] = connection.execute(f"SELECT ({entries}) + ({rows})".encode()).fetchall()
    return int(read)


def test_leases_of_an_owner(filled: Any) -> None:
    filled.conn.execute("UPDATE rowtide.outbox SET lease_owner = 'p0' WHERE key = '5'")
    for statement, parameters in [(claims.VOID, ["p0"]), (claims.VOID_OTHERS, ["p0", "p0/1"])]:
        plan = filled.explain(statement, parameters)
        assert "outbox_lease_idx" in plan
        assert "Seq Scan on outbox" not in plan


def test_waiting_deletes(filled: Any) -> None:
    plan = filled.explain(outbox.FEW_WAITING_DELETES, [["s0"], outbox.FEW_DELETES])
    assert "outbox_deletes_idx" in plan
    assert "Seq Scan on outbox" not in plan
    assert outbox.few_waiting_deletes(filled.conn, ["s0", "s1"]) == {"s0": None, "s1": 0}


def test_one_side(filled: Any) -> None:
    """A claim of two-way syncs: what waits for its rows is found by four indexes, however full the inbox is."""
    filled.conn.execute(
        """
        INSERT INTO rowtide.inbox (list_id, item_id, sync, version, item_key, key, state)
        SELECT 's' || mod(i, 5), (i + 100000)::text, 's' || mod(i, 5), 1, 's0:' || i + 100000, (i + 100000)::text,
               CASE WHEN mod(i, 3) = 0 THEN 'parked' ELSE 'waiting' END
          FROM generate_series(1, 20000) AS i
        """
    )
    filled.conn.execute("ANALYZE rowtide.inbox")
    keys = [str(5 * number) for number in range(100)]
    plan = filled.explain(one_side.SIDES, [["s0"] * 100, keys, [f"s0:{key}" for key in keys]])
    assert "Seq Scan" not in plan
    for index in ("ledger_pkey", "inbox_pkey", "inbox_item_key_idx", "inbox_row_idx"):
        assert f"using {index}" in plan or f"on {index}" in plan


def test_a_push_only_claim_reads_one_row_more(filled: Any) -> None:
    plan = filled.explain(one_side.CURSORS, [["s0", "s1", "none"]])
    [buffers] = re.findall(r"Buffers: shared hit=(\d+)", plan)[:1]
    assert int(buffers) < 20


def test_take(filled: Any) -> None:
    filled.conn.execute(
        """
        INSERT INTO rowtide.inbox (list_id, item_id, sync, version, due_at)
        SELECT 's0', i::text, 's0', 1, now() + CASE WHEN mod(i, 2) = 0 THEN interval '1 hour' ELSE interval '0' END
          FROM generate_series(1, 20000) AS i
        """
    )
    filled.conn.execute("INSERT INTO rowtide.sync (sync, changed_by) VALUES ('s0', 'test') ON CONFLICT DO NOTHING")
    filled.conn.execute("ANALYZE rowtide.inbox")
    plan = filled.explain(taking.TAKE, {"sync": "s0", "lease_s": 60, "most": 20})
    assert max(rows_of(plan, "inbox_due_idx")) <= 20
    assert "Seq Scan on inbox" not in plan
    plan = filled.explain(taking.OWNERS, {"sync": "s0", "lists": ["s0"] * 50, "items": [str(5 * i) for i in range(50)]})
    assert "Seq Scan on ledger" not in plan
