"""The decoder against messages recorded from PostgreSQL 18."""

import struct

import pytest

from connectors.postgres.replication import pgoutput
from connectors.postgres.replication.pgoutput import Begin, Message
from rowtide.errors import Malformed, SourceRefused
from rowtide.transaction import UNCHANGED, Relation

T = Relation(16385, "public", "t", "d", ("id", "note", "big"), ("id",), (23, 25, 25))
F = Relation(16393, "public", "f", "f", ("id", "v"), ("id", "v"), (23, 25))

RELATION_T = (
    "52000040017075626c69630074006400030169640000000017ffffffff006e6f74650000000019ffffffff006269670000000019ffffffff"
)
RELATION_F = "52000040097075626c69630066006600020169640000000017ffffffff01760000000019ffffffff"


def recorded(text: str) -> bytes:
    return bytes.fromhex(text)


def test_begin() -> None:
    message = recorded("420000000001aff270000303e2b7da419e000002f7")
    assert pgoutput.read_begin(message) == Begin(0x1AFF270, 1_795_382_012_158_366, 759)


def test_commit_gives_the_end_lsn() -> None:
    assert pgoutput.read_commit(recorded("43000000000001aff2700000000001aff510000303e2b7da419e")) == 0x1AFF510


@pytest.mark.parametrize(("message", "relation"), [(RELATION_T, T), (RELATION_F, F)])
def test_relation(message: str, relation: Relation) -> None:
    assert pgoutput.read_relation(recorded(message)) == relation


def test_relation_of_pg_catalog_has_an_empty_namespace() -> None:
    message = recorded(RELATION_T).replace(b"public\0", b"\0")
    assert pgoutput.read_relation(message).schema == "pg_catalog"


def test_truncate_names_all_tables() -> None:
    assert pgoutput.read_truncate(recorded("5400000002000000400100004009")) == (16385, 16393)


def test_message() -> None:
    message = recorded("4d010000000001afc998726f777469646500000000077b2261223a317d")
    assert pgoutput.read_message(message) == Message(True, 0x1AFC998, "rowtide", b'{"a":1}')


TUPLES = [
    ("insert", "49000040014e00037400000001326e7400000000", 6, ("2", None, "")),
    ("not ASCII", "49000040014e00037400000001317400000002c3bc7400000001f8"[:-2] + "78", 6, ("1", "ü", "x")),
    ("unchanged TOAST", "55000040014e000374000000013174000000016275", 6, ("1", "b", UNCHANGED)),
    ("key of an update", "55000040014b00037400000001326e6e4e00037400000001336e7400000000", 6, ("2", None, None)),
    ("its new row", "55000040014b00037400000001326e6e4e00037400000001336e7400000000", 17, ("3", None, "")),
    ("old row of FULL", "55000040094f00027400000001317400000001614e0002740000000131740000000162", 6, ("1", "a")),
    ("deleted key, NULL at the end", "44000040014b00037400000001316e6e", 6, ("1", None, None)),
]


@pytest.mark.parametrize(("what", "message", "position", "values"), TUPLES, ids=[row[0] for row in TUPLES])
def test_tuple(what: str, message: str, position: int, values: tuple[object, ...]) -> None:
    payload = recorded(message)
    assert payload[position : position + 2] == len(values).to_bytes(2)
    read, end = pgoutput.read_values(payload, position + 2, len(values))
    assert read == values
    assert end == len(payload) or payload[end] == ord("N")


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536, 1 << 24])
def test_value_lengths(length: int) -> None:
    value = "x" * length
    payload = b"I\0\0\0\1N" + struct.pack(">HcI", 2, b"t", length) + value.encode() + b"n"
    assert pgoutput.read_values(payload, 8, 2) == ((value, None), len(payload))


def test_bytes_that_are_no_utf8_are_marked_not_fatal() -> None:
    payload = b"I\0\0\0\1N" + struct.pack(">HcI", 1, b"t", 2) + b"a\xff"
    assert pgoutput.read_values(payload, 8, 1)[0] == ("a\N{REPLACEMENT CHARACTER}",)


def test_binary_values_were_never_asked_for() -> None:
    with pytest.raises(Malformed, match="kind 98"):
        pgoutput.read_values(b"I\0\0\0\1N" + struct.pack(">HcI", 1, b"b", 1) + b"x", 8, 1)


@pytest.mark.parametrize("payload", [b"", b"I", memoryview(b"k123")])
def test_malformed_says_whose_fault_it_is_and_what_to_do_but_no_values(payload: bytes | memoryview) -> None:
    error = pgoutput.malformed(payload, "it is cut")
    assert isinstance(error, Malformed)
    assert isinstance(error, SourceRefused)
    assert error.code == "stream_malformed"
    assert "it is cut" in error.sentence
    assert f"{len(payload)} bytes" in error.sentence
    assert "123" not in error.sentence
    assert error.remedy
