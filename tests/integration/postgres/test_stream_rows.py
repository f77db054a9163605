"""What the stream says of each kind of change: every fact of the protocol that the mapping relies on."""

from typing import Any

import psycopg
import pytest

from connectors.postgres import slots
from rowtide.errors import SourceRefused
from rowtide.transaction import UNCHANGED

BIG = "repeat(md5(random()::text), 400)"


def test_insert_update_delete_with_default_identity(source: Any, tap: Any) -> None:
    source.transaction("INSERT INTO t VALUES (1, 'a'), (2, NULL)", "UPDATE t SET note = 'b' WHERE id = 1")
    source.run("DELETE FROM t WHERE id = 2")
    rows = tap.rows_until(4)
    assert [(r.ordinal, r.op, r.new, r.old, r.old_kind) for r in rows] == [
        (0, "I", ("1", "a"), None, None),
        (1, "I", ("2", None), None, None),
        (2, "U", ("1", "b"), None, None),
        (0, "D", None, ("2", None), "K"),
    ]
    first, second = tap.chunks
    assert first.lsn < first.end_lsn <= second.lsn < second.end_lsn
    assert rows[0].relation.key_columns == ("id",)
    assert not first.large


def test_xid_is_the_servers_64_bit_xid(source: Any, tap: Any) -> None:
    with source.owner.transaction():
        xid = int(source.one("SELECT pg_current_xact_id()::text"))
        source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    assert tap.chunks[0].xid == xid


def test_commit_lsn_and_time_are_the_commits(source: Any, tap: Any) -> None:
    before = int(source.one("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"))
    source.run("INSERT INTO t VALUES (1, 'a')")
    after = int(source.one("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"))
    tap.rows_until(1)
    assert before <= tap.chunks[0].committed_us <= after


def test_key_change_carries_the_old_key(source: Any, tap: Any) -> None:
    source.run("INSERT INTO t VALUES (1, 'a')", "UPDATE t SET id = 9 WHERE id = 1")
    row = tap.rows_until(2)[1]
    assert (row.op, row.new, row.old, row.old_kind) == ("U", ("9", "a"), ("1", None), "K")


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_unchanged_toast_is_not_sent(source: Any, tap: Any, identity: str) -> None:
    source.run(
        "ALTER TABLE t ADD COLUMN big text",
        "ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL",
        f"ALTER TABLE t REPLICA IDENTITY {identity}",
        f"INSERT INTO t VALUES (1, 'a', {BIG})",
        "UPDATE t SET note = 'b' WHERE id = 1",
    )
    inserted, updated = tap.rows_until(2)
    assert updated.new == ("1", "b", UNCHANGED)
    # Under FULL the value is in the old row, whole; without, nobody says it.
    assert updated.old == (("1", "a", inserted.new[2]) if identity == "FULL" else None)


def test_identity_full_sends_the_old_row(source: Any, tap: Any) -> None:
    source.run("ALTER TABLE t REPLICA IDENTITY FULL", "INSERT INTO t VALUES (1, 'a')", "DELETE FROM t")
    row = tap.rows_until(2)[1]
    assert (row.old, row.old_kind) == (("1", "a"), "O")
    assert row.relation.identity == "f"
    assert row.relation.key_columns == ("id", "note")


def test_identity_by_index_sends_its_columns(source: Any, tap: Any) -> None:
    source.run(
        "ALTER TABLE t ADD COLUMN code text NOT NULL DEFAULT 'x'",
        "CREATE UNIQUE INDEX code_key ON t (code)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX code_key",
        "INSERT INTO t VALUES (1, 'a', 'c1')",
        "UPDATE t SET id = 2",
        "DELETE FROM t",
    )
    _, updated, deleted = tap.rows_until(3)
    assert updated.old is None
    assert (deleted.old, deleted.old_kind) == ((None, None, "c1"), "K")


def test_table_without_identity_is_refused_for_publication(source: Any) -> None:
    source.run("CREATE TABLE keyless (id int)")
    with pytest.raises(SourceRefused, match="no replica identity") as refused:
        slots.ensure_publication(source.conn, source.publication, [("public", "keyless")])
    assert refused.value.code == "no_replica_identity"
    # Why it is refused: published, the application's own statements fail.
    source.run(f'ALTER PUBLICATION "{source.publication}" ADD TABLE keyless', "INSERT INTO keyless VALUES (1)")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        source.run("UPDATE keyless SET id = 2")


def test_truncate_names_every_table_and_counts_as_rows(source: Any, tap: Any) -> None:
    source.run("CREATE TABLE u (id int PRIMARY KEY)")
    slots.ensure_publication(source.conn, source.publication, [("public", "t"), ("public", "u")])
    source.transaction("INSERT INTO t VALUES (1, 'a')", "TRUNCATE t, u", "INSERT INTO u VALUES (1)")
    rows = tap.rows_until(4)
    assert [row.op for row in rows] == ["I", "T", "T", "I"]
    assert {row.relation.table for row in rows[1:3]} == {"t", "u"}
    assert [row.ordinal for row in rows] == [0, 1, 2, 3]


