"""Publications and slots: made in order, listed, dropped."""

from typing import Any

import pytest

from connectors.postgres import slots
from rowtide.errors import SourceRefused, SourceUnavailable


def test_publication_is_made_and_grows_and_never_shrinks(source: Any) -> None:
    source.run("CREATE TABLE a (id int PRIMARY KEY)", 'CREATE TABLE "Odd ""name" (id int PRIMARY KEY)')
    tables = [("public", "a"), ("public", 'Odd "name')]
    done = slots.ensure_publication(source.conn, source.publication, tables)
    assert done == [f'ALTER PUBLICATION "{source.publication}" ADD TABLE "public"."a", "public"."Odd ""name"']
    assert slots.publication_statements(source.conn, source.publication, [*tables, ("public", "t")]) == []
    assert slots.ensure_publication(source.conn, source.publication, []) == []
    assert source.one(f"SELECT count(*) FROM pg_publication_tables WHERE pubname = '{source.publication}'") == 3


def test_publication_of_somebody_else_is_completed(source: Any) -> None:
    source.run(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p DEFAULT",
        "CREATE PUBLICATION theirs FOR TABLE t, p WITH (publish = 'insert')",
    )
    wanted = [("public", "t"), ("public", "p")]
    assert slots.ensure_publication(source.conn, "theirs", wanted) == [
        "ALTER PUBLICATION \"theirs\" SET (publish = 'insert, update, delete, truncate')",
        'ALTER PUBLICATION "theirs" SET (publish_via_partition_root = true)',
    ]
    assert slots.publication_statements(source.conn, "theirs", wanted) == []


def test_a_slot_needs_its_publication_first(source: Any) -> None:
    with pytest.raises(SourceRefused, match="nowhere does not exist"):
        slots.ensure_slot(source.conn, source.slot, "nowhere")
    assert source.show() is None


def test_a_slot_is_made_once_and_measured(source: Any) -> None:
    slot, made = slots.ensure_slot(source.conn, source.slot, source.publication)
    assert made
    assert slots.ensure_slot(source.conn, source.slot, source.publication)[1] is False
    assert (slot.plugin, slot.active_pid, slot.wal_status, slot.lost) == ("pgoutput", None, "reserved", False)
    source.run("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 1000) n")
    later = slots.slot_lag(source.conn, source.slot)
    assert later is not None
    assert later.lag_bytes > slot.lag_bytes + 100_000
    assert later.retained_bytes >= later.lag_bytes
    assert source.slot in [one.name for one in slots.list_slots(source.conn)]


def test_failover_slots_where_they_exist(source: Any) -> None:
    if source.conn.info.server_version < 170000:
        with pytest.raises(SourceRefused, match="PostgreSQL 17"):
            slots.ensure_slot(source.conn, source.slot, source.publication, failover=True)
    else:
        assert slots.ensure_slot(source.conn, source.slot, source.publication, failover=True)[0].failover


def test_a_slot_in_use_is_dropped_only_by_force(source: Any, tap: Any) -> None:
    with pytest.raises(SourceUnavailable, match="in use by PID") as refused:
        slots.drop_slot(source.conn, source.slot)
    assert refused.value.code == "slot_active"
    tap.reader.stop(5)
    assert slots.drop_slot(source.conn, source.slot, force=True)
    assert source.show() is None
    assert not slots.drop_slot(source.conn, source.slot)
