"""The replication slots of a source: create, list, show, drop.

In: a session, the name of a source (None: the only one), a slot, an actor. Out: documents. Rule: the publication exists
before the slot; a slot in use is dropped only with ``force``, another than the definition's only with ``foreign``.
Whatever a dropped slot still held back is lost to the stream, and only a reconcile finds it.
"""

from typing import TypedDict

from connectors.postgres import slots
from control.operations.session import Session, choose_source
from rowtide.actor import Actor
from rowtide.error_catalogue import command_errors, source_errors
from rowtide.position import lsn_to_text


class SlotDocument(TypedDict):
    """A logical slot; ``ours``: the one that the definition names; ``lost``: why it cannot be read any more."""

    slot: str
    database: str
    plugin: str
    ours: bool
    active_pid: int | None
    confirmed_lsn: str
    restart_lsn: str | None
    lag_bytes: int
    retained_bytes: int | None
    wal_status: str | None
    safe_wal_size: int | None
    failover: bool
    lost: str | None


class CreatedSlotDocument(SlotDocument):
    """The slot, whether it was created now, and what was done to the publication, as SQL."""

    created: bool
    publication: list[str]


class SlotsDocument(TypedDict):
    """The logical slots of a source's server."""

    slots: list[SlotDocument]


class DroppedSlotDocument(TypedDict):
    """Whether there was a slot to drop."""

    slot: str
    dropped: bool


def create(session: Session, source: str | None, actor: Actor) -> CreatedSlotDocument:
    """Create the source's publication and then its slot, where they are missing."""
    name, definition = choose_source(session.definition, source), session.definition
    with session.source(name, admin=True, actor=actor) as connection:
        publication = slots.ensure_publication(connection, definition.publication(name), definition.tables(name))
    with session.source(name, actor=actor) as connection:
        slot, created = slots.ensure_slot(
            connection, definition.slot(name), definition.publication(name), definition.postgres[name].failover
        )
    return {"created": created, "publication": publication, **_to_document(slot, ours=True)}


def list_slots(session: Session, source: str | None) -> SlotsDocument:
    """The logical slots of the source's server, ours and others'."""
    name = choose_source(session.definition, source)
    with session.source(name) as connection:
        found = slots.list_slots(connection)
    return {"slots": [_to_document(slot, slot.name == session.definition.slot(name)) for slot in found]}


def show(session: Session, source: str | None, slot: str | None) -> SlotDocument:
    """One slot, by default the definition's; SourceRefused when there is none of that name."""
    name = choose_source(session.definition, source)
    ours = session.definition.slot(name)
    wanted = slot or ours
    with session.source(name) as connection:
        found = slots.show_slot(connection, wanted)
    if found is None:
        raise source_errors.SLOT_MISSING(slot=wanted)
    return _to_document(found, wanted == ours)


def drop(
    session: Session, source: str, slot: str, force: bool, actor: Actor, foreign: bool = False
) -> DroppedSlotDocument:
    """Drop a slot; one in use is refused, or with ``force`` its reader is ended first.

    UserError for a slot that is not the definition's, unless it is said to be ``foreign``.
    """
    ours = session.definition.slot(source)
    if slot != ours and not foreign:
        raise command_errors.SLOT_FOREIGN(slot=slot, source=source, ours=ours)
    with session.source(source, actor=actor) as connection:
        return {"slot": slot, "dropped": slots.drop_slot(connection, slot, force)}


def _to_document(slot: slots.Slot, ours: bool) -> SlotDocument:
    return {
        "slot": slot.name,
        "database": slot.database,
        "plugin": slot.plugin,
        "ours": ours,
        "active_pid": slot.active_pid,
        "confirmed_lsn": lsn_to_text(slot.confirmed_lsn),
        "restart_lsn": None if slot.restart_lsn is None else lsn_to_text(slot.restart_lsn),
        "lag_bytes": slot.lag_bytes,
        "retained_bytes": slot.retained_bytes,
        "wal_status": slot.wal_status,
        "safe_wal_size": slot.safe_wal_size,
        "failover": slot.failover,
        "lost": slot.why_lost if slot.lost else None,
    }
