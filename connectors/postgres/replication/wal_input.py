"""Bytewax's input over a slot: chunks of transactions out of the reader's queue.

In: a `Reader`. Out: `Chunk`s, in stream order. Rules: `next_batch` only drains, it never blocks; `snapshot` is the end
of the last *whole* transaction handed on; reading resumes from the cursor, and the position that Bytewax stored is
ignored.

The confirm rule (docs/design.md section 5): with recovery on, Bytewax calls `next_batch` only after all earlier epochs
are durable on all workers (docs/facts.md section 14). So when it is called after `snapshot` returned X, everything up
to X is staged, and only then is X given to the reader, which writes the cursor first and confirms to PostgreSQL second.
`close` confirms nothing: it runs before the last epoch is durable. Without recovery the rule does not hold; flows.run
never runs without it.
"""

import threading

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.reader import Reader
from rowtide.transaction import Chunk
from state import failpoints

BATCH_ROWS = 10_000
"""Rows handed on at a time: enough for a set-based merge to pay, little enough for half a second of work."""


class WalPartition(StatefulSourcePartition[Chunk, SlotPosition | None]):
    """The one partition of a slot."""

    def __init__(self, reader: Reader, stop: threading.Event, batch_rows: int) -> None:
        self._reader = reader
        self._stop = stop
        self._batch_rows = batch_rows
        self._snapshotted: SlotPosition | None = None
        reader.start()

    def next_batch(self) -> list[Chunk]:
        """The chunks that wait. The call itself also means that the last snapshot is durable."""
        if self._snapshotted is not None:
            failpoints.hit(failpoints.EPOCH_CLOSED)
            self._reader.confirm(self._snapshotted)
            self._snapshotted = None
        if self._stop.is_set():
            raise StopIteration
        return self._reader.drain(self._batch_rows)

    def snapshot(self) -> SlotPosition | None:
        """Incarnation and LSN up to which everything was handed on."""
        self._snapshotted = self._reader.place
        failpoints.hit(failpoints.EPOCH_CLOSING)
        return self._snapshotted

    def close(self) -> None:
        """Stop the threads; nothing is confirmed here."""
        self._reader.stop()


class WalInput(FixedPartitionedSource[Chunk, SlotPosition | None]):
    """The slot as a source with one partition of the slot's name. All inputs end when ``stop`` is set."""

    def __init__(self, reader: Reader, stop: threading.Event, batch_rows: int = BATCH_ROWS) -> None:
        self._reader = reader
        self._stop = stop
        self._batch_rows = batch_rows

    def list_parts(self) -> list[str]:
        """The slot's name."""
        return [self._reader.settings.slot]

    def build_part(self, step_id: str, for_part: str, resume_state: SlotPosition | None) -> WalPartition:  # noqa: ARG002
        """The partition; reading begins where the cursor stands, whatever ``resume_state`` says."""
        return WalPartition(self._reader, self._stop, self._batch_rows)
