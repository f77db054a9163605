"""One side at a time: claimed rows of two-way syncs that may not be written yet are handed back by their own claim.

In: the rows that a claim has leased, in its transaction. Out: what becomes of each. Rules (docs/design.md section 3):
the cursor is read before the rows are locked, inbox and ledger after that, in a later statement; of a row that may not
go neither lease nor `sent` is ever committed. A sync has two ways when a cursor of one of its lists is on record; for
others nothing is read but that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from psycopg.rows import args_row

from rowtide.deciding.one_side import RowSide, RowTurn, turn_of
from rowtide.keys import rowtide_key
from state import channels
from state.database import Connection
from state.pg_array import text_array

AFTER_S: Final[Mapping[RowTurn, float]] = {
    RowTurn.EDITED: 5.0,
    RowTurn.SET_ASIDE: 60.0,
    RowTurn.BEHIND: 0.5,
    RowTurn.SUSPECT: 5.0,
    RowTurn.UNCONFIRMED: 1.0,
    RowTurn.READ: 0.0,
}
"""Seconds until it is looked again; the end of the entry makes its row due at once."""

SAID: Final[Mapping[RowTurn, str]] = {
    RowTurn.EDITED: "an edit of its item is applied first",
    RowTurn.SET_ASIDE: "an edit of its item was set aside",
    RowTurn.BEHIND: "capture is not yet where an edit of its item was applied",
    RowTurn.SUSPECT: "a list was restored to earlier, and is read first",
    RowTurn.UNCONFIRMED: "it is looked whether the source has lost an edit of its item",
}
"""Why the row waits."""


@dataclass(frozen=True, slots=True)
class SyncCursor:
    """Where the stream of a two-way sync is; ``suspect``: one of its lists was restored, and is still to be read."""

    era: int
    lsn: int | None
    suspect: bool = False


CURSORS = """
SELECT s.sync, s.era, c.lsn,
       EXISTS (SELECT FROM rowtide.list_cursor AS l WHERE l.sync = s.sync AND l.suspect_since IS NOT NULL)
  FROM rowtide.sync AS s
  LEFT JOIN rowtide.slot_cursor AS c ON c.slot = s.since_slot AND c.incarnation = s.since_incarnation
 WHERE s.sync = ANY (%s) AND EXISTS (SELECT FROM rowtide.list_cursor AS l WHERE l.sync = s.sync)
"""


def read_cursors(conn: Connection, syncs: Sequence[str]) -> dict[str, SyncCursor]:
    """The cursor of each of the syncs that has two ways."""
    return {sync: SyncCursor(*found) for sync, *found in conn.execute(CURSORS, [text_array(syncs)]).fetchall()}


class LockedRow(NamedTuple):
    """A row that the claim has locked. ``uncertain``: an attempt is in its ``sent``."""

    sync: str
    key: str
    uncertain: bool
    is_read: bool


SIDES = """
SELECT n.sync, n.key, coalesce(e.waits, false), coalesce(e.aside, false), l.applied_era, l.applied_lsn,
       coalesce(jsonb_path_exists(l.leftovers, '$[*] ? (@.item_id == null)'), false), l.pulled_era
  FROM unnest(%s::text[], %s::text[], %s::text[]) AS n (sync, key, item_key)
  LEFT JOIN rowtide.ledger AS l ON l.sync = n.sync AND l.key = n.key
 CROSS JOIN LATERAL (
       SELECT bool_or(state = 'waiting') AS waits, bool_or(state <> 'waiting') AS aside
         FROM (SELECT i.state FROM rowtide.inbox AS i WHERE i.list_id = l.list_id AND i.item_id = l.item_id
                UNION ALL
               SELECT i.state FROM rowtide.inbox AS i WHERE i.item_key = n.item_key AND i.sync = n.sync
                UNION ALL
               SELECT i.state FROM rowtide.inbox AS i WHERE i.sync = n.sync AND i.key = n.key
                UNION ALL
               SELECT i.state
                 FROM jsonb_array_elements(CASE WHEN l.leftovers <> '[]'::jsonb THEN l.leftovers END) AS f
                 JOIN rowtide.inbox AS i ON i.list_id = f ->> 'list_id' AND i.item_id = f ->> 'item_id') AS entries
       ) AS e
