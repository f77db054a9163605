"""The applied definition, and what people decided about each sync: tables ``definition`` and ``sync``.

In: the compiled definition of `apply`; pause and resume by a person, a breaker or capture. Out: the applied version,
the state of each sync. Rule: versions only grow; every change is announced on `CONTROL`, so that a running flow
obeys within two seconds.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from state import channels
from state.database import Connection


@dataclass(frozen=True, slots=True)
class AppliedDefinition:
    """An applied definition: its compiled JSON and the text it came from."""

    version: int
    hash: str
    compiled: dict[str, Any]
    source_text: str
    applied_at: datetime
    applied_by: str


@dataclass(frozen=True, slots=True)
class SyncState:
    """A row of table ``sync``. ``capture_on`` false: its changes pass by for ``stop_reason``, and what ends it is a new
    era. ``shape``: what the sync reads, as last looked at in this era (`state.shapes`).

    ``era`` is read from ``since_slot`` in ``since_incarnation``; both None: from no slot, until capture routes the sync
    (again). ``since_lsn``: from here on the era's stream is whole; None: not noted yet.
    """

    sync: str
    state: str
    reason_code: str | None
    reason: str | None
    changed_by: str
    changed_at: datetime
    capture_on: bool
    stop_code: str | None
    stop_reason: str | None
    era: int
    since_slot: str | None
    since_incarnation: int | None
    since_lsn: int | None
    shape: dict[str, str] | None
    deletes_approved_until: datetime | None


def apply(conn: Connection, source_text: str, compiled: Mapping[str, Any], by: str) -> int:
    """Store the definition and return its version; retire, in the same transaction, syncs it no longer names."""
    digest = hashlib.sha256(source_text.encode()).hexdigest()
    names = [sync.get("id", name) for name, sync in compiled["definition"]["syncs"].items()]
    with conn.transaction():
        insert = (
            "INSERT INTO rowtide.definition (hash, source_text, compiled, applied_by) VALUES (%s, %s, %s, %s)"
            " RETURNING version"
        )
        [(version,)] = conn.execute(insert, [digest, source_text, Jsonb(dict(compiled)), by]).fetchall()
        conn.execute(
            """
            UPDATE rowtide.sync SET state = 'retired', reason_code = 'retired', changed_by = %s, changed_at = now(),
                   reason = 'The applied definition does not name this sync any more.', since_slot = NULL,
                   since_incarnation = NULL, since_lsn = NULL, capture_on = true, stop_code = NULL,
                   stop_reason = NULL, shape = NULL
             WHERE sync <> ALL (%s) AND state <> 'retired'
            """,
            [by, names],
        )
        conn.execute(
            """
            INSERT INTO rowtide.sync AS s (sync, changed_by) SELECT unnest(%s::text[]), %s
                ON CONFLICT (sync) DO UPDATE SET state = 'running', reason_code = NULL, reason = NULL,
                   changed_by = excluded.changed_by, changed_at = now()
             WHERE s.state = 'retired'
            """,
            [names, by],
        )
        channels.notify(conn, channels.CONTROL)
    return int(version)


def latest_version(conn: Connection) -> int | None:
    """The version in force; None before the first `apply`."""
    [(version,)] = conn.execute("SELECT max(version) FROM rowtide.definition").fetchall()
    return None if version is None else int(version)


def read_applied(conn: Connection) -> AppliedDefinition | None:
    """The definition in force; None before the first `apply`."""
    columns = "version, hash, compiled, source_text, applied_at, applied_by"
    with conn.cursor(row_factory=class_row(AppliedDefinition)) as cursor:
        query = f"SELECT {columns} FROM rowtide.definition ORDER BY version DESC LIMIT 1"
        return cursor.execute(query).fetchone()


def sync_states(conn: Connection) -> dict[str, SyncState]:
    """Every sync's state by its name; a sync without a row runs."""
    with conn.cursor(row_factory=class_row(SyncState)) as cursor:
        return {row.sync: row for row in cursor.execute("SELECT * FROM rowtide.sync")}


