"""Measures the claim on a large outbox, and what one tenant, list or process costs the others.

In: a state database that is filled by SQL; the whole product on real processes against the simulator. Out: ``claim.*``
and ``fairness.*``. Rule: the statements are the product's own, on the settings of its own connections.
"""

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from demo.postgres import Cluster
from perf.figures import Measurements
from perf.stand import FILL as FILL_BENCH
from perf.stand import QUIET, SYNC, Stand, stand, until
from rowtide.deciding.outcomes import Outcome, Release
from rowtide.turns import Turns
from state import database, outbox, schema
from state.database import ONE_PLAN, Connection
from tests.conftest import reachable_directory

ROWS, SYNCS = 1_000_000, 100
CLAIMS, CLAIMED = 200, 20

FILL = """
INSERT INTO rowtide.outbox (sync, key, op, target, fields, mapping_version, era, lsn, ordinal, xid, committed_at,
                            priority, due_at)
SELECT {sync}, i::text, CASE WHEN mod(i, 50) = 0 THEN 'd' ELSE 'u' END,
       CASE WHEN mod(i, 50) = 0 THEN NULL ELSE 'L' || mod(i / 7, 2) END,
       jsonb_build_object('Title', md5(i::text), 'N', i), 1, 1, i, 0, i, now(), mod(i / 13, 4),
       now() - mod(i, 1000) * interval '1 second'
  FROM generate_series(1, {rows}) AS i
"""
SHAPES = {
    "even": f"'s' || mod(i, {SYNCS})",
    "skewed": f"CASE WHEN i <= {ROWS - 50 * SYNCS} THEN 's0' ELSE 's' || mod(i, {SYNCS}) END",
}
"""How a million rows belong to a hundred syncs: each has as many, or one has nearly all."""

LEDGER = """
INSERT INTO rowtide.ledger (sync, key, list_id, item_id, mapping_version, era, lsn, ordinal, xid, state)
SELECT sync, key, sync, key, 1, 1, 0, 0, 0, 'live' FROM rowtide.outbox
"""


def claiming(figures: Measurements, _repetitions: int) -> None:
    """Measure survey and claim with a million rows of a hundred syncs waiting."""
    for shape, sync in SHAPES.items():
        with _filled(sync) as connection:
            surveys, claims = _claim_often(connection)
        against = f"{CLAIMED} rows a claim; {ROWS:,} rows of {SYNCS} syncs wait, {shape}"
        figures.add(f"claim.{shape}_ms", claims, "ms", against)
        figures.add(f"claim.survey_{shape}_ms", surveys, "ms", against)


@contextmanager
def _filled(sync: str) -> Iterator[Connection]:
    cluster = Cluster(reachable_directory("rowtide-perf-pg-"), {**QUIET, "shared_buffers": "1GB"})
    cluster.start()
    dsn = cluster.create_database("state")
    schema.upgrade(dsn)
    try:
        with database.connect(dsn, settings=ONE_PLAN) as connection:
            connection.execute(FILL.format(sync=sync, rows=ROWS).encode())
            connection.execute(LEDGER)
            connection.execute("VACUUM ANALYZE rowtide.outbox, rowtide.ledger")
            yield connection
    finally:
        cluster.kill()
        shutil.rmtree(cluster.directory, ignore_errors=True)


def _claim_often(connection: Connection) -> tuple[list[float], list[float]]:
    """Milliseconds of each survey, and of each claim of those rows that the turns say."""
    syncs, turns = [f"s{number}" for number in range(SYNCS)], Turns()
    surveys, claims = [], []
    for _ in range(CLAIMS):
        began = time.monotonic()
        waiting = outbox.survey(connection, syncs)
        surveyed = time.monotonic()
        rows = turns.allot(waiting, CLAIMED, {})
        works = outbox.claim(connection, outbox.ClaimRequest(rows, "p0", uuid.uuid4().hex, 120.0, {})).works
        claims.append(1000 * (time.monotonic() - surveyed))
        surveys.append(1000 * (surveyed - began))
        assert len(works) == CLAIMED, len(works)
        back: list[Outcome] = [Release(work, 3600.0, unknown=False) for work in works]
        outbox.settle(connection, back)
    return surveys, claims


SMALL = "CREATE TABLE small (id bigint PRIMARY KEY, name text NOT NULL)"
SMALL_SYNC = """
  small:
    source: {postgres: erp, table: public.small}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: Small
    fields: {name: Title}
"""


def fairness(figures: Measurements, _repetitions: int) -> None:
    """Measure how long forty rows take beside a first load of a hundred thousand, at the smallest tier."""
    # They are there before the sync is: rows that come in one transaction afterwards are of a higher class.
    tables = [SMALL, FILL_BENCH % (1, 100_000)]
    with stand("--tier", "1000", graph_options="licences: 1000", syncs=SYNC, tables=tables) as bench:
        bench.stack.start()
        until(lambda: bench.waiting() > 10_000)
        bench.stack.sql("INSERT INTO small SELECT i, 'row ' || i FROM generate_series(1, 40) i")
        bench.stack.write(SYNC + SMALL_SYNC)
        bench.stack.apply()
        began = time.monotonic()
        until(lambda: _delivered(bench, "small") == 40)
        figures.add("fairness.small_sync_s", [time.monotonic() - began], "s", "40 rows beside 100,000, from apply on")


def _delivered(bench: Stand, sync: str) -> int:
    rows: list[Any] = bench.stack.state("SELECT delivered FROM rowtide.progress WHERE sync = %s", sync)
    return int(rows[0][0]) if rows else 0
