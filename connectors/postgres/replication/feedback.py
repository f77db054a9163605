"""When a reader reports its positions to PostgreSQL.

In: keepalives that want an answer, positions that were confirmed, the server's ``wal_sender_timeout``. Out: status
messages on the stream. Rules: a report goes out at least four times in a ``wal_sender_timeout``, and at once when the
server asks; a walsender that asks again and again is shutting down, so its stream is ended.
"""

import time
from typing import Final

from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.connection import ReplicationConnection
from rowtide.error_catalogue import source_errors

_STATUS_MOST_S: Final = 10.0

# A walsender that shuts down asks again as soon as it is answered, until all it sent is confirmed; that can take as
# long as nobody stages, and the server waits for it. A healthy one asks twice in a wal_sender_timeout.
_SHUTDOWN_ASKS: Final = 4
_SHUTDOWN_WINDOW_S: Final = 1.0


class Feedback:
    """Used by the reader's thread; `soon` by any thread."""

    def __init__(self) -> None:
        self._status_s = _STATUS_MOST_S
        self._next_status = 0.0
        self._soon = False
        self._asks: list[float] = []

    def begin(self, sender_timeout_s: float) -> None:
        """A stream starts; ``sender_timeout_s`` 0: the server waits for ever."""
        self._status_s = min(_STATUS_MOST_S, sender_timeout_s / 4 or _STATUS_MOST_S)
        self._next_status = 0.0
        self._asks.clear()

    def soon(self) -> None:
        """Have `send_if_due` report at its next call."""
        self._soon = True

    def due_in_s(self) -> float:
        """Seconds until a report is due by time; 0 when it is due now."""
        return max(0.0, self._next_status - time.monotonic())

    def note_request(self) -> None:
        """The server asked for a report; SourceUnavailable when it asks because it is shutting down."""
        self._soon = True
        now = time.monotonic()
        self._asks = [asked for asked in self._asks if now - asked < _SHUTDOWN_WINDOW_S] + [now]
        if len(self._asks) >= _SHUTDOWN_ASKS and self._status_s > _SHUTDOWN_WINDOW_S / _SHUTDOWN_ASKS:
            raise source_errors.SERVER_STOPPING()

    def send_if_due(self, stream: ReplicationConnection, received_lsn: int, confirmed: SlotPosition | None) -> None:
        """Report ``received_lsn`` as written and ``confirmed`` as durable, when it is time or was asked for."""
        now = time.monotonic()
        if self._soon or now >= self._next_status:
            self._soon = False
            self._next_status = now + self._status_s
            if confirmed is not None:
                stream.send_status(received_lsn, confirmed.lsn, time.time_ns() // 1000)
