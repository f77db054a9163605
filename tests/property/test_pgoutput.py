"""Whatever bytes come: the decoder gives exactly what the protocol says they mean, or `Malformed`.

The protocol is written down a second time here, in the words of its documentation and without any thought of speed:
`meaning` reads a message by it, or says that it is none. Messages of every kind are built, cut at every byte, and
altered in lengths, tags, counts and anything else.
"""

import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.postgres.replication.connection import read_keepalive
from connectors.postgres.replication.pgoutput import POSTGRES_EPOCH_US, Message
from connectors.postgres.replication.transactions import HEARTBEAT, Assembler
from rowtide.errors import Malformed
from rowtide.transaction import UNCHANGED

OID = 16385
WIDTH = 3
BEGIN = b"B" + struct.pack(">QqI", 100, 5, 759)
COMMIT = b"C" + struct.pack(">BQQq", 0, 100, 120, 5)
RELATION = (
    b"R" + struct.pack(">I", OID) + b"public\0t\0d" + struct.pack(">H", WIDTH)
    + b"".join(b"\1" + name + b"\0" + struct.pack(">Ii", 25, -1) for name in (b"a", b"b", b"c"))
)  # fmt: skip


# --- the protocol, as its documentation has it -----------------------------------------------------------------------


class NoMessage(Exception):
    """These bytes are no message."""


