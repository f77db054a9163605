"""The demo's shop and its transactions on a real server."""

import random
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from demo.shop import schema, workload
from rowtide.errors import UserError

_DIGEST = "SELECT md5(string_agg((to_jsonb(t) - 'updated_at')::text, '' ORDER BY to_jsonb(t)::text)) FROM {} AS t"


def _digest(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [connection.execute(_DIGEST.format(table)).fetchone()[0] for table in schema.TABLES]  # type: ignore[index]


@pytest.fixture
def shop(database: str) -> Iterator[psycopg.Connection]:
    """A connection to a small shop."""
    with psycopg.connect(database, autocommit=True) as connection:
        schema.create_shop(connection, 5, schema.Size(20, 60))
        yield connection


def test_the_shop_has_thousands_of_rows_and_says_how_many(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        counts = schema.create_shop(connection, 1)
        assert counts["customers"] == 300
        assert counts["orders"] == 900
        assert 1200 < counts["order_lines"] < 2400
        assert connection.execute("SELECT count(*) FROM orders WHERE status = 'draft'").fetchone() != (0,)


def test_the_same_seed_gives_the_same_rows(new_database: Callable[[str], str]) -> None:
    digests = []
    for seed in (7, 7, 8):
        dsn = new_database("shop")
        with psycopg.connect(dsn, autocommit=True) as connection:
            schema.create_shop(connection, seed, schema.Size(20, 50))
        digests.append(_digest(dsn))
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_a_database_with_such_tables_is_refused(shop: psycopg.Connection) -> None:
    with pytest.raises(UserError, match="are there already"):
        schema.create_shop(shop, 5)


@pytest.mark.parametrize("act", [act for _, act in workload.MIX], ids=lambda act: act.__name__)
def test_each_act_counts_the_rows_it_changes(shop: psycopg.Connection, database: str, act: workload.Act) -> None:
    """The server's own statistics say the same number."""
    rng = random.Random(3)
    counted = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"
    flush = "SELECT pg_stat_force_next_flush()"

    def total() -> int:
        shop.execute(flush)
        shop.execute("SELECT 1")
        row = shop.execute(counted).fetchone()
        return int(row[0]) if row else 0

    before = total()
    changed = sum(act(shop, rng) for _ in range(10))
    rolled_back = act is workload.change_mind
    assert changed == (0 if rolled_back else total() - before)
    assert changed > 0 or rolled_back


def test_the_same_seed_commits_the_same_rows(new_database: Callable[[str], str]) -> None:
    tallies = []
    for _ in range(2):
        dsn = new_database("shop")
        with psycopg.connect(dsn, autocommit=True) as connection:
            schema.create_shop(connection, 5, schema.Size(20, 60))
        tallies.append(workload.run_acts(dsn, 9, 80))
    assert tallies[0].rows == tallies[1].rows > 0
    assert tallies[0].acts == tallies[1].acts


def test_writers_share_the_rate_and_survive_each_other(shop: psycopg.Connection, database: str) -> None:
    tally = workload.run_workload(database, 2, seconds=1.0, rate=100, writers=4)
    assert 40 < tally.transactions + tally.retried < 180


def test_a_workload_does_every_act_and_what_it_is_asked_for(shop: psycopg.Connection, database: str) -> None:
    busy = workload.Workload(database, 2, rate=200, writers=1)
    asked = threading.Event()

    def ask(connection: psycopg.Connection, rng: random.Random) -> int:
        asked.set()
        return workload.reprice(connection, rng)

    busy.ask_for(ask)
    busy.start()
    assert asked.wait(20)
    done = busy.stop().acts
    assert {act.__name__ for _, act in workload.MIX} - {"reprice"} <= set(done)


def test_a_writer_that_lost_its_server_says_so(new_database: Callable[[str], str]) -> None:
    busy = workload.Workload(new_database("shop") + "_missing", 1)
    busy.start()
    with pytest.raises(psycopg.OperationalError):
        busy.stop()
