"""Decides, on every connect, whether a slot still continues where the cursor stands.

In: the cursor (None before the first run), what IDENTIFY_SYSTEM says, the slot as it is. Out: `Continue` from the
cursor's own LSN, or `NewIncarnation` with a reason. Rule (docs/design.md section 2): another system id, *any* new
timeline, a slot ahead of the cursor, or a WAL end below the highest position staged means a new incarnation at the
slot's own position, and a reconcile. A slot that is gone or has lost its WAL means the same with a new slot.
"""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from connectors.postgres.slots import Slot
from rowtide.error_catalogue import sync_errors
from rowtide.error_catalogue.entries import Said
from rowtide.position import lsn_to_text


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
    def publication_oid(self) -> int: ...


@dataclass(frozen=True, slots=True)
class System:
    """What IDENTIFY_SYSTEM says of the server, and which publication is there now."""

    system_id: str
    timeline: int
    wal_end: int
    publication_oid: int


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on in the cursor's incarnation from its LSN."""

    incarnation: int
    lsn: int


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
    return Continue(cursor.incarnation, cursor.lsn)
