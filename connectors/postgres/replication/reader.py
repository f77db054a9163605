"""The background thread that reads a slot into a queue, for ever, and says why when it cannot.

In: `ReaderSettings`, a `CursorStore`. Out: `drain` (chunks), `place` (up to where they were handed on), `confirm`
(everything up to there is staged), `problem` (one sentence why nothing moves, None when it does). Rules (DESIGN
sections 2 and 3): reading resumes only from the cursor; continuity is judged on every connect, before and again right
after START_REPLICATION; first the cursor is written, then the position is confirmed; feedback goes on while the queue
is full.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from connectors.postgres import slots
from connectors.postgres.replication.chunk_queue import ChunkQueue, Place
from connectors.postgres.replication.connection import (
    DATA_OFFSET,
    KEEPALIVE,
    XLOG_DATA,
    ReplicationConnection,
    read_keepalive,
)
from connectors.postgres.replication.resume_point import CursorStore, Opening, Stopped, require_server
from connectors.postgres.replication.slot_confirmer import Keeper
from connectors.postgres.replication.transactions import Assembler
from rowtide.errors import Retry, RowtideError, SourceRefused, SourceUnavailable, reaction_to
from rowtide.position import lsn_to_text
from rowtide.transaction import Chunk, Relation

log = structlog.get_logger()

_STATUS_MOST_S: Final = 10.0
_DEFAULT_RETRY: Final = Retry(2.0, 60.0)

# A walsender that shuts down asks again as soon as it is answered, until all it sent is confirmed; that can take as
# long as nobody stages, and the server waits for it. A healthy one asks twice in a wal_sender_timeout.
_SHUTDOWN_ASKS: Final = 4
_SHUTDOWN_WINDOW_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """``read_dsn`` is asked before each connect, so that a mended secret is found. ``heal`` is ``on_gap: heal``."""

    read_dsn: Callable[[], str]
    slot: str
    publication: str
    heartbeat_s: float = 10.0
    heal: bool = True
    failover: bool = False
    queue_bytes: int = 64 << 20


class Reader:
    """Reads one slot. ``start`` once, ``stop`` once; everything in between survives any failure of the source."""

    def __init__(self, settings: ReaderSettings, store: CursorStore) -> None:
        self.settings = settings
        self.problem: RowtideError | None = None
        self.streaming = False
        self.era = 0
        self.received_lsn = 0
        self._store = store
        self._queue = ChunkQueue(settings.queue_bytes)
        self._keeper = Keeper(
            settings.read_dsn,
            settings.publication,
            settings.heartbeat_s,
            advance=store.advance,
            on_confirmed=self._report_soon,
            on_publication=self._see_publication,
        )
        self._relations: dict[bytes, Relation] = {}
        self._stop = threading.Event()
        self._opening = Opening(
            settings.slot, settings.publication, settings.heal, settings.failover, store, self._tell, self._stop
        )
        self._report = False
        self._paused = False
        self._interrupt: RowtideError | None = None
        self._status_s = _STATUS_MOST_S
        self._next_status = 0.0
        self._asks: list[float] = []
        self._awake, self._waker = socket.socketpair()
        self._awake.setblocking(False)
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="rowtide-reader", daemon=True)

    # --- the flow's side: never blocks ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start reading in the background."""
        self._keeper.start()
        self._thread.start()

    def stop(self, timeout_s: float = 0.5) -> None:
        """End the threads. Confirms nothing: what is not durable yet is read again by the next run."""
        self._stop.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            self._keeper.stop(timeout_s)
        if not self._thread.is_alive() and not self._keeper.alive:
            self._store.close()
            self._awake.close()
            self._waker.close()

    def drain(self, max_rows: int = 10_000) -> list[Chunk]:
        """The chunks that wait, oldest first, until they make up ``max_rows``."""
        chunks = self._queue.drain(max_rows)
        if self._paused and self._queue.roomy:
            self._wake()
        return chunks

    @property
    def place(self) -> Place | None:
        """Era and end LSN of the last whole transaction handed on, or further on where only others' WAL followed."""
        return self._queue.place

    def confirm(self, place: Place) -> None:
        """Say that everything up to ``place`` is staged; the cursor and PostgreSQL learn it in the background."""
        data, confirmed = self._queue.data_place, self._keeper.confirmed
        urgent = data is not None and confirmed is not None and data > confirmed
        self._keeper.confirm(place, urgent)

    @property
    def confirmed(self) -> Place | None:
        """The cursor as last written."""
        return self._keeper.confirmed

    @property
    def waiting_bytes(self) -> int:
        """Estimated memory of what was read and not yet drained."""
        return self._queue.waiting_bytes

    @property
    def trouble(self) -> RowtideError | None:
        """The reader's problem, or that the cursor cannot be written."""
        return self.problem or self._keeper.problem

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._session()
            except Stopped:
                break
            except RowtideError as error:
                problem = error
            except Exception as error:  # whatever it is, it must be seen and tried again, never end the thread
                log.exception("reader failed", slot=self.settings.slot, error=type(error).__name__)
                problem = SourceUnavailable("internal", f"Reading the slot failed ({type(error).__name__}).")
            failures = 0 if self.streaming else failures
            self.streaming = False
            self._tell(problem)
            reaction = reaction_to(problem)
            retry = reaction if isinstance(reaction, Retry) else _DEFAULT_RETRY
            self._stop.wait(min(retry.most_s, retry.first_s * 2**failures))
            failures = min(failures + 1, 16)

    def _session(self) -> None:
        """One connection, from connect to failure; ends only by an exception."""
        settings = self.settings
        dsn = settings.read_dsn()
        stream = ReplicationConnection.connect(dsn, f"rowtide {settings.slot}"[:63])
        started = False
        try:
            server = require_server(stream)
            self._status_s = min(_STATUS_MOST_S, server.sender_timeout_s / 4 or _STATUS_MOST_S)
            place = self._opening.find_place(stream, dsn)
            stream.start(settings.slot, settings.publication, place.lsn)
            started = True
            self._opening.verify(stream, dsn, place)
            assembler = Assembler(place.era, server.next_xid, self._relations)
            self._begin(place)
            log.info("streaming", slot=settings.slot, era=place.era, lsn=lsn_to_text(place.lsn))
            self._pump(stream, assembler)
        except SourceRefused as error:
            # Up to PostgreSQL 17 WAL from before the publication's creation ends the stream, for ever.
            if started and error.code == "stream_object_missing":
                self._opening.publication_gap = True
            raise
        finally:
            self._keeper.beating.clear()
            stream.close()

    def _begin(self, place: Place) -> None:
        self.era = place.era
        self.received_lsn = place.lsn
        self._interrupt = None
        self._asks.clear()
        self._next_status = 0.0
        self._keeper.begin(place)
        self._keeper.beating.set()
        self._queue.mark(place.era, place.lsn)
        self.streaming = True
        self.problem = None

    def _pump(self, stream: ReplicationConnection, assembler: Assembler) -> None:
        """Read until something breaks. The inner loop runs once a message, a million times in a bulk statement:
        names are local, and nothing but decoding and queueing happens in it."""
        queue, read, feed = self._queue, stream.read, assembler.feed
        put, era = queue.put, assembler.era
        stream.watch(self._awake.fileno())
        while True:
            self._attend(stream)
            if not queue.room:
                self._pause()
                continue
            stream.receive()
            message = read()
            if message is None:
                stream.wait(max(0.0, self._next_status - time.monotonic()))
                self._sleep_off()
                continue
            while message is not None:
                if message[0] == XLOG_DATA:
                    chunk = feed(bytes(message[DATA_OFFSET:]))
                    if chunk is not None:
                        if chunk.rows:
                            put(chunk)
                        else:
                            queue.mark(era, chunk.end_lsn or 0)
                        if chunk.end_lsn:
                            self.received_lsn = chunk.end_lsn
                elif message[0] == KEEPALIVE:
                    self._hear(message, assembler)
                message = read()

    def _attend(self, stream: ReplicationConnection) -> None:
        """Between two reads: end when asked to, report when due."""
        if self._stop.is_set():
            raise Stopped
        if self._interrupt is not None:
            raise self._interrupt
        now = time.monotonic()
        if self._report or now >= self._next_status:
            self._report = False
            self._next_status = now + self._status_s
            confirmed = self._keeper.confirmed
            if confirmed is not None:
                stream.send_status(self.received_lsn, confirmed.lsn, time.time_ns() // 1000)

    def _pause(self) -> None:
        """The queue is full: leave the socket alone (TCP holds the walsender back) but go on reporting."""
        self._paused = True
        if not self._queue.roomy:
            self._wait_for_wake(max(0.0, min(1.0, self._next_status - time.monotonic())))
        self._paused = False

    def _hear(self, message: bytes | memoryview, assembler: Assembler) -> None:
        wal_end, wants_reply = read_keepalive(message)
        # Inside a transaction it may tell of WAL beyond the rows that are still to come.
        if not assembler.in_transaction:
            self._queue.mark(assembler.era, wal_end)
            self.received_lsn = max(self.received_lsn, wal_end)
        if wants_reply:
            self._report = True
            now = time.monotonic()
            self._asks = [asked for asked in self._asks if now - asked < _SHUTDOWN_WINDOW_S] + [now]
            if len(self._asks) >= _SHUTDOWN_ASKS and self._status_s > _SHUTDOWN_WINDOW_S / _SHUTDOWN_ASKS:
                raise SourceUnavailable("server_stopping", "The server is shutting down.")

    # --- odds and ends -------------------------------------------------------------------------------------------

    def _see_publication(self, oid: int | None) -> None:
        """The heartbeat saw the publication: with 18 a stream just goes silent when it is dropped."""
        if oid is None:
            self._opening.publication_gap = True
            self._interrupt = slots.publication_missing(self.settings.publication)
            self._wake()
        elif oid != self._opening.publication_oid:
            self._interrupt = SourceUnavailable("publication_recreated", "The publication was recreated.")
            self._wake()

    def _tell(self, problem: RowtideError) -> None:
        if self.problem is None or self.problem.code != problem.code:
            log.warning("not reading", slot=self.settings.slot, code=problem.code, problem=problem.sentence)
        self.problem = problem

    def _report_soon(self) -> None:
        self._report = True
        self._wake()

    def _wake(self) -> None:
        # A full pipe wakes just as well.
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"\0")

    def _wait_for_wake(self, timeout_s: float) -> None:
        self._awake.settimeout(timeout_s or 0.001)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            self._awake.recv(4096)
        self._awake.setblocking(False)

    def _sleep_off(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._awake.recv(4096)
