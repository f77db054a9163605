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
from state import outbox
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


class ParkedDocument(TypedDict):
    """Parked rows, the longest parked first."""

    parked: list[ParkedRow]


class RetriedDocument(TypedDict):
    """How many rows are tried again."""

    retried: int


class DiscardedDocument(TypedDict):
    """How many rows were forgotten."""

    discarded: int


def list_rows(session: Session, sync: str | None, limit: int) -> ParkedDocument:
    """At most ``limit`` parked rows of a sync, or of every sync."""

    def work(connection: Connection) -> list[outbox.Parked]:
        return outbox.parked(connection, None if sync is None else _id_of(connection, sync), limit)

    found = session.on_state(work)
    return {"parked": [_to_document(row) for row in found]}


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
    """Have parked rows read anew from the source and tried again at once."""
    keys = rows.keys if isinstance(rows, RowKeys) else None

    def work(connection: Connection) -> int:
        sync_id = require_sync(require_applied_definition(connection).catalog.definition, sync)
        return outbox.retry_parked(connection, sync_id, keys)

    return {"retried": session.on_state(work, actor)}


def discard(session: Session, sync: str, rows: RowSelection, actor: Actor) -> DiscardedDocument:
    """Forget parked rows; their items stay as they are until the rows change again or a reconcile finds them."""

    def work(connection: Connection) -> int:
        sync_id = require_sync(require_applied_definition(connection).catalog.definition, sync)
        return outbox.discard_parked(connection, sync_id, _keys(connection, sync_id, rows))

    return {"discarded": session.on_state(work, actor)}


def _id_of(connection: Connection, sync: str) -> str:
    """The id of a sync that is applied; else the word itself: rows of a retired sync are parked under its id."""
    applied = read_applied_definition(connection)
    return (applied.catalog.definition.find_sync(sync) if applied else None) or sync


def _keys(connection: Connection, sync: str, rows: RowSelection) -> tuple[str, ...]:
    if isinstance(rows, RowKeys):
        return rows.keys
    return tuple(row.key for row in outbox.parked(connection, sync, _ALL_ROWS))


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
