"""What the lists of a sync hold, read item by item: tables ``enumeration`` and ``seen``.

In: requests of a deep reconcile or a diff, and the pages that a process with the role deliver reads. Out: how far each
list is read; its items as they were last seen. Rules (docs/design.md section 9): a page and the link behind it are one
transaction, so that an enumeration goes on exactly where it was killed; a page that another process has read meanwhile
is dropped; the first round reads every item, each later one what changed since.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
from psycopg.rows import class_row

from rowtide.deciding.records import version_of
from rowtide.enumeration import ItemsPage
from state import channels
from state.database import Connection

Purpose = Literal["deep", "diff"]


@dataclass(frozen=True, slots=True)
class Enumeration:
    """A row of table ``enumeration``: how far the items of one list are read.

    ``ended`` of ``wanted`` rounds are over; the present or last one began at ``began_at``, and goes on at ``link``
    while it is ``midway``. ``problem``: why it does not go on.
    """

    sync: str
    purpose: Purpose
    list_id: str
    mapping_version: int
    ended: int
    wanted: int
    began_at: datetime | None
    midway: bool
    link: str | None
    pages: int
    ru: int
    problem: str | None
    updated_at: datetime

    @property
    def complete(self) -> bool:
        """Whether every round that was asked for has ended."""
        return self.ended >= self.wanted


_ASK = """
INSERT INTO rowtide.enumeration (sync, purpose, list_id, mapping_version)
SELECT %(sync)s, %(purpose)s, unnest(%(lists)s::text[]), %(mapping_version)s
    ON CONFLICT (sync, purpose, list_id) DO NOTHING
"""

_DROP = """
DELETE FROM rowtide.enumeration
 WHERE sync = %(sync)s AND purpose = %(purpose)s
   AND (mapping_version <> %(mapping_version)s OR list_id <> ALL (%(lists)s))
RETURNING list_id
"""

# What is under way began too early for whoever asks now.
_ASK_ROUND = """
UPDATE rowtide.enumeration SET wanted = ended + CASE WHEN midway THEN 2 ELSE 1 END, updated_at = now()
 WHERE sync = %s AND purpose = %s
"""


def ask(conn: Connection, sync: str, purpose: Purpose, mapping_version: int, lists: Collection[str]) -> None:
    """Have these lists read; one that is being read under the same mapping goes on where it is."""
    values = {"sync": sync, "purpose": purpose, "lists": sorted(lists), "mapping_version": mapping_version}
    with conn.transaction():
        dropped = conn.execute(_DROP, values).fetchall()
        if dropped:
            where = "sync = %s AND purpose = %s AND list_id = ANY (%s)"
            conn.execute(f"DELETE FROM rowtide.seen WHERE {where}", [sync, purpose, [one for (one,) in dropped]])
        conn.execute(_ASK, values)
        channels.notify(conn, channels.ENUMERATION)


def ask_round(conn: Connection, sync: str, purpose: Purpose) -> None:
    """Have one more round read that begins after this moment."""
    conn.execute(_ASK_ROUND, [sync, purpose])
    channels.notify(conn, channels.ENUMERATION)


def has_rested(conn: Connection, sync: str, purpose: Purpose, pause: timedelta) -> bool:
    """Whether the last round of every list began so long ago."""
    query = (
        "SELECT bool_and(began_at < clock_timestamp() - %s) FROM rowtide.enumeration WHERE sync = %s AND purpose = %s"
    )
    [(rested,)] = conn.execute(query, [pause, sync, purpose]).fetchall()
    return rested is not False


def read(conn: Connection, sync: str, purpose: Purpose) -> list[Enumeration]:
    """How far each list is read."""
    query = "SELECT * FROM rowtide.enumeration WHERE sync = %s AND purpose = %s ORDER BY list_id"
    with conn.cursor(row_factory=class_row(Enumeration)) as cursor:
        return cursor.execute(query, [sync, purpose]).fetchall()


def count_seen(conn: Connection, sync: str, purpose: Purpose) -> int:
    """How many items were seen."""
    query = "SELECT count(*) FROM rowtide.seen WHERE sync = %s AND purpose = %s"
    [(count,)] = conn.execute(query, [sync, purpose]).fetchall()
    return int(count)


def forget(conn: Connection, sync: str, purpose: Purpose) -> None:
    """Drop what was read."""
    with conn.transaction():
        for table in ("enumeration", "seen"):
            conn.execute(f"DELETE FROM rowtide.{table} WHERE sync = %s AND purpose = %s", [sync, purpose])


# --- whoever reads ------------------------------------------------------------------------------------------------


def read_wanted(conn: Connection) -> list[Enumeration]:
    """What is still to be read."""
    query = "SELECT * FROM rowtide.enumeration WHERE ended < wanted ORDER BY updated_at"
    with conn.cursor(row_factory=class_row(Enumeration)) as cursor:
        return cursor.execute(query).fetchall()


_BEGIN = """
UPDATE rowtide.enumeration SET midway = true, began_at = clock_timestamp(), problem = NULL, updated_at = now()
 WHERE sync = %(sync)s AND purpose = %(purpose)s AND list_id = %(list_id)s AND ended = %(ended)s AND NOT midway
