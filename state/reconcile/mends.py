"""Records in the ledger what an enumeration saw, and has rows mend what differs.

In: what a deep pass concluded of pairs, and items to be taken up. Out: ledger rows that say what was seen, and rows in
the outbox. Rules (docs/design.md section 9): ledger and outbox change in one transaction, the outbox first; a pair
takes what was seen only where it still stands as it was judged.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from rowtide.change import BACKFILL
from rowtide.deciding.records import Held, NoItem
from rowtide.error_catalogue import row_errors
from state import ledger, outbox
from state.database import Connection
from state.reconcile.items import UNTOUCHED, Loose


class Mend(NamedTuple):
    """What the ledger is to say of a key whose pair still stands as at ``updated_at``; ``stage``: the row mends it.

    ``waits``: the row waits already, or is parked; ``anew``: it is read anew, while it is untouched.
    """

    key: str
    updated_at: datetime
    pair: Held | NoItem
    stage: bool
    waits: bool = False
    anew: bool = False


# A refresh: whatever the row is now is wanted, and compared with what was seen.
_STAGE = """
INSERT INTO rowtide.outbox (sync, key, op, partial, mapping_version, era, lsn, ordinal, xid, committed_at, priority)
SELECT sync, key, 'r', false, %(mapping_version)s, %(era)s, CASE WHEN era = %(era)s THEN lsn ELSE 0 END,
       CASE WHEN era = %(era)s THEN ordinal ELSE 0 END, CASE WHEN era = %(era)s THEN xid ELSE 0 END, now(),
       %(priority)s
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS n (sync text, key text, era bigint, lsn bigint, ordinal int, xid bigint)
 ORDER BY key
    ON CONFLICT (sync, key) DO NOTHING
RETURNING key
"""

_RECORD = """
UPDATE rowtide.ledger AS l
   SET etag = n.etag, version = n.version, base = n.base, kept = n.kept, state = n.state, leftovers = n.leftovers,
       updated_at = now()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS n (sync text, key text, etag text, version bigint, base jsonb, kept jsonb,
       state text, leftovers jsonb, was timestamptz)
 WHERE l.sync = n.sync AND l.key = n.key AND l.updated_at = n.was
   AND (n.key = ANY (%(staged)s)
        OR NOT EXISTS (SELECT FROM rowtide.outbox AS o WHERE o.sync = l.sync AND o.key = l.key))
RETURNING l.key
"""


_FREE = f"""
SELECT o.key, o.reason_code FROM rowtide.outbox AS o
 WHERE o.sync = %(sync)s AND o.key = ANY (%(keys)s) AND o.lease_token IS NULL
   AND (o.key <> ALL (%(anew)s) OR {UNTOUCHED})
 ORDER BY o.key FOR UPDATE
"""


def _free(conn: Connection, sync: str, mends: Sequence[Mend]) -> list[str]:
    """Those of these waiting rows that nobody has claimed, locked; what was parked as older is tried again.

    What is read anew knows nothing of the base of before: a change that names some fields only would leave an edit of
    the others.
    """
    anew = [one.key for one in mends if one.anew]
    found = conn.execute(_FREE, {"sync": sync, "keys": [one.key for one in mends], "anew": anew}).fetchall()
    parked = [key for key, code in found if code == row_errors.ITEM_OLDER_THAN_KNOWN.code]
    if parked:
        outbox.retry_parked(conn, sync, parked)
    free = [key for key, _ in found]
    outbox.read_anew(conn, sync, sorted(set(free) & set(anew)))
    return free


def stage_refreshes(conn: Connection, era: int, mapping_version: int, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Have the rows of these ledger rows read, at backfill priority; the keys of which nothing waited before."""
    values = {"mapping_version": mapping_version, "era": era, "priority": BACKFILL, "rows": _json(rows)}
    return [key for (key,) in conn.execute(_STAGE, values)] if rows else []


def mend(conn: Connection, sync: str, era: int, mapping_version: int, mends: Sequence[Mend]) -> set[str]:
    """Record what was seen and stage the rows that mend it, in the caller's transaction; the keys it was done for.

    A row that was staged although its pair moved in this moment is read again and needs no write.
    """
    rows = [_to_row(sync, one) for one in mends]
    staged = [row for row, one in zip(rows, mends, strict=True) if one.stage and not one.waits]
    waiting = [one for one in mends if one.waits]
    keys = stage_refreshes(conn, era, mapping_version, staged)
    keys += _free(conn, sync, waiting) if waiting else []
    unstaged = {one.key for one in mends if not one.stage}
    may = [row for row in rows if row["key"] in unstaged or row["key"] in keys]
    return {key for (key,) in conn.execute(_RECORD, {"rows": _json(may), "staged": keys})} if may else set()


def _to_row(sync: str, one: Mend) -> dict[str, Any]:
    stored = ledger.to_stored(sync, one.key, one.pair)
    return stored | {"was": one.updated_at.isoformat()}


# --- items are taken up -------------------------------------------------------------------------------------------

_LOCK = "SELECT FROM rowtide.outbox WHERE sync = %(sync)s AND key = ANY (%(keys)s) ORDER BY key FOR UPDATE"

_ADOPT = """
INSERT INTO rowtide.ledger AS l (sync, key, list_id, item_id, etag, version, base, mapping_version, era, lsn, ordinal,
                                 xid, state)
SELECT %(sync)s, n.key, n.list_id, n.item_id, s.etag, s.version, s.fields, %(mapping_version)s, %(era)s, 0, 0, 0,
       'live'
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS n (key text, list_id text, item_id text)
  JOIN rowtide.seen AS s
    ON (s.sync, s.purpose, s.list_id, s.item_id) = (%(sync)s, 'deep', n.list_id, n.item_id)
 WHERE NOT EXISTS (SELECT FROM rowtide.outbox AS o WHERE o.sync = %(sync)s AND o.key = n.key
                      AND (o.lease_token IS NOT NULL OR o.sent <> '[]'))
   AND NOT EXISTS (SELECT FROM rowtide.ledger AS h WHERE h.list_id = n.list_id AND h.item_id = n.item_id
                      AND h.state IN ('live', 'arriving'))
 ORDER BY n.key
    ON CONFLICT (sync, key) DO UPDATE
   SET list_id = excluded.list_id, item_id = excluded.item_id, etag = excluded.etag, version = excluded.version,
       base = excluded.base, kept = '{}', mapping_version = excluded.mapping_version, state = 'live', updated_at = now()
 WHERE l.state = 'tombstone' AND NOT l.leftovers @> jsonb_build_array(jsonb_build_object('item_id', excluded.item_id))
RETURNING l.key
"""


def adopt(conn: Connection, sync: str, era: int, mapping_version: int, found: Mapping[str, Loose]) -> set[str]:
    """Make pairs of keys that have none and the items that carry them, in the caller's transaction; the keys taken.

    The base is what the item holds: a row that says something else is written, one that says the same is not.
    """
    rows = [{"key": key, "list_id": one.list_id, "item_id": one.item_id} for key, one in found.items()]
    values = {"sync": sync, "keys": sorted(found), "era": era, "mapping_version": mapping_version, "rows": _json(rows)}
    conn.execute(_LOCK, values)
    return {key for (key,) in conn.execute(_ADOPT, values)}


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
