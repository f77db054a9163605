"""Which installation reads a slot: what walsenders and heartbeats carry, and who stops where two meet on one slot.

In: names of walsenders, heartbeats out of the source's WAL. Out: `SlotOwner`s, and whether ours has to yield. Rules
(docs/design.md section 2): the installation that came to the slot later stops; one that reads the slot does not yield
to the installation that its own records were copied from; a heartbeat from before we came is history.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

APPLICATION_BYTES: Final = 63
"""PostgreSQL cuts an ``application_name`` here."""

_INSTANCE: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_WALSENDER: Final = re.compile(rf"rowtide ({_INSTANCE})(?: |$)")
_BEAT: Final = re.compile(rf"([a-z0-9_]{{1,63}}) ({_INSTANCE}) ([0-9]{{1,20}}) ([0-9]{{1,19}})(?: |$)")


@dataclass(frozen=True, slots=True)
class SlotOwner:
    """``instance`` reads ``slot``; ``since_lsn``: where the source's WAL ended when it came to the slot."""

    slot: str
    instance: str
    since_lsn: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat says: whose it is, and its number, which its installation had on record before it was written.

    0: that of an installation which waits for the slot.
    """

    owner: SlotOwner
    number: int

    def to_text(self) -> str:
        """As it stands in the WAL."""
        return f"{self.owner.slot} {self.owner.instance} {self.owner.since_lsn} {self.number}"


def read_heartbeat(content: bytes) -> Heartbeat | None:
    """The heartbeat; None for what is none of ours, because anybody may write such a message."""
    found = _BEAT.match(content.decode(errors="replace"))
    if found is None:
        return None
    slot, instance, since_lsn, number = found.groups()
    return Heartbeat(SlotOwner(slot, instance, int(since_lsn)), int(number))


def application_of(slot: str, instance: str) -> str:
    """The name of the walsender that sends ``slot`` to an installation."""
    return f"rowtide {instance} {slot}"[:APPLICATION_BYTES]


def reader_of(application: str | None) -> str | None:
    """The installation that a walsender's name names; None for the name of another program, and for none."""
    found = _WALSENDER.match(application or "")
    return None if found is None else found.group(1)


def has_to_yield(ours: SlotOwner, other: SlotOwner, at_lsn: int, former: Collection[str]) -> bool:
    """Whether ours stops for the installation whose heartbeat ends in the WAL at ``at_lsn``.

    ``former``: the installations that our records were copied from.
    """
    if other.slot != ours.slot or other.instance == ours.instance:
        return False
    if at_lsn <= ours.since_lsn:
        return False  # it has read the slot before us, and need not live any more
    if other.instance in former:
        return False  # nobody can tell a copy started by mistake from an original that comes back: the reader stays
    return (other.since_lsn, other.instance) < (ours.since_lsn, ours.instance)