"""
"""Reads of each pair: are entries of it in the inbox, where was its last edit applied, is a POST of it lost, in which
era was it looked whether the source has what was pulled?"""


class _PairSide(NamedTuple):
    sync: str
    key: str
    waits: bool
    aside: bool
    applied_era: int | None
    applied_lsn: int | None
    lost_post: bool
    pulled_era: int | None


def judge(
    conn: Connection, cursors: Mapping[str, SyncCursor], rows: Sequence[LockedRow]
) -> dict[tuple[str, str], RowTurn]:
    """Per row of a two-way sync what becomes of it; rows of other syncs are not named."""
    locked = {(row.sync, row.key): row for row in rows if row.sync in cursors}
    if not locked:
        return {}
    item_keys = [rowtide_key(sync, key) for sync, key in locked]
    names = [text_array([sync for sync, _ in locked]), text_array([key for _, key in locked]), text_array(item_keys)]
    with conn.cursor(row_factory=args_row(_PairSide)) as cursor:
        found = cursor.execute(SIDES, names).fetchall()
    return {(one.sync, one.key): turn_of(_side(one, locked[one.sync, one.key], cursors[one.sync])) for one in found}


def _side(found: _PairSide, row: LockedRow, cursor: SyncCursor) -> RowSide:
    applied = None
    if found.applied_era is not None and found.applied_lsn is not None:
        applied = (found.applied_era, found.applied_lsn)
    uncertain = row.uncertain or found.lost_post
    is_confirmed = found.pulled_era is None or found.pulled_era >= cursor.era
    return RowSide(
        cursor.era, cursor.lsn, uncertain, found.waits, found.aside, applied, row.is_read, is_confirmed, cursor.suspect
    )  # fmt: skip


# One that `keeps` its lease is looked at, and nothing of this claim's is sent.
HAND_BACK = """
UPDATE rowtide.outbox AS o
   SET sent = (SELECT coalesce(jsonb_agg(e ORDER BY i), '[]'::jsonb)
                 FROM jsonb_array_elements(o.sent) WITH ORDINALITY AS t (e, i) WHERE e ->> 'token' <> %s),
       lease_token = CASE WHEN n.keeps THEN o.lease_token END, lease_owner = CASE WHEN n.keeps THEN o.lease_owner END,
       lease_until = CASE WHEN n.keeps THEN o.lease_until END,
       due_at = CASE WHEN n.keeps THEN o.due_at ELSE clock_timestamp() + n.after_s * interval '1 second' END,
       reason = CASE WHEN n.keeps THEN o.reason ELSE n.reason END,
       op = CASE WHEN n.reads THEN 'r' ELSE o.op END, target = CASE WHEN n.reads THEN NULL ELSE o.target END,
       fields = CASE WHEN n.reads THEN NULL ELSE o.fields END, partial = o.partial AND NOT n.reads
  FROM unnest(%s::text[], %s::text[], %s::bool[], %s::bool[], %s::float8[], %s::text[])
       AS n (sync, key, keeps, reads, after_s, reason)
 WHERE o.sync = n.sync AND o.key = n.key
"""

# A conflict is judged anew when its row has changed since. Whoever has the entry is not waited for: we have the row.
RECONSIDER = """
WITH changed AS MATERIALIZED (
     SELECT i.ctid AS place
       FROM unnest(%s::text[], %s::text[]) AS n (sync, key)
       JOIN rowtide.outbox AS o ON o.sync = n.sync AND o.key = n.key
       JOIN rowtide.inbox AS i ON i.sync = n.sync AND i.key = n.key
      WHERE i.state = 'conflict' AND i.due_at < o.staged_at FOR UPDATE OF i SKIP LOCKED)
UPDATE rowtide.inbox AS i SET state = 'waiting', due_at = now() FROM changed WHERE i.ctid = changed.place
"""


def hand_back(conn: Connection, token: str, turns: Mapping[tuple[str, str], RowTurn]) -> None:
    """Undo the claim ``token`` of rows that may not go, and what it wrote of those that are only looked at."""
    rows = [(sync, key, turn) for (sync, key), turn in turns.items() if turn is not RowTurn.GO]
    if not rows:
        return
    names = text_array([sync for sync, _, _ in rows]), text_array([key for _, key, _ in rows])
    of_rows = [turn for _, _, turn in rows]
    after_s, reasons = [AFTER_S.get(turn, 0.0) for turn in of_rows], [SAID.get(turn) for turn in of_rows]
    keeps, reads = [turn is RowTurn.LOOK for turn in of_rows], [turn is RowTurn.READ for turn in of_rows]
    conn.execute(HAND_BACK, [token, *names, keeps, reads, after_s, reasons])
    if RowTurn.READ in of_rows:
        channels.notify(
            conn, channels.DUE, channels.to_payload({sync for sync, _, turn in rows if turn is RowTurn.READ})
        )
    aside = [(sync, key) for sync, key, turn in rows if turn is RowTurn.SET_ASIDE]
    if aside and conn.execute(RECONSIDER, [[sync for sync, _ in aside], [key for _, key in aside]]).rowcount:
        channels.notify(conn, channels.PULL)
