"""Records that rows and items which were there before belong together, and which of them nobody can tell.

In: items without a key as an enumeration saw them, pairs and groups (rowtide.matching). Out: ledger rows, the rows that
give items their key, entries of the inbox where values differ. Rules (docs/design.md section 9): all of a batch is one
transaction, inbox before outbox before ledger; a row or an item that has a partner by now, or of which something was
sent, is left as it is; what is ambiguous is set aside under its own code, and taken back when it is so no more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from rowtide.change import BACKFILL, JsonValue
from rowtide.deciding.records import Arriving, AsOf, ETag, Held, ItemId, ListId, version_of
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowError
from rowtide.matching import ItemPlace, Joined, UnkeyedItem
from rowtide.position import Position
from state import inbox, ledger, outbox
from state.database import Connection
from state.inbox import Shown
from state.reconcile import mends

_CODES = [row_errors.MATCH_AMBIGUOUS.code, row_errors.MATCH_OUTSIDE.code]

_UNCLAIMED = """
SELECT s.list_id, s.item_id, s.etag, s.fields FROM rowtide.seen AS s
 WHERE s.sync = %(sync)s AND s.purpose = 'deep' AND coalesce(s.item_key, '') = ''
   AND (%(items)s::text[] IS NULL
        OR (s.list_id, s.item_id) IN (SELECT * FROM unnest(%(lists)s::text[], %(items)s::text[])))
   AND NOT EXISTS (SELECT FROM rowtide.ledger AS l WHERE l.list_id = s.list_id AND l.item_id = s.item_id
                      AND l.state IN ('live', 'arriving'))
"""

_LEFT = """
SELECT one ->> 'list_id', one ->> 'item_id'
  FROM rowtide.ledger AS l CROSS JOIN LATERAL jsonb_array_elements(l.leftovers) AS one
 WHERE l.sync = %s AND l.leftovers <> '[]'::jsonb AND one ->> 'item_id' IS NOT NULL
"""


def read_unclaimed(conn: Connection, sync: str, places: Sequence[ItemPlace] | None = None) -> Iterator[UnkeyedItem]:
    """The items without a key and without a row, of all or of these places, a few at a time."""
    left = set(conn.execute(_LEFT, [sync]).fetchall())
    values = {
        "sync": sync,
        "lists": None if places is None else [one.list_id for one in places],
        "items": None if places is None else [one.item_id for one in places],
    }
    with conn.transaction(), conn.cursor("unclaimed") as cursor:
        for list_id, item_id, etag, fields in cursor.execute(_UNCLAIMED, values):
            if (list_id, item_id) not in left:
                yield UnkeyedItem(ItemPlace(ListId(list_id), ItemId(item_id)), ETag(etag), fields)


@dataclass(frozen=True, slots=True)
class NewPair:
    """A row key and its item; ``shown``: what the list shows of it, where the policy is to decide."""

    key: str
    joined: Joined
    shown: Shown | None


_LOCK = "SELECT FROM rowtide.outbox WHERE sync = %s AND key = ANY (%s) ORDER BY key FOR UPDATE"

_ADOPT = """
INSERT INTO rowtide.ledger AS l (sync, key, list_id, item_id, etag, version, base, kept, mapping_version, era, lsn,
                                 ordinal, xid, state)
SELECT n.sync, n.key, n.list_id, n.item_id, n.etag, n.version, n.base, n.kept, n.mapping_version, n.era, 0, 0, 0,
       n.state
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS n (sync text, key text, list_id text, item_id text, etag text,
       version bigint, base jsonb, kept jsonb, mapping_version int, era bigint, state text)
 WHERE NOT EXISTS (SELECT FROM rowtide.outbox AS o WHERE o.sync = n.sync AND o.key = n.key
                      AND (o.lease_token IS NOT NULL OR o.sent <> '[]'))
   AND NOT EXISTS (SELECT FROM rowtide.ledger AS h WHERE h.list_id = n.list_id AND h.item_id = n.item_id
                      AND h.state IN ('live', 'arriving'))
 ORDER BY n.key
    ON CONFLICT (sync, key) DO UPDATE
   SET list_id = excluded.list_id, item_id = excluded.item_id, etag = excluded.etag, version = excluded.version,
       base = excluded.base, kept = excluded.kept, mapping_version = excluded.mapping_version, state = excluded.state,
       updated_at = now()
 WHERE l.state = 'tombstone'
