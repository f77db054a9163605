"""Compares rows read from the source with outbox and ledger, and merges what differs: CDC wins over backfill.

In: rows of a chunk (mapped) or keys the source no longer has, with the snapshot they were read under. Out: rows in the
outbox at backfill priority, and counts. Rules (docs/design.md section 9): a row is staged only if the last streamed
change of its key, in outbox or ledger, is visible in the snapshot; it takes the highest position it was judged against
(in a new era the era's first); it never replaces a waiting delete of this era. Each statement holds the rules twice:
where rows are judged, and on conflict, where a change that capture staged meanwhile is judged again under its lock.
Nothing is locked for a row that does not differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from psycopg.rows import class_row

from rowtide.change import BACKFILL, Fields
from rowtide.enumeration import Kind
from rowtide.snapshot import Snapshot
from state.copy_text import NULL, escaped, unescaped
from state.database import Connection

Line = str
"""A row as it should be in its list, as a line of COPY's text format, because a million of them pass."""


def chunk_line(key: str, target: str | None, list_id: str | None, fields: Fields) -> Line:
    """The line of a row with these fields in the list ``list_id``, whose title is ``target``."""
    json = orjson.dumps(fields).decode()
    line = f"{key}\t{target}\t{list_id or ''}\t{json}"
    if "\\" in line or line.count("\t") != 3 or "\n" in line or "\r" in line:
        texts = (escaped(text) for text in (key, target or "", list_id or "", json))
        line = "\t".join(texts)
    return f"{line}\t\\N\t\\N\n"


def park_line(key: str, code: str, sentence: str) -> Line:
    """The line of a row that cannot be carried; like one of the stream, it is read again when a person retries it."""
    return f"{escaped(key)}\t{NULL}\t{NULL}\t{NULL}\t{escaped(code)}\t{escaped(sentence)}\n"


def key_of(line: Line) -> str:
    """The row key of a line."""
    return unescaped(line.partition("\t")[0])


@dataclass(frozen=True, slots=True)
class Ground:
    """By what rows are judged: the sync, its era, its mapping's version, and the snapshot of the read."""

    sync: str
    era: int
    mapping_version: int
    snapshot: Snapshot

    @property
    def parameters(self) -> dict[str, Any]:
        """The ground as parameters of the statements below."""
        return {
            "sync": self.sync,
            "era": self.era,
            "mapping_version": self.mapping_version,
            "xmin": self.snapshot.xmin,
            "xmax": self.snapshot.xmax,
            "xip": sorted(self.snapshot.xip),
            "priority": BACKFILL,
        }


@dataclass(frozen=True, slots=True)
class Differences:
    """Counts of what differed, by the write it needs; ``parked`` rows cannot be carried and need none.

    A row that capture changed between being judged and being merged is counted too.
    """

    creates: int = 0
    updates: int = 0
    moves: int = 0
    parked: int = 0
    deletes: int = 0

    @property
    def staged(self) -> int:
        """Rows that were (or would be) merged into the outbox."""
        return self.creates + self.updates + self.moves + self.parked + self.deletes

    def plus(self, other: "Differences") -> "Differences":
        """The sum of both."""
        sums = (getattr(self, name) + getattr(other, name) for name in Differences.__slots__)
        return Differences(*sums)


_LINES_A_WRITE = 200

_TEMPORARY = """
CREATE TEMP TABLE IF NOT EXISTS reconcile_chunk (
    key text COLLATE "C" NOT NULL, target text, list_id text, fields text, park_code text, park_reason text
) ON COMMIT DELETE ROWS
"""


def _seen(row: str) -> str:
    """Whether the change that ``row`` (of outbox or ledger) holds is visible in the snapshot."""
    visible = f"{row}.xid < %(xmin)s OR ({row}.xid < %(xmax)s AND {row}.xid <> ALL (%(xip)s::bigint[]))"
    return f"({row}.era < %(era)s OR ({row}.era = %(era)s AND ({visible})))"


