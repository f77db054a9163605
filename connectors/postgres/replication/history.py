"""Whether a stream continues the history that was staged: the transaction staged last has to be met again.

In: that transaction (None: the slot itself proves it, as it stands beyond), chunks and keepalives in stream order. Out:
nothing, or an error that ends the session. Rule (docs/design.md section 2): nothing that lies beyond that transaction
is handed on before it was met; a server restored from a volume's snapshot has the same system id and timeline, and its
WAL may have grown past everything that was staged.
"""

from connectors.postgres.replication.chunk_queue import SlotPosition
from rowtide.error_catalogue import source_errors
from rowtide.position import lsn_to_text
from rowtide.transaction import Chunk, CommittedTransaction


def last_known(
    staged: CommittedTransaction | None, handed_on: Chunk | None, place: SlotPosition
) -> CommittedTransaction | None:
    """The later of what was ``staged`` and what this process has ``handed_on``, if a slot at ``place`` sends it again.

    What was handed on may still be on its way to the outbox.
    """
    if handed_on is None or handed_on.incarnation != place.incarnation or handed_on.lsn < place.lsn:
        return staged
    return max(handed_on.transaction, staged) if staged is not None else handed_on.transaction


class History:
    """One for each session. ``awaits`` is None once the transaction was met."""

    def __init__(self, awaits: CommittedTransaction | None) -> None:
        self.awaits = awaits

    def see(self, chunk: Chunk) -> None:
        """Called with each chunk before it is handed on."""
        last = self.awaits
        if last is None or (chunk.lsn < last.lsn and (chunk.end_lsn or 0) <= last.lsn):
            return  # proven, or one from before it that is sent again
        if chunk.transaction != last:
            raise source_errors.HISTORY_REPLACED(lsn=lsn_to_text(last.lsn))
        self.awaits = None

    def pass_by(self, wal_end: int) -> None:
        """The server has read its WAL up to ``wal_end`` and sent all there was."""
        last = self.awaits
        if last is not None and wal_end > last.lsn:
            raise source_errors.HISTORY_REPLACED(lsn=lsn_to_text(last.lsn))
