"""Forgetting: the values of one row, all records of a retired sync.

In: a sync, a row key. Out: what was on record; what went. Rules: the caller's transaction has locked what it judges,
in the order sync, inbox, outbox, ledger; a pair whose values are gone keeps key, item and position, by which replays
are known (docs/design.md section 3), and is of no mapping, so that nothing is taken from its base any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rowtide.forgetting import RowStanding, SyncRecords
from rowtide.keys import rowtide_key
from state.database import Connection

OF_SYNC: Final = (
    "inbox",
    "outbox",
    "ledger",
    "reconcile",
    "reconcile_absent",
    "enumeration",
    "seen",
    "list_cursor",
    "list",
    "progress",
    "conflict",
)
"""The tables with rows of a sync. The row in ``sync`` stays, so that no number of an era is drawn twice, ``runs``
and what each sync did (state.history) stay as long as `retention` says: none of them holds anything of a row.
"""


@dataclass(frozen=True, slots=True)
class KnownRow:
    """What is on record of a row: how it stands, whether values of it are kept, its state in the ledger (None: none).

    ``is_read``: a reading of the sync's lists is under way, which may have seen its item.
    """

    standing: RowStanding
    has_values: bool
    state: str | None
    is_read: bool


# Of a row are the entries of its item and of items it has left behind, and those that carry its RowtideKey.
_OF_ROW = """
 WHERE i.sync = %(sync)s
   AND (i.key = %(key)s OR i.item_key = %(item_key)s
        OR (i.list_id, i.item_id) IN (
           SELECT l.list_id, l.item_id FROM rowtide.ledger AS l WHERE l.sync = %(sync)s AND l.key = %(key)s
            UNION ALL
           SELECT e ->> 'list_id', e ->> 'item_id'
             FROM rowtide.ledger AS l CROSS JOIN LATERAL jsonb_array_elements(l.leftovers) AS e
            WHERE l.sync = %(sync)s AND l.key = %(key)s))
"""
_LOCK_ENTRIES = f"""
SELECT coalesce(i.lease_until > now(), false), i.state = 'waiting' FROM rowtide.inbox AS i {_OF_ROW}
 ORDER BY i.list_id, i.item_id FOR UPDATE OF i
"""
_LOCK_ROW = """
SELECT op, lease_until > now() OR sent <> '[]'::jsonb, fields IS NOT NULL
  FROM rowtide.outbox WHERE sync = %s AND key = %s FOR UPDATE
"""
_LOCK_PAIR = """
SELECT state, base <> '{}'::jsonb OR kept <> '{}'::jsonb
  FROM rowtide.ledger WHERE sync = %s AND key = %s FOR UPDATE
"""
_IS_READ = "SELECT EXISTS (SELECT FROM rowtide.enumeration WHERE sync = %s)"


def lock_row(conn: Connection, sync: str, key: str) -> KnownRow:
    """What is on record of a row, which nobody changes until the caller's transaction ends."""
    entries = conn.execute(_LOCK_ENTRIES, _named(sync, key)).fetchall()
    is_applied, is_edited = any(leased for leased, _ in entries), any(waits for _, waits in entries)
    waiting = conn.execute(_LOCK_ROW, [sync, key]).fetchone()
    pair = conn.execute(_LOCK_PAIR, [sync, key]).fetchone()
    [(is_read,)] = conn.execute(_IS_READ, [sync]).fetchall()
    op, busy, has_fields = waiting or (None, False, False)
    state, has_base = pair or (None, False)
    standing = RowStanding(op, bool(busy) or is_applied, state == "live", is_edited)
    return KnownRow(standing, has_fields or has_base or bool(entries), state, is_read)


def _named(sync: str, key: str) -> dict[str, str]:
    return {"sync": sync, "key": key, "item_key": rowtide_key(sync, key)}


def forget_values(conn: Connection, sync: str, key: str, waiting_too: bool) -> None:
    """Empty what is kept of a row's values, with the edits of its item that were set aside and its conflicts.

    ``waiting_too``: the change that waits for it goes, too.
    """
    conn.execute(f"DELETE FROM rowtide.inbox AS i {_OF_ROW}", _named(sync, key))
    if waiting_too:
        conn.execute("DELETE FROM rowtide.outbox WHERE sync = %s AND key = %s", [sync, key])
    conn.execute(
        "UPDATE rowtide.ledger SET base = '{}', kept = '{}', mapping_version = 0, pulled = NULL, pulled_era = NULL"
        " WHERE sync = %s AND key = %s",
        [sync, key],
    )
    conn.execute("DELETE FROM rowtide.conflict WHERE sync = %s AND key = %s", [sync, key])


def forget_key(conn: Connection, sync: str, key: str) -> bool:
    """Forget the tombstone of a retired sync, whose next era is above it; whether there was one without leftovers."""
    query = (
        "DELETE FROM rowtide.ledger WHERE sync = %s AND key = %s AND state = 'tombstone' AND leftovers = '[]'::jsonb"
    )
    return conn.execute(query, [sync, key]).rowcount > 0


def is_retired(conn: Connection, sync: str) -> bool | None:
    """Whether the sync is retired; None: there never was one. Nobody takes it back until the transaction ends."""
    row = conn.execute("SELECT retired FROM rowtide.sync WHERE sync = %s FOR UPDATE", [sync]).fetchone()
    return None if row is None else bool(row[0])


def retired(conn: Connection) -> list[str]:
    """The retired syncs, by id."""
    query = 'SELECT sync FROM rowtide.sync WHERE retired ORDER BY sync COLLATE "C"'
    return [sync for (sync,) in conn.execute(query).fetchall()]


_RECORDS = """
SELECT (SELECT count(*) FROM rowtide.outbox WHERE sync = %(sync)s)
       + (SELECT count(*) FROM rowtide.inbox WHERE sync = %(sync)s),
       (SELECT count(*) FROM rowtide.outbox WHERE sync = %(sync)s AND lease_until > now())
       + (SELECT count(*) FROM rowtide.inbox WHERE sync = %(sync)s AND lease_until > now()),
       (SELECT count(*) FROM rowtide.ledger WHERE sync = %(sync)s AND leftovers <> '[]'::jsonb),
       (SELECT count(*) FROM rowtide.ledger WHERE sync = %(sync)s),
       (SELECT count(*) FROM rowtide.list WHERE sync = %(sync)s)
"""


def lock_sync(conn: Connection, sync: str, is_retired_: bool) -> SyncRecords:
    """How much is on record of a sync; nobody claims or settles any of it until the caller's transaction ends."""
    conn.execute("SELECT FROM rowtide.inbox WHERE sync = %s ORDER BY list_id, item_id FOR UPDATE", [sync])
    conn.execute('SELECT FROM rowtide.outbox WHERE sync = %s ORDER BY key COLLATE "C" FOR UPDATE', [sync])
    [(waiting, leased, left, rows, known)] = conn.execute(_RECORDS, {"sync": sync}).fetchall()
    return SyncRecords(is_retired_, waiting, leased, left, rows, known)


def purge(conn: Connection, sync: str) -> Mapping[str, int]:
    """Delete every record of a sync, in the caller's transaction; by table how many rows went."""
    gone = {}
    for table in OF_SYNC:
        gone[table] = conn.execute(f"DELETE FROM rowtide.{table} WHERE sync = %s", [sync]).rowcount
    return gone
