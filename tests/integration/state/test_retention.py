"""What is over goes after its time, and nothing else: runs, abandoned readings, tombstones of retired syncs."""

from datetime import timedelta
from typing import Any

from rowtide.deciding.records import ItemId, LeftItem, ListId, NoItem
from state import enumeration, retention, runs

DAY = timedelta(days=1)


def test_runs_go_when_their_time_is_over_but_for_the_one_under_way(records: Any) -> None:
    conn = records.conn
    ended, lost, under_way, young = (runs.start(conn, "reconcile", "orders") for _ in range(4))
    runs.finish(conn, ended, "done", {})
    conn.execute("UPDATE rowtide.runs SET started_at = now() - interval '8 days' WHERE id <> %s", [young])
    conn.execute(
        "INSERT INTO rowtide.reconcile (sync, why, state, run_id) VALUES ('orders', '', 'running', %s)", [under_way]
    )
    assert retention.prune_runs(conn, 9 * DAY) == 0
    assert retention.prune_runs(conn, 7 * DAY) == 2
    assert {one for (one,) in conn.execute("SELECT id FROM rowtide.runs")} == {under_way, young}
    assert lost not in (under_way, young)


def test_what_a_diff_has_read_goes_when_nobody_went_on_for_a_day(records: Any) -> None:
    conn = records.conn
    for sync in ("orders", "customers"):
        for purpose in ("diff", "deep"):
            enumeration.ask(conn, sync, purpose, 1, ["a", "b"])
            conn.execute(
                "INSERT INTO rowtide.seen (sync, purpose, list_id, item_id, etag, version, fields, made_by_app, by_app)"
                " VALUES (%s, %s, 'a', '1', '', 1, '{}', true, true)",
                [sync, purpose],
            )
    conn.execute("UPDATE rowtide.enumeration SET updated_at = now() - interval '2 days'")
    conn.execute("UPDATE rowtide.enumeration SET updated_at = now() WHERE sync = 'customers' AND list_id = 'b'")
    assert retention.prune_readings(conn) == 1
    kept = {("orders", "deep"), ("customers", "deep"), ("customers", "diff")}
    for table in ("seen", "enumeration"):
        assert set(conn.execute(f"SELECT sync, purpose FROM rowtide.{table}")) == kept


def test_tombstones_of_retired_syncs_go_by_their_age(records: Any, make_pair: Any) -> None:
    for sync in ("orders", "customers"):
        pair = make_pair(lsn=900)
        records.know("gone", NoItem(pair.as_of, pair.item), sync)
        records.know("left", NoItem(pair.as_of, None, (LeftItem(ListId("l"), ItemId("8")),)), sync)
        records.know("young", NoItem(pair.as_of), sync)
    records.conn.execute("UPDATE rowtide.ledger SET updated_at = now() - interval '8 days' WHERE key <> 'young'")
    records.conn.execute("UPDATE rowtide.sync SET retired = true WHERE sync = 'customers'")
    assert retention.prune_retired(records.conn, 7 * DAY) == 1
    assert [records.ledger(key, "customers") is not None for key in ("gone", "left", "young")] == [False, True, True]
    assert records.ledger("gone", "orders") is not None


def test_conflicts_go_by_their_age_but_for_open_ones(records: Any) -> None:
    conn = records.conn
    for version, state in enumerate(("open", "closed", "closed")):
        conn.execute(
            "INSERT INTO rowtide.conflict (sync, key, list_id, item_id, version, kind, policy, state, at)"
            " VALUES ('orders', '1', 'l', '7', %s, 'update_differing', 'manual', %s, now() - interval '9 days')",
            [version, state],
        )
    conn.execute("UPDATE rowtide.conflict SET at = now() WHERE version = 2")
    assert retention.prune_conflicts(conn, 10 * DAY) == 0
    assert retention.prune_conflicts(conn, 7 * DAY) == 1
    assert list(conn.execute("SELECT version FROM rowtide.conflict ORDER BY 1")) == [(0,), (2,)]
