"""What the ledger remembers of edits that were applied to rows, beside the record in the source.

In: what was applied; old records of a source; after a break in the source's history, what it has lost. Out: entries by
which that is applied once more; which records nobody needs any more. Rules (docs/design.md sections 19 and 21): in a
new era no row goes to its list before it is known whether the source has what was pulled into it; a record of the
source goes after its counterpart here, never before it, because a counterpart without a record says that an edit is
lost.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from rowtide.deciding.pulled import Moved, Overwritten, Pulled
from rowtide.deciding.records import ItemId, ListId, Pair
from state import channels, inbox, ledger
from state.database import Connection
from state.inbox import Shown

# --- as it is stored ----------------------------------------------------------------------------------------------


def to_document(pulled: Pulled) -> dict[str, Any]:
    """The ledger's column ``pulled``."""
    moved = pulled.moved
    return {
        "list_id": pulled.list_id, "item_id": pulled.item_id, "version": pulled.version, "op": pulled.op,
        "xid": pulled.xid, "inserted": pulled.inserted, "gone": pulled.gone,
        "over": {name: [[one.xid, one.digest] for one in ones] for name, ones in pulled.over.items()},
        "moved": None if moved is None else [moved.xid, moved.from_list],
        "modified_at": None if pulled.modified_at is None else pulled.modified_at.isoformat(),
    }  # fmt: skip


def from_document(stored: Mapping[str, Any]) -> Pulled:
    """What was pulled, by that column."""
    moved, at = stored.get("moved"), stored.get("modified_at")
    return Pulled(
        ListId(stored["list_id"]), ItemId(stored["item_id"]), stored["version"], stored["op"], stored["xid"],
        {name: tuple(Overwritten(*one) for one in ones) for name, ones in stored["over"].items()},
        stored.get("inserted"), None if moved is None else Moved(moved[0], ListId(moved[1])), stored.get("gone"),
        None if at is None else datetime.fromisoformat(at),
    )  # fmt: skip


# --- after a break in the source's history ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A pair of which it is not known whether the source has, in this era, what was pulled into its row."""

    key: str
    pair: Pair | None
    pulled: Pulled


@dataclass(frozen=True, slots=True)
class UnconfirmedPairs:
    """Some of them, and the era in which they are looked at."""

    era: int
    pairs: Sequence[Unconfirmed]


# Whoever writes an item does not know that its row may have to be made again, and would note the pair as it was: a row
# that pull had made is looked at once nothing of it is on its way. Nothing more of it goes out before.
_UNCONFIRMED = """
  FROM rowtide.sync AS s
  JOIN rowtide.ledger AS l ON l.sync = s.sync AND l.pulled IS NOT NULL AND l.pulled_era < s.era
 WHERE s.sync = %(sync)s
   AND NOT (l.pulled ->> 'inserted' IS NOT NULL
            AND EXISTS (SELECT FROM rowtide.outbox AS o WHERE o.sync = l.sync AND o.key = l.key
                           AND (o.lease_token IS NOT NULL OR o.sent <> '[]'::jsonb)))
"""


def read_unconfirmed(conn: Connection, sync: str, limit: int) -> UnconfirmedPairs:
    """The next pairs that are to be looked at."""
    query = f"SELECT s.era, l.key, l.pulled {_UNCONFIRMED} ORDER BY l.pulled_era LIMIT %(limit)s"
    found = conn.execute(query.encode(), {"sync": sync, "limit": limit}).fetchall()
    pairs = ledger.read(conn, sync, [key for _, key, _ in found]) if found else {}
    return UnconfirmedPairs(
        max((era for era, _, _ in found), default=0),
        [Unconfirmed(key, pairs.get(key), from_document(stored)) for _, key, stored in found],
    )


def has_unconfirmed(conn: Connection, sync: str) -> bool:
    """Whether there are any."""
    [(found,)] = conn.execute(f"SELECT EXISTS (SELECT {_UNCONFIRMED})".encode(), {"sync": sync}).fetchall()
    return bool(found)


@dataclass(frozen=True, slots=True)
class PulledAgain:
    """What is applied once more, by row key: items as they were agreed, those whose pairs have none until then, and
    items that are gone; besides, items that rows have left.
    """

    shown: Mapping[str, Shown]
    freed: Collection[str]
    gone: Mapping[str, inbox.Place]
    left: Collection[Shown] = ()


# The deletion went through the breaker once.
_PUT_GONE = """
INSERT INTO rowtide.inbox (list_id, item_id, sync, version, deleted, approved, key)
SELECT n.list_id, n.item_id, %(sync)s, 0, true, true, n.key
  FROM unnest(%(keys)s::text[], %(lists)s::text[], %(items)s::text[]) AS n (key, list_id, item_id)
 ORDER BY n.list_id, n.item_id
    ON CONFLICT (list_id, item_id) DO NOTHING
"""

