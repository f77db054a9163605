"""Rows that cannot be carried as they are: list them, show one, try them again, forget them.

In: a session, a sync, row keys, an actor. Out: documents. Rule: a row's values are in the answer of `show` alone, for
whoever asks for that row; a newer change of a parked row makes it due again by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from control.operations.session import Session, read_applied_definition, require_applied_definition, require_sync
from rowtide.actor import Actor
from rowtide.error_catalogue import command_errors
from rowtide.position import lsn_to_text
from state import inbox, outbox
from state.database import Connection

_ALL_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class RowKeys:
    """The parked rows with these keys, as `list_rows` shows them."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EveryRow:
    """Every parked row of the sync."""


RowSelection = RowKeys | EveryRow


class ParkedRow(TypedDict):
    """A parked row without its values."""

    sync: str
    key: str
    op: str
    reason_code: str | None
    reason: str | None
    attempts: int
    lsn: str
    committed_at: datetime
    staged_at: datetime


class ParkedRowWithValues(ParkedRow):
    """A parked row with the list and the fields that would be written."""

    list: str | None
    fields: Mapping[str, Any] | None


class ParkedEdit(TypedDict):
    """An edit of an item that is set aside, without its values; ``key``: of its row, once that is known."""

    sync: str
    key: str | None
    list_id: str
    item_id: str
    version: int
    deleted: bool
    reason_code: str | None
    reason: str | None
    attempts: int
    seen_at: datetime


class ParkedDocument(TypedDict):
    """Parked rows and parked edits of items, the longest parked first."""

    parked: list[ParkedRow]
    edits: list[ParkedEdit]


class RetriedDocument(TypedDict):
    """How many rows, and edits of items, are tried again."""

    retried: int


class DiscardedDocument(TypedDict):
    """How many rows were forgotten."""

    discarded: int


def list_rows(session: Session, sync: str | None, limit: int) -> ParkedDocument:
    """At most ``limit`` parked rows, and as many edits, of a sync or of every sync."""

    def work(connection: Connection) -> tuple[list[outbox.Parked], list[inbox.ParkedEntry]]:
        sync_id = None if sync is None else _id_of(connection, sync)
        return outbox.parked(connection, sync_id, limit), inbox.parked(connection, sync_id, limit)

    rows, edits = session.on_state(work)
    return {"parked": [_to_document(row) for row in rows], "edits": [_to_edit(one) for one in edits]}


def show(session: Session, sync: str, key: str) -> ParkedRowWithValues:
    """One parked row with its values; UserError when that row is not parked."""

    def work(connection: Connection) -> ParkedRowWithValues:
        sync_id = _id_of(connection, sync)
        fields = outbox.parked_fields(connection, sync_id, key)
        row = next((one for one in outbox.parked(connection, sync_id, _ALL_ROWS) if one.key == key), None)
        if row is None or fields is None:
            raise command_errors.NOT_PARKED(key=key, sync=sync)
        return {**_to_document(row), "list": fields[0], "fields": fields[1]}

    return session.on_state(work)


def retry(session: Session, sync: str, rows: RowSelection, actor: Actor) -> RetriedDocument:
    """Have parked rows read anew from the source, and parked edits of their items, tried again at once."""
    keys = rows.keys if isinstance(rows, RowKeys) else None

    def work(connection: Connection) -> int:
        sync_id = require_sync(require_applied_definition(connection).catalog.definition, sync)
        edits = None if keys is None else _edits_of(connection, sync_id, keys)
        return outbox.retry_parked(connection, sync_id, keys) + inbox.retry_parked(connection, sync_id, edits)

    return {"retried": session.on_state(work, actor)}


def discard(session: Session, sync: str, rows: RowSelection, actor: Actor) -> DiscardedDocument:
    """Forget parked rows; their items stay as they are until the rows change again or a reconcile finds them."""

    def work(connection: Connection) -> int:
        sync_id = require_sync(require_applied_definition(connection).catalog.definition, sync)
        edits = _edits_of(connection, sync_id, rows.keys if isinstance(rows, RowKeys) else None)
        discarded = inbox.discard_parked(connection, sync_id, edits)
        return discarded + outbox.discard_parked(connection, sync_id, _keys(connection, sync_id, rows))

    return {"discarded": session.on_state(work, actor)}


def _id_of(connection: Connection, sync: str) -> str:
    """The id of a sync that is applied; else the word itself: rows of a retired sync are parked under its id."""
    applied = read_applied_definition(connection)
    return (applied.catalog.definition.find_sync(sync) if applied else None) or sync


def _keys(connection: Connection, sync: str, rows: RowSelection) -> tuple[str, ...]:
    if isinstance(rows, RowKeys):
        return rows.keys
    return tuple(row.key for row in outbox.parked(connection, sync, _ALL_ROWS))


def _edits_of(connection: Connection, sync: str, keys: tuple[str, ...] | None) -> list[inbox.Place]:
    """The items with a parked edit whose rows have these keys; of all rows."""
    found = inbox.parked(connection, sync, _ALL_ROWS)
    return [(one.list_id, one.item_id) for one in found if keys is None or one.key in keys]


def _to_edit(one: inbox.ParkedEntry) -> ParkedEdit:
    return {
        "sync": one.sync,
        "key": one.key,
        "list_id": one.list_id,
        "item_id": one.item_id,
        "version": one.version,
        "deleted": one.deleted,
        "reason_code": one.code,
        "reason": one.sentence,
        "attempts": one.attempts,
        "seen_at": one.seen_at,
    }


def _to_document(row: outbox.Parked) -> ParkedRow:
    return {
        "sync": row.sync,
        "key": row.key,
        "op": row.op,
        "reason_code": row.reason_code,
        "reason": row.reason,
        "attempts": row.attempts,
        "lsn": lsn_to_text(row.lsn),
        "committed_at": row.committed_at,
        "staged_at": row.staged_at,
    }
