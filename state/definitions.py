"""The applied definition, and how each sync is read: tables ``definition`` and ``sync``.

In: the compiled definition of `apply`; stops at capture and their ends. Out: the applied version, the state of each
sync. Rule: versions only grow; every change is announced on `CONTROL`, so that a running flow obeys within two
seconds. Locks: the row of a sync before its holds.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from psycopg import errors
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from rowtide.catalog import FORMAT
from rowtide.holds import CAPTURE
from state import channels, failpoints, holds
from state.database import Connection


@dataclass(frozen=True, slots=True)
class AppliedDefinition:
    """An applied definition: its compiled JSON, and the format that takes (`rowtide.catalog.FORMAT`)."""

    version: int
    compiled: dict[str, Any]
    needs: int
    applied_at: datetime
    applied_by: str


@dataclass(frozen=True, slots=True)
class SyncState:
    """A row of table ``sync``; what holds it back stands in table ``hold`` (`state.holds`).

    ``shape``: what the sync reads, as last looked at in this era (`state.shapes`).

    ``era`` is read from ``since_slot`` in ``since_incarnation``; both None: from no slot, until capture routes the sync
    (again). ``since_lsn``: from here on the era's stream is whole; None: not noted yet.
    """

    sync: str
    retired: bool
    era: int
    since_slot: str | None
    since_incarnation: int | None
    since_lsn: int | None
    shape: dict[str, str] | None


def keep_others_out(conn: Connection, patience_s: int) -> bool:
    """Let no other `apply` make or store anything while this connection lives; False when one takes longer."""
    conn.execute(f"SET lock_timeout = '{patience_s}s'")
    try:
        conn.execute("SELECT pg_advisory_lock(hashtextextended('rowtide.apply', 0))")
    except errors.LockNotAvailable:
        return False
    return True


def lock(conn: Connection) -> None:
    """Let nobody else store a definition until the caller's transaction ends."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('rowtide.definition', 0))")


def apply(conn: Connection, compiled: Mapping[str, Any], by: str, based_on: int | None) -> int | None:
    """Store the definition and return its version; retire, in the same transaction, syncs it no longer names.

    None, and nothing is stored, when the version in force is another than ``based_on``, for which it was planned.
    """
    canonical = json.dumps(compiled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    names = [sync.get("id", name) for name, sync in compiled["definition"]["syncs"].items()]
    with conn.transaction():
        lock(conn)
        if latest_version(conn) != based_on:
            return None
        insert = (
            "INSERT INTO rowtide.definition (hash, compiled, needs, based_on, applied_by)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING version"
        )
        values = [digest, Jsonb(dict(compiled)), FORMAT, based_on, by]
        [(version,)] = conn.execute(insert, values).fetchall()
        failpoints.hit(failpoints.APPLY_STORED)
        retired = conn.execute(
            """
            UPDATE rowtide.sync SET retired = true, changed_by = %s, changed_at = now(), since_slot = NULL,
                   since_incarnation = NULL, since_lsn = NULL, shape = NULL
             WHERE sync <> ALL (%s) AND NOT retired RETURNING sync
            """,
            [by, names],
        ).fetchall()
        holds.lift_all_of(conn, [sync for (sync,) in retired])
        conn.execute(
            """
            INSERT INTO rowtide.sync AS s (sync, changed_by) SELECT unnest(%s::text[]), %s
                ON CONFLICT (sync) DO UPDATE
               SET retired = false, changed_by = excluded.changed_by, changed_at = now()
             WHERE s.retired
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
    return next(iter(read_newest(conn, 1)), None)


def read_applied_at(conn: Connection, version: int) -> datetime | None:
    """When a version was applied; None: there is none of that number."""
    found = conn.execute("SELECT applied_at FROM rowtide.definition WHERE version = %s", [version]).fetchone()
    return None if found is None else found[0]


def read_newest(conn: Connection, limit: int) -> list[AppliedDefinition]:
    """The newest versions, that in force first."""
    columns = "version, compiled::text, needs, applied_at, applied_by"
    query = f"SELECT {columns} FROM rowtide.definition ORDER BY version DESC LIMIT %s"
    return [
        AppliedDefinition(version, _loaded(compiled), needs, at, by)
        for version, compiled, needs, at, by in conn.execute(query, [limit]).fetchall()
    ]


def _loaded(compiled: str) -> dict[str, Any]:
    """The compiled definition; empty, as no definition is, where it is nested deeper than any reader goes."""
    try:
        found = orjson.loads(compiled)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def sync_states(conn: Connection) -> dict[str, SyncState]:
    """Every sync's state by its name; a sync without a row runs."""
    with conn.cursor(row_factory=class_row(SyncState)) as cursor:
        query = "SELECT sync, retired, era, since_slot, since_incarnation, since_lsn, shape FROM rowtide.sync"
        return {row.sync: row for row in cursor.execute(query)}


def stop_capture(conn: Connection, sync: str, code: str, reason: str) -> None:
    """Let the sync's changes pass by from here on: its stream is broken until a new era. A person's pause stays."""
    with conn.transaction():
        stopped = conn.execute(
            """
            INSERT INTO rowtide.sync AS s (sync, changed_by) VALUES (%s, 'capture')
                ON CONFLICT (sync) DO UPDATE
               SET since_slot = NULL, since_incarnation = NULL, since_lsn = NULL, shape = NULL
             WHERE NOT s.retired
            """,
            [sync],
        ).rowcount
        if stopped:
            holds.place(conn, "sync", sync, CAPTURE, code, reason, "capture")


def end_stop(conn: Connection, sync: str, codes: Sequence[str] | None = None) -> bool:
    """Let capture take the sync's changes again where it was stopped for one of ``codes``; whether it was.

    Other holds stay. The sync has no era until capture routes it, with the reconcile that covers the gap.
    """
    with conn.transaction():
        conn.execute("SELECT FROM rowtide.sync WHERE sync = %s FOR UPDATE", [sync])
        return holds.lift(conn, "sync", sync, CAPTURE, codes) is not None
