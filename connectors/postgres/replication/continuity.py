"""Decides, on every connect, whether a slot still continues where the cursor stands.

In: the cursor (None before the first run), what the server says of itself, the slot as it is. Out: `Continue` from the
slot's own position, or `NewIncarnation` with a reason. Rule (docs/design.md section 2): *any* new timeline, a slot
ahead of the cursor, a WAL end or a next xid below what was staged means a new incarnation at the slot's own position,
and a reconcile. A slot that is gone or has lost its WAL means the same with a new slot. What the server's state cannot
prove, its stream has to: `Continue.awaits`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from connectors.postgres.slots import Slot
from rowtide.error_catalogue import sync_errors
from rowtide.error_catalogue.entries import Said
from rowtide.position import lsn_to_text
from rowtide.transaction import CommittedTransaction


class Cursor(Protocol):
    """The slot's durable cursor (state.cursors.SlotCursor): where capture goes on, and the furthest it has staged."""

    @property
    def incarnation(self) -> int: ...
    @property
    def lsn(self) -> int: ...
    @property
    def system_id(self) -> str: ...
    @property
    def timeline(self) -> int: ...
    @property
    def staged_lsn(self) -> int: ...
    @property
    def staged(self) -> CommittedTransaction | None: ...
    @property
    def publication_oid(self) -> int: ...
    @property
    def address(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def owner_since_lsn(self) -> int: ...
    @property
    def heartbeat(self) -> int: ...


@dataclass(frozen=True, slots=True)
class System:
    """What IDENTIFY_SYSTEM says of the server, which publication is there now, and the next xid (0: a standby).

    ``address``: where it was reached. ``written_lsn``: where the WAL that is written but perhaps not flushed ends.
    """

    system_id: str
    timeline: int
    wal_end: int
    publication_oid: int
    next_xid: int = 0
    address: str = ""
    written_lsn: int = 0


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on in the cursor's incarnation from the slot's position.

    ``awaits``: the transaction that was staged last and that the slot sends again, if it is the slot it was.
    """

    incarnation: int
    lsn: int
    awaits: CommittedTransaction | None = None


@dataclass(frozen=True, slots=True)
class NewIncarnation:
    """Continuity cannot be proven. ``recreate``: the slot can never be read again and has to be made anew."""

    incarnation: int
    code: str
    reason: str
    recreate: bool = False

    @property
    def gap(self) -> bool:
        """Whether something may have been missed (a first start has missed nothing that was ever promised)."""
        return self.code != sync_errors.FIRST_START.code


def new_incarnation(number: int, why: Said, recreate: bool = False) -> NewIncarnation:
    """The incarnation for a reason of the catalogue."""
    return NewIncarnation(number, why.code, why.sentence, recreate)


def continuity(cursor: Cursor | None, system: System, slot: Slot | None) -> Continue | NewIncarnation:
    """Go on, or a new incarnation and why. Which server it is comes first: nothing is
    made or dropped on another one."""
    broken = slot is None or slot.lost
    if cursor is None:
        return new_incarnation(1, sync_errors.FIRST_START(), recreate=broken)
    gap = partial(new_incarnation, cursor.incarnation + 1)
    if not cursor.system_id:
        return gap(sync_errors.SOURCE_ACCEPTED(), recreate=broken)
    if slot is None:
        return gap(sync_errors.SLOT_GONE(), recreate=True)
    if slot.lost:
        return gap(sync_errors.SLOT_LOST(why=slot.why_lost), recreate=True)
    if system.timeline != cursor.timeline:
        # After a failover or a point-in-time restore rows that were delivered may no longer exist.
        return gap(sync_errors.NEW_TIMELINE(timeline=system.timeline, before=cursor.timeline))
    if system.publication_oid != cursor.publication_oid:
        # Transactions from while it was missing are skipped (PostgreSQL 18) or can never be decoded (older).
        return gap(sync_errors.PUBLICATION_GAP(), recreate=True)
    if slot.confirmed_lsn > cursor.lsn:
        slot_lsn, cursor_lsn = lsn_to_text(slot.confirmed_lsn), lsn_to_text(cursor.lsn)
        return gap(sync_errors.SLOT_AHEAD(slot_lsn=slot_lsn, cursor_lsn=cursor_lsn))
    staged = max(cursor.lsn, cursor.staged_lsn)
    if system.wal_end < staged:
        wal_end, highest = lsn_to_text(system.wal_end), lsn_to_text(staged)
        return gap(sync_errors.WAL_BEHIND(wal_end=wal_end, staged=highest))
    last = cursor.staged
    if last is None:
        return Continue(cursor.incarnation, slot.confirmed_lsn)
    if 0 < system.next_xid <= last.xid:
        return gap(sync_errors.XID_BEHIND(next_xid=system.next_xid, staged=last.xid))
    # A transaction is sent again unless its commit record lies below the slot's position.
    return Continue(cursor.incarnation, slot.confirmed_lsn, last if slot.confirmed_lsn <= last.lsn else None)
