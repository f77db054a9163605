"""Changes of lists on their way into the inbox: tables ``list_cursor`` and ``inbox``, and ``seen`` while all is read.

In: pages of changes, lists to be read, hints that one has changed. Out: how far each list is read, and when it is asked
next; entries of the inbox. Rules (docs/design.md section 22): a page's entries and its link are one transaction, so
that a reader goes on exactly where it was killed, and a page that somebody else has read is dropped; nothing is judged
here; only reading a whole list may lower a version, or tell an item as gone that nobody has seen deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from psycopg.rows import class_row

from rowtide.deciding.records import version_of
from rowtide.errors import RowtideError
from rowtide.list_changes import ChangesPage
from rowtide.polling import PolledList
from state import channels, failpoints, inbox, inferring
from state.database import Connection
from state.inferring import Whole


@dataclass(frozen=True, slots=True)
class ListCursor:
    """How far a list's changes are read: a row of table ``list_cursor``.

    ``link``: where the next page is; None: at the list's beginning. ``full``: every item is read, in a round without
    missing any and one more after it, which shows what moved meanwhile; ``full_since``: when the first of these began.
    ``upload``: what is missing then is written again. ``missing``: SharePoint has answered that there is no such list.
    ``due_in_s`` and ``hinted``: when it is asked next, and whether somebody has said that it changed.
    """

    list_id: str
    sync: str
    incarnation: int
    link: str | None
    round: int
    round_began_at: datetime | None
    round_ended_at: datetime | None
    full: bool
    full_since: datetime | None
    upload: bool
    missing: bool
    interval_s: float | None
    code: str | None
    sentence: str | None
    due_in_s: float
    hinted: bool

    @property
    def midway(self) -> bool:
        """Whether the next page is one of a round that has begun."""
        if self.link is None or self.round_began_at is None:
            return False
        return self.round_ended_at is None or self.round_ended_at < self.round_began_at

    @property
    def reads_whole(self) -> bool:
        """Whether the next page is one of the round that shows every item."""
        return self.link is None or (self.full and self.midway and self.round_began_at == self.full_since)


_COLUMNS = """list_id, sync, incarnation, link, round, round_began_at, round_ended_at, "full", full_since, upload,
       missing, interval_s, code, sentence,
       extract(epoch FROM poll_due_at - clock_timestamp())::float8 AS due_in_s,
       hinted_at IS NOT NULL AND hinted_at > coalesce(round_began_at, '-infinity') AS hinted"""

_LOCK_NAME = "hashtextextended('rowtide.collect:' || %s, 0)"


def read(conn: Connection) -> dict[str, ListCursor]:
    """By list id how far it is read."""
    with conn.cursor(row_factory=class_row(ListCursor)) as cursor:
        found = cursor.execute(f"SELECT {_COLUMNS} FROM rowtide.list_cursor".encode()).fetchall()
    return {one.list_id: one for one in found}


def begin(conn: Connection, sync: str, list_ids: Sequence[str]) -> None:
    """Have these lists read, from their beginning; those that are read already go on where they are."""
    conn.execute(
        """
        INSERT INTO rowtide.list_cursor (list_id, sync, "full") SELECT unnest(%s::text[]), %s, true
            ON CONFLICT (list_id) DO UPDATE
           SET sync = excluded.sync, link = NULL, "full" = true, full_since = NULL, poll_due_at = now()
         WHERE list_cursor.sync <> excluded.sync
        """,
        [sorted(list_ids), sync],
    )


class Locked(NamedTuple):
    """A list that this session reads, as it stands now by the state database's clock."""

    cursor: ListCursor
    now: datetime


def lock(conn: Connection, list_id: str) -> Locked | None:
    """The list, for this session alone until `unlock` or its end; None while another one reads it."""
    [(locked,)] = conn.execute(f"SELECT pg_try_advisory_lock({_LOCK_NAME})", [list_id]).fetchall()
    if not locked:
        return None
    with conn.cursor(row_factory=class_row(ListCursor)) as cursor:
        statement = f"SELECT {_COLUMNS} FROM rowtide.list_cursor WHERE list_id = %s"
        found = cursor.execute(statement.encode(), [list_id]).fetchone()
    if found is None:
        unlock(conn, list_id)
        return None
    [(now,)] = conn.execute("SELECT clock_timestamp()").fetchall()
    return Locked(found, now)


def unlock(conn: Connection, list_id: str) -> None:
    """Let other processes read the list."""
    conn.execute(f"SELECT pg_advisory_unlock({_LOCK_NAME})", [list_id])


# --- pages --------------------------------------------------------------------------------------------------------