RETURNING l.key
"""


def adopt(conn: Connection, sync: str, era: int, mapping_version: int, pairs: Sequence[NewPair]) -> set[str]:
    """Make pairs, in the caller's transaction; the keys for which it was done.

    The row of each that is agreed is staged, to give the item its key and what else differs; of the others the item
    is put into the inbox.
    """
    as_of = AsOf(Position(era, 0, 0), 0, mapping_version)
    inbox.put(conn, sync, [one.shown for one in pairs if one.shown is not None], told=False)
    conn.execute(_LOCK, [sync, [one.key for one in pairs]])
    rows = [ledger.to_stored(sync, one.key, _pair(as_of, one.joined)) for one in pairs]
    by_row = [row for row, one in zip(rows, pairs, strict=True) if not one.joined.by_policy]
    mends.stage_refreshes(conn, era, mapping_version, by_row)
    return {key for (key,) in conn.execute(_ADOPT, {"rows": orjson.dumps(rows).decode()})}


def _pair(as_of: AsOf, joined: Joined) -> Held | Arriving:
    return Arriving(as_of, joined.item) if joined.by_policy else Held(as_of, joined.item)


def to_shown(seen: UnkeyedItem, wire: Mapping[str, JsonValue]) -> Shown:
    """What the inbox gets of an item as it was seen; ``wire``: its fields as Graph gives them."""
    place = seen.place
    return Shown(place.list_id, place.item_id, version_of(seen.etag), seen.etag, False, wire)


# --- what is ambiguous ----------------------------------------------------------------------------------------------

_SET_ROW_ASIDE = """
INSERT INTO rowtide.outbox AS o (sync, key, op, partial, mapping_version, era, lsn, ordinal, xid, committed_at,
                                 priority, state, hold, reason_code, reason)
SELECT %(sync)s, n.key, 'r', false, %(mapping_version)s, %(era)s, 0, 0, 0, now(), %(priority)s, 'parked', true,
       %(code)s, %(sentence)s
  FROM unnest(%(keys)s::text[]) AS n (key) ORDER BY n.key
    ON CONFLICT (sync, key) DO UPDATE
   SET state = 'parked', hold = true, reason_code = excluded.reason_code, reason = excluded.reason
 WHERE o.lease_token IS NULL AND o.sent = '[]'
"""

_SET_ITEM_ASIDE = """
UPDATE rowtide.inbox AS i SET state = 'parked', code = %(code)s, sentence = %(sentence)s
  FROM unnest(%(lists)s::text[], %(items)s::text[], %(etags)s::text[]) AS n (list_id, item_id, etag)
 WHERE (i.list_id, i.item_id, i.etag) = (n.list_id, n.item_id, n.etag) AND i.lease_token IS NULL
"""


@dataclass(frozen=True, slots=True)
class SetAside:
    """Rows and items of one likeness, and why they are left alone. ``shown``: those items that would become rows."""

    keys: Sequence[str]
    items: int
    shown: Sequence[Shown]
    why: RowError


def set_aside(conn: Connection, sync: str, era: int, mapping_version: int, one: SetAside) -> None:
    """Set these rows and items aside until they are no longer alike, or a person has them tried again."""
    keys, shown, why = one.keys, one.shown, one.why
    inbox.put(conn, sync, shown, told=False)
    values = {
        "sync": sync, "keys": list(keys), "era": era, "mapping_version": mapping_version, "code": why.code,
        "sentence": why.sentence, "priority": BACKFILL, "lists": [one.list_id for one in shown],
        "items": [one.item_id for one in shown], "etags": [one.etag for one in shown],
    }  # fmt: skip
    conn.execute(_SET_ITEM_ASIDE, values)
    conn.execute(_SET_ROW_ASIDE, values)


def take_back(conn: Connection, sync: str, keys: Sequence[str], places: Sequence[ItemPlace]) -> None:
    """Let go on what was set aside before and is not among these rows and items any more."""
    aside = "SELECT list_id, item_id FROM rowtide.inbox WHERE sync = %s AND state = 'parked' AND code = ANY (%s)"
    items = set(conn.execute(aside, [sync, _CODES]).fetchall()) - set(places)
    if items:
        inbox.retry_parked(conn, sync, [(ListId(list_id), ItemId(item_id)) for list_id, item_id in sorted(items)])
    rows = "SELECT key FROM rowtide.outbox WHERE sync = %s AND state = 'parked' AND reason_code = ANY (%s)"
    free = {key for (key,) in conn.execute(rows, [sync, _CODES])} - set(keys)
    if free:
        outbox.retry_parked(conn, sync, sorted(free))