RETURNING *
"""

_SAVE = """
UPDATE rowtide.enumeration
   SET link = %(next)s, midway = NOT %(last)s, ended = ended + %(last)s::int, pages = pages + 1, ru = ru + %(units)s,
       problem = NULL, updated_at = now()
 WHERE sync = %(sync)s AND purpose = %(purpose)s AND list_id = %(list_id)s AND mapping_version = %(mapping_version)s
   AND midway AND ended = %(ended)s AND link IS NOT DISTINCT FROM %(link)s
RETURNING *
"""

_SEEN = """
INSERT INTO rowtide.seen AS s (sync, purpose, list_id, item_id, item_key, etag, version, fields, made_by_app, by_app)
SELECT %(sync)s, %(purpose)s, %(list_id)s, item_id, item_key, etag, version, fields, made_by_app, by_app
  FROM jsonb_to_recordset(%(items)s::jsonb) AS n (item_id text, item_key text, etag text, version bigint, fields jsonb,
       made_by_app boolean, by_app boolean)
    ON CONFLICT (sync, purpose, list_id, item_id) DO UPDATE
   SET item_key = excluded.item_key, etag = excluded.etag, version = excluded.version, fields = excluded.fields,
       made_by_app = excluded.made_by_app, by_app = excluded.by_app
"""

_UNSEEN = """
DELETE FROM rowtide.seen
 WHERE sync = %(sync)s AND purpose = %(purpose)s AND list_id = %(list_id)s AND item_id = ANY (%(deleted)s)
"""

_RESTART = """
UPDATE rowtide.enumeration SET link = NULL, midway = false, updated_at = now()
 WHERE sync = %(sync)s AND purpose = %(purpose)s AND list_id = %(list_id)s AND link IS NOT DISTINCT FROM %(link)s
"""


def begin_round(conn: Connection, one: Enumeration) -> Enumeration | None:
    """The round begins now, before its first request; None when another process has begun it."""
    return _updated(conn, _BEGIN, _named(one))


def save_page(conn: Connection, one: Enumeration, page: ItemsPage, units: int) -> Enumeration | None:
    """Take up a page of the round under way; None when another process has."""
    values = _named(one) | {"next": page.link, "last": page.is_last, "units": units}
    with conn.transaction():
        saved = _updated(conn, _SAVE, values)
        if saved is None:
            return None
        if page.items:
            conn.execute(_SEEN, values | {"items": _items(page)})
        if page.deleted:
            conn.execute(_UNSEEN, values | {"deleted": list(page.deleted)})
    return saved


def _items(page: ItemsPage) -> str:
    rows: Sequence[dict[str, Any]] = [
        {
            "item_id": one.item.item_id, "item_key": one.item.row_key, "etag": one.item.etag,
            "version": version_of(one.item.etag), "fields": one.item.fields, "made_by_app": one.made_by_app,
            "by_app": one.item.by_app,
        }
        for one in page.items
    ]  # fmt: skip
    return orjson.dumps(rows).decode()


def restart(conn: Connection, one: Enumeration) -> None:
    """Read the list from its beginning again: Graph does not go on from the link any more."""
    values = _named(one)
    with conn.transaction():
        if conn.execute(_RESTART, values).rowcount:
            where = "sync = %(sync)s AND purpose = %(purpose)s AND list_id = %(list_id)s"
            conn.execute(f"DELETE FROM rowtide.seen WHERE {where}", values)


def note_problem(conn: Connection, one: Enumeration, sentence: str) -> None:
    """Say why the list is not read on."""
    values = _named(one) | {"problem": sentence}
    where = "sync = %(sync)s AND purpose = %(purpose)s AND list_id = %(list_id)s"
    conn.execute(f"UPDATE rowtide.enumeration SET problem = %(problem)s, updated_at = now() WHERE {where}", values)


def _named(one: Enumeration) -> dict[str, Any]:
    return {
        "sync": one.sync, "purpose": one.purpose, "list_id": one.list_id, "mapping_version": one.mapping_version,
        "ended": one.ended, "link": one.link,
    }  # fmt: skip


def _updated(conn: Connection, statement: str, values: dict[str, Any]) -> Enumeration | None:
    with conn.cursor(row_factory=class_row(Enumeration)) as cursor:
        return cursor.execute(statement.encode(), values).fetchone()
