"""Staging: changes from capture merged into the outbox in one transaction.

In: `ChangeBatch`es of any syncs. Out: outbox rows, the slot's staged position, a NOTIFY on `DUE`; `StageCounts`.
Called by connectors.outbox (as `outbox.stage`). Rule: two changes of a row fold as `rowtide.change.fold` says, here in
Python within a call and in SQL over the waiting row; what the waiting row or the ledger has at that position or above
is dropped; outbox rows are locked in key order before the ledger is read.

Hot: COPY into a temporary table, then one statement per step. A batch the database refuses is halved until the bad
row stands alone, which is parked.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
import psycopg
import structlog
from psycopg import errors

from rowtide.change import Change, ChangeBatch, fold
from rowtide.errors import StateRefused
from rowtide.keys import lane_of
from state import failpoints
from state.db import Connection

log = structlog.get_logger()

DUE = "rowtide_due"
"""The channel notified whenever rows may have become due."""

_ROWS_A_WRITE = 256
_NULL = "\\N"


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Changes that came in, those absorbed by another change of their row, those already known."""

    changes: int = 0
    merged: int = 0
    dropped: int = 0


class _Entry(NamedTuple):
    """One row to stage: a folded change with what its batch says of it."""

    sync: str
    mapping_version: int
    era: int
    change: Change


def stage(conn: Connection, slot: str, batches: Sequence[ChangeBatch]) -> StageCounts:
    """Commit ``batches`` to the outbox; when it returns they are durable.

    Raises psycopg's errors (`state.db.Link` translates them) and StateRefused for a row that not even parking holds.
    """
    entries = _folded(batches)
    if not entries:
        return StageCounts()
    changes = sum(len(batch.changes) for batch in batches)
    merged, dropped = _stage(conn, slot, entries)
    failpoints.hit(failpoints.STAGE_AFTER_COMMIT)
    return StageCounts(changes, merged + changes - len(entries), dropped)


def _folded(batches: Iterable[ChangeBatch]) -> list[_Entry]:
    """At most one entry a row; batches in stream order."""
    entries: dict[tuple[str, str], _Entry] = {}
    for sync, version, era, changes in batches:
        for change in changes:
            name = (sync, change.key)
            older = entries.get(name)
            if older is not None:
                change = _fold_entries(older, change, version, era)
            entries[name] = _Entry(sync, version, era, change)
    return list(entries.values())


def _fold_entries(older: _Entry, newer: Change, version: int, era: int) -> Change:
    if (version, era) == (older.mapping_version, older.era):
        return fold(older.change, newer)
    # Fields of another mapping, or from before a gap, cannot fill in for missing ones.
    return fold(older.change._replace(op="r", target=None, fields=None), newer)


def _stage(conn: Connection, slot: str, entries: list[_Entry]) -> tuple[int, int]:
    """Stage in one transaction, or, if the database refuses a row, in two halves; (merged, dropped)."""
    try:
        return _transaction(conn, slot, entries)
    except (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded, orjson.JSONEncodeError) as error:
        refusal = getattr(error, "sqlstate", None) or "none"
    if len(entries) > 1:
        middle = len(entries) // 2
        first, second = _stage(conn, slot, entries[:middle]), _stage(conn, slot, entries[middle:])
        return first[0] + second[0], first[1] + second[1]
    return _stage(conn, slot, [_refused(entries[0], refusal)])


_REFUSED = "state_refuses_row"


def _refused(entry: _Entry, sqlstate: str) -> _Entry:
    """``entry`` parked; if that was refused too, under a shortened key; StateRefused if that was refused as well."""
    change = entry.change
    sentence = f"The state database cannot hold this row (SQLSTATE {sqlstate})."
    if change.park is None or change.park[0] != _REFUSED:
        change = change._replace(fields=None, target=None, op="r", park=(_REFUSED, sentence))
    elif "#" not in change.key[-65:]:
        digest = hashlib.sha256(change.key.encode(errors="replace")).hexdigest()
        plain = change.key[:200].encode("ascii", "replace").decode().replace("\0", "?")
        sentence = f"{sentence} Its key is longer or stranger than the state database allows and is shown shortened."
        change = change._replace(key=f"{plain}#{digest}", park=(_REFUSED, sentence))
    else:
        raise StateRefused(_REFUSED, sentence, "see the state server's log")
    log.warning("row refused by state database", sync=entry.sync, sqlstate=sqlstate)
    return entry._replace(change=change)


_CREATE = """
CREATE TEMPORARY TABLE IF NOT EXISTS rowtide_stage (
    sync text COLLATE "C", key text COLLATE "C", op char(1), target text, fields jsonb, partial boolean,
    mapping_version int, era bigint, lsn bigint, ordinal int, xid bigint, committed_us bigint, priority smallint,
    lane smallint, reason_code text, reason text
) ON COMMIT DELETE ROWS
"""

# The nested look-ups are written so that no plan but the index's is possible, whatever the statistics say.
LOCK = """
SELECT count(*) FILTER (WHERE w.older)
  FROM (SELECT sync, key, era, lsn, ordinal FROM rowtide_stage ORDER BY sync, key OFFSET 0) n
 CROSS JOIN LATERAL (
       SELECT (o.era, o.lsn, o.ordinal) < (n.era, n.lsn, n.ordinal) AS older
         FROM rowtide.outbox o WHERE o.sync = n.sync AND o.key = n.key FOR UPDATE) w
"""