def pause(conn: Connection, syncs: Sequence[str], code: str, reason: str, by: str) -> int:
    """Stop delivering for these syncs; their changes are still staged. Returns how many were running.

    A sync that capture has stopped stays paused when that stop ends.
    """
    paused = conn.execute(
        """
        INSERT INTO rowtide.sync AS s (sync, state, reason_code, reason, changed_by)
        SELECT unnest(%s::text[]), 'paused', %s, %s, %s
            ON CONFLICT (sync) DO UPDATE SET state = 'paused', reason_code = excluded.reason_code,
               reason = excluded.reason, changed_by = excluded.changed_by, changed_at = now()
         WHERE s.state = 'running' OR (s.state = 'paused' AND s.changed_by = 'capture')
        """,
        [list(syncs), code, reason, by],
    ).rowcount
    channels.notify(conn, channels.CONTROL)
    return paused


def stop_capture(conn: Connection, sync: str, code: str, reason: str) -> None:
    """Let the sync's changes pass by from here on, and pause it: its stream is broken until a new era.

    A sync that is paused already stays paused for its own reason.
    """
    with conn.transaction():
        conn.execute(
            """
            INSERT INTO rowtide.sync AS s (sync, changed_by, capture_on, stop_code, stop_reason)
            VALUES (%s, 'capture', false, %s, %s)
                ON CONFLICT (sync) DO UPDATE
               SET capture_on = false, stop_code = excluded.stop_code, stop_reason = excluded.stop_reason,
                   since_slot = NULL, since_incarnation = NULL, since_lsn = NULL, shape = NULL
             WHERE s.state <> 'retired'
            """,
            [sync, code, reason],
        )
        conn.execute(
            """
            UPDATE rowtide.sync SET state = 'paused', reason_code = %s, reason = %s, changed_by = 'capture',
                   changed_at = now()
             WHERE sync = %s AND (state = 'running' OR (state = 'paused' AND changed_by = 'capture'))
            """,
            [code, reason, sync],
        )
        channels.notify(conn, channels.CONTROL)


def end_stop(conn: Connection, sync: str, codes: Sequence[str]) -> bool:
    """Let capture take the sync's changes again where it was stopped for one of ``codes``; whether it was.

    A person's pause stays. The sync has no era until capture routes it, with the reconcile that covers the gap.
    """
    with conn.transaction():
        ended = conn.execute(
            """
            UPDATE rowtide.sync SET capture_on = true, stop_code = NULL, stop_reason = NULL
             WHERE sync = %s AND NOT capture_on AND stop_code = ANY (%s)
            """,
            [sync, list(codes)],
        ).rowcount
        if ended:
            conn.execute(
                """
                UPDATE rowtide.sync SET state = 'running', reason_code = NULL, reason = NULL, changed_at = now()
                 WHERE sync = %s AND state = 'paused' AND changed_by = 'capture'
                """,
                [sync],
            )
            channels.notify(conn, channels.CONTROL)
    return bool(ended)


APPROVAL = timedelta(hours=1)
"""For how long deletions pass the breaker after a person has approved them."""


def resume(conn: Connection, syncs: Sequence[str], by: str, approve_deletes: bool = False) -> list[str]:
    """Let these syncs deliver again; returns those whose capture had stopped, which have to be reconciled."""
    approval = APPROVAL if approve_deletes else None
    with conn.transaction():
        stopped = conn.execute(
            "SELECT sync FROM rowtide.sync WHERE sync = ANY (%s) AND NOT capture_on FOR UPDATE", [list(syncs)]
        ).fetchall()
        conn.execute(
            """
            UPDATE rowtide.sync SET state = 'running', reason_code = NULL, reason = NULL, changed_by = %s,
                   changed_at = now(), capture_on = true, stop_code = NULL, stop_reason = NULL,
                   deletes_approved_until = CASE WHEN %s::interval IS NULL THEN deletes_approved_until
                                                 ELSE now() + %s::interval END
             WHERE sync = ANY (%s) AND state <> 'retired'
            """,
            [by, approval, approval, list(syncs)],
        )
        channels.notify(conn, channels.CONTROL)
    return [row[0] for row in stopped]
