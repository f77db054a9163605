"""From single pgoutput messages to chunks of whole transactions.

In: payloads in stream order. Out: `Chunk`s; the last chunk of a transaction carries its end LSN, and only then may that
position be confirmed. Rules: the ordinal counts row messages before any filter, so a replayed transaction gets the same
positions again; a huge transaction is handed on in pieces and never held whole.
"""

from functools import partial
from typing import Final

from connectors.postgres.replication import pgoutput
from connectors.postgres.replication.pgoutput import KEY, Begin, Malformed
from rowtide.position import widen_xid
from rowtide.transaction import Chunk, Relation, Row

HEARTBEAT: Final = "rowtide.heartbeat"
"""Prefix of the messages that keep an idle stream moving."""

# Python objects around a row: the Row, its tuple, one str header a value. Payload alone would undercount four times.
_ROW_BYTES: Final = 200
_VALUE_BYTES: Final = 60

_HALF: Final = 1 << 31

# A named tuple's own constructor costs three times as much.
_row = partial(tuple.__new__, Row)


class Assembler:
    """Collects messages of one connection into chunks under one era.

    ``relations`` is keyed by the oid's four bytes, as a row message has them. It may be handed from one connection's
    assembler to the next: a Relation message that says what is already known keeps the object, so that bindings made
    for it stay good.
    """

    def __init__(
        self,
        era: int,
        next_xid: int,
        relations: dict[bytes, Relation] | None = None,
        chunk_rows: int = 2000,
        interactive_rows: int = 100,
        chunk_bytes: int = 1 << 20,
    ) -> None:
        self.era = era
        self.relations: dict[bytes, Relation] = {} if relations is None else relations
        self.heartbeat: pgoutput.Message | None = None
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

        A transaction without rows gives one empty chunk with its end LSN. Rows come first, as they are the many.
        """
        kind = payload[0]
        if kind == pgoutput.INSERT or kind == pgoutput.UPDATE or kind == pgoutput.DELETE:
            return self._feed_row(kind, payload)
        if kind == pgoutput.BEGIN:
            self._start(pgoutput.read_begin(payload))
        elif kind == pgoutput.COMMIT:
            return self._cut(pgoutput.read_commit(payload))
        elif kind == pgoutput.RELATION:
            self._learn(pgoutput.read_relation(payload))
        elif kind == pgoutput.TRUNCATE:
            return self._feed_truncate(payload)
        elif kind == pgoutput.MESSAGE:
            message = pgoutput.read_message(payload)
            if message.prefix == HEARTBEAT:
                self.heartbeat = message
        # Types and origins say nothing that is needed here.
        return None

    def _feed_row(self, kind: int, payload: bytes) -> Chunk | None:
        # One function for the three kinds and no helper a column: this runs for every row of the stream.
        try:
            relation = self.relations[payload[1:5]]
        except KeyError:
            raise Malformed(f"a row of an unknown relation (oid {int.from_bytes(payload[1:5])})") from None
        chunk = None
        rows = self._rows
        if len(rows) >= self._chunk_rows or self._bytes >= self._chunk_bytes:
            chunk = self._cut(None)
            rows = self._rows
        ordinal = self._ordinal
        self._ordinal = ordinal + 1
        if kind == pgoutput.INSERT:
            new, _ = pgoutput.read_tuple(payload, 6)
            rows.append(_row((ordinal, relation, "I", new, None, None)))
            self._bytes += len(payload) + _ROW_BYTES + _VALUE_BYTES * len(new)
            return chunk
        before = payload[5]
        old, old_kind, position = None, None, 5
        if before == KEY or before == pgoutput.OLD:
            old, position = pgoutput.read_tuple(payload, 6)
            old_kind = "K" if before == KEY else "O"
        if kind == pgoutput.UPDATE:
            new, _ = pgoutput.read_tuple(payload, position + 1)
            rows.append(_row((ordinal, relation, "U", new, old, old_kind)))
        else:
            rows.append(_row((ordinal, relation, "D", None, old, old_kind)))
        width = len(relation.columns) * (2 if old_kind else 1)
        self._bytes += len(payload) + _ROW_BYTES + _VALUE_BYTES * width
        return chunk

    def _feed_truncate(self, payload: bytes) -> Chunk | None:
        chunk = self._cut(None) if len(self._rows) >= self._chunk_rows else None
        for oid in pgoutput.read_truncate(payload):
            # Tables truncated by CASCADE are named too, published or not; only known ones concern us.
            if (relation := self.relations.get(oid.to_bytes(4))) is not None:
                self._rows.append(Row(self._ordinal, relation, "T", None, None, None))
                self._bytes += _ROW_BYTES
            self._ordinal += 1
        return chunk

    def _start(self, begin: Begin) -> None:
        self._begin = begin
        # Every xid in retained WAL lies within 2^31 of the next one (beyond that the server refuses writes), so the
        # nearest candidate is right even when ``next_xid`` is old by the time the transaction comes.
        self._xid = widen_xid(begin.xid32, self._next_xid + _HALF)
        self._next_xid = max(self._next_xid, self._xid)
        self._rows = []
        self._bytes = 0
        self._ordinal = 0

    def _learn(self, relation: Relation) -> None:
        oid = relation.oid.to_bytes(4)
        if self.relations.get(oid) != relation:
            self.relations[oid] = relation

    def _cut(self, end_lsn: int | None) -> Chunk:
        begin = self._begin
        if begin is None:
            raise Malformed("a commit or row outside a transaction")
        chunk = Chunk(
            era=self.era,
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