# A partial upsert needs a waiting upsert with all fields of the same mapping and era; else the row has to be read.
MERGE = """
INSERT INTO rowtide.outbox AS o
       (sync, key, op, target, fields, partial, mapping_version, era, lsn, ordinal, xid, committed_at, priority, lane,
        state, reason_code, reason)
SELECT n.sync, n.key, n.op, n.target, n.fields, n.partial, n.mapping_version, n.era, n.lsn, n.ordinal, n.xid,
       'epoch'::timestamptz + n.committed_us * interval '1 microsecond', n.priority, n.lane,
       CASE WHEN n.reason_code IS NULL THEN 'waiting' ELSE 'parked' END, n.reason_code, n.reason
  FROM rowtide_stage n
 WHERE (SELECT (l.era, l.lsn, l.ordinal) >= (n.era, n.lsn, n.ordinal)
          FROM rowtide.ledger l WHERE l.sync = n.sync AND l.key = n.key) IS NOT TRUE
 ORDER BY n.sync, n.key
    ON CONFLICT (sync, key) DO UPDATE
   SET op = CASE WHEN {unfilled} THEN 'r' ELSE excluded.op END,
       target = CASE WHEN {unfilled} THEN NULL ELSE excluded.target END,
       fields = CASE WHEN NOT excluded.partial THEN excluded.fields
                     WHEN {unfilled} THEN NULL
                     ELSE o.fields || excluded.fields END,
       partial = excluded.partial AND NOT {unfilled} AND o.partial,
       mapping_version = excluded.mapping_version,
       era = excluded.era, lsn = excluded.lsn, ordinal = excluded.ordinal, xid = excluded.xid,
       committed_at = excluded.committed_at, staged_at = excluded.staged_at,
       priority = least(o.priority, excluded.priority),
       due_at = least(o.due_at, excluded.due_at),
       state = CASE WHEN o.hold THEN o.state ELSE excluded.state END,
       reason_code = CASE WHEN o.hold THEN o.reason_code ELSE excluded.reason_code END,
       reason = CASE WHEN o.hold THEN o.reason ELSE excluded.reason END,
       attempts = CASE WHEN o.state = 'parked' AND NOT o.hold THEN 0 ELSE o.attempts END,
       revision = o.revision + 1
 WHERE (o.era, o.lsn, o.ordinal) < (excluded.era, excluded.lsn, excluded.ordinal)
""".format(
    unfilled="(excluded.partial AND (o.op, o.era, o.mapping_version)"
    " IS DISTINCT FROM ('u', excluded.era, excluded.mapping_version))"
)

_STAGED = """
UPDATE rowtide.slot_cursor SET staged_era = %(era)s, staged_lsn = %(lsn)s, updated_at = now()
 WHERE slot = %(slot)s AND (staged_era, staged_lsn) < (%(era)s, %(lsn)s)
"""


def _transaction(conn: Connection, slot: str, entries: list[_Entry]) -> tuple[int, int]:
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(_CREATE)
        with cursor.copy("COPY rowtide_stage FROM STDIN") as copy:
            for text in _copy_text(entries):
                copy.write(text)
        cursor.execute(LOCK, prepare=False)
        waiting = cursor.fetchone()
        cursor.execute(MERGE, prepare=False)
        dropped = len(entries) - cursor.rowcount
        era, lsn = max((entry.era, entry.change.lsn) for entry in entries)
        cursor.execute(_STAGED, {"slot": slot, "era": era, "lsn": lsn})
        cursor.execute(f"NOTIFY {DUE}")
        failpoints.hit(failpoints.STAGE_BEFORE_COMMIT)
    return (waiting[0] if waiting else 0), dropped


def _copy_text(entries: Sequence[_Entry]) -> Iterator[str]:
    """``entries`` in COPY's text format, some hundred rows a piece."""
    for start in range(0, len(entries), _ROWS_A_WRITE):
        yield "".join([_copy_line(*entry) for entry in entries[start : start + _ROWS_A_WRITE]])


def _copy_line(sync: str, version: int, era: int, change: Change) -> str:
    # Unpacked at once and formatted by hand: this line runs for every row of a bulk statement.
    key, op, target, fields, partial, lsn, ordinal, xid, committed_us, priority, park = change
    lane = lane_of(sync, key)
    if park is None:
        code = reason = _NULL
    else:
        code, reason = _escaped(park[0]), _escaped(park[1])
        if op == "u":  # what cannot be carried is read again when a person retries it
            op, target, fields, partial = "r", None, None, False
    title = _NULL if target is None else _escaped(target)
    json = _NULL if fields is None else orjson.dumps(fields).decode().replace("\\", "\\\\")
    return (
        f"{_escaped(sync)}\t{_escaped(key)}\t{op}\t{title}\t{json}\t"
        f"{'t' if partial and op == 'u' else 'f'}\t{version}\t{era}\t{lsn}\t{ordinal}\t{xid}\t{committed_us}\t{priority}\t{lane}\t"
        f"{code}\t{reason}\n"
    )


def _escaped(text: str) -> str:
    if text.isalnum():
        return text
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
