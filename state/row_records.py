"""All that is on record of one row: what waits for it in either direction, its pair, its conflicts.

In: a sync and a row key. Out: `RowRecords`, read at one moment. Called by control.operations.explain. Rule: two reads
between which nothing was written are equal, so that who looks at both sides meanwhile can tell that nothing moved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, dict_row

from rowtide.change import Fields
from rowtide.deciding.pulled import Pulled
from rowtide.deciding.records import Pair
from rowtide.keys import rowtide_key
from state import conflicts, ledger
from state.conflicts import ConflictFilter, StoredConflict
from state.database import Connection
from state.pulled import from_document

MOST_CONFLICTS = 5
"""So many conflicts of a row are shown, the newest."""


@dataclass(frozen=True, slots=True)
class RowInOutbox:
    """The row's entry of the outbox. ``unanswered``: attempts whose outcome nobody knows."""

    op: str
    target: str | None
    fields: Fields | None
    state: str
    reason_code: str | None
    reason: str | None
    attempts: int
    tries: int
    hold: bool
    era: int
    lsn: int
    xid: int
    committed_at: datetime
    staged_at: datetime
    due_at: datetime
    revision: int
    leased: bool
    unanswered: int


@dataclass(frozen=True, slots=True)
class WaitingEdit:
    """An entry of the inbox that concerns the row."""

    list_id: str
    item_id: str
    version: int
    deleted: bool
    state: str
    code: str | None
    sentence: str | None
    attempts: int
    editor_name: str | None
    modified_at: datetime | None
    seen_at: datetime
    due_at: datetime
    revision: int
    leased: bool


@dataclass(frozen=True, slots=True)
class LastChanges:
    """What the ledger notes of the last change each way.

    ``applied_lsn``: where the source's WAL ended after the last edit was committed; ``pulled``: what edit it was.
    """

    state: str
    version: int
    era: int
    lsn: int
    xid: int
    applied_era: int | None
    applied_lsn: int | None
    pulled: Pulled | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RowRecords:
    """What is on record of a row; ``pair`` and ``last`` are both there, or neither."""

    pair: Pair | None
    last: LastChanges | None
    row: RowInOutbox | None
    edits: Sequence[WaitingEdit]
    conflicts: Sequence[StoredConflict]


_ROW = """
SELECT op, target, fields, state, reason_code, reason, attempts, tries, hold, era, lsn, xid, committed_at, staged_at,
       due_at, revision, coalesce(lease_until > now(), false) AS leased, jsonb_array_length(sent) AS unanswered
  FROM rowtide.outbox WHERE sync = %s AND key = %s
"""

_LAST = """
SELECT state, version, era, lsn, xid, applied_era, applied_lsn, pulled, updated_at
  FROM rowtide.ledger WHERE sync = %s AND key = %s
"""

# An entry is the row's by what was noted of it, by its item, or by the key that the item carries.
_EDITS = """
SELECT i.list_id, i.item_id, i.version, i.deleted, i.state, i.code, i.sentence, i.attempts, i.editor_name,
       i.modified_at, i.seen_at, i.due_at, i.revision, coalesce(i.lease_until > now(), false) AS leased
  FROM rowtide.inbox AS i
 WHERE (i.sync = %(sync)s AND i.key = %(key)s) OR i.item_key = %(item_key)s
    OR (i.list_id, i.item_id) IN (SELECT l.list_id, l.item_id FROM rowtide.ledger AS l
                                   WHERE l.sync = %(sync)s AND l.key = %(key)s)
 ORDER BY i.seen_at, i.list_id, i.item_id
"""


def read(conn: Connection, sync: str, key: str) -> RowRecords:
    """Everything of that key, from one snapshot of the database."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        with conn.cursor(row_factory=class_row(RowInOutbox)) as rows:
            row = rows.execute(_ROW, [sync, key]).fetchone()
        with conn.cursor(row_factory=dict_row) as changes:
            found_last = changes.execute(_LAST, [sync, key]).fetchone()
        with conn.cursor(row_factory=class_row(WaitingEdit)) as entries:
            values = {"sync": sync, "key": key, "item_key": rowtide_key(sync, key)}
            edits = entries.execute(_EDITS, values).fetchall()
        last = None if found_last is None else _last(found_last)
        found = conflicts.find(conn, ConflictFilter(sync, key, limit=MOST_CONFLICTS))
        return RowRecords(ledger.read(conn, sync, [key]).get(key), last, row, edits, found)


def _last(found: Mapping[str, Any]) -> LastChanges:
    stored = found["pulled"]
    return LastChanges(**{**found, "pulled": None if stored is None else from_document(stored)})
