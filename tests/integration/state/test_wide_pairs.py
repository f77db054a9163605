"""What is compared with lists takes little memory, however wide its rows are."""

import tracemalloc
from datetime import timedelta
from typing import Any

from flows.unpaired import read_unpaired
from state.reconcile import items, mends

WIDE, NARROW = 12, 300
FILL = """
WITH made AS (
    SELECT lpad(n::text, 4, '0') AS key,
           jsonb_build_object('Title', repeat('x', CASE WHEN n <= %(wide)s THEN 1000000 ELSE 10 END)) AS fields
      FROM generate_series(1, %(wide)s + %(narrow)s) AS n
), known AS (
    INSERT INTO rowtide.ledger (sync, key, list_id, item_id, etag, version, base, mapping_version, era, lsn, ordinal,
                                xid, state, updated_at)
    SELECT 'orders', key, 'a', key, 'e1', 1, fields, 1, 1, 1, 0, 1, 'live', now() - interval '1 hour' FROM made
)
INSERT INTO rowtide.seen (sync, purpose, list_id, item_id, item_key, etag, version, fields, made_by_app, by_app)
SELECT 'orders', 'deep', 'a', key, 'orders:' || key, 'e2', 2, fields, true, false FROM made
"""
BEGUN = """
INSERT INTO rowtide.enumeration (sync, purpose, list_id, mapping_version, began_at)
VALUES ('orders', 'deep', 'a', 1, now())
"""


def test_wide_pairs_come_few_at_a_time_and_none_is_left_out(records: Any) -> None:
    conn = records.conn
    conn.execute(BEGUN)
    conn.execute(FILL, {"wide": WIDE, "narrow": NARROW})
    keys: list[str] = []
    sizes: list[int] = []
    after: str | None = ""
    while after is not None:
        page = items.read_doubtful(conn, "orders", "deep", after, 2000, timedelta(0))
        keys += [one.compared.key for one in page.pairs]
        sizes.append(len(page.pairs))
        after = page.last
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys) == WIDE + NARROW
    assert sizes[0] == items.AT_ONCE  # a pair and its item are two megabytes: two of them fill a page
    assert len(sizes) < WIDE


def test_items_without_a_pair_are_read_without_what_they_hold(records: Any) -> None:
    """After a lost ledger that is every item of a list; what is taken up goes from table to table."""
    conn = records.conn
    conn.execute(BEGUN)
    conn.execute(FILL, {"wide": 40, "narrow": NARROW})
    conn.execute("DELETE FROM rowtide.ledger")
    tracemalloc.start()
    assert len(read_unpaired(conn, "orders", "deep").rest) == 40 + NARROW
    loose = {str(one.key): one for one in items.read_loose(conn, "orders", "deep")}
    taken = mends.adopt(conn, "orders", 1, 1, loose)
    conn.execute("UPDATE rowtide.seen SET item_id = 'another ' || item_id")  # a copy of each
    assert len(read_unpaired(conn, "orders", "deep", waiting=False).copies) == 0, "their pairs have moved just now"
    conn.execute("UPDATE rowtide.ledger SET updated_at = now() - interval '1 hour'")
    assert len(read_unpaired(conn, "orders", "deep").copies) == 40 + NARROW
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(taken) == 40 + NARROW
    assert peak_bytes < 4 << 20
    same = """
        SELECT count(*) FROM rowtide.ledger AS l JOIN rowtide.seen AS s ON s.item_id = 'another ' || l.item_id
         WHERE l.base = s.fields AND l.etag = s.etag AND l.version = s.version
    """
    assert conn.execute(same).fetchall() == [(40 + NARROW,)]
