"""Compares the items of an enumeration with ledger and outbox, and records in the ledger what was seen.

In: the items as seen (`state.enumeration`). Out: pairs that do not simply agree with their item, items that no pair
has; ledger rows that say what was seen, and rows in the outbox that mend it. Rules (docs/design.md section 9): what a
row's own changes are about to write, or what moved since it was read, is left alone; ledger and outbox change in one
transaction, the outbox first; a pair takes what was seen only where it still stands as it was judged.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from rowtide.change import BACKFILL, Fields
from rowtide.deciding.answers import Item
from rowtide.deciding.records import ETag, Held, ItemId, NoItem, version_of
from rowtide.enumeration import Compared
from rowtide.error_catalogue import row_errors
from rowtide.holds import HeldDeletes
from rowtide.keys import rowtide_key
from state import ledger, outbox
from state.database import Connection
from state.enumeration import Purpose
from state.ledger import Stored

# --- pairs and their items ----------------------------------------------------------------------------------------

_LAST = """
SELECT key FROM rowtide.ledger WHERE sync = %(sync)s AND key > %(after)s AND state = 'live'
 ORDER BY key OFFSET %(limit)s - 1 LIMIT 1
"""

_UNTOUCHED = "o.state = 'waiting' AND o.op <> 'd' AND o.lease_token IS NULL AND o.sent = '[]'"
"""Nobody has claimed the row, and nothing that was sent for it is without an answer. A delete needs no other base."""

# What agrees in every word is told here: of a million items few are anything else.
_PAIRS = f"""
SELECT {ledger.COLUMNS}, l.updated_at, l.updated_at >= e.began_at AS moved,
       l.updated_at >= e.began_at - %(lag)s::interval AS young, o.state AS waits,
       coalesce({_UNTOUCHED}, false) AS untouched,
       s.item_id, s.item_key, s.etag, s.fields, s.by_app
  FROM rowtide.ledger AS l
  JOIN rowtide.enumeration AS e ON (e.sync, e.purpose, e.list_id) = (l.sync, %(purpose)s, l.list_id)
  LEFT JOIN LATERAL (SELECT * FROM rowtide.seen WHERE sync = l.sync AND purpose = %(purpose)s AND list_id = l.list_id
                        AND item_id = l.item_id OFFSET 0) AS s ON true
  LEFT JOIN LATERAL (SELECT * FROM rowtide.outbox WHERE sync = l.sync AND key = l.key OFFSET 0) AS o ON true
 WHERE l.sync = %(sync)s AND l.key > %(after)s AND (%(last)s::text IS NULL OR l.key <= %(last)s) AND l.state = 'live'
   AND (o.key IS NOT NULL OR s.item_id IS NULL OR l.updated_at >= e.began_at OR s.etag IS DISTINCT FROM l.etag
        OR NOT l.base @> s.fields OR l.base ? 'RowtideKey' OR l.key = ANY (%(also)s)
        OR s.item_key IS DISTINCT FROM %(sync)s || ':' || l.key)
