"""The inbox: items of which something is to be applied to the source, one row for each; table ``inbox``.

In: items as a list or a look showed them (`put`), a person's word about those that were set aside. Out: what waits,
counts. Rules (docs/design.md section 3): nothing is judged here; a newer version replaces an older one in whatever
state that is (a pair that is held for `ping_pong` stays held), and keeps its lease, so that who applies the older one
finds out at its end; `state.applying` takes entries and ends them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from psycopg.rows import class_row

from rowtide.change import JsonValue
from rowtide.deciding.records import ETag, ItemId, ListId
from rowtide.error_catalogue import row_errors
from state import channels
from state.database import Connection

Place = tuple[ListId, ItemId]
"""An item: its number is its list's own."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An item as its list showed it, or that it was told as deleted (``version`` 0, no ``etag``, no ``fields``).

    ``fields`` as Graph gave them, by internal name. ``round``: the round of the list's changes that showed it.
    """

    list_id: ListId
    item_id: ItemId
    version: int
    etag: ETag | None
    deleted: bool
    fields: Mapping[str, JsonValue]
    item_key: str | None = None
    by_app: bool = False
    made_by_app: bool = False
    editor_name: str | None = None
    editor_email: str | None = None
    modified_at: datetime | None = None
    round: int = 0


SHOWN: Final = (
    "list_id, item_id, version, etag, deleted, fields, item_key, by_app, made_by_app, editor_name, editor_email,"
    " modified_at, round"
)
"""The columns of `Shown`."""

# A pair that both sides have kept changing is held until a person lets it go, whatever its item shows meanwhile.
_IS_HELD = f"(i.state = 'parked' AND i.code = '{row_errors.PING_PONG.code}' AND i.sync = excluded.sync)"
AS_NEWS: Final = f"""state = CASE WHEN {_IS_HELD} THEN i.state ELSE 'waiting' END,
       code = CASE WHEN {_IS_HELD} THEN i.code END, sentence = CASE WHEN {_IS_HELD} THEN i.sentence END"""
"""How an entry stands once newer content (``excluded``) has taken its place."""

# A look of our own may be older than what the list has told since: it does not bring back what was told as deleted, and
# what has the same version only says more about who edited it.
_PUT = f"""
INSERT INTO rowtide.inbox AS i (sync, {SHOWN})
SELECT %(sync)s, {SHOWN}
  FROM jsonb_to_recordset(%(shown)s::jsonb) AS n (list_id text, item_id text, version bigint, etag text,
       deleted boolean, fields jsonb, item_key text, by_app boolean, made_by_app boolean, editor_name text,
       editor_email text, modified_at timestamptz, round bigint)
 ORDER BY list_id, item_id
    ON CONFLICT (list_id, item_id) DO UPDATE
   SET sync = excluded.sync, version = excluded.version, etag = excluded.etag, deleted = excluded.deleted,
       fields = excluded.fields, item_key = excluded.item_key, by_app = excluded.by_app,
       made_by_app = excluded.made_by_app, editor_name = excluded.editor_name, editor_email = excluded.editor_email,
       modified_at = excluded.modified_at, round = excluded.round, seen_at = now(), {AS_NEWS},
       due_at = now(), attempts = 0, tries = 0, approved = false, absent_era = NULL, absent_lsn = NULL,
       key = CASE WHEN i.sync = excluded.sync THEN i.key END, revision = i.revision + 1
 WHERE CASE WHEN excluded.deleted THEN %(told)s AND NOT i.deleted
            WHEN i.deleted THEN %(told)s
            ELSE excluded.version > i.version END
"""

_SAY_MORE = """
UPDATE rowtide.inbox AS i
   SET editor_name = n.editor_name, editor_email = n.editor_email, modified_at = n.modified_at, by_app = n.by_app,
       made_by_app = n.made_by_app, round = greatest(i.round, n.round)
  FROM jsonb_to_recordset(%(shown)s::jsonb) AS n (list_id text, item_id text, version bigint, deleted boolean,
       by_app boolean, made_by_app boolean, editor_name text, editor_email text, modified_at timestamptz, round bigint)
 WHERE (i.list_id, i.item_id, i.version, i.deleted) = (n.list_id, n.item_id, n.version, n.deleted)
   AND (i.editor_name IS NULL OR NOT n.by_app)
