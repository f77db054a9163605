"""Forget what is kept of one row, or every record of a sync that is retired.

In: a session, a sync, a row key, an actor. Out: documents that say what went and what stays. Rules
(docs/decisions/0035-what-is-forgotten.md): refused while something would be lost (rowtide.forgetting); what was done
is a line in ``runs``, with the actor and without the key; nothing in SharePoint or in the source is touched.
"""

from collections.abc import Mapping
from typing import TypedDict

from control.operations.session import Session, open_sync, read_applied_definition
from flows import reconcile
from rowtide import forgetting
from rowtide.actor import Actor
from rowtide.error_catalogue import command_errors
from rowtide.errors import RowtideError
from state import forgetting as records
from state import runs
from state.database import Connection

APPLICATION = "rowtide forget"


class ForgottenDocument(TypedDict):
    """What was forgotten of a row: values, a change that waited, its key.

    ``key_stays``: key, ids of the item and position are still there, until no replay can speak of the row;
    ``being_read``: a reading of the lists is under way, and what it has seen goes when it has ended.
    """

    sync: str
    key: str
    values: bool
    waiting: bool
    key_gone: bool
    key_stays: bool
    being_read: bool


class PurgedDocument(TypedDict):
    """How many rows went of each table of the state database."""

    sync: str
    purged: Mapping[str, int]


def forget(session: Session, sync: str, key: str, actor: Actor) -> ForgottenDocument:
    """Forget the values of a row that is gone, and its key as soon as nothing can speak of it any more.

    UserError while the row is there, something of it waits, or a write is under way.
    """

    def work(connection: Connection) -> tuple[str, bool, records.KnownRow, bool]:
        with connection.transaction():
            sync_id, retired = _require_known(connection, sync)
            row = records.lock_row(connection, sync_id, key)
            if (refused := forgetting.why_row_stays(sync, key, row.standing, retired)) is not None:
                raise refused
            waiting = retired and row.standing.op is not None
            records.forget_values(connection, sync_id, key, waiting)
            gone = retired and records.forget_key(connection, sync_id, key)
            _note(connection, "forget", sync_id, actor, {})
        return sync_id, waiting, row, gone

    sync_id, waiting, row, gone = session.on_state(work, actor)
    if row.state == "tombstone" and not gone:
        gone = _forget_key(session, sync_id, key)
    return {
        "sync": sync,
        "key": key,
        "values": row.has_values,
        "waiting": waiting,
        "key_gone": gone,
        "key_stays": row.state is not None and not gone,
        "being_read": row.is_read,
    }


def _forget_key(session: Session, sync_id: str, key: str) -> bool:
    """Forget a tombstone before its time, where stream and snapshots are beyond it; False when that is not certain."""
    try:
        catalog, _, sessions = open_sync(session, sync_id, APPLICATION)
        return reconcile.forget_tombstone(session.state_dsn(), catalog, sync_id, sessions, key)
    except RowtideError:
        return False


def purge(session: Session, sync: str, discard: bool, actor: Actor) -> PurgedDocument:
    """Delete every record of a retired sync; its lists and their items stay as they are.

    ``discard``: also what waits to be written, and items that were still to be removed. UserError while that would be
    lost without it, and for a sync that is in force.
    """

    def work(connection: Connection) -> PurgedDocument:
        with connection.transaction():
            sync_id, _ = _purgeable(connection, sync, discard)
            purged = records.purge(connection, sync_id)
            _note(connection, "purge", sync_id, actor, purged)
        return {"sync": sync, "purged": purged}

    return session.on_state(work, actor)


def purgeable(session: Session, sync: str, discard: bool) -> forgetting.SyncRecords:
    """How much a purge would delete; UserError where it would be refused."""

    def work(connection: Connection) -> forgetting.SyncRecords:
        with connection.transaction():
            return _purgeable(connection, sync, discard)[1]

    return session.on_state(work)


def _purgeable(connection: Connection, sync: str, discard: bool) -> tuple[str, forgetting.SyncRecords]:
    sync_id, retired = _require_known(connection, sync)
    known = records.lock_sync(connection, sync_id, retired)
    if (refused := forgetting.why_sync_stays(sync, known, discard)) is not None:
        raise refused
    return sync_id, known


def _require_known(connection: Connection, sync: str) -> tuple[str, bool]:
    """The id of a sync, applied or retired, and which it is; UserError where there never was one."""
    applied = read_applied_definition(connection)
    sync_id = (applied.catalog.definition.find_sync(sync) if applied else None) or sync
    retired = records.is_retired(connection, sync_id)
    if retired is None:
        known = [*(applied.catalog.definition.syncs if applied else ()), *records.retired(connection)]
        raise command_errors.UNKNOWN_SYNC(sync=sync, known=", ".join(sorted(known)))
    return sync_id, retired


def _note(connection: Connection, kind: str, sync: str, actor: Actor, detail: Mapping[str, int]) -> None:
    run = runs.start(connection, kind, sync, actor=actor.name)
    runs.finish(connection, run, "done", dict(detail))