"""
_PAIR_COLUMNS = len(Stored._fields)


class Doubtful(NamedTuple):
    """A live pair that does not simply agree with its item.

    ``waits``: its row's state in the outbox, None without; ``untouched``: that row can be read anew.
    """

    compared: Compared
    updated_at: datetime
    waits: str | None
    untouched: bool


class DoubtfulPage(NamedTuple):
    """Pairs in key order up to ``last`` (None: the last of all), without those that agree in every word."""

    pairs: list[Doubtful]
    last: str | None


def read_doubtful(
    conn: Connection, sync: str, purpose: Purpose, after: str, limit: int, lag: timedelta, also: Collection[str] = ()
) -> DoubtfulPage:
    """The next ``limit`` pairs after the key ``after``; those of ``also`` are doubtful in any case.

    An item may be shown for so long (``lag``) as it was before.
    """
    values = {"sync": sync, "purpose": purpose, "after": after, "limit": limit, "lag": lag, "also": list(also)}
    found = conn.execute(_LAST, values).fetchone()
    last = None if found is None else str(found[0])
    rows = conn.execute(_PAIRS, values | {"last": last}).fetchall()
    return DoubtfulPage([_to_doubtful(sync, row) for row in rows], last)


def _to_doubtful(sync: str, row: Sequence[Any]) -> Doubtful:
    stored = Stored(*row[:_PAIR_COLUMNS])
    updated_at, moved, young, waits, untouched, item_id, item_key, etag, fields, by_app = row[_PAIR_COLUMNS:]
    pair = ledger.to_pair(stored)
    assert isinstance(pair, Held), "a live pair has an item"
    item = None if item_id is None else Item(ItemId(item_id), ETag(etag), fields, by_app, item_key)
    compared = Compared(stored.key, pair, item, rowtide_key(sync, stored.key), moved, young)
    return Doubtful(compared, updated_at, waits, untouched)


# Rows of which something waits, and pairs that moved since the round began, are judged otherwise.
_MISSING = """
SELECT l.key FROM rowtide.ledger AS l
  JOIN rowtide.enumeration AS e ON (e.sync, e.purpose, e.list_id) = (l.sync, 'deep', l.list_id)
 WHERE l.sync = %(sync)s AND l.state = 'live' AND l.updated_at < e.began_at - %(lag)s::interval
   AND NOT EXISTS (SELECT FROM rowtide.seen AS s
                    WHERE (s.sync, s.purpose, s.list_id, s.item_id) = (l.sync, 'deep', l.list_id, l.item_id))
   AND NOT EXISTS (SELECT FROM rowtide.outbox AS o WHERE o.sync = l.sync AND o.key = l.key)
   AND NOT EXISTS (SELECT FROM rowtide.reconcile_absent AS a WHERE a.sync = l.sync AND a.key = l.key AND a.approved)
"""

_COUNT_MISSING = f"""
WITH missing AS MATERIALIZED ({_MISSING})
SELECT (SELECT count(*) FROM missing), ARRAY(SELECT key FROM missing ORDER BY key LIMIT %(sample)s), {outbox.PAIRS}
"""


def count_missing(conn: Connection, sync: str, lag: timedelta) -> tuple[HeldDeletes, int]:
    """Items that a deep pass found missing and that nobody has approved; how many rows have an item or wait for one."""
    [(count, sample, pairs)] = conn.execute(_COUNT_MISSING, {"sync": sync, "lag": lag, "sample": outbox.SAMPLE})
    return HeldDeletes(int(count), tuple(sample), None), int(pairs)


def note_missing(conn: Connection, sync: str, lag: timedelta) -> None:
    """Write down which these are."""
    insert = f"INSERT INTO rowtide.reconcile_absent (sync, key) SELECT %(sync)s, m.key FROM ({_MISSING}) AS m"
    conn.execute(f"{insert} ON CONFLICT DO NOTHING", {"sync": sync, "lag": lag})


# --- items without a pair -----------------------------------------------------------------------------------------

_LOOSE = """
SELECT s.list_id, s.item_id, s.item_key, s.etag, s.fields, s.made_by_app
  FROM rowtide.seen AS s
 WHERE s.sync = %(sync)s AND s.purpose = %(purpose)s
   AND NOT EXISTS (SELECT FROM rowtide.ledger AS l WHERE l.list_id = s.list_id AND l.item_id = s.item_id
                      AND l.state IN ('live', 'arriving'))
 ORDER BY s.item_key, s.list_id, length(s.item_id), s.item_id
"""

_DIGESTED = """
SELECT key FROM rowtide.ledger WHERE sync = %(sync)s AND key !~ '^[0-9a-z-]{1,64}$'
 UNION SELECT key FROM rowtide.outbox WHERE sync = %(sync)s AND key !~ '^[0-9a-z-]{1,64}$'
"""

# What was sent may make or remove an item; a pair that moved since says more than what was seen.
_UNSETTLED = """
SELECT key FROM rowtide.outbox WHERE sync = %(sync)s AND key = ANY (%(keys)s)
   AND (%(waiting)s OR lease_token IS NOT NULL OR sent <> '[]')
 UNION
