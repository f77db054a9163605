"""Conflicts, each recorded once: table ``conflict``.

In: conflicts that were met while entries were applied, choices of persons. Out: records, lists of them, choices for
whoever takes an entry. Rules (docs/design.md section 3): one row for each pair, item version, kind and values; an open
one follows its values; a choice names the two values that it was made of; what overtakes an open conflict closes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from rowtide.deciding import conflict_documents as documents
from rowtide.deciding.conflict_documents import ChoiceDocument, ValuesDocument, WinnerName
from rowtide.deciding.conflicts import UNKNOWN_TIMES, Choice, ConflictRecord, Times, TwoWayPolicy
from rowtide.deciding.records import ItemId, ListId
from state import channels
from state.database import Connection
from state.inbox import Place

# --- conflicts are met --------------------------------------------------------------------------------------------

_KNOWN = """
  FROM jsonb_to_recordset(%(records)s::jsonb) AS n (list_id text, item_id text, version bigint, kind text,
       fields jsonb, policy text, winner text, sentence text, state text)
"""

_DECIDE_OPEN = f"""
UPDATE rowtide.conflict AS c
   SET key = coalesce(%(key)s, c.key), fields = n.fields, winner = n.winner, state = n.state,
       choice = CASE WHEN n.winner IS NOT NULL THEN c.choice END
{_KNOWN}
 WHERE c.state = 'open'
   AND (c.list_id, c.item_id, c.version, c.kind) = (n.list_id, n.item_id, n.version, n.kind)
   AND NOT EXISTS (SELECT FROM rowtide.conflict AS o
                    WHERE (o.list_id, o.item_id, o.version, o.kind) = (n.list_id, n.item_id, n.version, n.kind)
                      AND o.fields = n.fields AND o.id <> c.id)
"""

# Of values that met before, and whose decision a failover lost, a person is asked once more.
_RECORD = f"""
INSERT INTO rowtide.conflict AS c (sync, key, list_id, item_id, version, kind, fields, postgres_at, sharepoint_at,
                                   editor_name, policy, winner, sentence, state)
SELECT %(sync)s, %(key)s, list_id, item_id, version, kind, fields, %(postgres_at)s, %(sharepoint_at)s, %(editor)s,
       policy, winner, sentence, state
{_KNOWN}
    ON CONFLICT (list_id, item_id, version, kind, md5(fields::text)) DO UPDATE
   SET winner = excluded.winner, state = excluded.state
 WHERE excluded.state = 'open' AND c.state = 'closed'
"""

_OVERTAKE = f"""
UPDATE rowtide.conflict AS c SET state = 'closed'
 WHERE c.state = 'open' AND (c.list_id, c.item_id) = (%(list_id)s, %(item_id)s)
   AND NOT EXISTS (SELECT {_KNOWN.strip()}
                    WHERE n.state = 'open' AND (n.version, n.kind, n.fields) = (c.version, c.kind, c.fields))
"""


def record(
    conn: Connection,
    sync: str,
    key: str | None,
    item: Place,
    records: Sequence[ConflictRecord],
    editor: str | None = None,
    times: Times = UNKNOWN_TIMES,
) -> None:
    """Note what was decided of an entry of ``item``, in the caller's transaction; open ones of before are overtaken.

    A conflict that is known stays as it was recorded, unless it was open until now.
    """
    rows = [
        {
            "list_id": one.list_id, "item_id": one.item_id, "version": one.version,
            "kind": documents.name_of_kind(one.kind), "fields": documents.to_fields(one.fields),
            "policy": one.policy, "winner": documents.name_of(one.winner), "sentence": one.sentence,
            "state": "open" if one.open else "closed",
        }
        for one in records
    ]  # fmt: skip
    values = {
        "sync": sync, "key": key, "postgres_at": times.postgres, "sharepoint_at": times.sharepoint,
        "editor": editor, "records": orjson.dumps(rows).decode(), "list_id": item[0], "item_id": item[1],
    }  # fmt: skip
    if rows:
        conn.execute(_DECIDE_OPEN, values)
        conn.execute(_RECORD, values)
    conn.execute(_OVERTAKE, values)


def choices(conn: Connection, items: Sequence[Place]) -> dict[Place, Choice]:
    """What persons chose of open conflicts of these items; the newest where there are several."""
    query = """
        SELECT c.list_id, c.item_id, c.choice
          FROM rowtide.conflict AS c JOIN unnest(%s::text[], %s::text[]) AS n (list_id, item_id)
            ON (c.list_id, c.item_id) = (n.list_id, n.item_id)
         WHERE c.state = 'open' AND c.choice IS NOT NULL ORDER BY c.version, c.id
    """
    rows = conn.execute(query, [[one for one, _ in items], [one for _, one in items]]).fetchall()
    return {(ListId(list_id), ItemId(item_id)): documents.from_choice(stored) for list_id, item_id, stored in rows}


# --- conflicts are shown ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredConflict:
    """A row of table ``conflict``. ``winner`` None: it is open, or was overtaken before anybody decided."""

    id: int
    sync: str
    key: str | None
    list_id: ListId
    item_id: ItemId
    version: int
    kind: str
    fields: Mapping[str, ValuesDocument]
    postgres_at: datetime | None
    sharepoint_at: datetime | None
    editor_name: str | None
    policy: TwoWayPolicy
    winner: WinnerName | None
    sentence: str | None
    state: str
    choice: ChoiceDocument | None
    chosen_by: str | None
    chosen_why: str | None
    chosen_at: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True)
class ConflictFilter:
    """Which conflicts; None: any. ``limit``: so many at most, the newest first."""

    sync: str | None = None
    key: str | None = None
    kind: str | None = None
    state: str | None = None
    since: datetime | None = None
    limit: int = 1000


_WHERE: Final = """
 WHERE (%(sync)s::text IS NULL OR sync = %(sync)s) AND (%(key)s::text IS NULL OR key = %(key)s)
   AND (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(state)s::text IS NULL OR state = %(state)s)
   AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
