"""The confirm rule, backpressure and idle streams, on a real server."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.wal_input import WalInput, WalPartition
from rowtide.position import lsn_to_text


def partition(tap: Any, stop: threading.Event | None = None) -> WalPartition:
    """The Bytewax partition over an already started reader."""
    part = WalPartition.__new__(WalPartition)
    part._reader, part._stop, part._batch_rows = tap.reader, stop or threading.Event(), 10_000
    part._snapshotted = None
    return part


def snapshot_of(part: WalPartition) -> SlotPosition:
    """The place that Bytewax is given at the end of an epoch, when there is one."""
    place = part.snapshot()
    assert place is not None
    return place


def take(part: Any, rows: int, until: Any) -> list[Any]:
    """Chunks from `next_batch` until there are so many rows."""
    chunks: list[Any] = []

    def enough() -> bool:
        chunks.extend(part.next_batch())
        return sum(len(chunk.rows) for chunk in chunks) >= rows

    until(enough, f"{rows} rows")
    return chunks


def test_a_place_is_confirmed_only_by_the_next_batch_after_its_snapshot(source: Any, tap: Any, until: Any) -> None:
    start = source.show().confirmed_lsn
    part = partition(tap)
    source.run("INSERT INTO t VALUES (1, 'a')")
    (chunk,) = take(part, 1, until)
    place = snapshot_of(part)
    assert place.lsn >= chunk.end_lsn
    # A snapshot alone proves nothing: the epoch is not durable yet.
    source.run("SELECT pg_logical_emit_message(false, 'x', '')")
    until(lambda: tap.reader.received_lsn > place.lsn, "the stream went on")
    assert tap.store.advanced == []
    assert source.show().confirmed_lsn == start
    part.next_batch()
    until(lambda: source.show().confirmed_lsn >= place.lsn, "confirmed")
    assert tap.store.advanced == [place]
    assert tap.store.cursor.lsn == place.lsn
    assert source.show().confirmed_lsn == place.lsn


def test_close_confirms_nothing(source: Any, tap: Any, until: Any) -> None:
    stop = threading.Event()
    part = partition(tap, stop)
    start = source.show().confirmed_lsn
    source.run("INSERT INTO t VALUES (1, 'a')")
    take(part, 1, until)
    part.snapshot()
    part.close()
    assert tap.store.advanced == []
    assert source.show().confirmed_lsn == start


def test_stop_ends_the_source(tap: Any) -> None:
    stop = threading.Event()
    part = partition(tap, stop)
    stop.set()
    with pytest.raises(StopIteration):
        part.next_batch()


def test_cursor_is_written_before_postgresql_is_told(source: Any, tap: Any, until: Any) -> None:
    written = threading.Event()
    go_on = threading.Event()
    advance = tap.store.advance

    def slowly(incarnation: int, lsn: int, heartbeat: int) -> None:
        written.set()
        assert go_on.wait(10)
        advance(incarnation, lsn, heartbeat)

    tap.reader._confirmer._advance = slowly
    start = source.show().confirmed_lsn
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    place = tap.confirm_all()
    assert written.wait(10)
    # While the cursor is being written the stream goes on, and PostgreSQL knows nothing.
    source.run("INSERT INTO t VALUES (2, 'b')")
    tap.rows_until(2)
    assert source.show().confirmed_lsn == start
    go_on.set()
    until(lambda: source.show().confirmed_lsn >= place.lsn, "confirmed")


def test_a_death_between_cursor_and_confirm_loses_nothing(source: Any, tap: Any, new_tap: Any) -> None:
    """What the slot sends again is read again, at its own position: by that, staging drops it."""
    source.run("INSERT INTO t VALUES (1, 'a')")
    first = tap.rows_until(1)[0]
    place = tap.reader.place
    tap.reader.stop(5)
    tap.store.advance(*place, 0)  # the cursor was written, PostgreSQL never heard of it
    assert source.show().confirmed_lsn < place.lsn
    source.run("INSERT INTO t VALUES (2, 'b')")
    again = new_tap(source, tap.store)
    assert [row.new[0] for row in again.rows_until(2)] == ["1", "2"]
    assert (again.chunks[0].transaction, again.rows[0].ordinal) == (tap.chunks[0].transaction, first.ordinal)
    assert len(tap.store.incarnations) == 1


def test_a_death_before_the_cursor_repeats(source: Any, tap: Any, new_tap: Any) -> None:
    source.run("INSERT INTO t VALUES (1, 'a')")
    first = tap.rows_until(1)[0]
    tap.reader.stop(5)
    again = new_tap(source, tap.store)
    assert again.rows_until(1)[0].new == first.new
    assert (again.chunks[0].lsn, again.chunks[0].xid) == (tap.chunks[0].lsn, tap.chunks[0].xid)


def test_snapshot_of_half_a_huge_transaction_stays_before_it(source: Any, tap: Any, until: Any) -> None:
    part = partition(tap)
    part._batch_rows = 2000
    source.run("INSERT INTO t VALUES (0, 'small')")
    (small,) = take(part, 1, until)
    until(lambda: part.next_batch() == [] and part.snapshot() is not None, "idle")
    source.run("INSERT INTO t SELECT n, 'n' FROM generate_series(1, 6000) n")
    half = take(part, 2000, until)
    place = snapshot_of(part)
    assert place.lsn <= half[0].lsn
    assert place.lsn >= small.end_lsn
    rest = take(part, 4000, until)
    assert snapshot_of(part).lsn >= rest[-1].end_lsn


def test_an_idle_stream_advances_by_heartbeats_alone(source: Any, tap: Any, until: Any) -> None:
    part = partition(tap)
    start = source.show().confirmed_lsn
    source.run("CREATE TABLE unpublished (v text)")
    began = time.monotonic()

    def advanced() -> bool:
        source.run("INSERT INTO unpublished VALUES (repeat('x', 1000))")
        part.next_batch()
        part.snapshot()
        return bool(source.show().confirmed_lsn > start + 20_000)

    until(advanced, f"confirmed beyond {lsn_to_text(start)}")
    # At the heartbeat's pace, not once a snapshot: writing the cursor may make WAL itself.
    assert len(tap.store.advanced) <= (time.monotonic() - began) / tap.reader.settings.heartbeat_s + 2


def test_a_heartbeat_is_noted_once_everything_before_it_is_staged(source: Any, tap: Any, until: Any) -> None:
    part, store = partition(tap), tap.store

    def noted(more_than: int) -> bool:
        part.next_batch()
        part.snapshot()
        return len(store.staged_heartbeats) > more_than

    until(lambda: noted(0), "the first heartbeat is staged")
    before, written = len(store.staged_heartbeats), store.heartbeats
    source.run("INSERT INTO t VALUES (1, 'a')")
    until(lambda: store.heartbeats > written + 1, "heartbeats after the row")
    assert len(store.staged_heartbeats) <= before + 1, "what nobody has staged is not noted"
    until(lambda: noted(before + 1), "a heartbeat after the row is staged")
    assert store.staged_heartbeats == sorted(set(store.staged_heartbeats))
    assert store.staged_heartbeats[-1] <= store.cursor.heartbeat


def test_a_full_queue_pauses_the_stream_and_feedback_goes_on(
    new_cluster: Callable[..., Any], new_source: Any, new_tap: Any, until: Any
) -> None:
    cluster = new_cluster(wal_sender_timeout="8s")
    source = new_source(cluster.create_database("x"))
    tap = new_tap(source, queue_bytes=1 << 20)
    tap.streaming()
    pid = source.show().active_pid
    source.run("INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, 60000) n")
    until(lambda: tap.reader._paused, "paused")
    most = tap.reader.waiting_bytes
    began = source.one("SELECT clock_timestamp()")
    heard = f"SELECT reply_time > '{began}'::timestamptz + interval '8 s' FROM pg_stat_replication WHERE pid = {pid}"
    until(lambda: source.one(heard), "feedback a whole timeout later", 60.0)
    assert source.show().active_pid == pid
    assert tap.reader.waiting_bytes == most < 4 << 20
    rows = tap.rows_until(60000)
    assert [row.ordinal for row in rows] == list(range(60000))
    assert tap.reader.streaming
    assert source.show().active_pid == pid
    tap.reader.stop(5)


def test_wal_input_has_one_partition_of_the_slots_name(source: Any, new_tap: Any) -> None:
    tap = new_tap(source)
    assert WalInput(tap.reader, threading.Event()).list_parts() == [source.slot]


def test_a_small_commit_arrives_without_another_one(source: Any, tap: Any) -> None:
    """How soon it does, `make perf` says (latency.p50_ms)."""
    for number in range(50):
        source.run(f"INSERT INTO t VALUES ({number}, 'a')")
        tap.rows_until(number + 1)
    assert len(tap.chunks) == 50
