"""From messages to chunks of transactions."""

import struct
from typing import Any

import pytest

from connectors.postgres.replication.pgoutput import POSTGRES_EPOCH_US, Message
from connectors.postgres.replication.transactions import Assembler
from rowtide.errors import Malformed
from rowtide.transaction import Chunk

RELATION = bytes.fromhex(
    "52000040017075626c69630074006400030169640000000017ffffffff006e6f74650000000019ffffffff006269670000000019ffffffff"
)
NARROW = RELATION.replace(b"\0\3\1id", b"\0\2\1id").removesuffix(b"\0big\0" + RELATION[-8:])  # without big
INSERT = bytes.fromhex("49000040014e00037400000001326e7400000000")
UPDATE_KEY = bytes.fromhex("55000040014b00037400000001326e6e4e00037400000001336e7400000000")
UPDATE = bytes.fromhex("55000040014e000374000000013174000000016275")
DELETE = bytes.fromhex("44000040014b00037400000001316e6e")
TRUNCATE = bytes.fromhex("5400000002000000400100004009")


def begin(lsn: int = 100, xid: int = 759) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, 5, xid)


def commit(end_lsn: int = 120) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, 100, end_lsn, 5)


def chunks(assembler: Assembler, *messages: bytes) -> list[Chunk]:
    return [chunk for message in messages if (chunk := assembler.feed(message)) is not None]


def assembler(**more: Any) -> Assembler:
    return Assembler(3, 760, **more)


def test_a_transaction_is_one_chunk_at_its_commit() -> None:
    (chunk,) = chunks(assembler(), begin(), RELATION, INSERT, UPDATE, UPDATE_KEY, DELETE, commit())
    assert (chunk.incarnation, chunk.lsn, chunk.end_lsn, chunk.xid) == (3, 100, 120, 759)
    assert chunk.committed_us == POSTGRES_EPOCH_US + 5
    assert [(row.ordinal, row.op, row.old_kind) for row in chunk.rows] == [
        (0, "I", None),
        (1, "U", None),
        (2, "U", "K"),
        (3, "D", "K"),
    ]
    assert chunk.rows[2].old == ("2", None, None)
    assert chunk.rows[2].new == ("3", None, "")
    assert chunk.size_bytes > sum(map(len, (INSERT, UPDATE, UPDATE_KEY, DELETE)))
    assert not chunk.large


def test_ordinals_begin_anew_in_each_transaction() -> None:
    found = chunks(assembler(), begin(), RELATION, INSERT, commit(120), begin(130), INSERT, commit(140))
    assert [(chunk.lsn, chunk.end_lsn, chunk.rows[0].ordinal) for chunk in found] == [(100, 120, 0), (130, 140, 0)]


def test_a_huge_transaction_comes_in_pieces_of_which_the_last_has_the_end() -> None:
    found = chunks(assembler(chunk_rows=4, interactive_rows=3), begin(), RELATION, *[INSERT] * 12, commit())
    assert [len(chunk.rows) for chunk in found] == [4, 4, 4]
    assert [chunk.end_lsn for chunk in found] == [None, None, 120]
    assert [row.ordinal for chunk in found for row in chunk.rows] == list(range(12))
    assert all(chunk.large for chunk in found)


def test_wide_rows_make_shorter_pieces() -> None:
    found = chunks(assembler(chunk_bytes=1), begin(), RELATION, INSERT, INSERT, commit())
    assert [len(chunk.rows) for chunk in found] == [1, 1]
    assert not any(chunk.large for chunk in found)


@pytest.mark.parametrize(("rows", "large"), [(3, False), (4, True)])
def test_large_means_more_rows_than_an_interactive_one(rows: int, large: bool) -> None:
    (chunk,) = chunks(assembler(interactive_rows=3), begin(), RELATION, *[INSERT] * rows, commit())
    assert chunk.large is large