"""


def put(conn: Connection, sync: str, shown: Sequence[Shown], told: bool = True) -> int:
    """Put what lists showed of items of a sync into the inbox, in the caller's transaction; how many were news.

    ``told``: by the list's changes, of which the later ones are the newer ones; else by a look of our own.
    """
    if not shown:
        return 0
    values = {"sync": sync, "shown": _json(shown), "told": told}
    if told:
        conn.execute(_SAY_MORE, values)
    count = conn.execute(_PUT, values).rowcount
    if count:
        channels.notify(conn, channels.PULL, sync)
    return count


def _json(shown: Sequence[Shown]) -> str:
    rows = [
        {
            "list_id": one.list_id, "item_id": one.item_id, "version": one.version, "etag": one.etag,
            "deleted": one.deleted, "fields": one.fields, "item_key": one.item_key, "by_app": one.by_app,
            "made_by_app": one.made_by_app, "editor_name": one.editor_name, "editor_email": one.editor_email,
            "modified_at": one.modified_at, "round": one.round,
        }
        for one in shown
    ]  # fmt: skip
    return orjson.dumps(rows).decode()


# --- what waits ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WaitingEntries:
    """How much of one sync is still to be applied; ``conflicts`` wait for a person, ``oldest``: since when one waits.

    ``postponed`` wait for another attempt, most of them because of ``why``.
    """

    sync: str
    waiting: int
    in_flight: int
    parked: int
    conflicts: int
    oldest: datetime | None
    postponed: int = 0
    why: str | None = None
    why_parked: str | None = None


def waiting(conn: Connection) -> dict[str, WaitingEntries]:
    """Counts of every sync that has entries."""
    query = """
        SELECT sync, count(*) FILTER (WHERE state = 'waiting') AS waiting,
               count(*) FILTER (WHERE state = 'waiting' AND lease_until > now()) AS in_flight,
               count(*) FILTER (WHERE state = 'parked') AS parked,
               count(*) FILTER (WHERE state = 'conflict') AS conflicts,
               min(seen_at) FILTER (WHERE state = 'waiting') AS oldest,
               count(*) FILTER (WHERE {later}) AS postponed,
               mode() WITHIN GROUP (ORDER BY sentence) FILTER (WHERE {later}) AS why,
               mode() WITHIN GROUP (ORDER BY sentence) FILTER (WHERE state = 'parked') AS why_parked
          FROM rowtide.inbox GROUP BY sync
    """.format(later="state = 'waiting' AND sentence IS NOT NULL AND due_at > now()")
    with conn.cursor(row_factory=class_row(WaitingEntries)) as cursor:
        return {row.sync: row for row in cursor.execute(query)}


def due(conn: Connection, syncs: Sequence[str]) -> set[str]:
    """Those of the syncs of which an entry could be taken now."""
    query = """
        SELECT s.sync FROM unnest(%s::text[]) AS s (sync)
         WHERE EXISTS (SELECT FROM rowtide.inbox AS i
                        WHERE i.sync = s.sync AND i.state = 'waiting' AND i.due_at <= now()
                          AND (i.lease_until IS NULL OR i.lease_until < now()))
    """
    return {sync for (sync,) in conn.execute(query, [list(syncs)]).fetchall()}


# --- what was set aside -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParkedEntry:
    """An entry set aside, and why; ``key``: of its row, once that is known."""

    sync: str
    list_id: ListId
    item_id: ItemId
    key: str | None
    version: int
    deleted: bool
    code: str | None
    sentence: str | None
    attempts: int
    seen_at: datetime


_PARKED = "sync, list_id, item_id, key, version, deleted, code, sentence, attempts, seen_at"


def parked(conn: Connection, sync: str | None = None, limit: int = 1000) -> list[ParkedEntry]:
    """Parked entries, the longest waiting first."""
    query = f"""
        SELECT {_PARKED} FROM rowtide.inbox
         WHERE state = 'parked' AND (%(sync)s::text IS NULL OR sync = %(sync)s)
         ORDER BY seen_at, list_id, item_id LIMIT %(limit)s
    """
    with conn.cursor(row_factory=class_row(ParkedEntry)) as cursor:
        return cursor.execute(query, {"sync": sync, "limit": limit}).fetchall()


_OF = """
 WHERE sync = %(sync)s AND state = 'parked'
   AND (%(lists)s::text[] IS NULL
        OR (list_id, item_id) IN (SELECT * FROM unnest(%(lists)s::text[], %(items)s::text[])))
"""


def retry_parked(conn: Connection, sync: str, items: Sequence[Place] | None = None) -> int:
    """Have parked entries (of these items, or all of the sync) tried again at once; how many."""
    count = conn.execute(
        f"""
        UPDATE rowtide.inbox
           SET state = 'waiting', code = NULL, sentence = NULL, attempts = 0, tries = 0, due_at = now(),
               approved = true {_OF}
        """,
        _places(sync, items),
    ).rowcount
    channels.notify(conn, channels.PULL, sync)
    return count


def discard_parked(conn: Connection, sync: str, items: Sequence[Place]) -> int:
    """Give up these parked entries: their items stay as they are until they or their rows change again; how many."""
    with conn.transaction():
        count = conn.execute(f"DELETE FROM rowtide.inbox {_OF}", _places(sync, items)).rowcount
        channels.notify(conn, channels.DUE, sync)
    return count


def _places(sync: str, items: Sequence[Place] | None) -> dict[str, Any]:
    if items is None:
        return {"sync": sync, "lists": None, "items": None}
    return {"sync": sync, "lists": [one for one, _ in items], "items": [one for _, one in items]}
