"""The transaction that merges changes into the outbox, at most one for each row.

In: `ChangeBatch`es without two changes of a row. Out: rows of the outbox, the slot's staged position and the
transaction it is in, the changes counted in `state.progress`, a NOTIFY. Rule: waiting rows are locked in key order,
then the ledger is read; a change is dropped if either is at its position or above; the slot and then the counts come
last.

Hot. Most rows are new to the outbox and above the ledger: they are copied straight into the table (half the work of
INSERT ... ON CONFLICT). The others go through a temporary table and `MERGE`, which decides everything again itself;
a row that another process staged in between fails the copy, and then all rows go that way.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
import psycopg
from psycopg import errors

from rowtide.change import Change, ChangeBatch, Fields, count_above, highest, lowest_lsn
from state import channels, failpoints, progress
from state.copy_text import NULL, escaped
from state.database import Connection
from state.pg_array import text_array

Cursor = psycopg.Cursor[tuple[object, ...]]

_ROWS_A_WRITE = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The nested look-ups are written so that only a plan by the index is possible, whatever the statistics say.
LOCK_WAITING = """
SELECT array_agg(n.i - 1)
  FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS n (key, i)
 CROSS JOIN LATERAL (
       SELECT 1 FROM rowtide.outbox o WHERE o.sync = %(sync)s AND o.key = n.key FOR UPDATE) AS waiting
"""

# It compares with the lowest position of the batch, so it finds a few rows too many; MERGE looks at each of them.
ABOVE = """
SELECT array_agg(n.i - 1)
  FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS n (key, i)
 WHERE (SELECT (l.era, l.lsn) >= (%(era)s, %(lsn)s)
          FROM rowtide.ledger l WHERE l.sync = %(sync)s AND l.key = n.key)
"""

_COLUMNS = """key, op, target, fields, partial, lsn, ordinal, xid, committed_at, priority, reason_code, reason,
       sync, mapping_version, era"""
_COPY_NEW = f"COPY rowtide.outbox ({_COLUMNS}) FROM STDIN"
_COPY_OTHERS = f"COPY rowtide_stage ({_COLUMNS}) FROM STDIN"

CREATE = """
CREATE TEMPORARY TABLE IF NOT EXISTS rowtide_stage (
    key text COLLATE "C", op char(1), target text, fields json, partial boolean, lsn bigint, ordinal int, xid bigint,
    committed_at timestamptz, priority smallint, reason_code text, reason text,
    sync text COLLATE "C", mapping_version int, era bigint
) ON COMMIT DELETE ROWS
"""

# A partial upsert needs a waiting upsert of the same mapping and era to fill it; else the row has to be read.
_UNFILLED = """(excluded.partial AND (o.op, o.era, o.mapping_version)
                     IS DISTINCT FROM ('u', excluded.era, excluded.mapping_version))"""

MERGE = f"""
WITH merged AS (
INSERT INTO rowtide.outbox AS o ({_COLUMNS}, state)
SELECT {_COLUMNS}, CASE WHEN n.reason_code IS NULL THEN 'waiting' ELSE 'parked' END
  FROM rowtide_stage n
 WHERE (SELECT (l.era, l.lsn, l.ordinal) >= (n.era, n.lsn, n.ordinal)
          FROM rowtide.ledger l WHERE l.sync = n.sync AND l.key = n.key) IS NOT TRUE
 ORDER BY n.sync, n.key
    ON CONFLICT (sync, key) DO UPDATE
   SET op = CASE WHEN {_UNFILLED} THEN 'r' ELSE excluded.op END,
       target = CASE WHEN {_UNFILLED} THEN NULL ELSE excluded.target END,
       fields = CASE WHEN NOT excluded.partial THEN excluded.fields
                     WHEN {_UNFILLED} THEN NULL
                     ELSE (o.fields::jsonb || excluded.fields::jsonb)::json END,
       partial = excluded.partial AND NOT {_UNFILLED} AND o.partial,
       mapping_version = excluded.mapping_version,
       era = excluded.era, lsn = excluded.lsn, ordinal = excluded.ordinal, xid = excluded.xid,
       committed_at = excluded.committed_at, staged_at = excluded.staged_at,
       out_since = least(coalesce(o.out_since, o.committed_at), excluded.committed_at, now()),
       priority = least(o.priority, excluded.priority),
       due_at = least(o.due_at, excluded.due_at),
       state = CASE WHEN o.hold THEN o.state ELSE excluded.state END,
       reason_code = CASE WHEN o.hold THEN o.reason_code ELSE excluded.reason_code END,
       reason = CASE WHEN o.hold THEN o.reason ELSE excluded.reason END,
       attempts = CASE WHEN o.state = 'parked' AND NOT o.hold THEN 0 ELSE o.attempts END,
       approved = false, revision = o.revision + 1
 WHERE (o.era, o.lsn, o.ordinal) < (excluded.era, excluded.lsn, excluded.ordinal)
RETURNING o.revision)
SELECT count(*), count(*) FILTER (WHERE revision > 1) FROM merged
"""

RISE = f"""
WITH risen AS (
UPDATE rowtide.slot_cursor
   SET staged_lsn = %(lsn)s, staged_ordinal = %(ordinal)s, staged_xid = %(xid)s,
       staged_committed_us = %(committed_us)s, updated_at = now()
 WHERE slot = %(slot)s AND (staged_lsn, staged_ordinal) < (%(lsn)s, %(ordinal)s)
), counted AS ({progress.ADD_CHANGES})
SELECT pg_notify('{channels.DUE}', %(payload)s)
"""

# Slot before syncs, both locked until the commit: an era that begins meanwhile waits, and its reconcile meets what is
# staged here.
FENCE = """
SELECT s.sync, s.era, s.since_lsn, c.staged_lsn, c.staged_ordinal
  FROM (SELECT slot, incarnation, staged_lsn, staged_ordinal
          FROM rowtide.slot_cursor WHERE slot = %(slot)s FOR NO KEY UPDATE) AS c
 CROSS JOIN LATERAL (
       SELECT sync, era, coalesce(since_lsn, 0) AS since_lsn FROM rowtide.sync
        WHERE sync = ANY (%(syncs)s::text[]) AND since_slot = c.slot AND since_incarnation = c.incarnation
        ORDER BY sync FOR SHARE) AS s
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """What may be staged: each sync's present era, from ``since`` on. ``staged``: up to where changes were counted."""

    since: Mapping[tuple[str, int], int]
    staged: tuple[int, int]

    def keep(self, batches: Sequence[ChangeBatch]) -> list[ChangeBatch]:
        """The changes of the present era of their sync; the others were committed before that era's reconcile reads."""
        kept = []
        for batch in batches:
            lsn = self.since.get((batch.sync, batch.era))
            if lsn is not None and batch.changes:
                if lowest_lsn(batch) < lsn:
                    batch = batch._replace(changes=[change for change in batch.changes if change.lsn >= lsn])
                if batch.changes:
                    kept.append(batch)
        return kept


