"""The messages of PostgreSQL's logical decoding plugin ``pgoutput``, protocol version 1, from bytes to values.

In: the payload of one XLogData message (after its 25-byte header). Out: tuples of values as PostgreSQL printed them,
`Relation`s, LSNs; Malformed for bytes that are no whole message. Rules (docs/facts.md section 10): nothing is
interpreted, text stays text, a TOASTed value that was not sent is `UNCHANGED`; every message is read to its last byte,
so a cut one never gives a value; a row takes 2-3 microseconds, so the reader of its values is one long loop over bytes
and everything else is small.

Layout: https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html
"""

import struct
from struct import Struct
from typing import Final, NamedTuple

from rowtide.error_catalogue import source_errors
from rowtide.errors import Malformed
from rowtide.transaction import UNCHANGED, Relation, Text

BEGIN: Final = ord("B")
COMMIT: Final = ord("C")
RELATION: Final = ord("R")
ROWS: Final = b"IUD"
TRUNCATE: Final = ord("T")
MESSAGE: Final = ord("M")
TYPE: Final = ord("Y")
ORIGIN: Final = ord("O")

POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01, from which the protocol counts, in microseconds since 1970."""

# These two read a whole message: any other length is an error.
_begin = Struct(">xQqI").unpack
_commit = Struct(">xBQQq").unpack
_kind_and_length = Struct(">BI").unpack_from

_IDENTITIES: Final = "dnfi"  # pg_class.relreplident

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


def malformed(payload: bytes | memoryview, reason: str) -> Malformed:
    """The error of a message that was not asked for or is not whole: its kind and length, never its content."""
    kind = repr(chr(payload[0])) if payload else "none"
    return source_errors.STREAM_MALFORMED(reason=reason, kind=kind, length=len(payload))


_CUT: Final = "it is cut, or its lengths are wrong"


def read_begin(payload: bytes) -> Begin:
    """B: commit LSN, commit time, xid."""
    try:
        lsn, committed, xid32 = _begin(payload)
    except struct.error as error:
        raise malformed(payload, _CUT) from error
    return Begin(lsn, committed + POSTGRES_EPOCH_US, xid32)


def read_commit(payload: bytes) -> int:
    """C: the end LSN, which is where the next transaction may begin and what may be confirmed."""
    try:
        end_lsn: int = _commit(payload)[2]
    except struct.error as error:
        raise malformed(payload, _CUT) from error
    return end_lsn


def read_relation(payload: bytes) -> Relation:
    """R: a table's shape; under REPLICA IDENTITY FULL every column is one of the identity."""
    fields = _Fields(payload)
    oid = fields.integer(4)
    schema = fields.name() or "pg_catalog"  # which is an empty namespace on the wire
    table = fields.name()
    identity = chr(fields.integer(1))
    if identity not in _IDENTITIES:
        raise malformed(payload, "its replica identity is unknown")
    columns, key_columns, type_oids = [], [], []
    for _ in range(fields.integer(2)):
        is_key = fields.integer(1) & 1
        column = fields.name()
        columns.append(column)
        if is_key:
            key_columns.append(column)
        type_oids.append(fields.integer(4))
        fields.skip(4)  # type modifier
    fields.end()
    return Relation(oid, schema, table, identity, tuple(columns), tuple(key_columns), tuple(type_oids))


def read_truncate(payload: bytes) -> tuple[int, ...]:
    """T: the oids of all tables truncated together."""
    fields = _Fields(payload)
    count = fields.integer(4)
    fields.skip(1)  # CASCADE, RESTART IDENTITY
    oids = tuple(fields.integer(4) for _ in range(count))
    fields.end()
    return oids


def read_message(payload: bytes) -> Message:
    """M: a logical decoding message. Anybody may have written it, so a prefix that is not UTF-8 is no error."""
    fields = _Fields(payload)
    transactional = bool(fields.integer(1) & 1)
    lsn = fields.integer(8)
    prefix = fields.string().decode(errors="replace")
    content = fields.take(fields.integer(4))
    fields.end()
    return Message(transactional, lsn, prefix, content)


def check_type(payload: bytes) -> None:
    """Y: oid, schema and name of a type that is not built in. Nobody needs them; Malformed if they are not there."""
    fields = _Fields(payload)
    fields.skip(4)
    fields.name()
    fields.name()
    fields.end()


def check_origin(payload: bytes) -> None:
    """O: from where a transaction was itself replicated. Nobody needs it; Malformed if it is not there."""
    fields = _Fields(payload)
    fields.skip(8)
    fields.string()
    fields.end()


def read_values(payload: bytes, position: int, count: int) -> tuple[tuple[Text, ...], int]:
    """The ``count`` values of the TupleData whose first begins at ``position``, and where they end.

    The hot loop of capture: one call a row. Kind and length are read by one call (so the payload is padded: a NULL
    at the end has no length). A payload that is ASCII throughout (most are: only a length above 127 makes one that
    is not, which costs nothing but the detour) is decoded once and sliced as text. Lengths are not checked one by
    one: a wrong one leads to an unknown kind or to another end. The caller has to compare the end, once a message,
    before it uses the values.
    """
    values: list[Text] = []
    append = values.append
    read = _kind_and_length
    size = len(payload)
    ascii_text = payload.decode("ascii") if payload.isascii() else None
    payload += b"\0\0\0\0"
    try:
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
                raise malformed(payload[:size], f"a column has the unknown kind {kind}")
    except struct.error as error:
        raise malformed(payload[:size], _CUT) from error
    return tuple(values), position


class _Fields:
    """The fields of a message behind its kind, from front to back; Malformed where there are too few bytes."""

    __slots__ = ("_payload", "_position")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._position = 1

    def take(self, length: int) -> bytes:
        start = self._position
        self._position = start + length
        if self._position > len(self._payload):
            raise malformed(self._payload, _CUT)
        return self._payload[start : self._position]

    def skip(self, length: int) -> None:
        self.take(length)

    def integer(self, length: int) -> int:
        return int.from_bytes(self.take(length))

    def string(self) -> bytes:
        end = self._payload.find(0, self._position)
        if end < 0:
            raise malformed(self._payload, _CUT)
        return self.take(end + 1 - self._position)[:-1]

    def name(self) -> str:
        try:
            return self.string().decode()
        except UnicodeDecodeError as error:
            raise malformed(self._payload, "a name in it is not UTF-8") from error

    def end(self) -> None:
        if self._position != len(self._payload):
            raise malformed(self._payload, _CUT)