SELECT key FROM rowtide.ledger WHERE sync = %(sync)s AND key = ANY (%(keys)s)
   AND updated_at >= (SELECT min(began_at) FROM rowtide.enumeration WHERE sync = %(sync)s AND purpose = %(purpose)s)
"""


@dataclass(frozen=True, slots=True)
class Loose:
    """An item that no live pair has. ``key``: the row key that its RowtideKey stands for; None: unknown, or none.

    ``ours``: its RowtideKey is one of this sync.
    """

    list_id: str
    item_id: str
    item_key: str | None
    etag: str
    fields: Fields
    made_by_app: bool
    key: str | None
    ours: bool


def read_loose(conn: Connection, sync: str, purpose: Purpose) -> list[Loose]:
    """Every item without a live pair, those of one key together, the oldest first."""
    rows = conn.execute(_LOOSE, {"sync": sync, "purpose": purpose}).fetchall()
    prefix = f"{sync}:"
    digests = {row[2] for row in rows if row[2] is not None and row[2].startswith(f"{prefix}#")}
    known = _row_keys(conn, sync) if digests else {}
    found = []
    for list_id, item_id, item_key, etag, fields, made_by_app in rows:
        ours = item_key is not None and item_key.startswith(prefix)
        key = known.get(item_key) if item_key in digests else item_key[len(prefix) :] if ours else None
        # SharePoint compares texts without case: another spelling is not our key.
        ours = ours and (key is None or rowtide_key(sync, key) == item_key)
        found.append(Loose(list_id, item_id, item_key, etag, fields, made_by_app, key, ours))
    return found


def _row_keys(conn: Connection, sync: str) -> dict[str, str]:
    """RowtideKey -> row key, of every known row whose RowtideKey is a digest."""
    return {rowtide_key(sync, key): key for (key,) in conn.execute(_DIGESTED, {"sync": sync})}


def read_unsettled(conn: Connection, sync: str, purpose: Purpose, keys: Collection[str], waiting: bool) -> set[str]:
    """Those of ``keys`` of whose items nothing can be said: something may have been sent, or their pair has moved.

    ``waiting``: also those for which something merely waits.
    """
    values = {"sync": sync, "purpose": purpose, "keys": list(keys), "waiting": waiting}
    return {key for (key,) in conn.execute(_UNSETTLED, values)} if keys else set()


# --- what was seen goes into the ledger ---------------------------------------------------------------------------


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
   AND (o.key <> ALL (%(anew)s) OR {_UNTOUCHED})
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


def mend(conn: Connection, sync: str, era: int, mapping_version: int, mends: Sequence[Mend]) -> set[str]:
    """Record what was seen and stage the rows that mend it, in the caller's transaction; the keys it was done for.

    A row that was staged although its pair moved in this moment is read again and needs no write.
    """
    rows = [_to_row(sync, one) for one in mends]
    staged = [row for row, one in zip(rows, mends, strict=True) if one.stage and not one.waits]
    waiting = [one for one in mends if one.waits]
    values = {"mapping_version": mapping_version, "era": era, "priority": BACKFILL, "rows": _json(staged)}
    keys = [key for (key,) in conn.execute(_STAGE, values)] if staged else []
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
SELECT %(sync)s, n.key, n.list_id, n.item_id, n.etag, n.version, n.base, %(mapping_version)s, %(era)s, 0, 0, 0, 'live'
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS n (key text, list_id text, item_id text, etag text, version bigint,
       base jsonb)
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
    rows = [
        {
            "key": key, "list_id": one.list_id, "item_id": one.item_id, "etag": one.etag,
            "version": version_of(ETag(one.etag)), "base": one.fields,
        }
        for key, one in found.items()
    ]  # fmt: skip
    values = {"sync": sync, "keys": sorted(found), "era": era, "mapping_version": mapping_version, "rows": _json(rows)}
    conn.execute(_LOCK, values)
    return {key for (key,) in conn.execute(_ADOPT, values)}


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
