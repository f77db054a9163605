"""Pairs that are compared with their items come in pages that are bounded in bytes."""

from datetime import timedelta
from typing import Any

from state.reconcile import items

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