# OFFSET 0 keeps each of these two look-ups one index probe a row, whatever the planner knows of the sizes.
_JUDGED_AGAINST = """
  LEFT JOIN LATERAL (SELECT * FROM rowtide.ledger WHERE sync = %(sync)s AND key = c.key OFFSET 0) AS l ON true
  LEFT JOIN LATERAL (SELECT * FROM rowtide.outbox WHERE sync = %(sync)s AND key = c.key OFFSET 0) AS o ON true
"""

_WAITING_STANDS = """o.key IS NOT NULL AND o.era = %(era)s
            AND (l.key IS NULL OR l.era < %(era)s OR (o.lsn, o.ordinal) >= (l.lsn, l.ordinal))"""


def _position(column: str) -> str:
    """``column`` of the position judged against: the waiting row's, else the ledger's, else the era's first."""
    return f"""CASE WHEN {_WAITING_STANDS} THEN o.{column}
            WHEN l.key IS NOT NULL AND l.era = %(era)s THEN l.{column} ELSE 0 END AS {column}"""


_POSITIONS = ",\n       ".join(_position(column) for column in ("lsn", "ordinal", "xid"))

# A waiting refresh reads the row by itself; a parked one waits for a newer value, as a parked upsert does.
_UPSERT = "(o.op = 'u' OR (o.op = 'r' AND o.state = 'parked'))"
_REPLACEABLE = f"({_UPSERT} OR (o.op = 'd' AND o.era < %(era)s))"


def _differs_from_waiting(row: str) -> str:
    return f"""CASE WHEN {row}.park_code IS NOT NULL
                 THEN o.state <> 'parked' OR o.reason_code IS DISTINCT FROM {row}.park_code
                 ELSE o.op <> 'u' OR o.partial OR o.target IS DISTINCT FROM {row}.target
                      OR o.fields::jsonb IS DISTINCT FROM {row}.fields::jsonb END"""


# A base may hold fields that are not mapped any more: then only the mapped ones are compared.
_DIFFERS_FROM_BASE = """CASE WHEN c.park_code IS NOT NULL OR l.list_id IS DISTINCT FROM c.list_id THEN true
                 WHEN l.base = c.fields::jsonb THEN false
                 ELSE EXISTS (SELECT FROM jsonb_each(c.fields::jsonb) AS f
                               WHERE l.base -> f.key IS DISTINCT FROM f.value) END"""

_DIFFERENT = f"""
SELECT c.key, c.target, c.fields, c.park_code, c.park_reason,
       {_POSITIONS},
       CASE WHEN c.park_code IS NOT NULL THEN 'park'
            WHEN l.state IS NULL OR l.state NOT IN ('live', 'kept') THEN 'create'
            WHEN l.list_id IS DISTINCT FROM c.list_id THEN 'move' ELSE 'update' END AS kind
  FROM pg_temp.reconcile_chunk AS c {_JUDGED_AGAINST}
 WHERE (l.key IS NULL OR {_seen("l")})
   AND CASE WHEN o.key IS NOT NULL THEN {_seen("o")} AND {_REPLACEABLE} AND {_differs_from_waiting("c")}
            WHEN l.key IS NULL OR l.state = 'tombstone' THEN true
            WHEN l.state IN ('live', 'kept') THEN {_DIFFERS_FROM_BASE}
            ELSE false END
"""

_COUNTS = """
SELECT count(*) FILTER (WHERE kind = 'create') AS creates, count(*) FILTER (WHERE kind = 'update') AS updates,
       count(*) FILTER (WHERE kind = 'move') AS moves, count(*) FILTER (WHERE kind = 'park') AS parked,
       count(*) FILTER (WHERE kind = 'delete') AS deletes
"""

_COLUMNS = """sync, key, op, target, fields, partial, mapping_version, era, lsn, ordinal, xid, committed_at, priority,
       state, reason_code, reason"""


def _kept_position(column: str) -> str:
    return f"""{column} = CASE WHEN o.era = excluded.era AND (o.lsn, o.ordinal) >= (excluded.lsn, excluded.ordinal)
                      THEN o.{column} ELSE excluded.{column} END"""


_KEPT_POSITIONS = ",\n       ".join(_kept_position(column) for column in ("lsn", "ordinal", "xid"))

