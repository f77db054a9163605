"""The background thread that reads a slot into a queue, for ever, and says why when it cannot.

In: `ReaderSettings`, a `CursorStore`. Out: `drain` (chunks), `place` (up to where they were handed on), `confirm`
(everything up to there is staged), `problem` (one sentence why nothing moves, None when it does). Rules
(docs/design.md sections 2 and 5): reading resumes at the slot's position, in the cursor's incarnation; continuity is
judged on every connect, before and again right after START_REPLICATION, and by what the stream brings first; first the
cursor is written, then the position is confirmed; feedback goes on while the queue is full.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from connectors.loops import Loop
from connectors.postgres import slots
from connectors.postgres.replication.chunk_queue import ChunkQueue, SlotPosition
from connectors.postgres.replication.connection import (
    DATA_OFFSET,
    KEEPALIVE,
    XLOG_DATA,
    ReplicationConnection,
    read_keepalive,
)
from connectors.postgres.replication.feedback import Feedback
from connectors.postgres.replication.heard_heartbeats import HeardHeartbeats
from connectors.postgres.replication.history import History, last_known
from connectors.postgres.replication.pgoutput import malformed
from connectors.postgres.replication.resume_point import CursorStore, ReaderStopped, ResumePoint, require_server
from connectors.postgres.replication.slot_confirmer import SlotConfirmer
from connectors.postgres.replication.slot_guard import SlotGuard
from connectors.postgres.replication.transactions import Assembler
from connectors.postgres.replication.wakeup import Wakeup
from connectors.readings import SlotReading, SourceReading
from connectors.trouble import Trouble
from rowtide.error_catalogue import source_errors
from rowtide.errors import RowtideError
from rowtide.position import lsn_to_text
from rowtide.transaction import Chunk, Relation
from state import failpoints, pulse

log = structlog.get_logger()

_LEFT_POLL_S = 1.0
"""Seconds until it is asked again whether a person has taken the slot."""


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """``read_dsn`` is asked before each connect, so that a mended secret is found. ``heal`` is ``on_gap: heal``.

    ``source``: the name that the definition gives the source. ``applied_on``: the system id of the server that
    `apply` has met (empty: not known), asked before each connect too.
    """

    read_dsn: Callable[[], str]
    slot: str
    publication: str
    source: str = ""
    applied_on: Callable[[], str] = lambda: ""
    heartbeat_s: float = 10.0
    heal: bool = True
    failover: bool = False
    queue_bytes: int = 32 << 20


class Reader:
    """Reads one slot. ``start`` once, ``stop`` once; everything in between survives any failure of the source."""

    def __init__(
        self, settings: ReaderSettings, store: CursorStore, look_soon: Callable[[], None] = lambda: None
    ) -> None:
        """``look_soon`` is called when the tables are worth a look: a stream begins, one of them has another name."""
        self.settings = settings
        self.streaming = False
        self.incarnation = 0
        self.received_lsn = 0
        self.walsender_pid: int | None = None
        self._trouble = Trouble("not reading", "reading again", source=settings.source, slot=settings.slot)
        self._store = store
        self._look_soon = look_soon
        self._queue = ChunkQueue(settings.queue_bytes)
        self._wakeup = Wakeup()
        heartbeats = HeardHeartbeats()
        self._guard = SlotGuard(settings.slot, settings.source, store, self._wakeup.wake, heartbeats.hear)
        self._confirmer = SlotConfirmer(
            lambda: self._resume_point.open_beside(settings.read_dsn(), "rowtide heartbeat"),
            settings.source,
            settings.slot,
            settings.publication,
            settings.heartbeat_s,
            self._guard.next_heartbeat,
            heartbeats,
            advance=store.advance,
            on_confirmed=self._report_soon,
            on_publication=self._see_publication,
        )
        self._relations: dict[bytes, Relation] = {}
        self._stop = threading.Event()
        self._resume_point = ResumePoint(
            settings.slot,
            settings.publication,
            settings.heal,
            settings.failover,
            settings.applied_on,
            store,
            self._guard,
            self._trouble.note,
            self._stop,
        )
        self._feedback = Feedback()
        self._paused = False
        self._interrupt: RowtideError | None = None
        self._thread = Loop(failpoints.LOOP_READER, self._run, self._stop)

    # --- the flow's side: never blocks ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start reading in the background."""
        self._confirmer.start()
        self._thread.start()

    def stop(self, timeout_s: float = 0.5) -> None:
        """End the threads. Confirms nothing: what is not durable yet is read again by the next run."""
        self._stop.set()
        self._wakeup.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            self._confirmer.stop(timeout_s)
        if not self._thread.is_alive() and not self._confirmer.alive:
            self._store.close()
            self._wakeup.close()

    def drain(self, max_rows: int = 10_000) -> list[Chunk]:
        """The chunks that wait, oldest first, until they make up ``max_rows``."""
        chunks = self._queue.drain(max_rows)
        if self._paused and self._queue.roomy:
            self._wakeup.wake()
        return chunks

    @property
    def slot(self) -> str:
        """The slot's name."""
        return self.settings.slot

    @property
    def place(self) -> SlotPosition | None:
        """Where the last whole transaction handed on ended, or further on where only others' WAL followed."""
        return self._queue.place

    def confirm(self, place: SlotPosition) -> None:
        """Say that everything up to ``place`` is staged; the cursor and PostgreSQL learn it in the background."""
        if self._queue.between_streams:
            return  # what the stream before it had reached says nothing of the one that begins
        data, confirmed = self._queue.data_place, self._confirmer.confirmed
        urgent = data is not None and confirmed is not None and data > confirmed
        self._confirmer.confirm(place, urgent)

    @property
    def confirmed(self) -> SlotPosition | None:
        """The cursor as last written."""
        return self._confirmer.confirmed

    @property
    def waiting_bytes(self) -> int:
        """Estimated memory of what was read and not yet drained."""
        return self._queue.waiting_bytes

    @property
    def reading(self) -> SourceReading:
        """What metrics tell of the source; of a slot that is not read nobody knows what it keeps by now."""
        heard_at_s, shown = self._confirmer.heard_at_s, self._confirmer.shown if self.streaming else None
        return SourceReading(
            self.streaming,
            self.incarnation,
            None if heard_at_s is None else time.monotonic() - heard_at_s,
            None if shown is None else SlotReading(shown.lag_bytes, shown.retained_bytes, shown.safe_wal_size),
        )

    @property
    def problem(self) -> RowtideError | None:
        """Why the slot is not read, or its cursor not written; None while both are."""
        return self._trouble.problem or self._confirmer.problem

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._session()
            except ReaderStopped:
                break
            except Exception as error:
                self._thread.count(error)
                self.streaming, self.walsender_pid = False, None
                name = type(error).__name__
                problem = error if isinstance(error, RowtideError) else source_errors.READER_FAILED(error=name)
                pulse.wait(self._stop, self._trouble.failed(problem, error))

    def _session(self) -> None:
        """Run one connection, from connect to failure; it ends only by an exception."""
        settings = self.settings
        while (left := self._guard.enter()) is not None:
            self._trouble.note(left)
            if pulse.wait(self._stop, _LEFT_POLL_S):
                raise ReaderStopped
        dsn = settings.read_dsn()
        stream = ReplicationConnection.connect(dsn, self._guard.application)
        started = False
        try:
            server = require_server(stream)
            self._feedback.begin(server.sender_timeout_s)
            start = self._resume_point.find_start(stream, dsn)
            place = start.place
            stream.start(settings.slot, settings.publication, place.lsn)
            started = True
            self._resume_point.verify(stream, dsn, place)
            assembler = Assembler(place.incarnation, server.next_xid, self._relations, hear=self._guard.hear)
            history = History(last_known(start.awaits, self._queue.newest, place))
            self._begin(place, stream.backend_pid)
            log.info("streaming", slot=settings.slot, incarnation=place.incarnation, position=lsn_to_text(place.lsn))
            self._pump(stream, assembler, history)
        except RowtideError as error:
            # Up to PostgreSQL 17 WAL from before the publication's creation ends the stream, for ever.
            if started and error.code == source_errors.STREAM_OBJECT_MISSING.code:
                self._resume_point.publication_gap = True
            if started and error.code == source_errors.HISTORY_REPLACED.code:
                self._resume_point.history_gap = True
            raise
        finally:
            self._confirmer.beating.clear()
            stream.close()

    def _begin(self, place: SlotPosition, walsender_pid: int) -> None:
        self.walsender_pid = walsender_pid
        self.incarnation = place.incarnation
        self.received_lsn = place.lsn
        self._interrupt = None
        self._queue.begin(place)
        self._confirmer.begin(place)
        self._confirmer.beating.set()
        self._trouble.succeeded()  # before anybody sees the stream, so that its users find no problem any more
        self.streaming = True
        self._look_soon()

    def _pump(self, stream: ReplicationConnection, assembler: Assembler, history: History) -> None:
        """Read until something breaks. The inner loop runs once a message, a million times in a bulk statement:
        names are local, and nothing but decoding and queueing happens in it."""
        queue, read, feed = self._queue, stream.read, assembler.feed
        put, incarnation = queue.put, assembler.incarnation
        stream.watch(self._wakeup.fileno())
        while True:
            self._thread.turn()
            self._attend(stream)
            if assembler.renamed:
                assembler.renamed = False
                self._look_soon()
            if not queue.room:
                self._pause()
                continue
            stream.receive()
            message = read()
            if message is None:
                stream.wait(self._feedback.due_in_s())
                self._wakeup.clear()
                continue
            while message is not None:
                if message[0] == XLOG_DATA:
                    chunk = feed(bytes(message[DATA_OFFSET:]))
                    if chunk is not None:
                        if history.awaits is not None:
                            history.see(chunk)
                        if chunk.rows:
                            put(chunk)
                        else:
                            queue.mark(incarnation, chunk.end_lsn or 0, urgent=not chunk.xid)
                        if chunk.end_lsn:
                            self.received_lsn = chunk.end_lsn
                elif message[0] == KEEPALIVE:
                    self._hear(message, assembler, history)
                else:
                    raise malformed(message, "its kind is unknown")
                message = read()

    def _attend(self, stream: ReplicationConnection) -> None:
        """Between two reads: end when asked to, report when due."""
        if self._stop.is_set():
            raise ReaderStopped
        if (interrupt := self._interrupt or self._guard.lost) is not None:
            raise interrupt
        self._feedback.send_if_due(stream, self.received_lsn, self._confirmer.confirmed)

    def _pause(self) -> None:
        """The queue is full: leave the socket alone (TCP holds the walsender back) but go on reporting."""
        self._paused = True
        if not self._queue.roomy:
            self._wakeup.wait(min(1.0, self._feedback.due_in_s()))
        self._paused = False

    def _hear(self, message: bytes | memoryview, assembler: Assembler, history: History) -> None:
        wal_end, wants_reply = read_keepalive(message)
        # Inside a transaction it may name WAL beyond the rows that are still to come.
        if not assembler.in_transaction:
            history.pass_by(wal_end)
            self._queue.mark(assembler.incarnation, wal_end)
            self.received_lsn = max(self.received_lsn, wal_end)
        if wants_reply:
            self._feedback.note_request()

    # --- news from other threads ---------------------------------------------------------------------------------

    def _see_publication(self, oid: int | None) -> None:
        """Note the publication that the heartbeat saw: with 18 a stream only goes silent when it is dropped."""
        if oid is None:
            self._resume_point.publication_gap = True
            self._interrupt = slots.publication_missing(self.settings.publication)
            self._wakeup.wake()
        elif oid != self._resume_point.publication_oid:
            self._interrupt = source_errors.PUBLICATION_RECREATED()
            self._wakeup.wake()

    def _report_soon(self) -> None:
        self._feedback.soon()
        self._wakeup.wake()
