"""What the reader does when things break: it says why, and goes on by itself when it is mended."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from connectors.postgres import slots
from rowtide.errors import SourceRefused, StateUnavailable
from tests.proxy import TcpProxy


def new_values(tap: Any) -> list[str]:
    """First column of every new row, replays included once."""
    seen: dict[tuple[int, int, int], str] = {}
    for chunk in tap.chunks:
        for row in chunk.rows:
            seen[chunk.incarnation, chunk.lsn, row.ordinal] = row.new[0]
    return list(seen.values())


def test_terminated_walsender_is_replaced_and_nothing_is_lost(source: Any, tap: Any, until: Any) -> None:
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    source.run(f"SELECT pg_terminate_backend({source.show().active_pid})", "INSERT INTO t VALUES (2, 'b')")
    until(lambda: tap.drain() or set(new_values(tap)) == {"1", "2"}, "both rows")
    assert len(tap.store.incarnations) == 1
    until(lambda: tap.reader.problem is None, "no problem")


def test_server_restart(new_cluster: Callable[..., Any], new_source: Any, new_tap: Any, until: Any) -> None:
    cluster = new_cluster()
    source = new_source(cluster.create_database("x"))
    tap = new_tap(source)
    tap.streaming()
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    # Nothing was confirmed: a server that stops waits for its walsenders to be confirmed, unless they go away.
    process = cluster._process
    source.close()
    began = time.monotonic()
    cluster.stop()
    assert process.returncode == 0
    assert time.monotonic() - began < 6
    until(lambda: tap.reader.problem is not None and tap.reader.problem.code == "connection_refused", "refused")
    cluster.start()
    with psycopg.connect(source.dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO t VALUES (2, 'b')")
    until(lambda: tap.drain() or set(new_values(tap)) == {"1", "2"}, "both rows")
    assert [incarnation.code for incarnation in tap.store.incarnations] == ["first_start"]
    assert tap.reader.problem is None
    tap.reader.stop(5)


def test_killed_server(new_cluster: Callable[..., Any], new_source: Any, new_tap: Any, until: Any) -> None:
    cluster = new_cluster(fsync="on")
    source = new_source(cluster.create_database("x"))
    tap = new_tap(source)
    tap.streaming()
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    source.close()
    cluster.kill()
    until(lambda: not tap.reader.streaming, "noticed")
    until(lambda: _starts(cluster), "restarted")
    with psycopg.connect(source.dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO t VALUES (2, 'b')")
    until(lambda: tap.drain() or set(new_values(tap)) == {"1", "2"}, "both rows")
    assert [incarnation.code for incarnation in tap.store.incarnations] == ["first_start"]
    tap.reader.stop(5)


def _starts(cluster: Any) -> bool:
    # The old server's children may still hold its shared memory for a moment.
    with contextlib.suppress(Exception):
        cluster.start()
        return True
    return False


def test_second_reader_waits_and_takes_over(source: Any, tap: Any, new_tap: Any) -> None:
    pid = source.show().active_pid
    second = new_tap(source, tap.store)
    problem = second.problem("slot_active")
    assert f"PID {pid}" in problem.sentence
    assert "rowtide" in problem.sentence
    tap.reader.stop(5)
    second.streaming()
    source.run("INSERT INTO t VALUES (1, 'a')")
    second.rows_until(1)
    assert len(tap.store.incarnations) == 1


def test_wrong_password(source: Any, pg: Any, new_tap: Any, until: Any) -> None:
    dsns = [pg.dsn(source.conn.info.dbname, password="no-good-secret")]
    tap = new_tap(source, read_dsn=lambda: dsns[0])
    problem = tap.problem("wrong_password")
    assert isinstance(problem, SourceRefused)
    assert 'password authentication failed for user "postgres"' in problem.sentence
    assert "no-good-secret" not in problem.sentence
    dsns[0] = source.dsn
    tap.streaming()
    assert tap.reader.problem is None


def test_unreachable_unknown_database_and_bad_dsn(source: Any, pg: Any, new_tap: Any) -> None:
    tap = new_tap(source, read_dsn=lambda: "host=127.0.0.1 port=1 dbname=x connect_timeout=1")
    assert tap.problem("connection_refused").sentence == "PostgreSQL at 127.0.0.1:1/x: Connection refused."
    assert new_tap(source, read_dsn=lambda: pg.dsn("nowhere")).problem("no_such_database")
    tap = new_tap(source, read_dsn=lambda: "postgresql://u:top secret@h/d")
    assert "secret" not in str(tap.problem("dsn_invalid"))
    assert new_tap(source, read_dsn=lambda: "host=host.invalid dbname=x").problem("unknown_host")


def test_wrong_wal_level(new_cluster: Callable[..., Any], new_source: Any, new_tap: Any) -> None:
    source = new_source(new_cluster(wal_level="replica").create_database("x"))
    problem = new_tap(source).problem("wal_level")
    assert problem.sentence == "wal_level is replica; logical decoding needs logical."


@pytest.fixture
def poor_role(source: Any) -> Iterator[str]:
    name = f"poor_{source.conn.info.dbname}"
    source.run(f"CREATE ROLE {name} LOGIN PASSWORD 'p'")
    yield name
    source.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_role_without_replication(source: Any, pg: Any, new_tap: Any, poor_role: str) -> None:
    dsn = pg.dsn(source.conn.info.dbname, poor_role, "p")
    tap = new_tap(source, read_dsn=lambda: dsn)
    assert "REPLICATION" in tap.problem("no_replication_privilege").remedy
    source.run(f"ALTER ROLE {poor_role} REPLICATION")
    tap.streaming()
    tap.reader.stop(5)


def test_missing_publication_is_refused_and_mended(source: Any, new_tap: Any) -> None:
    source.run(f'DROP PUBLICATION "{source.publication}"')
    tap = new_tap(source)
    problem = tap.problem("publication_missing")
    assert source.publication in problem.sentence
    assert source.show() is None
    source.run(f'CREATE PUBLICATION "{source.publication}" FOR TABLE t')
    tap.streaming()
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)


def test_publication_dropped_while_streaming_is_a_gap(source: Any, tap: Any, until: Any) -> None:
    source.run(f'DROP PUBLICATION "{source.publication}"', "INSERT INTO t VALUES (1, 'unseen')")
    tap.problem("publication_missing")
    source.run(f'CREATE PUBLICATION "{source.publication}" FOR TABLE t')
    until(lambda: len(tap.store.incarnations) == 2, "a new incarnation")
    tap.streaming()
    assert tap.store.incarnations[1].code == "publication_recreated"
    source.run("INSERT INTO t VALUES (2, 'seen')")
    until(lambda: tap.drain() or "2" in new_values(tap), "the row")
    assert [chunk.incarnation for chunk in tap.chunks] == [2]


def test_publication_recreated_behind_our_back_is_a_gap(source: Any, tap: Any, until: Any) -> None:
    source.transaction(
        f'DROP PUBLICATION "{source.publication}"', f'CREATE PUBLICATION "{source.publication}" FOR TABLE t'
    )
    until(lambda: len(tap.store.incarnations) == 2, "a new incarnation")
    assert tap.store.incarnations[1].code == "publication_recreated"


def test_publication_missing_at_the_start_of_an_old_era_is_a_gap(source: Any, new_tap: Any) -> None:
    tap = new_tap(source)
    tap.streaming()
    tap.reader.stop(5)
    source.run(f'DROP PUBLICATION "{source.publication}"', "INSERT INTO t VALUES (1, 'unseen')")
    again = new_tap(source, tap.store)
    again.problem("publication_missing")
    source.run(f'CREATE PUBLICATION "{source.publication}" FOR TABLE t')
    again.streaming()
    assert [incarnation.code for incarnation in tap.store.incarnations] == ["first_start", "publication_recreated"]


def test_publication_recreated_while_nothing_runs_is_a_gap(source: Any, new_tap: Any, until: Any) -> None:
    tap = new_tap(source)
    tap.streaming()
    tap.reader.stop(5)
    source.run(f'DROP PUBLICATION "{source.publication}"', "INSERT INTO t VALUES (1, 'unseen')")
    source.run(f'CREATE PUBLICATION "{source.publication}" FOR TABLE t')
    new_tap(source, tap.store).streaming()
    assert [incarnation.code for incarnation in tap.store.incarnations] == ["first_start", "publication_recreated"]


def test_recreated_slot_opens_a_new_incarnation(source: Any, new_tap: Any, until: Any) -> None:
    tap = new_tap(source)
    tap.streaming()
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    tap.reader.stop(5)
    slots.drop_slot(source.conn, source.slot, force=True)
    source.run("INSERT INTO t VALUES (2, 'lost')")
    slots.ensure_slot(source.conn, source.slot, source.publication)
    again = new_tap(source, tap.store)
    again.streaming()
    assert [incarnation.code for incarnation in tap.store.incarnations] == ["first_start", "slot_ahead"]
    source.run("INSERT INTO t VALUES (3, 'c')")
    again.rows_until(1)
    assert [chunk.incarnation for chunk in again.chunks] == [2]


def test_slot_dropped_under_the_reader_is_made_again(source: Any, tap: Any, until: Any) -> None:
    source.run(f"SELECT pg_terminate_backend({source.show().active_pid})")
    slots.drop_slot(source.conn, source.slot, force=True)
    until(lambda: len(tap.store.incarnations) == 2, "a new incarnation")
    assert tap.store.incarnations[1].code == "slot_missing"
    tap.streaming()


def test_advanced_slot_opens_a_new_incarnation(source: Any, new_tap: Any, until: Any) -> None:
    tap = new_tap(source)
    tap.streaming()
    tap.reader.stop(5)
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    until(lambda: source.conn.execute(active, [source.slot]).fetchone() == (False,), "the walsender has ended")
    source.run(
        "INSERT INTO t VALUES (1, 'skipped')",
        f"SELECT pg_replication_slot_advance('{source.slot}', pg_current_wal_lsn())",
    )
    new_tap(source, tap.store).streaming()
    assert [incarnation.code for incarnation in tap.store.incarnations] == ["first_start", "slot_ahead"]


def test_restored_state_database_opens_a_new_incarnation(source: Any, new_tap: Any, until: Any) -> None:
    tap = new_tap(source)
    tap.streaming()
    old = tap.store.cursor
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    place = tap.confirm_all()
    until(lambda: source.show().confirmed_lsn >= place.lsn, "confirmed")
    tap.reader.stop(5)
    tap.store.cursor = old
    new_tap(source, tap.store).streaming()
    assert [incarnation.code for incarnation in tap.store.incarnations] == ["first_start", "slot_ahead"]


def test_another_system_is_never_healed(source: Any, new_tap: Any, until: Any) -> None:
    tap = new_tap(source)
    tap.streaming()
    tap.reader.stop(5)
    tap.store.cursor = dataclasses.replace(tap.store.cursor, system_id="7")
    until(lambda: source.show().active_pid is None, "the walsender has ended")
    source.run(f"SELECT pg_drop_replication_slot('{source.slot}')")
    second = new_tap(source, tap.store)
    until(lambda: second.reader.problem is not None, "a problem")
    assert second.reader.problem.code == "other_system"
    assert [incarnation.code for incarnation in tap.store.incarnations] == ["first_start"]
    assert source.show() is None


def test_an_accepted_system_and_staged_beyond_the_wal_open_new_incarnations(source: Any, new_tap: Any) -> None:
    tap = new_tap(source)
    tap.streaming()
    tap.reader.stop(5)
    tap.store.cursor = dataclasses.replace(tap.store.cursor, system_id="")
    second = new_tap(source, tap.store)
    second.streaming()
    second.reader.stop(5)
    tap.store.cursor = dataclasses.replace(tap.store.cursor, timeline=99)
    third = new_tap(source, tap.store)
    third.streaming()
    third.reader.stop(5)
    tap.store.cursor = dataclasses.replace(tap.store.cursor, staged_lsn=1 << 60)
    new_tap(source, tap.store).streaming()
    assert [incarnation.code for incarnation in tap.store.incarnations] == [
        "first_start",
        "source_accepted",
        "new_timeline",
        "wal_behind",
    ]


def test_invalidated_slot_is_made_again(new_cluster: Callable[..., Any], new_source: Any, new_tap: Any) -> None:
    cluster = new_cluster(max_slot_wal_keep_size="1MB", max_wal_size="32MB", min_wal_size="32MB")
    source = new_source(cluster.create_database("x"))
    tap = new_tap(source)
    tap.streaming()
    tap.reader.stop(5)
    for _ in range(4):
        source.run(
            "SELECT pg_logical_emit_message(false, 'fill', repeat('x', 20000000)), pg_switch_wal()", "CHECKPOINT"
        )
    assert source.show().lost
    waiting = new_tap(source, tap.store, heal=False)
    problem = waiting.problem("slot_lost")
    assert "on_gap is stop" in problem.sentence
    waiting.reader.stop(5)
    again = new_tap(source, tap.store)
    again.streaming()
    assert tap.store.incarnations[1].code == "slot_lost"
    source.run("INSERT INTO t VALUES (1, 'a')")
    again.rows_until(1)
    again.reader.stop(5)


def test_on_gap_stop_waits(source: Any, new_tap: Any) -> None:
    tap = new_tap(source)
    tap.streaming()
    tap.reader.stop(5)
    slots.drop_slot(source.conn, source.slot, force=True)
    waiting = new_tap(source, tap.store, heal=False)
    assert "The replication slot is gone" in waiting.problem("slot_missing").sentence
    assert source.show() is None
    assert len(tap.store.incarnations) == 1


def test_slot_creation_waits_for_open_transactions_and_says_so(source: Any, new_tap: Any) -> None:
    with psycopg.connect(source.dsn) as other:
        other.execute("INSERT INTO t VALUES (1, 'open')")
        tap = new_tap(source)
        tap.problem("slot_creation")
    tap.streaming()
    assert tap.reader.problem is None


def test_foreign_slot_is_refused(source: Any, pg: Any, new_tap: Any) -> None:
    source.run(f"SELECT pg_create_logical_replication_slot('{source.slot}', 'test_decoding')")
    assert new_tap(source).problem("slot_plugin")
    slots.drop_slot(source.conn, source.slot)
    with psycopg.connect(pg.dsn("postgres"), autocommit=True) as conn:
        conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [source.slot])
        try:
            assert new_tap(source).problem("slot_database")
        finally:
            slots.drop_slot(conn, source.slot)


def test_unreachable_state_database_is_told(source: Any, new_tap: Any, until: Any) -> None:
    tap = new_tap(source)
    tap.streaming()
    tap.store.fail_with = StateUnavailable("state_down", "The state database does not answer.")
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    before = source.show().confirmed_lsn
    place = tap.confirm_all()
    until(lambda: tap.reader.problem is not None and tap.reader.problem.code == "state_down", "trouble")
    assert source.show().confirmed_lsn == before
    tap.store.fail_with = None
    until(lambda: source.show().confirmed_lsn >= place.lsn, "confirmed after all")
    assert tap.reader.problem is None


def test_slot_older_than_its_publication_does_not_stick(source: Any, new_tap: Any, until: Any) -> None:
    # Up to PostgreSQL 17 such WAL ends every stream with an error; from 18 it is skipped without a word.
    slots.ensure_slot(source.conn, source.slot, source.publication)
    source.run(f'DROP PUBLICATION "{source.publication}"', "INSERT INTO t VALUES (0, 'before')")
    source.run(f'CREATE PUBLICATION "{source.publication}" FOR TABLE t')
    tap = new_tap(source)

    def seen() -> bool:
        source.run("INSERT INTO t SELECT max(id) + 1, 'after' FROM t")
        tap.drain()
        return bool(tap.chunks)

    until(seen, "a row after the publication")
    expected = (
        ["first_start"] if source.conn.info.server_version >= 180000 else ["first_start", "publication_recreated"]
    )
    assert [incarnation.code for incarnation in tap.store.incarnations] == expected


ROW = b"t\0\0\0\6marker"
KEEPALIVE = b"d\0\0\0\x16k"
MANGLED = [
    ("a length", {ROW: b"t\0\0\0\7marker"}),
    ("a column's kind", {ROW: b"x\0\0\0\6marker"}),
    ("a message's kind", {KEEPALIVE: b"d\0\0\0\x16q"}),
    ("a keepalive's length", {KEEPALIVE: b"d\0\0\0\x0ak" + bytes(5) + b"d\0\0\0\x10k"}),
]


@pytest.mark.parametrize(("what", "alter"), MANGLED, ids=[row[0] for row in MANGLED])
def test_a_malformed_message_is_told_and_the_stream_read_again(
    source: Any, new_tap: Any, what: str, alter: dict[bytes, bytes]
) -> None:
    host = conninfo_to_dict(source.dsn)
    proxy = TcpProxy(int(str(host["port"])))
    try:
        tap = new_tap(source, read_dsn=lambda: make_conninfo(source.dsn, host="127.0.0.1", port=proxy.port))
        tap.streaming()
        proxy.alter = alter
        source.run("INSERT INTO t VALUES (1, 'marker')")
        problem = tap.problem("stream_malformed")
        assert isinstance(problem, SourceRefused)
        assert "marker" not in problem.sentence
        proxy.alter = {}
        assert tap.rows_until(1)[0].new == ("1", "marker")
        assert len(tap.store.incarnations) == 1
        tap.reader.stop(5)
    finally:
        proxy.close()