_SAVE = f"""
UPDATE rowtide.list_cursor
   SET link = %(next)s, round = %(page_round)s, round_began_at = %(began_at)s,
       round_ended_at = CASE WHEN %(last)s THEN clock_timestamp() ELSE round_ended_at END,
       read_until = CASE WHEN %(last)s THEN %(began_at)s ELSE read_until END,
       "full" = %(stays_full)s, full_since = %(full_since)s, upload = upload AND %(stays_full)s,
       poll_due_at = CASE WHEN NOT %(last)s OR %(stays_full)s OR hinted_at > %(began_at)s THEN clock_timestamp()
                          ELSE clock_timestamp() + make_interval(secs => %(wait_s)s) END,
       interval_s = %(interval_s)s, changed_at = CASE WHEN %(changed)s THEN clock_timestamp() ELSE changed_at END,
       missing = false, code = NULL, sentence = NULL
 WHERE list_id = %(list_id)s AND incarnation = %(incarnation)s AND round = %(round)s
   AND link IS NOT DISTINCT FROM %(link)s
RETURNING {_COLUMNS}
"""

# Whatever state the entry is in: newer content is due at once. A lease stays: whoever has it settles another revision.
_RENEWED = f"""{inbox.AS_NEWS}, due_at = now(), attempts = 0, tries = 0,
       revision = i.revision + 1, round = excluded.round, seen_at = excluded.seen_at"""

_TAKE_IN = f"""
INSERT INTO rowtide.inbox AS i (list_id, item_id, sync, version, etag, fields, item_key, by_app, made_by_app,
       editor_name, editor_email, modified_at, key, round, seen_at)
SELECT %(list_id)s, n.item_id, %(sync)s, n.version, n.etag, n.fields, n.item_key, n.by_app, n.made_by_app,
       n.editor_name, n.editor_email, n.modified_at, l.key, %(page_round)s, clock_timestamp()
  FROM jsonb_to_recordset(%(items)s::jsonb) AS n (item_id text, version bigint, etag text, fields jsonb, item_key text,
       by_app boolean, made_by_app boolean, editor_name text, editor_email text, modified_at timestamptz)
  LEFT JOIN rowtide.ledger AS l
         ON l.list_id = %(list_id)s AND l.item_id = n.item_id AND l.state IN ('live', 'arriving')
 ORDER BY n.item_id COLLATE "C"
    ON CONFLICT (list_id, item_id) DO UPDATE
   SET sync = excluded.sync, version = excluded.version, etag = excluded.etag, deleted = false, inferred = false,
       approved = false, fields = excluded.fields, item_key = excluded.item_key, by_app = excluded.by_app,
       made_by_app = excluded.made_by_app, editor_name = excluded.editor_name, editor_email = excluded.editor_email,
       modified_at = excluded.modified_at, key = coalesce(excluded.key, i.key), {_RENEWED}
 WHERE excluded.version > i.version OR i.deleted OR (%(is_whole)s AND excluded.version <> i.version)
"""