# Like a newer value of the stream: parked rows become due, held rows wait on for a person.
_REPLACE = f"""
    ON CONFLICT (sync, key) DO UPDATE
   SET op = excluded.op, target = excluded.target, fields = excluded.fields, partial = false,
       mapping_version = excluded.mapping_version, era = excluded.era,
       {_KEPT_POSITIONS},
       priority = LEAST(o.priority, excluded.priority),
       due_at = LEAST(o.due_at, excluded.due_at),
       state = CASE WHEN o.hold THEN o.state ELSE excluded.state END,
       reason_code = CASE WHEN o.hold THEN o.reason_code ELSE excluded.reason_code END,
       reason = CASE WHEN o.hold THEN o.reason ELSE excluded.reason END,
       attempts = CASE WHEN o.state = 'parked' AND NOT o.hold THEN 0 ELSE o.attempts END,
       approved = excluded.approved, revision = o.revision + 1
"""

_MERGE = f"""
WITH differing AS MATERIALIZED ({_DIFFERENT}), merged AS (
INSERT INTO rowtide.outbox AS o ({_COLUMNS})
SELECT %(sync)s, key, CASE WHEN park_code IS NULL THEN 'u' ELSE 'r' END, target, fields::json, false,
       %(mapping_version)s, %(era)s, lsn, ordinal, xid, now(), %(priority)s,
       CASE WHEN park_code IS NULL THEN 'waiting' ELSE 'parked' END, park_code, park_reason
  FROM differing ORDER BY key
{_REPLACE}
 WHERE {_seen("o")} AND {_REPLACEABLE}
)
{_COUNTS} FROM differing
"""

_ABSENT = f"""
SELECT c.key,
       {_POSITIONS},
       'delete' AS kind
  FROM unnest(%(keys)s::text[]) AS c (key) {_JUDGED_AGAINST}
 WHERE (l.key IS NULL OR {_seen("l")})
   AND CASE WHEN o.key IS NOT NULL THEN {_seen("o")} AND {_UPSERT} ELSE l.state = 'live' END
"""

_DELETE = f"""
WITH differing AS MATERIALIZED ({_ABSENT}), merged AS (
INSERT INTO rowtide.outbox AS o ({_COLUMNS}, approved)
SELECT %(sync)s, key, 'd', NULL, NULL, false, %(mapping_version)s, %(era)s, lsn, ordinal, xid, now(), %(priority)s,
       'waiting', NULL, NULL,
       EXISTS (SELECT FROM rowtide.reconcile_absent a WHERE a.sync = %(sync)s AND a.key = differing.key AND a.approved)
  FROM differing ORDER BY key
{_REPLACE}
 WHERE {_seen("o")} AND {_UPSERT}
)
{_COUNTS} FROM differing
"""

_NOTE = f"""
INSERT INTO rowtide.reconcile_absent (sync, key)
SELECT %(sync)s, key FROM ({_ABSENT}) AS absent ORDER BY key
    ON CONFLICT (sync, key) DO NOTHING
"""


def merge(connection: Connection, ground: Ground, lines: Sequence[Line]) -> Differences:
    """Merge what differs into the outbox, in the caller's transaction; the counts of what was merged."""
    return _judged(connection, ground, lines, _MERGE)


def compare(connection: Connection, ground: Ground, lines: Sequence[Line]) -> Differences:
    """Count what `merge` would merge; nothing is written."""
    return _judged(connection, ground, lines, f"{_COUNTS} FROM ({_DIFFERENT}) AS differing")


def _copy(connection: Connection, lines: Sequence[Line]) -> None:
    connection.execute(_TEMPORARY)
    with connection.cursor() as cursor, cursor.copy("COPY pg_temp.reconcile_chunk FROM STDIN") as copy:
        for start in range(0, len(lines), _LINES_A_WRITE):
            copy.write("".join(lines[start : start + _LINES_A_WRITE]))


def _judged(connection: Connection, ground: Ground, lines: Sequence[Line], statement: str) -> Differences:
    _copy(connection, lines)
    return _counted(connection, statement, ground.parameters)