# Whoever has taken an entry of these does not know what is lost: it stays when that one ends.
_STAYS = """
UPDATE rowtide.inbox AS i SET revision = i.revision + 1
  FROM (SELECT i.ctid AS place FROM rowtide.inbox AS i
          JOIN unnest(%(lists)s::text[], %(items)s::text[]) AS n (list_id, item_id) USING (list_id, item_id)
         ORDER BY i.list_id, i.item_id FOR UPDATE OF i) AS found
 WHERE i.ctid = found.place
"""

_LOCK = "SELECT FROM rowtide.outbox WHERE sync = %s AND key = ANY (%s) ORDER BY key FOR UPDATE"

_CONFIRM = """
UPDATE rowtide.ledger AS l
   SET pulled_era = greatest(l.pulled_era, %(era)s)
  FROM unnest(%(keys)s::text[], %(xids)s::bigint[]) AS n (key, xid)
 WHERE l.sync = %(sync)s AND l.key = n.key AND (l.pulled ->> 'xid')::bigint = n.xid
"""

_FREE = """
UPDATE rowtide.ledger
   SET state = 'tombstone', list_id = NULL, item_id = NULL, etag = NULL, version = 0, pulled = NULL, pulled_era = NULL,
       applied_era = NULL, applied_lsn = NULL, updated_at = now()
 WHERE sync = %s AND key = ANY (%s) AND state = 'live'
"""


def confirm(conn: Connection, sync: str, looked_at: UnconfirmedPairs, again: PulledAgain) -> None:
    """Note that these pairs were looked at, and have it applied once more what the source has lost of them.

    By whoever holds the source's lock of the sync: nothing is applied to these rows meanwhile.
    """
    keys = [one.key for one in looked_at.pairs]
    xids = [one.pulled.xid for one in looked_at.pairs]
    shown = [*again.shown.values(), *again.left]
    places = [*((one.list_id, one.item_id) for one in shown), *again.gone.values()]
    with conn.transaction():
        if places:
            conn.execute(_STAYS, {"lists": [one for one, _ in places], "items": [one for _, one in places]})
        inbox.put(conn, sync, shown, told=False)
        if again.gone:
            lists, items = [place[0] for place in again.gone.values()], [place[1] for place in again.gone.values()]
            conn.execute(_PUT_GONE, {"sync": sync, "keys": list(again.gone), "lists": lists, "items": items})
            channels.notify(conn, channels.PULL, sync)
        conn.execute(_LOCK, [sync, keys])
        conn.execute(_CONFIRM, {"sync": sync, "era": looked_at.era, "keys": keys, "xids": xids})
        if again.freed:
            conn.execute(_FREE, [sync, sorted(again.freed)])
        channels.notify(conn, channels.DUE, sync)


# --- what is old --------------------------------------------------------------------------------------------------


class OldEdit(NamedTuple):
    """A record in a source that is old enough to go: of which row, item and version."""

    key: str
    list_id: str
    item_id: str
    version: int


# An entry that waits may be the very edit of the record: until it is settled the ledger does not have it.
_CLEAR = """
WITH old AS (
    SELECT o.* FROM unnest(%(keys)s::text[], %(lists)s::text[], %(items)s::text[], %(versions)s::bigint[])
                    AS o (key, list_id, item_id, version)
     WHERE NOT EXISTS (SELECT FROM rowtide.inbox AS i WHERE (i.list_id, i.item_id) = (o.list_id, o.item_id))),
ours AS (
    SELECT l.key, (l.pulled ->> 'version')::bigint AS version FROM rowtide.ledger AS l
     WHERE l.sync = %(sync)s AND l.key IN (SELECT key FROM old) ORDER BY l.key FOR UPDATE),
over AS (
    SELECT old.key, ours.version FROM old LEFT JOIN ours USING (key)
     WHERE ours.version IS NULL OR ours.version = old.version),
cleared AS (
    UPDATE rowtide.ledger AS l SET pulled = NULL, pulled_era = NULL FROM over
     WHERE l.sync = %(sync)s AND l.key = over.key AND over.version IS NOT NULL)
SELECT key FROM over
"""


def clear(conn: Connection, sync: str, old: Sequence[OldEdit]) -> set[str]:
    """The keys of the records that may go now.

    One stays whose entry waits, and one of another version than the ledger's: a failover has lost what came after it.
    """
    values = {
        "sync": sync,
        "keys": [one.key for one in old],
        "lists": [one.list_id for one in old],
        "items": [one.item_id for one in old],
        "versions": [one.version for one in old],
    }
    with conn.transaction():
        return {key for (key,) in conn.execute(_CLEAR, values)}