class Bytes:
    """Takes fields from the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def byte_n(self, length: int) -> bytes:
        if len(self.left) < length:
            raise NoMessage
        taken, self.left = self.left[:length], self.left[length:]
        return taken

    def number(self, layout: str) -> int:
        return int(struct.unpack(">" + layout, self.byte_n(struct.calcsize(layout)))[0])

    def string(self) -> str:
        head, end, self.left = self.left.partition(b"\0")
        if not end:
            raise NoMessage
        return head.decode(errors="replace")

    def name(self) -> str:
        name = self.left.partition(b"\0")[0]
        try:
            name.decode()
        except UnicodeDecodeError:
            raise NoMessage from None
        return self.string()

    def tuple_data(self) -> tuple[Any, ...]:
        if self.number("H") != WIDTH:
            raise NoMessage
        return tuple(self.value() for _ in range(WIDTH))

    def value(self) -> Any:
        match self.byte_n(1):
            case b"n":
                return None
            case b"u":
                return UNCHANGED
            case b"t":
                return self.byte_n(self.number("I")).decode(errors="replace")
        raise NoMessage


def meaning(payload: bytes) -> tuple[Any, ...]:
    """What the message says, as far as we use it."""
    fields = Bytes(payload)
    meant = said(chr(fields.byte_n(1)[0]), fields)
    if fields.left:
        raise NoMessage
    return meant


def said(kind: str, fields: Bytes) -> tuple[Any, ...]:
    match kind:
        case "B":
            return kind, fields.number("Q"), fields.number("q") + POSTGRES_EPOCH_US, fields.number("I")
        case "C":
            _, _, end_lsn, _ = fields.number("B"), fields.number("Q"), fields.number("Q"), fields.number("q")
            return kind, end_lsn
        case "O":
            fields.number("Q")
            fields.string()
            return ()
        case "Y":
            fields.number("I")
            fields.name()
            fields.name()
            return ()
        case "M":
            heard = fields.number("B") & 1 == 1, fields.number("Q"), fields.string(), fields.byte_n(fields.number("I"))
            return (kind, *heard) if heard[2] == HEARTBEAT else ()
        case "T":
            count, _ = fields.number("I"), fields.number("B")
            return kind, *(index for index in range(count) if fields.number("I") == OID)
        case "R":
            return kind, *relation(fields)
        case "I" | "U" | "D":
            return row(kind, fields)
    raise NoMessage


def relation(fields: Bytes) -> tuple[Any, ...]:
    head = fields.number("I"), fields.name() or "pg_catalog", fields.name(), chr(fields.number("B"))
    if head[3] not in "dnfi":
        raise NoMessage
    columns = [
        (fields.number("B") & 1, fields.name(), fields.number("I"), fields.number("i"))
        for _ in range(fields.number("H"))
    ]
    keys = tuple(name for is_key, name, _, _ in columns if is_key)
    return *head, tuple(name for _, name, _, _ in columns), keys, tuple(oid for _, _, oid, _ in columns)


def row(kind: str, fields: Bytes) -> tuple[Any, ...]:
    if fields.number("I") != OID:
        raise NoMessage
    tag = fields.byte_n(1)
    old, old_kind = None, None
    if tag in (b"K", b"O") and kind != "I":
        old, old_kind = fields.tuple_data(), tag.decode()
        tag = fields.byte_n(1) if kind == "U" else b"N"
    elif kind == "D":
        raise NoMessage
    if tag != b"N":
        raise NoMessage
    return kind, (None if kind == "D" else fields.tuple_data()), old, old_kind


# --- the decoder's answer in the same words --------------------------------------------------------------------------


def decoded(payload: bytes) -> tuple[Any, ...]:
    """What the assembler makes of the message, at a place where it may come."""
    heard: list[Message] = []
    one = Assembler(1, 1 << 31, hear=heard.append)
    one.feed(RELATION)
    known = dict(one.relations)
    if not payload.startswith(b"B"):
        one.feed(BEGIN)
    chunk = one.feed(payload)
    if chunk is not None:
        return "C", chunk.end_lsn
    chunk = one.feed(COMMIT)
    assert chunk is not None
    if payload.startswith(b"B"):
        return "B", chunk.lsn, chunk.committed_us, chunk.xid & 0xFFFFFFFF
    if payload.startswith(b"T"):
        return "T", *(row.ordinal for row in chunk.rows)
    if chunk.rows:
        (read,) = chunk.rows
        return read.op, read.new, read.old, read.old_kind
    if heard:
        return "M", *heard[0]
    if payload.startswith(b"R"):
        # A relation that says what is known keeps the object; then the known one is what it said.
        (found,) = [value for oid, value in one.relations.items() if oid == payload[1:5]]
        assert known.keys() <= one.relations.keys()
        fields = (found.oid, found.schema, found.table, found.identity, found.columns, found.key_columns)
        return "R", *fields, found.type_oids
    return ()


def agree(payload: bytes) -> bool:
    """Whether these bytes are a message; the decoder must say the same, and read the same."""
    try:
        expected = meaning(payload)
    except NoMessage:
        with pytest.raises(Malformed):
            decoded(payload)
        return False
    assert decoded(payload) == expected
    return True


# --- messages --------------------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
u1, u2, u4, u8 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
times = st.integers(-(1 << 62), 1 << 62)


def packed(layout: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(lambda values: struct.pack(">" + layout, *values))


def strings(texts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    return texts.map(lambda text: text.encode() + b"\0")


def joined(*parts: st.SearchStrategy[bytes] | bytes) -> st.SearchStrategy[bytes]:
    return st.tuples(*(st.just(part) if isinstance(part, bytes) else part for part in parts)).map(b"".join)


def with_length(layout: str, contents: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return contents.map(lambda content: struct.pack(">" + layout, len(content)) + content)


value_texts = st.one_of(names.map(str.encode), st.binary(max_size=4), st.just(b"x" * 300))
values = st.one_of(st.just(b"n"), st.just(b"u"), joined(b"t", with_length("I", value_texts)))
tuples = joined(struct.pack(">H", WIDTH), values, values, values)
oid = struct.pack(">I", OID)
columns = st.lists(joined(packed("B", u1), strings(names), packed("Ii", u4, st.just(-1))), max_size=4)
oids = st.lists(st.one_of(st.just(oid), packed("I", u4)), max_size=4)

MESSAGES = {
    "Begin": joined(b"B", packed("QqI", u8, times, u4)),
    "Commit": joined(b"C", packed("BQQq", u1, u8, st.integers(1, (1 << 64) - 1), times)),
    "Origin": joined(b"O", packed("Q", u8), strings(names)),
    "Type": joined(b"Y", packed("I", u4), strings(names), strings(names)),
    "Message": joined(
        b"M", packed("BQ", u1, u8), strings(st.one_of(st.just(HEARTBEAT), names)),
        with_length("I", st.binary(max_size=9)),
    ),
    "Relation": joined(
        b"R", packed("I", u4), strings(names), strings(names), st.sampled_from([b"d", b"n", b"f", b"i"]),
        columns.map(lambda some: struct.pack(">H", len(some)) + b"".join(some)),
    ),
    "Truncate": joined(b"T", oids.map(lambda some: struct.pack(">IB", len(some), 0) + b"".join(some))),
    "Insert": joined(b"I", oid, b"N", tuples),
    "Update": joined(b"U", oid, b"N", tuples),
    "Update with key": joined(b"U", oid, b"K", tuples, b"N", tuples),
    "Update with old row": joined(b"U", oid, b"O", tuples, b"N", tuples),
    "Delete by key": joined(b"D", oid, b"K", tuples),
    "Delete of old row": joined(b"D", oid, b"O", tuples),
}  # fmt: skip

kinds = pytest.mark.parametrize("kind", MESSAGES)


@kinds
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_whole_message_is_read_and_no_part_of_it(kind: str, data: st.DataObject) -> None:
    message = data.draw(MESSAGES[kind])
    assert agree(message)
    for length in range(len(message)):
        with pytest.raises(Malformed):
            decoded(message[:length])
    assert not agree(message + b"\0")


@kinds
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_an_altered_message_is_malformed_or_means_what_it_says(kind: str, data: st.DataObject) -> None:
    message = bytearray(data.draw(MESSAGES[kind]))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(message) - 1))
        match data.draw(st.sampled_from(["set", "insert", "remove", "tag"])):
            case "set":
                message[place] = data.draw(st.one_of(u1, st.sampled_from([0, 1, 2, 255])))
            case "tag":
                message[place] = data.draw(st.sampled_from(b"BCOYMRTIUDNKOntub"))
            case "insert":
                message.insert(place, data.draw(u1))
            case "remove" if len(message) > 1:
                del message[place]
    agree(bytes(message))


@given(st.one_of(st.binary(max_size=60), joined(st.sampled_from([b"I", b"U", b"D"]), oid, st.binary(max_size=40))))
@example(b"")
@example(b"I" + oid + b"N\0\3nn")  # cut before a NULL: the decoder pads what it reads
@example(b"I" + oid + b"N\0\3nnt\0\0\0")
@example(b"I" + oid + b"N\0\3nnt\xff\xff\xff\xff")
def test_any_bytes(payload: bytes) -> None:
    agree(payload)


@given(st.binary(max_size=30))
def test_a_keepalive_has_one_length(rest: bytes) -> None:
    message = b"k" + rest
    if len(message) == 18:
        assert read_keepalive(message) == (int.from_bytes(rest[:8]), rest[16] != 0)
    else:
        with pytest.raises(Malformed):
            read_keepalive(message)
