"""The thread that keeps a slot moving: it writes the cursor, lets it be confirmed, and sends heartbeats.

In: places up to which everything is staged (`confirm`). Out: the cursor written by ``advance``; ``confirmed``, which
the reader reports to PostgreSQL. Rules: first the cursor, then PostgreSQL; a heartbeat is a logical message, so a
database in which nothing published changes still lets go of its WAL; an idle stream writes the cursor only at the
heartbeat's pace, because each write makes WAL, too, where both databases share a server.
"""

import contextlib
import threading
import time
from collections.abc import Callable

import psycopg

from connectors.loops import Loop
from connectors.postgres import slots
from connectors.postgres.connections import as_source_errors
from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.heard_heartbeats import HeardHeartbeats
from connectors.postgres.replication.transactions import HEARTBEAT
from connectors.trouble import Trouble
from rowtide.error_catalogue import process_errors
from rowtide.errors import RowtideError
from state import failpoints

# One round trip: the beat (with its own time, for measurements of the way), and the publication's oid.
_BEAT = (
    "SELECT pg_logical_emit_message(false, %s, %s || ' ' || (extract(epoch FROM clock_timestamp()) * 1000000)::bigint),"
    " (SELECT oid::text FROM pg_publication WHERE pubname = %s)"
)

_IDLE_HEARTBEATS = 1.5
"""An idle stream's place waits for the next heartbeat, with which it is written; without one, not for ever."""


class SlotConfirmer:
    """Runs until ``stop``; one for the life of a reader. ``beating`` is set only while the stream is up.

    ``shown``: the slot as it was at the last heartbeat; ``heard_at_s``: when one was staged last, by `time.monotonic`.
    """

    def __init__(
        self,
        open_session: Callable[[], psycopg.Connection],
        source: str,
        slot: str,
        publication: str,
        heartbeat_s: float,
        next_heartbeat: Callable[[int], str],
        heartbeats: HeardHeartbeats,
        advance: Callable[[int, int, int], None],
        on_confirmed: Callable[[], None],
        on_publication: Callable[[int | None], None],
    ) -> None:
        self.confirmed: SlotPosition | None = None
        self._writing = Trouble("cursor not written", "cursor written again")
        self._speaking = Trouble("heartbeat failed", "heartbeats go on", source=source)
        self.beating = threading.Event()
        self.shown: slots.Slot | None = None
        self.heard_at_s: float | None = None
        self._open_session = open_session
        self._slot = slot
        self._publication = publication
        self._heartbeat_s = heartbeat_s
        self._next_heartbeat = next_heartbeat
        self._heartbeats = heartbeats
        self._advance = advance
        self._on_confirmed = on_confirmed
        self._on_publication = on_publication
        self._lock = threading.Condition()
        self._wanted: SlotPosition | None = None
        self._urgent = False
        self._streams = 0
        self._stop = threading.Event()
        self._conn: psycopg.Connection | None = None
        self._conn_of = 0  # the stream beside which it was opened
        self._next_beat = 0.0
        self._next_idle_write = 0.0
        self._not_before = 0.0
        self._thread = Loop(failpoints.LOOP_CONFIRMER, self._run, self._stop)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """End the thread. Nothing is written or confirmed on the way out."""
        with self._lock:
            self._stop.set()
            self._lock.notify()
        self._thread.join(timeout_s)

    @property
    def problem(self) -> RowtideError | None:
        """Why the cursor cannot be written; None when it can."""
        return self._writing.problem

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def begin(self, place: SlotPosition) -> None:
        """Start of a stream: below ``place`` everything is confirmed, and what the last stream reached is void."""
        with self._lock:
            self._streams += 1
            self._heartbeats.begin()
            self.confirmed = place
            self._wanted, self._urgent = None, False

    def confirm(self, place: SlotPosition, urgent: bool) -> None:
        """Everything up to ``place`` is staged. ``urgent``: there was data, not only an idle stream's progress."""
        with self._lock:
            if self.confirmed is None or place.incarnation != self.confirmed.incarnation or place <= self.confirmed:
                return
            self._wanted = place
            # A heartbeat is noted at once: it is what says of a stream at rest how late it is.
            urgent = urgent or self._heartbeats.before(place.lsn) > 0
            self._urgent = self._urgent or urgent
            if urgent:
                self._lock.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                if not self._stop.is_set() and (wait_s := self._due_in(now)) > 0:
                    self._lock.wait(wait_s)
                if self._stop.is_set():
                    break
            try:
                self._thread.turn()
                self._write()
                self._beat()
            except RowtideError as error:
                self._fail(error)
            except Exception as error:
                self._thread.count(error)
                self._fail(process_errors.CONFIRMER_FAILED(error=type(error).__name__), error)
        self._drop()

    def _due_in(self, now: float) -> float:
        """Seconds until something is to be done; the caller holds the lock."""
        due = self._next_beat if self.beating.is_set() else now + self._heartbeat_s
        if self._wanted is not None:
            due = min(due, 0.0 if self._urgent else self._next_idle_write)
        return min(max(due, self._not_before) - now, 1.0)

    def _write(self) -> None:
        with self._lock:
            now = time.monotonic()
            wanted = self._wanted
            if wanted is None or now < self._not_before or not (self._urgent or now >= self._next_idle_write):
                return
            self._wanted, self._urgent = None, False
            stream = self._streams
        failpoints.hit(failpoints.CONFIRM_BEFORE_CURSOR)
        try:
            heartbeat = self._heartbeats.before(wanted.lsn)
            self._advance(*wanted, heartbeat)
            self._heartbeats.noted(heartbeat)
            if heartbeat:
                self.heard_at_s = time.monotonic()
        except RowtideError:
            with self._lock:
                # A later place may have come meanwhile; it includes this one.
                if stream == self._streams:
                    self._wanted = self._wanted or wanted
                    self._urgent = True
            raise
        self._writing.succeeded()
        failpoints.hit(failpoints.CONFIRM_AFTER_CURSOR)
        with self._lock:
            self._next_idle_write = time.monotonic() + _IDLE_HEARTBEATS * self._heartbeat_s
            if self.confirmed is not None and stream == self._streams:
                self.confirmed = max(self.confirmed, wanted)
        self._on_confirmed()

    def _beat(self) -> None:
        now, confirmed = time.monotonic(), self.confirmed
        if not self.beating.is_set() or confirmed is None or now < self._next_beat:
            return
        self._next_beat = now + self._heartbeat_s
        try:
            said = self._next_heartbeat(confirmed.incarnation)
            if self._conn is None or self._conn_of != self._streams:
                self._drop()  # another stream may be another server's
                self._conn_of = self._streams
                self._conn = self._open_session()
            with as_source_errors("sending a heartbeat"):
                row = self._conn.execute(_BEAT, [HEARTBEAT, said, self._publication]).fetchone()
            self.shown = slots.slot_lag(self._conn, self._slot)
        except RowtideError as error:
            # The stream may be up all the same (no free connection, say); then it goes on without heartbeats.
            self._speaking.failed(error)
            self._drop()
            return
        self._speaking.succeeded()
        self._on_publication(int(row[1]) if row and row[1] else None)

    def _fail(self, error: RowtideError, fault: Exception | None = None) -> None:
        self._not_before = time.monotonic() + self._writing.failed(error, fault)

    def _drop(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            with contextlib.suppress(psycopg.Error):
                conn.close()
