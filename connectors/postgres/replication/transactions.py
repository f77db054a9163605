"""Assembles pgoutput messages into chunks of whole transactions.

In: payloads in stream order. Out: `Chunk`s; the last chunk of a transaction carries its end LSN, and only then may that
position be confirmed. Rules: the ordinal counts row messages before any filter, so a replayed transaction gets the same
positions again; a huge transaction is handed on in pieces and never held whole.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from connectors.postgres.replication import pgoutput
from connectors.postgres.replication.pgoutput import Begin, malformed
from rowtide.position import widen_xid
from rowtide.transaction import Chunk, OldKind, Relation, Row, RowOperation

HEARTBEAT: Final = "rowtide.heartbeat"
"""Prefix of the messages that keep an idle stream moving."""

MARK: Final = "rowtide.mark"
"""Prefix of the messages by which a reconcile learns that everything committed before it is staged."""

# Python objects around a row: the Row, its tuple, one str header a value. Payload alone would undercount four times.
_ROW_BYTES: Final = 200
_VALUE_BYTES: Final = 60

_HALF: Final = 1 << 31

# A named tuple's own constructor costs three times as much.
_row = partial(tuple.__new__, Row)


_Head = tuple[Relation, RowOperation, OldKind | None, int, bytes]
"""What a row's first eight bytes mean: relation, operation, kind of the first tuple if that is the old one, number of
columns, and the bytes that stand before the new tuple."""


def _heads(relation: Relation) -> dict[bytes, _Head]:
    """All that a row message of ``relation`` may begin with: its kind, oid, first tuple's tag and number of columns.

    One look-up a row checks these four fields and dispatches; whatever is not found is no row of this table.
    """
    oid, width = relation.oid.to_bytes(4), len(relation.columns)
    count = width.to_bytes(2)
    new = b"N" + count
    return {
        b"I" + oid + new: (relation, "I", None, width, new),
        b"U" + oid + new: (relation, "U", None, width, new),
        b"U" + oid + b"K" + count: (relation, "U", "K", width, new),
        b"U" + oid + b"O" + count: (relation, "U", "O", width, new),
        b"D" + oid + b"K" + count: (relation, "D", "K", width, new),
        b"D" + oid + b"O" + count: (relation, "D", "O", width, new),
    }


class Assembler:
    """Collects messages of one connection into chunks under one incarnation.

    ``relations`` is keyed by the oid's four bytes, as a row message has them. It may be handed from one connection's
    assembler to the next: a Relation message that says what is already known keeps the object, so that bindings made
    for it stay good. ``renamed`` is set when a known table comes under another name; who reads it takes it back.
    """

    def __init__(
        self,
        incarnation: int,
        next_xid: int,
        relations: dict[bytes, Relation] | None = None,
        chunk_rows: int = 2000,
        interactive_rows: int = 100,
        chunk_bytes: int = 1 << 20,
        hear: Callable[[pgoutput.Message], None] = lambda _: None,
    ) -> None:
        """``hear`` is given each heartbeat where it stands in the stream; what it raises ends the stream."""
        self.incarnation = incarnation
        self.relations: dict[bytes, Relation] = {} if relations is None else relations
        self._heads = {head: read for relation in self.relations.values() for head, read in _heads(relation).items()}
        self._hear_heartbeat = hear
        self.renamed = False
        self._next_xid = next_xid
        self._chunk_rows = chunk_rows
        self._interactive_rows = interactive_rows
        self._chunk_bytes = chunk_bytes
        self._begin: Begin | None = None
        self._xid = 0
        self._rows: list[Row] = []
        self._bytes = 0
        self._ordinal = 0

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction has begun and not yet ended; a keepalive then says nothing of it."""
        return self._begin is not None

    def feed(self, payload: bytes) -> Chunk | None:
        """The chunk that this message completes, if it does.

        A transaction without rows gives one empty chunk with its end LSN; a mark gives one without a transaction (xid
        0). Rows come first, as they are the many. After Malformed nothing more may be fed: whoever reads begins again
        where the last whole transaction ended.
        """
        head = self._heads.get(payload[:8])
        if head is not None:
            return self._feed_row(head, payload)
        if not payload:
            raise malformed(payload, "it is empty")
        kind = payload[0]
        if kind == pgoutput.BEGIN:
            self._start(payload)
        elif kind == pgoutput.COMMIT:
            return self._cut(payload, pgoutput.read_commit(payload))
        elif kind == pgoutput.RELATION:
            self._learn(pgoutput.read_relation(payload))
        elif kind == pgoutput.TRUNCATE:
            return self._feed_truncate(payload)
        elif kind == pgoutput.MESSAGE:
            return self._hear(pgoutput.read_message(payload))
        elif kind == pgoutput.TYPE:
            pgoutput.check_type(payload)
        elif kind == pgoutput.ORIGIN:
            pgoutput.check_origin(payload)
        elif kind in pgoutput.ROWS:
            known = payload[1:5] in self.relations
            raise malformed(payload, "a row has another shape than its table" if known else "a row of an unknown table")
        else:
            raise malformed(payload, "its kind was not asked for")
        return None

    def _hear(self, message: pgoutput.Message) -> Chunk | None:
        if message.prefix == HEARTBEAT:
            self._hear_heartbeat(message)
        if message.prefix == MARK and self._begin is None:
            return Chunk(self.incarnation, message.lsn, 0, 0, False, [], message.lsn, 0)
        return None

    def _feed_row(self, head: _Head, payload: bytes) -> Chunk | None:
        # One function for the three kinds and no helper a column: this runs for every row of the stream.
        relation, op, old_kind, width, new_head = head
        chunk = None
        rows = self._rows
        if len(rows) >= self._chunk_rows or self._bytes >= self._chunk_bytes:
            chunk = self._cut(payload, None)
            rows = self._rows
        ordinal = self._ordinal
        self._ordinal = ordinal + 1
        values, end = pgoutput.read_values(payload, 8, width)
        if old_kind is None:
            row = _row((ordinal, relation, op, values, None, None))
        elif op == "D":
            row = _row((ordinal, relation, op, None, values, old_kind))
        else:
            if payload[end : end + 3] != new_head:
                raise malformed(payload, "the new row of an update is missing or has another shape")
            new, end = pgoutput.read_values(payload, end + 3, width)
            row = _row((ordinal, relation, op, new, values, old_kind))
        size = len(payload)
        if end != size:
            raise malformed(payload, "something follows its last value")
        rows.append(row)
        self._bytes += size + _ROW_BYTES + _VALUE_BYTES * (width if old_kind is None else 2 * width)
        return chunk

    def _feed_truncate(self, payload: bytes) -> Chunk | None:
        chunk = self._cut(payload, None) if len(self._rows) >= self._chunk_rows else None
        for oid in pgoutput.read_truncate(payload):
            # The message also names tables truncated by CASCADE, published or not; only known tables concern us.
            if (relation := self.relations.get(oid.to_bytes(4))) is not None:
                self._rows.append(Row(self._ordinal, relation, "T", None, None, None))
                self._bytes += _ROW_BYTES
            self._ordinal += 1
        return chunk

    def _start(self, payload: bytes) -> None:
        if self._begin is not None or self._rows:
            raise malformed(payload, "a transaction begins before another has ended")
        self._begin = begin = pgoutput.read_begin(payload)
        # Every xid in retained WAL lies within 2^31 of the next one (beyond that the server refuses writes), so the
        # nearest candidate is right even when ``next_xid`` is old by the time the transaction comes.
        self._xid = widen_xid(begin.xid32, self._next_xid + _HALF)
        self._next_xid = max(self._next_xid, self._xid)
        self._rows = []
        self._bytes = 0
        self._ordinal = 0

    def _learn(self, relation: Relation) -> None:
        oid = relation.oid.to_bytes(4)
        known = self.relations.get(oid)
        if known == relation:
            return
        if known is not None:
            # Its changes come under a name that no sync may know.
            self.renamed = self.renamed or (known.schema, known.table) != (relation.schema, relation.table)
            for head in _heads(known):
                del self._heads[head]
        self.relations[oid] = relation
        self._heads.update(_heads(relation))

    def _cut(self, payload: bytes, end_lsn: int | None) -> Chunk:
        begin = self._begin
        if begin is None:
            raise malformed(payload, "a commit or a row stands outside a transaction")
        chunk = Chunk(
            incarnation=self.incarnation,
            lsn=begin.lsn,
            xid=self._xid,
            committed_us=begin.committed_us,
            large=self._ordinal > self._interactive_rows,
            rows=self._rows,
            end_lsn=end_lsn,
            size_bytes=self._bytes,
        )
        self._rows = []
        self._bytes = 0
        if end_lsn is not None:
            self._begin = None
        return chunk