_TAKE_GONE = f"""
INSERT INTO rowtide.inbox AS i (list_id, item_id, sync, version, deleted, key, round, seen_at)
SELECT %(list_id)s, n.item_id, %(sync)s, 0, true, l.key, %(page_round)s, clock_timestamp()
  FROM unnest(%(deleted)s::text[]) AS n (item_id)
  LEFT JOIN rowtide.ledger AS l
         ON l.list_id = %(list_id)s AND l.item_id = n.item_id AND l.state IN ('live', 'arriving')
 ORDER BY n.item_id COLLATE "C"
    ON CONFLICT (list_id, item_id) DO UPDATE
   SET sync = excluded.sync, version = 0, etag = NULL, deleted = true, inferred = false, approved = false,
       fields = '{{}}', by_app = false, editor_name = NULL, editor_email = NULL, modified_at = NULL,
       key = coalesce(excluded.key, i.key), {_RENEWED}
 WHERE NOT i.deleted OR i.inferred
"""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a page did: how the list stands, how many entries are new or newer, what was found missing at its end."""

    cursor: ListCursor
    entries: int
    missing: inferring.MissingItems


def collect_page(
    conn: Connection, locked: Locked, page: ChangesPage, polled: PolledList, interval_s: float, wait_s: float
) -> Collected | None:
    """Take up a page of the list's changes, and its link; None when somebody else has moved the list meanwhile.

    ``interval_s``: the list's interval from now on, ``wait_s``: until the next round, if this page ends one.
    """
    values = _values(locked, page) | {"interval_s": interval_s, "wait_s": wait_s}
    with conn.transaction():
        with conn.cursor(row_factory=class_row(ListCursor)) as cursor:
            saved = cursor.execute(_SAVE.encode(), values).fetchone()
        if saved is None:
            return None
        entries = 0
        if page.items:
            entries += conn.execute(_TAKE_IN.encode(), values | {"items": _to_json(page)}).rowcount
        if page.deleted:
            entries += conn.execute(_TAKE_GONE.encode(), values | {"deleted": list(page.deleted)}).rowcount
        missing = _note_whole(conn, locked.cursor, page, polled, values)
        failpoints.hit(failpoints.COLLECT_BEFORE_COMMIT)
        if entries or missing.entries:
            channels.notify(conn, channels.INBOX, locked.cursor.sync)
    return Collected(saved, entries + missing.entries, missing)


def _values(locked: Locked, page: ChangesPage) -> dict[str, Any]:
    one = locked.cursor
    began_at = one.round_began_at if one.midway else locked.now
    full_since = (began_at if one.link is None else one.full_since) if one.full or one.link is None else None
    closes = page.is_last and full_since is not None and began_at != full_since
    return {
        "list_id": one.list_id, "sync": one.sync, "incarnation": one.incarnation, "round": one.round,
        "link": one.link, "next": page.link, "last": page.is_last, "began_at": began_at,
        "page_round": one.round if one.midway else one.round + 1, "stays_full": full_since is not None and not closes,
        "full_since": None if closes else full_since, "is_whole": full_since is not None, "closes": closes,
        "since": full_since, "changed": page.shows_others,
    }  # fmt: skip


def _note_whole(
    conn: Connection, one: ListCursor, page: ChangesPage, polled: PolledList, values: Mapping[str, Any]
) -> inferring.MissingItems:
    """While a whole list is read: what it has; at the end, what it has not."""
    if not values["is_whole"]:
        return inferring.NONE_MISSING
    whole = Whole(polled, values["since"], values["page_round"], one.upload)
    if one.link is None:
        inferring.forget_seen(conn, whole)
    inferring.note_seen(conn, whole, page)
    if not values["closes"]:
        return inferring.NONE_MISSING
    return inferring.note_missing(conn, whole)


def _to_json(page: ChangesPage) -> str:
    rows = [
        {
            "item_id": one.item_id, "version": version_of(one.etag), "etag": one.etag, "fields": one.fields,
            "item_key": one.item_key, "by_app": one.by_app, "made_by_app": one.made_by_app,
            "editor_name": one.editor_name, "editor_email": one.editor_email, "modified_at": one.modified_at,
        }
        for one in page.items
    ]  # fmt: skip
    return orjson.dumps(rows).decode()


# --- what is no page ----------------------------------------------------------------------------------------------


def begin_anew(conn: Connection, one: ListCursor, *, upload: bool = False, restored: bool = False) -> bool:
    """Have the list read from its beginning, because Graph does not go on from its link; False if it moved meanwhile.

    ``upload``: what it lacks then is written to it again. ``restored``: it is not the list that it was: a new
    incarnation.
    """
    statement = """
        UPDATE rowtide.list_cursor
           SET link = NULL, "full" = true, full_since = NULL, upload = %(upload)s, missing = false, code = NULL,
               sentence = NULL, incarnation = incarnation + %(restored)s::int, poll_due_at = now()
         WHERE list_id = %(list_id)s AND incarnation = %(incarnation)s AND round = %(round)s
           AND link IS NOT DISTINCT FROM %(link)s
    """
    values = {"list_id": one.list_id, "incarnation": one.incarnation, "round": one.round, "link": one.link}
    return bool(conn.execute(statement, values | {"upload": upload, "restored": restored}).rowcount)


def note_problem(conn: Connection, list_id: str, problem: RowtideError, wait_s: float, *, missing: bool) -> None:
    """Say why the list is not read on, and ask it again after ``wait_s``."""
    conn.execute(
        """
        UPDATE rowtide.list_cursor
           SET code = %s, sentence = %s, missing = missing OR %s,
               poll_due_at = clock_timestamp() + make_interval(secs => %s)
         WHERE list_id = %s
        """,
        [problem.code, problem.sentence, missing, wait_s, list_id],
    )


def hint(conn: Connection, list_ids: Sequence[str]) -> None:
    """Have these lists asked now: somebody says that they have changed."""
    statement = "UPDATE rowtide.list_cursor SET hinted_at = clock_timestamp() WHERE list_id = ANY (%s)"
    conn.execute(statement, [list(list_ids)])


# --- who sees to subscriptions ------------------------------------------------------------------------------------

_HOOKS_NAME = "hashtextextended('rowtide.webhooks:' || %s, 0)"


def lock_subscriptions(conn: Connection, graph: str) -> datetime | None:
    """The state database's time, for the one session that sees to a tenant's subscriptions; None while another does."""
    [(locked, now)] = conn.execute(f"SELECT pg_try_advisory_lock({_HOOKS_NAME}), now()", [graph]).fetchall()
    return now if locked else None


def unlock_subscriptions(conn: Connection, graph: str) -> None:
    """Let another session see to them."""
    conn.execute(f"SELECT pg_advisory_unlock({_HOOKS_NAME})", [graph])
