"""Keeps two installations from reading one slot in turns: one of them stops, durably, and says so.

In: the slot as a reader finds it, heartbeats of the stream, an `OwnerStore`. Out: our own name and heartbeats;
``slot_shared`` when the other one stays. Rules (docs/design.md section 2): who finds the slot read by another
installation writes a heartbeat of its own, and waits until the reader has either stopped for it or confirmed past it;
processes of one installation only wait for each other; a heartbeat of our own that our records do not know says that
they are an older copy.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

import psycopg
import structlog

from connectors.postgres import slots
from connectors.postgres.connections import as_source_errors
from connectors.postgres.replication.continuity import Cursor, System
from connectors.postgres.replication.pgoutput import Message
from connectors.postgres.replication.transactions import HEARTBEAT
from connectors.postgres.slots import Slot
from rowtide.error_catalogue import source_errors
from rowtide.errors import RowtideError, SourceRefused
from rowtide.position import lsn_from_text
from rowtide.slot_owner import Heartbeat, SlotOwner, application_of, has_to_yield, read_heartbeat, reader_of

log = structlog.get_logger()

_SAY: Final = "SELECT pg_logical_emit_message(false, %s, %s)::text"
_NEVER: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Installation:
    """Which installation this is, and why it does not read the slot (None: it does). ``former``: its ids before."""

    id: str
    former: tuple[str, ...] = ()
    stop: RowtideError | None = None


class OwnerStore(Protocol):
    """Where it is kept whose the slot is. `count_heartbeat` comes from another thread than the rest."""

    def installation(self) -> Installation:
        """As it is on record now."""

    def note_owner(self, owner: SlotOwner) -> None:
        """Durably: the slot is read by this owner."""

    def stop(self, problem: RowtideError) -> None:
        """Durably: nobody of this installation reads the slot until a person takes it."""

    def is_ours(self, walsender_pid: int) -> bool:
        """Whether a living process of this installation says that this walsender is its own."""

    def count_heartbeat(self, incarnation: int, instance_id: str, known: int) -> int | None:
        """Durably: the number of the next heartbeat; None when the records know no such stream of ``instance_id``.

        ``known``: the number before it.
        """

    def went_back(self) -> None:
        """Durably: the records are an older copy of themselves, and nothing in them is believed."""


class SlotGuard:
    """One for the life of a reader, whose thread calls everything but `next_heartbeat`.

    ``lost``: why the session may not go on.
    """

    def __init__(
        self,
        slot: str,
        source: str,
        store: OwnerStore,
        on_lost: Callable[[], None],
        heard: Callable[[int, int], None] = lambda _at, _number: None,
    ) -> None:
        """``source``: the name that the definition gives the source; ``heard`` is told of our own heartbeats."""
        self.lost: RowtideError | None = None
        self._slot = slot
        self._source = source
        self._store = store
        self._on_lost = on_lost
        self._heard = heard
        self._here = Installation("")
        self._ours = SlotOwner(slot, "", 0)
        self._asked: tuple[str, int] | None = None
        self._met: set[str] = set()
        self._recorded = 0
        self._first = self._newest = 0  # heartbeats of this process; 0: none yet

    def enter(self) -> RowtideError | None:
        """Before a session: why the slot is left to another installation, until a person takes it (None: it is not)."""
        self._here, self._asked, self.lost = self._store.installation(), None, None
        return self._here.stop

    @property
    def application(self) -> str:
        """The name of the session's walsender."""
        return application_of(self._slot, self._here.id)

    def come(self, cursor: Cursor | None, system: System) -> SlotOwner:
        """What the slot is read under, if it is free: what is on record, else from the end of the WAL."""
        now = self._store.installation()
        if now.stop is not None:
            raise now.stop
        if now.id != self._here.id:
            raise source_errors.INSTANCE_CHANGED()
        self._here = now
        since_lsn = system.written_lsn
        if cursor is not None and cursor.owner_since_lsn <= since_lsn:
            ours = (now.id, system.system_id, system.timeline)
            if (cursor.owner, cursor.system_id, cursor.timeline) == ours:
                since_lsn = cursor.owner_since_lsn
        self._ours = SlotOwner(self._slot, now.id, since_lsn)
        return self._ours

    def begin(self, cursor: Cursor | None) -> None:
        """The slot is free. ``cursor`` was read after that, so that it knows every heartbeat of its last reader."""
        self._recorded = 0 if cursor is None else cursor.heartbeat

    def meet_reader(self, conn: psycopg.Connection, slot: Slot, open_session: Callable[[], psycopg.Connection]) -> None:
        """Return while we may wait for the slot's reader; SourceRefused ``slot_shared`` when it stays."""
        assert slot.active_pid is not None
        other = reader_of(slots.walsender(conn, slot.active_pid)[0])
        if other is None or other == self._here.id or self._store.is_ours(slot.active_pid):
            self._asked = None
        elif self._asked is None or self._asked[0] != other:
            log.warning("another installation reads the slot", slot=self._slot, instance=other)
            self._asked = other, self._ask(open_session)
        elif slot.confirmed_lsn >= self._asked[1]:
            # It lives, has met our heartbeat, and has not stopped for it.
            self._yield_to(other)

    def hear(self, message: Message) -> None:
        """Called with each heartbeat of the stream before the stream goes on; raises when we have to yield."""
        heard = read_heartbeat(message.content)
        if heard is None:
            return
        other, ours = heard.owner, self._ours
        if (other.slot, other.instance) == (ours.slot, ours.instance):
            self._hear_own(heard.number)
            self._heard(message.lsn, heard.number)
        if has_to_yield(ours, other, message.lsn, self._here.former):
            self._yield_to(other.instance)
        if other.slot == ours.slot and other.instance != ours.instance and message.lsn > ours.since_lsn:
            if other.instance not in self._met:
                log.warning("another installation wants the slot", slot=self._slot, instance=other.instance)
            self._met.add(other.instance)

    def _hear_own(self, number: int) -> None:
        # Only what this process has written can be newer than what was on record before the stream began.
        if self._recorded < number and not (self._first and self._first <= number):
            self._store.went_back()
            self._recorded = number

    def next_heartbeat(self, incarnation: int) -> str:
        """What the next heartbeat says; SourceUnavailable when the records do not know our stream any more."""
        ours = self._ours
        number = self._store.count_heartbeat(incarnation, ours.instance, self._newest)
        if number is None:
            self.lost = lost = source_errors.INSTANCE_CHANGED()
            self._on_lost()
            raise lost
        self._first, self._newest = self._first or number, number
        return Heartbeat(ours, number).to_text()

    def _ask(self, open_session: Callable[[], psycopg.Connection]) -> int:
        """Write our heartbeat into the WAL; where it ends."""
        said = Heartbeat(self._ours, 0).to_text()
        try:
            with contextlib.closing(open_session()) as conn, as_source_errors("asking for the slot"):
                row = conn.execute(_SAY, [HEARTBEAT, said]).fetchone()
        except SourceRefused as error:
            # A standby takes no messages: then nobody can tell whether the other one lives.
            log.warning("slot not asked for", slot=self._slot, code=error.code, problem=error.unquoted)
            return _NEVER
        return lsn_from_text(row[0]) if row else _NEVER

    def _yield_to(self, other: str) -> NoReturn:
        problem = source_errors.SLOT_SHARED(slot=self._slot, instance=other, source=self._source)
        self._store.stop(problem)
        log.error("slot left to another installation", slot=self._slot, instance=other, remedy=problem.remedy)
        raise problem
