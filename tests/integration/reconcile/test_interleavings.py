"""Deletions in a gap, whatever the source's collation, and whatever a policy would hide."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from rowtide.errors import SourceRefused
from rowtide.position import Position


@pytest.mark.parametrize("key", ['text COLLATE "C"', 'text COLLATE "POSIX"', "numeric", "char(4)", "bytea"])
def test_deletions_in_a_gap_under_another_order(key: str, new_bench: Callable[..., Any]) -> None:
    """The state database walks the keys in its own order, so the source is asked for each."""
    bench = new_bench(f"CREATE TABLE orders (id {key} PRIMARY KEY, title text, amount numeric, status text)")
    keys = ["", "a", "B", "b", "Ä", "ä", "a b", "ab", "_", "1", "10", "2"] if "text" in key else ["1", "2", "10", "9"]
    for one in keys:
        bench.owner.execute(f"INSERT INTO orders VALUES (%s::text::{key.split()[0]}, 't', 1, 'x')", [one])
    bench.run()
    named = dict(bench.state.execute("SELECT key, key FROM rowtide.outbox").fetchall())
    bench.deliver()
    gone = keys[::3]
    for one in gone:  # and nobody streams it
        bench.owner.execute(f"DELETE FROM orders WHERE id = %s::text::{key.split()[0]}", [one])
    left = {row[0] for row in bench.owner.execute("SELECT id::text FROM orders").fetchall()}
    bench.open_era(2)
    bench.run()
    assert len(named) == len(keys)
    assert bench.outbox() == {one: ("d", None, Position(2, 0, 0)) for one in named if one.rstrip() not in left}
    assert len(bench.outbox()) == len(gone)


@pytest.fixture
def reader_dsn(bench: Any) -> Iterator[str]:
    """The source as a role sees it that row security applies to."""
    bench.owner.execute("CREATE ROLE rowtide_few LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA public TO rowtide_few")
    bench.owner.execute("GRANT SELECT ON orders TO rowtide_few")
    parts = psycopg.conninfo.conninfo_to_dict(bench.source_dsn)
    yield psycopg.conninfo.make_conninfo("", **{**parts, "user": "rowtide_few", "password": "x"})
    bench.owner.execute("DROP OWNED BY rowtide_few; DROP ROLE rowtide_few")


def test_rows_hidden_by_row_security_in_a_gap_are_no_deletions(bench: Any, reader_dsn: str) -> None:
    bench.run()
    bench.deliver()
    bench.owner.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON orders USING (id < 3)")
    bench.owner.execute("DELETE FROM orders WHERE id = 5")
    bench.open_era(2)
    everything, bench.source_dsn = bench.source_dsn, reader_dsn
    with pytest.raises(SourceRefused) as refused:
        bench.run()
    assert refused.value.code == "row_security"
    assert bench.outbox() == {}
    bench.source_dsn = everything
    assert bench.run().state == "done"
    assert bench.outbox() == {"5": ("d", None, Position(2, 0, 0))}