class Candidate(NamedTuple):
    """A row that differs from the ledger while nothing waits for it; ``updated_at``: of its pair, None without one."""

    key: str
    kind: Kind
    updated_at: datetime | None


_STANDS_OUT = """
SELECT d.key, d.kind, l.updated_at
  FROM {differing} AS d
  LEFT JOIN rowtide.ledger AS l ON l.sync = %(sync)s AND l.key = d.key
 WHERE NOT EXISTS (SELECT FROM rowtide.outbox WHERE sync = %(sync)s AND key = d.key)
"""
_KINDS = {"create": Kind.UNSENT, "update": Kind.STALE, "move": Kind.STALE, "park": Kind.STALE, "delete": Kind.LEFT}

OF_ROWS = frozenset(_KINDS.values())
"""Kinds of what is found by comparing rows with the ledger."""

_STILL = """
SELECT n.key, EXISTS (SELECT FROM rowtide.outbox WHERE sync = %(sync)s AND key = n.key) AS waits,
       (SELECT l.updated_at FROM rowtide.ledger AS l WHERE l.sync = %(sync)s AND l.key = n.key)
       IS NOT DISTINCT FROM n.updated_at AS stands
  FROM unnest(%(keys)s::text[], %(moments)s::timestamptz[]) AS n (key, updated_at)
"""


def find_candidates(connection: Connection, ground: Ground, lines: Sequence[Line]) -> list[Candidate]:
    """The rows of a page that differ while nothing waits for them; nothing is written."""
    with connection.transaction(force_rollback=True):
        _copy(connection, lines)
        statement = _STANDS_OUT.format(differing=f"({_DIFFERENT})")
        return _candidates(connection, statement, ground.parameters)


def find_absent_candidates(connection: Connection, ground: Ground, keys: Sequence[str]) -> list[Candidate]:
    """Those of these keys, which have no row, whose items are there while nothing waits; nothing is written."""
    statement = _STANDS_OUT.format(differing=f"({_ABSENT})")
    return _candidates(connection, statement, _with_keys(ground, keys))


def _candidates(connection: Connection, statement: str, parameters: dict[str, Any]) -> list[Candidate]:
    return [Candidate(key, _KINDS[kind], at) for key, kind, at in connection.execute(statement.encode(), parameters)]


def look_again(connection: Connection, sync: str, found: Sequence[Candidate]) -> tuple[list[Candidate], list[str]]:
    """Those of ``found`` whose pairs stand as they stood, and the keys of those that moved; what waits is neither."""
    values = {"sync": sync, "keys": [one.key for one in found], "moments": [one.updated_at for one in found]}
    rows = {key: (waits, stands) for key, waits, stands in connection.execute(_STILL, values)}
    standing = [one for one in found if rows[one.key] == (False, True)]
    return standing, [one.key for one in found if rows[one.key] == (False, False)]


def merge_absent(connection: Connection, ground: Ground, keys: Sequence[str]) -> Differences:
    """Merge deletes of keys that the source no longer has (or that no longer match), in the caller's transaction."""
    return _counted(connection, _DELETE, _with_keys(ground, keys))


def insert_absent(connection: Connection, ground: Ground, keys: Sequence[str]) -> None:
    """Record which of these keys would be deleted, so that the breaker judges all before the first is."""
    connection.execute(_NOTE, _with_keys(ground, keys))


def compare_absent(connection: Connection, ground: Ground, keys: Sequence[str]) -> Differences:
    """Count what `merge_absent` would merge; nothing is written."""
    return _counted(connection, f"{_COUNTS} FROM ({_ABSENT}) AS differing", _with_keys(ground, keys))


def _with_keys(ground: Ground, keys: Sequence[str]) -> dict[str, Any]:
    return {**ground.parameters, "keys": list(keys)}


def _counted(connection: Connection, statement: str, parameters: dict[str, Any]) -> Differences:
    with connection.cursor(row_factory=class_row(Differences)) as cursor:
        return cursor.execute(statement.encode(), parameters).fetchone() or Differences()