def _fence(cursor: Cursor, slot: str, batches: Sequence[ChangeBatch]) -> Fence:
    syncs = text_array(sorted({batch.sync for batch in batches}))
    rows: list[Any] = cursor.execute(FENCE, {"syncs": syncs, "slot": slot}, prepare=True).fetchall()
    staged = (rows[0][3], rows[0][4]) if rows else (0, -1)
    return Fence({(sync, era): lsn for sync, era, lsn, _, _ in rows}, staged)


class Staged(NamedTuple):
    """What a transaction did: changes merged into a waiting row, changes dropped, changes counted of each sync."""

    merged: int
    dropped: int
    new: Mapping[str, int]


def transaction(
    conn: Connection, slot: str, batches: Sequence[ChangeBatch], counted: Sequence[ChangeBatch] = ()
) -> Staged:
    """Merge ``batches`` in one transaction, which counts the changes of ``counted``."""
    for batch in batches:
        batch.changes.sort(key=_key)
    try:
        return _transaction(conn, slot, batches, counted, straight=True)
    except errors.UniqueViolation:
        return _transaction(conn, slot, batches, counted, straight=False)


def _key(change: Change) -> str:
    return change[0]


def _transaction(
    conn: Connection, slot: str, batches: Sequence[ChangeBatch], counted: Sequence[ChangeBatch], straight: bool
) -> Staged:
    merged, came = 0, sum(len(batch.changes) for batch in batches)
    with conn.transaction(), conn.cursor() as cursor:
        fence = _fence(cursor, slot, batches)
        batches = fence.keep(batches)
        dropped = came - sum(len(batch.changes) for batch in batches)
        known = [_known(cursor, batch) if straight else None for batch in batches]
        for batch, marks in zip(batches, known, strict=True):
            others = batch.changes if marks is None else list(itertools.compress(batch.changes, marks))
            if len(others) < len(batch.changes):
                unmarked = batch.changes if not others else itertools.compress(batch.changes, map(_not, marks or b""))
                _copy(cursor, _COPY_NEW, batch._replace(changes=list(unmarked)))
            if others:
                counts = _merge(cursor, batch._replace(changes=others))
                merged, dropped = merged + counts[0], dropped + counts[1]
        new = _count(cursor, slot, fence, counted)
        failpoints.hit(failpoints.STAGE_BEFORE_COMMIT)
    return Staged(merged, dropped, new)


