"""Everything that holds rows back: table ``hold``, one row for each thing held and kind of hold.

In: a person's pause, a stop at capture, a breaker that tripped, a refusal that a process met; their ends. Out: the
holds, for whoever asks what may run. Rules: kinds stand beside each other, so that no end of one lifts another; each
change is announced on `CONTROL`, so that a running flow obeys within two seconds.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from rowtide.holds import DELETES, HeldDeletes, Hold
from rowtide.position import Position
from state import channels
from state.database import Connection

COVERS = """h.kind <> 'fault' AND (h.scope, h.object) IN
       (('all', ''), ('source', %(source)s::text), ('tenant', %(tenant)s::text), ('sync', %(sync)s::text))"""
"""Whether hold ``h`` covers a sync of a source and a tenant."""


class _Stored(NamedTuple):
    scope: str
    object: str
    kind: str
    code: str
    reason: str
    actor: str
    at: datetime
    deletes: dict[str, Any] | None
    remedy: str


_COLUMNS = ", ".join(_Stored._fields)


def read(conn: Connection) -> tuple[Hold, ...]:
    """Every hold, the oldest first."""
    query = f"SELECT {_COLUMNS} FROM rowtide.hold ORDER BY at, object, kind"
    with conn.cursor(row_factory=class_row(_Stored)) as cursor:
        return tuple(_to_hold(row) for row in cursor.execute(query))


def find(conn: Connection, scope: str, object_: str, kind: str) -> Hold | None:
    """The hold of that kind on what is named; None when there is none."""
    return next((hold for hold in read(conn) if (hold.scope, hold.object, hold.kind) == (scope, object_, kind)), None)


def _to_hold(row: _Stored) -> Hold:
    deletes = None
    if row.deletes is not None:
        upto = row.deletes["upto"]
        position = None if upto is None else Position(*upto)
        deletes = HeldDeletes(row.deletes["count"], tuple(row.deletes["sample"]), position)
    return Hold(*row[:7], deletes=deletes, remedy=row.remedy)


def place(
    conn: Connection,
    scope: str,
    object_: str,
    kind: str,
    code: str,
    reason: str,
    actor: str,
    deletes: HeldDeletes | None = None,
) -> bool:
    """Hold back what is named; False when it is held so already.

    Another reason replaces the one on record, and the time stays; a person's pause stays the first person's.
    """
    named = None if deletes is None else Jsonb(_from_deletes(deletes))
    placed = conn.execute(
        """
        INSERT INTO rowtide.hold AS h (scope, object, kind, code, reason, actor, deletes)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (scope, object, kind) DO UPDATE
           SET code = excluded.code, reason = excluded.reason, actor = excluded.actor, deletes = excluded.deletes
         WHERE h.kind <> 'person' AND (h.code, h.reason) IS DISTINCT FROM (excluded.code, excluded.reason)
        """,
        [scope, object_, kind, code, reason, actor, named],
    ).rowcount
    channels.notify(conn, channels.CONTROL)
    return bool(placed)


def _from_deletes(deletes: HeldDeletes) -> dict[str, Any]:
    upto = None if deletes.upto is None else list(deletes.upto)
    return {"count": deletes.count, "sample": list(deletes.sample), "upto": upto}


def lift(conn: Connection, scope: str, object_: str, kind: str, codes: Sequence[str] | None = None) -> Hold | None:
    """Take the hold away, where it is for one of ``codes`` (None: whatever it is for); the hold, or None."""
    statement = f"""
        DELETE FROM rowtide.hold
         WHERE scope = %s AND object = %s AND kind = %s AND (%s::text[] IS NULL OR code = ANY (%s))
        RETURNING {_COLUMNS}
    """
    given = None if codes is None else list(codes)
    with conn.cursor(row_factory=class_row(_Stored)) as cursor:
        row = cursor.execute(statement, [scope, object_, kind, given, given]).fetchone()
    if row is None:
        return None
    channels.notify(conn, channels.CONTROL)
    return _to_hold(row)


def lift_all_of(conn: Connection, syncs: Sequence[str]) -> None:
    """Take away every hold on these syncs and their tables: they are retired."""
    conn.execute("DELETE FROM rowtide.hold WHERE scope IN ('sync', 'table') AND object = ANY (%s)", [list(syncs)])


def approve(conn: Connection, sync: str, kind: str = DELETES) -> HeldDeletes | None:
    """Let the deletions go that the sync's hold names (kind creates: the items be made), and no others; None: none.

    What was staged or found since is judged anew.
    """
    with conn.transaction():
        hold = lift(conn, "sync", sync, kind)
        if hold is None or hold.deletes is None:
            return None
        if hold.deletes.upto is None:
            conn.execute("UPDATE rowtide.reconcile_absent SET approved = true WHERE sync = %s", [sync])
        else:
            conn.execute(_APPROVE, {"sync": sync, **hold.deletes.upto._asdict()})
        channels.notify(conn, channels.DUE, sync)
        channels.notify(conn, channels.RECONCILE)
    return hold.deletes


# Locked in key order, as every transaction over the outbox does.
_APPROVE = """
WITH held AS MATERIALIZED (
     SELECT key FROM rowtide.outbox
      WHERE sync = %(sync)s AND op = 'd' AND state = 'waiting'
        AND (era, lsn, ordinal) <= (%(era)s, %(lsn)s, %(ordinal)s)
      ORDER BY key FOR UPDATE)
UPDATE rowtide.outbox AS o SET approved = true, due_at = least(o.due_at, now()) FROM held
 WHERE o.sync = %(sync)s AND o.key = held.key
"""
