"""The queue between the thread that reads the WAL and the flow that drains it, bounded in bytes.

In: chunks and idle positions in stream order, from one producer thread. Out: chunks, and the position up to which
everything was handed on, to one consumer thread. Rules: a position is handed on after the data before it; it falls only
where another stream begins; nobody waits for a lock (each side writes only its own counters); the bound is on Python's
memory, not on the wire's bytes.
"""

from collections import deque
from typing import Final, NamedTuple

from rowtide.transaction import Chunk

DRAIN_BYTES: Final = 4 << 20
"""What is handed on at once: each step makes something of it before the next drain."""


class SlotPosition(NamedTuple):
    """An incarnation and an LSN: every whole transaction up to there. Compared as a tuple."""

    incarnation: int
    lsn: int


class _Mark(NamedTuple):
    place: SlotPosition
    after: int  # chunks that have to be taken before the place is reached


class ChunkQueue:
    """First in, first out. ``room``, `put`, `begin` are the producer's; `drain`, `place`, `data_place` the consumer's.

    ``newest``: the chunk put last.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chunks: deque[Chunk | SlotPosition] = deque()
        self._begun = self._reached = 0
        self._put_chunks = self._put_bytes = 0
        self._taken_chunks = self._taken_bytes = 0
        self._mark: _Mark | None = None
        self._awaited: SlotPosition | None = None
        self._answered: SlotPosition | None = None
        self.newest: Chunk | None = None
        self.place: SlotPosition | None = None
        self.data_place: SlotPosition | None = None

    @property
    def waiting_bytes(self) -> int:
        """Estimated memory of the chunks that wait."""
        return self._put_bytes - self._taken_bytes

    @property
    def room(self) -> bool:
        """Whether the producer may go on."""
        return self._put_bytes - self._taken_bytes < self._limit_bytes

    @property
    def roomy(self) -> bool:
        """Whether to wake a producer that paused, because a quarter is free again."""
        return (self._put_bytes - self._taken_bytes) * 4 < self._limit_bytes * 3

    @property
    def between_streams(self) -> bool:
        """Whether a stream has begun that the consumer has not reached: `place` is one of the stream before it."""
        return self._begun != self._reached

    def begin(self, place: SlotPosition) -> None:
        """Another stream begins at ``place``, which may lie below what the one before it had reached."""
        self._begun += 1
        self._chunks.append(place)
        self._put_chunks += 1
        self._mark = _Mark(place, self._put_chunks)

    def put(self, chunk: Chunk) -> None:
        """Append a chunk that has rows."""
        # Bytes first: a consumer that is faster than this line must not count below zero.
        self._put_bytes += chunk.size_bytes
        self._chunks.append(chunk)
        self._put_chunks += 1
        self.newest = chunk

    def mark(self, incarnation: int, lsn: int, urgent: bool = False) -> None:
        """Note that the stream stands at ``lsn`` after everything put so far; replaces an older mark.

        ``urgent``: somebody waits until this place is confirmed, so it counts as one with data.
        """
        place = SlotPosition(incarnation, lsn)
        if urgent:
            self._awaited = place
        self._mark = _Mark(place, self._put_chunks)

    def drain(self, max_rows: int) -> list[Chunk]:
        """Chunks of about ``max_rows`` rows or `DRAIN_BYTES` in all, oldest first; empty when nothing waits."""
        drained: list[Chunk] = []
        # The mark is read before the chunks: this drain may not see all chunks before a later mark.
        mark = self._mark
        rows = size = 0
        while rows < max_rows and size < DRAIN_BYTES:
            try:
                chunk = self._chunks.popleft()
            except IndexError:
                break
            self._taken_chunks += 1
            if isinstance(chunk, SlotPosition):
                self.place = self.data_place = chunk
                self._reached += 1
                continue
            drained.append(chunk)
            rows += len(chunk.rows)
            size += chunk.size_bytes
            self._taken_bytes += chunk.size_bytes
            if chunk.end_lsn is not None:
                self._reach(SlotPosition(chunk.incarnation, chunk.end_lsn))
                self.data_place = self.place
        if mark is not None and self._taken_chunks >= mark.after:
            self._reach(mark.place)
            awaited = self._awaited
            if awaited is not None and awaited != self._answered and mark.place >= awaited:
                self._answered, self.data_place = awaited, self.place
        return drained

    def _reach(self, place: SlotPosition) -> None:
        # A transaction that is sent again after a reconnect does not move the position back.
        if self.place is None or place > self.place:
            self.place = place