def test_alter_in_mid_stream_gives_a_new_relation_before_the_next_row(source: Any, tap: Any) -> None:
    source.transaction(
        "INSERT INTO t VALUES (1, 'a')",
        "ALTER TABLE t ADD COLUMN extra int DEFAULT 7",
        "INSERT INTO t VALUES (2, 'b')",
        "ALTER TABLE t DROP COLUMN note",
        "INSERT INTO t VALUES (3)",
        "ALTER TABLE t RENAME TO t2",
        "ALTER TABLE t2 RENAME COLUMN extra TO more",
        "INSERT INTO t2 VALUES (4)",
    )
    rows = tap.rows_until(4)
    assert [(row.relation.table, row.relation.columns, row.new) for row in rows] == [
        ("t", ("id", "note"), ("1", "a")),
        ("t", ("id", "note", "extra"), ("2", "b", "7")),
        ("t", ("id", "extra"), ("3", "7")),
        ("t2", ("id", "more"), ("4", "7")),
    ]
    assert len({row.relation.oid for row in rows}) == 1


def test_relation_object_stays_while_its_shape_does(source: Any, tap: Any) -> None:
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    source.run(f"SELECT pg_terminate_backend({source.show().active_pid})", "INSERT INTO t VALUES (2, 'b')")
    rows = tap.rows_until(3)
    assert len({id(row.relation) for row in rows}) == 1


def test_partitions_appear_as_their_root(source: Any, tap: Any) -> None:
    source.run(
        "CREATE TABLE p (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
        "CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('EU')",
        "CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('US')",
    )
    slots.ensure_publication(source.conn, source.publication, [("public", "t"), ("public", "p")])
    source.run("INSERT INTO p VALUES (1, 'EU')", "UPDATE p SET region = 'US'", "TRUNCATE p_us")
    source.run("INSERT INTO t VALUES (1, 'end')")
    rows = tap.rows_until(4)
    # A row that moves between partitions is a delete and an insert in one transaction; a leaf's own TRUNCATE is silent.
    assert [(row.op, row.relation.table) for row in rows] == [("I", "p"), ("D", "p"), ("I", "p"), ("I", "t")]
    assert len({chunk.lsn for chunk in tap.chunks}) == 3


def test_rolled_back_and_unpublished_changes_are_silent(source: Any, tap: Any) -> None:
    source.run("CREATE TABLE other (id int)", "INSERT INTO other VALUES (1)")
    with pytest.raises(psycopg.errors.DivisionByZero):
        source.transaction("INSERT INTO t VALUES (1, 'a')", "SELECT 1/0")
    source.run("INSERT INTO t VALUES (2, 'b')")
    assert [row.new for row in tap.rows_until(1)] == [("2", "b")]


def test_rolled_back_savepoint_is_silent(source: Any, tap: Any) -> None:
    source.transaction(
        "INSERT INTO t VALUES (1, 'a')",
        "SAVEPOINT s",
        "INSERT INTO t VALUES (2, 'b')",
        "ROLLBACK TO s",
        "INSERT INTO t VALUES (3, 'c')",
    )
    assert [(row.ordinal, row.new[0]) for row in tap.rows_until(2)] == [(0, "1"), (1, "3")]


def test_values_are_printed_under_pinned_settings(source: Any, new_tap: Any) -> None:
    name = source.conn.info.dbname
    source.run(
        f"ALTER DATABASE \"{name}\" SET TimeZone = 'Asia/Tokyo'",
        f"ALTER DATABASE \"{name}\" SET DateStyle = 'German'",
        f"ALTER DATABASE \"{name}\" SET IntervalStyle = 'sql_standard'",
        f'ALTER DATABASE "{name}" SET extra_float_digits = 0',
        f"ALTER DATABASE \"{name}\" SET bytea_output = 'escape'",
        f"ALTER DATABASE \"{name}\" SET client_encoding = 'LATIN1'",
        "CREATE TABLE v (id int PRIMARY KEY, at timestamptz, d date, i interval, f float8, b bytea, s text)",
    )
    slots.ensure_publication(source.conn, source.publication, [("public", "v")])
    tap = new_tap(source)
    tap.streaming()
    source.run(
        "INSERT INTO v VALUES (1, '2026-11-22 12:00+01', '2026-11-22', '1 day 2:3', 0.1::float8 + 0.2, '\\x0001', 'ü€')"
    )
    (row,) = tap.rows_until(1)
    assert row.new == (
        "1",
        "2026-11-22 11:00:00+00",
        "2026-11-22",
        "1 day 02:03:00",
        "0.30000000000000004",
        "\\x0001",
        "ü€",
    )


def test_huge_transaction_comes_in_chunks_and_the_place_waits_for_its_end(source: Any, tap: Any) -> None:
    before = tap.reader.place
    source.run("INSERT INTO t SELECT n, 'n' || n FROM generate_series(1, 5000) n")
    rows = tap.rows_until(5000)
    assert [row.ordinal for row in rows] == list(range(5000))
    assert [len(chunk.rows) for chunk in tap.chunks] == [2000, 2000, 1000]
    assert [chunk.end_lsn is None for chunk in tap.chunks] == [True, True, False]
    assert all(chunk.large for chunk in tap.chunks)
    assert len({chunk.lsn for chunk in tap.chunks}) == 1
    assert tap.reader.place.lsn >= tap.chunks[-1].end_lsn
    assert before is None or before < tap.reader.place
