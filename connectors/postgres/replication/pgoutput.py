"""The messages of PostgreSQL's logical decoding plugin ``pgoutput``, protocol version 1, from bytes to values.

In: the payload of one XLogData message (after its 25-byte header). Out: tuples of values as PostgreSQL printed them,
`Relation`s, LSNs. Rules (docs/facts.md section 10): nothing is interpreted, text stays text, a TOASTed value that was
not sent is `UNCHANGED`; measured at 2-3 microseconds a row, so the tuple reader is one long loop over bytes and
everything else is small.

Layout: https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html
"""

from struct import Struct
from typing import Final, NamedTuple

from rowtide.transaction import UNCHANGED, Relation, Text

BEGIN: Final = ord("B")
COMMIT: Final = ord("C")
RELATION: Final = ord("R")
INSERT: Final = ord("I")
UPDATE: Final = ord("U")
DELETE: Final = ord("D")
TRUNCATE: Final = ord("T")
MESSAGE: Final = ord("M")

KEY: Final = ord("K")
OLD: Final = ord("O")

POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01, from which the protocol counts, in microseconds since 1970."""

_begin = Struct(">QqI").unpack_from
_commit = Struct(">BQQq").unpack_from
_truncate = Struct(">IB").unpack_from
_u16 = Struct(">H").unpack_from
_u32 = Struct(">I").unpack_from
_u64 = Struct(">Q").unpack_from
_kind_and_length = Struct(">BI").unpack_from

_TEXT: Final = ord("t")
_NULL: Final = ord("n")
_TOAST: Final = ord("u")


class Begin(NamedTuple):
    """``lsn`` is the commit record's own LSN ("final LSN"), the same for every row of the transaction."""

    lsn: int
    committed_us: int
    xid32: int


class Message(NamedTuple):
    """What ``pg_logical_emit_message`` wrote."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


class Malformed(Exception):
    """Bytes that are no message of this protocol: never PostgreSQL's fault, always a wrong assumption of ours."""


def read_begin(payload: bytes) -> Begin:
    """B: commit LSN, commit time, xid."""
    lsn, committed, xid32 = _begin(payload, 1)
    return Begin(lsn, committed + POSTGRES_EPOCH_US, xid32)


def read_commit(payload: bytes) -> int:
    """C: the end LSN, which is where the next transaction may begin and what may be confirmed."""
    end_lsn: int = _commit(payload, 1)[2]
    return end_lsn


def read_relation(payload: bytes) -> Relation:
    """R: a table's shape; under REPLICA IDENTITY FULL every column is one of the identity."""
    oid = _u32(payload, 1)[0]
    schema, position = _read_string(payload, 5)
    table, position = _read_string(payload, position)
    identity = chr(payload[position])
    (count,) = _u16(payload, position + 1)
    position += 3
    columns, key_columns, type_oids = [], [], []
    for _ in range(count):
        is_key = payload[position] & 1
        name, position = _read_string(payload, position + 1)
        columns.append(name)
        if is_key:
            key_columns.append(name)
        type_oids.append(_u32(payload, position)[0])
        position += 8  # type oid and type modifier
    # An empty namespace on the wire is pg_catalog.
    return Relation(oid, schema or "pg_catalog", table, identity, tuple(columns), tuple(key_columns), tuple(type_oids))


def read_truncate(payload: bytes) -> tuple[int, ...]:
    """T: the oids of all tables truncated together."""
    count, _flags = _truncate(payload, 1)
    return tuple(_u32(payload, 6 + 4 * index)[0] for index in range(count))


def read_message(payload: bytes) -> Message:
    """M: a logical decoding message."""
    (lsn,) = _u64(payload, 2)
    prefix, position = _read_string(payload, 10)
    (length,) = _u32(payload, position)
    return Message(bool(payload[1] & 1), lsn, prefix, payload[position + 4 : position + 4 + length])


def read_tuple(payload: bytes, position: int) -> tuple[tuple[Text, ...], int]:
    """The values of one TupleData that begins at ``position``, and where it ends.

    The hot loop of capture: one call a row. Kind and length are read by one call (so the payload is padded: a NULL
    at the end has no length). A payload that is ASCII throughout (most are: only a length above 127 makes one that
    is not, which costs nothing but the detour) is decoded once and sliced as text.
    """
    values: list[Text] = []
    append = values.append
    read = _kind_and_length
    count = payload[position] << 8 | payload[position + 1]
    position += 2
    ascii_text = payload.decode("ascii") if payload.isascii() else None
    payload += b"\0\0\0\0"
    for _ in range(count):
        kind, length = read(payload, position)
        if kind == _TEXT:
            start = position + 5
            position = start + length
            if ascii_text is not None:
                append(ascii_text[start:position])
                continue
            try:
                append(payload[start:position].decode())
            except UnicodeDecodeError:
                # Only a SQL_ASCII database can hold such bytes; doctor warns of it.
                append(payload[start:position].decode(errors="replace"))
        elif kind == _NULL:
            append(None)
            position += 1
        elif kind == _TOAST:
            append(UNCHANGED)
            position += 1
        else:
            raise Malformed(f"column kind {kind} in a tuple")
    return tuple(values), position


def _read_string(payload: bytes, position: int) -> tuple[str, int]:
    end = payload.index(0, position)
    return payload[position:end].decode(), end + 1