def test_a_transaction_without_rows_still_has_an_end() -> None:
    (chunk,) = chunks(assembler(), begin(), commit(150))
    assert (chunk.rows, chunk.end_lsn) == ([], 150)


def test_truncate_is_a_row_a_table_and_unknown_tables_only_count() -> None:
    (chunk,) = chunks(assembler(), begin(), RELATION, TRUNCATE, INSERT, commit())
    assert [(row.ordinal, row.op, row.relation.table) for row in chunk.rows] == [(0, "T", "t"), (2, "I", "t")]


def test_a_relation_said_again_keeps_its_object_and_a_changed_one_does_not() -> None:
    changed = RELATION.replace(b"note\0", b"text\0")
    first = assembler()
    (one,) = chunks(first, begin(), RELATION, INSERT, RELATION, INSERT, changed, INSERT, commit())
    a, b, c = (row.relation for row in one.rows)
    assert a is b
    assert c is not a
    assert c.columns == ("id", "text", "big")
    second = Assembler(3, 760, first.relations)
    (two,) = chunks(second, begin(), changed, INSERT, commit())
    assert two.rows[0].relation is c


@pytest.mark.parametrize(
    ("next_xid", "xid32", "xid"),
    [
        (760, 759, 759),
        (760, 900, 900),  # begun after the next xid was asked for
        ((1 << 32) + 10, 5, (1 << 32) + 5),
        ((1 << 32) + 10, 0xFFFFFFF0, 0xFFFFFFF0),  # before the counter wrapped
        ((1 << 32) - 10, 5, (1 << 32) + 5),  # wrapped since it was asked for
    ],
)
def test_xids_are_widened_to_the_nearest(next_xid: int, xid32: int, xid: int) -> None:
    (chunk,) = chunks(Assembler(1, next_xid), begin(xid=xid32), commit())
    assert chunk.xid == xid


def test_the_reference_of_widening_moves_along() -> None:
    one = Assembler(1, 760)
    steps = [1 << 30, 2 << 30, 3 << 30, 5, 1 << 30]
    found = chunks(one, *[message for xid in steps for message in (begin(xid=xid), commit())])
    assert [chunk.xid for chunk in found] == [1 << 30, 2 << 30, 3 << 30, (1 << 32) + 5, (1 << 32) + (1 << 30)]


def test_whether_a_transaction_is_open() -> None:
    one = assembler()
    assert not one.in_transaction
    one.feed(begin())
    assert one.in_transaction
    one.feed(commit())
    assert not one.in_transaction


def test_heartbeats_are_heard_and_other_messages_ignored() -> None:
    heard: list[Message] = []
    one = assembler(hear=heard.append)
    one.feed(bytes.fromhex("4d010000000001afc998726f777469646500000000077b2261223a317d"))
    assert heard == []
    one.feed(b"M\0" + struct.pack(">Q", 77) + b"rowtide.heartbeat\0" + struct.pack(">I", 3) + b"123")
    assert [(beat.lsn, beat.content) for beat in heard] == [(77, b"123")]


@pytest.mark.parametrize(
    "messages",
    [
        [begin(), INSERT],
        [RELATION, INSERT, commit()],
        [RELATION, INSERT, begin()],
        [commit()],
        [begin(), begin()],
        [begin(), commit(), commit()],
        [begin(), RELATION, DELETE.replace(b"K", b"N")],
        [begin(), RELATION, INSERT.replace(b"N", b"K")],
        [begin(), RELATION, NARROW, INSERT],
        [b""],
        [b"S" + bytes(5)],  # streaming of open transactions was not asked for
    ],
)
def test_what_cannot_be_is_malformed(messages: list[bytes]) -> None:
    with pytest.raises(Malformed):
        chunks(assembler(), *messages)


def test_a_row_of_the_shape_before_is_malformed() -> None:
    one = assembler()
    chunks(one, begin(), RELATION, INSERT, NARROW)
    with pytest.raises(Malformed, match="another shape"):
        one.feed(INSERT)
    chunks(one, RELATION, INSERT)
