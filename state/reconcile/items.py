"""Compares the items of an enumeration with ledger and outbox.

In: the items as seen (`state.enumeration`). Out: pairs that do not simply agree with their item, items that no pair
has. Rule (docs/design.md section 9): what a row's own changes are about to write, or what moved since it was read, is
told apart. `state.reconcile.mends` records what follows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from rowtide.deciding.answers import Item
from rowtide.deciding.records import ETag, Held, ItemId
from rowtide.enumeration import Compared
from rowtide.holds import HeldDeletes
from rowtide.keys import rowtide_key
from state import ledger, outbox
from state.database import Connection
from state.enumeration import Purpose
from state.ledger import Stored

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of pairs that are compared at once: they are in memory together, and a row may have a megabyte."""

AT_ONCE: Final = 5
"""Pairs that are fetched at once, so that the widest ones do not go far beyond that."""

# --- pairs and their items ----------------------------------------------------------------------------------------

_LAST = """
SELECT key FROM rowtide.ledger WHERE sync = %(sync)s AND key > %(after)s AND state = 'live'
 ORDER BY key OFFSET %(limit)s - 1 LIMIT 1
"""

UNTOUCHED = "o.state = 'waiting' AND o.op <> 'd' AND o.lease_token IS NULL AND o.sent = '[]'"
"""Nobody has claimed the row, and nothing that was sent for it is without an answer. A delete needs no other base."""

# What agrees in every word is told here: of a million items few are anything else.
_PAIRS = f"""
SELECT {ledger.COLUMNS}, l.updated_at, l.updated_at >= e.began_at AS moved,
       l.updated_at >= e.began_at - %(lag)s::interval AS young, o.state AS waits,
       coalesce({UNTOUCHED}, false) AS untouched,
       s.item_id, s.item_key, s.etag, s.fields, s.by_app,
       coalesce(octet_length(l.base::text), 0) + coalesce(octet_length(s.fields::text), 0)
  FROM rowtide.ledger AS l
  JOIN rowtide.enumeration AS e ON (e.sync, e.purpose, e.list_id) = (l.sync, %(purpose)s, l.list_id)
  LEFT JOIN LATERAL (SELECT * FROM rowtide.seen WHERE sync = l.sync AND purpose = %(purpose)s AND list_id = l.list_id
                        AND item_id = l.item_id OFFSET 0) AS s ON true
  LEFT JOIN LATERAL (SELECT * FROM rowtide.outbox WHERE sync = l.sync AND key = l.key OFFSET 0) AS o ON true
 WHERE l.sync = %(sync)s AND l.key > %(after)s AND (%(last)s::text IS NULL OR l.key <= %(last)s) AND l.state = 'live'
   AND (o.key IS NOT NULL OR s.item_id IS NULL OR l.updated_at >= e.began_at OR s.etag IS DISTINCT FROM l.etag
        OR NOT l.base @> s.fields OR l.base ? 'RowtideKey' OR l.key = ANY (%(also)s)
        OR s.item_key IS DISTINCT FROM %(sync)s || ':' || l.key)
 ORDER BY l.key
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
    """The next ``limit`` pairs after the key ``after``, or fewer wide ones; those of ``also`` are doubtful in any case.

    An item may be shown for so long (``lag``) as it was before.
    """
    values = {"sync": sync, "purpose": purpose, "after": after, "limit": limit, "lag": lag, "also": list(also)}
    found = conn.execute(_LAST, values).fetchone()
    last = None if found is None else str(found[0])
    pairs: list[Doubtful] = []
    size_bytes = 0
    with conn.transaction(), conn.cursor("doubtful") as cursor:
        cursor.execute(_PAIRS, values | {"last": last})
        while size_bytes < MOST_BYTES:
            if not (rows := cursor.fetchmany(AT_ONCE)):
                return DoubtfulPage(pairs, last)
            for *row, row_bytes in rows:
                pairs.append(_to_doubtful(sync, row))
                size_bytes += row_bytes
    return DoubtfulPage(pairs, pairs[-1].compared.key)


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
SELECT s.list_id, s.item_id, s.item_key, s.etag, s.made_by_app
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
SELECT key, bool_or(moves)
  FROM (SELECT key, lease_token IS NOT NULL AS moves
          FROM rowtide.outbox WHERE sync = %(sync)s AND key = ANY (%(keys)s)
           AND (%(waiting)s OR lease_token IS NOT NULL OR sent <> '[]')
         UNION ALL
        SELECT key, true FROM rowtide.ledger WHERE sync = %(sync)s AND key = ANY (%(keys)s)
           AND updated_at >= (SELECT min(began_at) FROM rowtide.enumeration
                               WHERE sync = %(sync)s AND purpose = %(purpose)s)) AS found
 GROUP BY key
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
    made_by_app: bool
    key: str | None
    ours: bool


def read_loose(conn: Connection, sync: str, purpose: Purpose) -> list[Loose]:
    """Every item without a live pair, those of one key together, the oldest first.

    What it holds is not read: after a lost ledger that is all that the lists hold.
    """
    rows = conn.execute(_LOOSE, {"sync": sync, "purpose": purpose}).fetchall()
    prefix = f"{sync}:"
    digests = {row[2] for row in rows if row[2] is not None and row[2].startswith(f"{prefix}#")}
    known = _row_keys(conn, sync) if digests else {}
    found = []
    for list_id, item_id, item_key, etag, made_by_app in rows:
        ours = item_key is not None and item_key.startswith(prefix)
        key = known.get(item_key) if item_key in digests else item_key[len(prefix) :] if ours else None
        # SharePoint compares texts without case: another spelling is not our key.
        ours = ours and (key is None or rowtide_key(sync, key) == item_key)
        found.append(Loose(list_id, item_id, item_key, etag, made_by_app, key, ours))
    return found


def _row_keys(conn: Connection, sync: str) -> dict[str, str]:
    """RowtideKey -> row key, of every known row whose RowtideKey is a digest."""
    return {rowtide_key(sync, key): key for (key,) in conn.execute(_DIGESTED, {"sync": sync})}


def read_unsettled(
    conn: Connection, sync: str, purpose: Purpose, keys: Collection[str], waiting: bool
) -> dict[str, bool]:
    """Those of ``keys`` of whose items nothing can be said: something may have been sent, or their pair has moved.

    ``waiting``: also those for which something merely waits. With each key, whether nobody but a later look can say
    more: a row that is not claimed yet, or was sent and not answered, looks for its items itself.
    """
    values = {"sync": sync, "purpose": purpose, "keys": list(keys), "waiting": waiting}
    return dict(conn.execute(_UNSETTLED, values).fetchall()) if keys else {}
