"""Whether a slot still continues what the cursor says: the decision taken on every connect.

In: the cursor (None before the first run), what IDENTIFY_SYSTEM says, the slot as it is. Out: `Continue` from the
cursor's own LSN, or `NewEra` with a reason. Rule (docs/design.md section 2): another system id, *any* new timeline, a
slot ahead of the cursor, or a WAL end below the highest position staged means a new era at the slot's own position, and
a reconcile. A slot that is gone or has lost its WAL means the same with a new slot.
"""

from dataclasses import dataclass
from typing import Protocol

from connectors.postgres.slots import Slot
from rowtide.error_catalogue import sync_errors
from rowtide.error_catalogue.entries import Said
from rowtide.position import lsn_to_text


class Cursor(Protocol):
    """The slot's durable cursor (state.cursors.SlotCursor): where capture goes on, and the furthest it has staged."""

    @property
    def era(self) -> int: ...
    @property
    def lsn(self) -> int: ...
    @property
    def system_id(self) -> str: ...
    @property
    def timeline(self) -> int: ...
    @property
    def staged_era(self) -> int: ...
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
    """Go on in the cursor's era from its LSN."""

    era: int
    lsn: int


@dataclass(frozen=True, slots=True)
class NewEra:
    """Continuity cannot be proven. ``recreate``: the slot as it is can never be read; it has to be made anew."""

    era: int
    code: str
    reason: str
    recreate: bool = False

    @property
    def gap(self) -> bool:
        """Whether something may have been missed (a first start has missed nothing that was ever promised)."""
        return self.code != sync_errors.FIRST_START.code


def new_era(era: int, why: Said, recreate: bool = False) -> NewEra:
    """The era for a reason of the catalogue."""
    return NewEra(era, why.code, why.sentence, recreate)


def continuity(cursor: Cursor | None, system: System, slot: Slot | None) -> Continue | NewEra:
    """Go on, or a new era and why. The order only picks the most telling reason."""
    broken = slot is None or slot.lost
    if cursor is None:
        return new_era(1, sync_errors.FIRST_START(), recreate=broken)
    era = cursor.era + 1
    if slot is None:
        return new_era(era, sync_errors.SLOT_GONE(), recreate=True)
    if slot.lost:
        return new_era(era, sync_errors.SLOT_LOST(why=slot.why_lost), recreate=True)
    if system.system_id != cursor.system_id:
        return new_era(era, sync_errors.OTHER_SYSTEM())
    if system.timeline != cursor.timeline:
        # After a failover or a point-in-time restore rows that were delivered may no longer exist.
        return new_era(era, sync_errors.NEW_TIMELINE(timeline=system.timeline, before=cursor.timeline))
    if system.publication_oid != cursor.publication_oid:
        # What was committed while it was missing is skipped (PostgreSQL 18) or can never be decoded (older).
        return new_era(era, sync_errors.PUBLICATION_GAP(), recreate=True)
    if slot.confirmed_lsn > cursor.lsn:
        slot_lsn, cursor_lsn = lsn_to_text(slot.confirmed_lsn), lsn_to_text(cursor.lsn)
        return new_era(era, sync_errors.SLOT_AHEAD(slot_lsn=slot_lsn, cursor_lsn=cursor_lsn))
    staged = max(cursor.lsn, cursor.staged_lsn if cursor.staged_era == cursor.era else 0)
    if system.wal_end < staged:
        wal_end, highest = lsn_to_text(system.wal_end), lsn_to_text(staged)
        return new_era(era, sync_errors.WAL_BEHIND(wal_end=wal_end, staged=highest))
    return Continue(cursor.era, cursor.lsn)