"""


def _values(wanted: ConflictFilter) -> dict[str, object]:
    return {name: getattr(wanted, name) for name in ConflictFilter.__slots__}


def find(conn: Connection, wanted: ConflictFilter) -> list[StoredConflict]:
    """Conflicts, the newest first."""
    columns = ", ".join(StoredConflict.__slots__)
    query = f"SELECT {columns} FROM rowtide.conflict {_WHERE} ORDER BY id DESC LIMIT %(limit)s"
    with conn.cursor(row_factory=class_row(StoredConflict)) as cursor:
        return cursor.execute(query.encode(), _values(wanted)).fetchall()


def read(conn: Connection, conflict_id: int) -> StoredConflict | None:
    """One conflict."""
    query = f"SELECT {', '.join(StoredConflict.__slots__)} FROM rowtide.conflict WHERE id = %s"
    with conn.cursor(row_factory=class_row(StoredConflict)) as cursor:
        return cursor.execute(query.encode(), [conflict_id]).fetchone()


def counts(conn: Connection, since: datetime | None = None) -> dict[str, tuple[int, int]]:
    """Per sync how many conflicts are open, and how many were recorded since then (None: ever)."""
    query = """
        SELECT sync, count(*) FILTER (WHERE state = 'open'),
               count(*) FILTER (WHERE at >= coalesce(%s::timestamptz, '-infinity'))
          FROM rowtide.conflict GROUP BY sync
    """
    return {sync: (opened, recorded) for sync, opened, recorded in conn.execute(query, [since]).fetchall()}


# --- a person decides ---------------------------------------------------------------------------------------------

_RESOLVE = """
UPDATE rowtide.conflict
   SET choice = %(choice)s, chosen_by = %(by)s, chosen_why = %(why)s, chosen_at = now()
 WHERE id = %(id)s AND state = 'open'
RETURNING sync, list_id, item_id, version
"""

_WAKE = """
UPDATE rowtide.inbox SET state = 'waiting', code = NULL, sentence = NULL, due_at = now(), tries = 0
 WHERE (list_id, item_id) = (%s, %s) AND state = 'conflict'
"""


def resolve(conn: Connection, conflict_id: int, choice: Choice, by: str, why: str) -> bool:
    """Note a person's choice of an open conflict, and have its entry taken again; False: it is not open any more.

    Where a value is no longer the one that the choice names, that field is asked again.
    """
    values = {"id": conflict_id, "choice": Jsonb(documents.to_choice(choice)), "by": by, "why": why}
    with conn.transaction():
        # The inbox before what it speaks of, as everywhere; the conflict's item never changes.
        found = conn.execute("SELECT list_id, item_id FROM rowtide.conflict WHERE id = %s", [conflict_id]).fetchone()
        if found is None:
            return False
        conn.execute(_WAKE, list(found))
        row = conn.execute(_RESOLVE, values).fetchone()
        if row is None:
            return False
        channels.notify(conn, channels.PULL, row[0])
    return True
