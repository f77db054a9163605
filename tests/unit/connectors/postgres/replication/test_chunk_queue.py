"""The queue: order, bound, and the place that travels behind the data."""

from connectors.postgres.replication.chunk_queue import DRAIN_BYTES, ChunkQueue, SlotPosition
from rowtide.transaction import Chunk, Relation, Row

RELATION = Relation(1, "public", "t", "d", ("id",), ("id",), (23,))


def chunk(end_lsn: int | None, rows: int = 1, incarnation: int = 1, size: int = 10) -> Chunk:
    made = [Row(n, RELATION, "I", ("1",), None, None) for n in range(rows)]
    return Chunk(incarnation, (end_lsn or 50) - 5, 7, 0, False, made, end_lsn, size)


def test_what_is_put_comes_out_in_order_and_moves_the_place() -> None:
    queue = ChunkQueue(100)
    assert queue.drain(10) == []
    assert queue.place is None
    first, second = chunk(10), chunk(20)
    queue.put(first)
    queue.put(second)
    assert queue.drain(1) == [first]
    assert queue.place == SlotPosition(1, 10)
    assert queue.drain(1) == [second]
    assert queue.place == queue.data_place == SlotPosition(1, 20)


def test_a_piece_of_a_transaction_does_not_move_the_place() -> None:
    queue = ChunkQueue(100)
    queue.put(chunk(10))
    queue.put(chunk(None))
    queue.drain(10)
    assert queue.place == SlotPosition(1, 10)
    queue.put(chunk(60))
    queue.drain(10)
    assert queue.place == SlotPosition(1, 60)


def test_drain_stops_at_the_row_count() -> None:
    queue = ChunkQueue(1000)
    for end_lsn in (10, 20, 30):
        queue.put(chunk(end_lsn, rows=3))
    assert [len(one.rows) for one in queue.drain(4)] == [3, 3]


def test_drain_stops_at_the_bytes_of_wide_rows() -> None:
    queue = ChunkQueue(1 << 30)
    for end_lsn in (10, 20, 30):
        queue.put(chunk(end_lsn, size=DRAIN_BYTES - 1))
    assert [len(queue.drain(10_000)) for _ in range(3)] == [2, 1, 0]


def test_a_mark_is_reached_only_behind_the_data_before_it() -> None:
    queue = ChunkQueue(100)
    queue.mark(1, 5)
    queue.drain(1)
    assert queue.place == SlotPosition(1, 5)
    queue.put(chunk(10))
    queue.put(chunk(20))
    queue.mark(1, 25)
    queue.drain(1)
    assert queue.place == SlotPosition(1, 10)
    queue.drain(1)
    assert queue.place == SlotPosition(1, 25)
    assert queue.data_place == SlotPosition(1, 20)


def test_the_place_never_falls_within_an_era_and_rises_with_it() -> None:
    queue = ChunkQueue(100)
    queue.put(chunk(50))
    queue.drain(1)
    queue.mark(1, 40)
    queue.drain(1)
    queue.put(chunk(30))
    queue.drain(1)
    assert queue.place == SlotPosition(1, 50)
    queue.mark(2, 7)
    queue.drain(1)
    assert queue.place == SlotPosition(2, 7)


def test_the_bound_is_on_bytes() -> None:
    queue = ChunkQueue(100)
    queue.put(chunk(10, size=99))
    assert queue.room
    queue.put(chunk(20, size=1))
    assert not queue.room
    assert not queue.roomy
    assert queue.waiting_bytes == 100
    queue.drain(1)
    assert queue.room
    assert queue.roomy
    assert queue.waiting_bytes == 1


def test_a_chunk_larger_than_the_bound_passes() -> None:
    queue = ChunkQueue(10)
    queue.put(chunk(10, size=1000))
    assert not queue.room
    queue.drain(1)
    assert queue.room


def test_another_stream_begins_where_it_begins() -> None:
    """A server that was restored sends other transactions below the place that was reached: it has to fall."""
    queue = ChunkQueue(100)
    queue.put(chunk(50))
    queue.mark(1, 90)
    queue.drain(10)
    assert queue.place == SlotPosition(1, 90)
    left = chunk(95)
    queue.put(left)
    queue.begin(SlotPosition(1, 40))
    assert queue.between_streams
    again = chunk(60)
    queue.put(again)
    assert queue.drain(10) == [left, again]
    assert not queue.between_streams
    assert queue.place == queue.data_place == SlotPosition(1, 60)
    assert queue.newest is again