def _count(cursor: Cursor, slot: str, fence: Fence, batches: Sequence[ChangeBatch]) -> dict[str, int]:
    """Count the changes above the slot's staged position, raise it to the highest of them, and wake deliver."""
    batches = fence.keep(batches)
    if not batches:
        channels.notify(cursor.connection, channels.DUE)
        return {}
    new = count_above(batches, fence.staged)
    last = highest(batches)
    place = {"lsn": last.lsn, "ordinal": last.ordinal, "xid": last.xid, "committed_us": last.committed_us}
    changes = text_array([str(count) for count in new.values()])
    payload = channels.to_payload({batch.sync for batch in batches})
    values = {"slot": slot, **place, "syncs": text_array(list(new)), "changes": changes, "payload": payload}
    cursor.execute(RISE, values, prepare=True)
    return new


def _not(mark: int) -> bool:
    return not mark


def _known(cursor: Cursor, batch: ChangeBatch) -> bytearray:
    """Per change 1 if it needs `MERGE`: a row waits, the ledger may be above, or it arrives parked."""
    keys = text_array([change.key for change in batch.changes])
    lowest = lowest_lsn(batch)
    marks = bytearray(change.park is not None for change in batch.changes)
    parameters = {"sync": batch.sync, "keys": keys, "era": batch.era, "lsn": lowest}
    for query in (LOCK_WAITING, ABOVE):
        row = cursor.execute(query, parameters, binary=True, prepare=True).fetchone()
        for index in row[0] or () if row else ():  # type: ignore[attr-defined]
            marks[index] = 1
    return marks


def _merge(cursor: Cursor, batch: ChangeBatch) -> tuple[int, int]:
    cursor.execute(CREATE)
    _copy(cursor, _COPY_OTHERS, batch)
    row = cursor.execute(MERGE, prepare=False).fetchone()
    written, merged = row if row else (0, 0)
    cursor.execute("TRUNCATE rowtide_stage")
    return int(str(merged)), len(batch.changes) - int(str(written))


def _copy(cursor: Cursor, statement: str, batch: ChangeBatch) -> None:
    with cursor.copy(statement) as copy:
        lines = _copy_lines(batch)
        while piece := "".join(itertools.islice(lines, _ROWS_A_WRITE)):
            copy.write(piece)


def _escaped_json(json: str, fields: Fields) -> str:
    # Type json accepts a NUL; jsonb, which a claim makes of it, does not. It is refused here, where it parks one row.
    if "\\u0000" in json and any(isinstance(value, str) and "\0" in value for value in fields.values()):
        raise psycopg.DataError("a text holds a NUL character")
    return json.replace("\\", "\\\\")


def _copy_lines(batch: ChangeBatch) -> Iterator[str]:
    """The lines of COPY's text format, formatted by hand: this runs for every row of a bulk statement."""
    sync, version, era, changes, _ = batch
    end = f"\t{escaped(sync)}\t{version}\t{era}\n"
    titles: dict[str | None, str] = {None: NULL}
    times: dict[int, str] = {}
    dumps = orjson.dumps
    for key, op, target, fields, partial, lsn, ordinal, xid, committed_us, priority, park in changes:
        if target not in titles:
            titles[target] = escaped(target or "")
        if committed_us not in times:
            times = {committed_us: (_EPOCH + timedelta(microseconds=committed_us)).isoformat()}
        if park is not None:
            # A row that cannot be carried is read again when a person retries it.
            operation = "r" if op == "u" else op
            yield (
                f"{escaped(key)}\t{operation}\t\\N\t\\N\tf\t{lsn}\t{ordinal}\t{xid}\t{times[committed_us]}\t{priority}"
                f"\t{escaped(park[0])}\t{escaped(park[1])}{end}"
            )
            continue
        json = NULL if fields is None else dumps(fields).decode()
        if fields is not None and "\\" in json:
            json = _escaped_json(json, fields)
        yield (
            f"{escaped(key)}\t{op}\t{titles[target]}\t{json}\t{'t' if partial and op == 'u' else 'f'}\t{lsn}"
            f"\t{ordinal}\t{xid}\t{times[committed_us]}\t{priority}\t\\N\t\\N{end}"
        )
