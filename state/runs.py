"""What ran, from its start to its end: table ``runs``.

In: the beginning and the end of a process and of a reconcile; what a person had forgotten. Out: rows, for `rowtide
runs`. Rules (docs/design.md section 23): a run has one end; a process that starts ends those before it of its name as
``lost``, when they were seen last; short runs of a process that end alike are one run with ``turns``; what was done is
said by positions; ``detail`` holds counts and names, never values of rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from state.database import Connection

PROCESS: Final = "process"
"""The kind of a process's run; its actor is the process's name."""
LOST: Final = "lost"
"""The verdict of a process that ended without a word."""

Positions = Mapping[str, Mapping[str, int]]
"""By slot (of a reconcile: by sync) how far it was: ``incarnation`` or ``era``, and ``lsn``."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run. ``silent_s``: how long ago it was seen, by the database's clock; ``turns``: how many runs this stands for.

    ``incarnation``: of a process, in the minutes of `state.history`.
    """

    id: int
    kind: str
    sync: str | None
    incarnation: UUID | None
    started_at: datetime
    seen_at: datetime
    silent_s: float
    ended_at: datetime | None
    verdict: str | None
    turns: int
    from_pos: Positions | None
    to_pos: Positions | None
    actor: str
    detail: dict[str, Any]


def start(
    conn: Connection, kind: str, sync: str | None = None, detail: Mapping[str, Any] | None = None, actor: str = ""
) -> int:
    """Record that a run begins; its id."""
    query = "INSERT INTO rowtide.runs (kind, sync, detail, actor) VALUES (%s, %s, %s, %s) RETURNING id"
    [(id_,)] = conn.execute(query, [kind, sync, Jsonb(dict(detail or {})), actor]).fetchall()
    return int(id_)


def finish(
    conn: Connection, run_id: int, verdict: str, detail: Mapping[str, Any], to_pos: Positions | None = None
) -> None:
    """Record how a run ended; a run that has ended keeps its first verdict."""
    query = """
        UPDATE rowtide.runs
           SET ended_at = now(), seen_at = now(), verdict = %s, detail = detail || %s, to_pos = coalesce(%s, to_pos)
         WHERE id = %s AND ended_at IS NULL
    """
    position = None if to_pos is None else Jsonb({name: dict(one) for name, one in to_pos.items()})
    conn.execute(query, [verdict, Jsonb(dict(detail)), position, run_id])


# --- processes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProcessLife:
    """One life of a process: its name, as what it counts, the slots that it reads, what is told of it."""

    name: str
    incarnation: UUID
    slots: Sequence[str]
    detail: Mapping[str, Any]


_POSITIONS = """
(SELECT jsonb_object_agg(c.slot, jsonb_build_object('incarnation', c.incarnation, 'lsn', c.lsn))
   FROM rowtide.slot_cursor AS c WHERE c.slot = ANY (%(slots)s::text[]))
"""

_START = f"""
INSERT INTO rowtide.runs (kind, actor, incarnation, detail, from_pos, to_pos)
SELECT '{PROCESS}', %(name)s, %(incarnation)s, %(detail)s, p.at, p.at FROM (SELECT {_POSITIONS} AS at) AS p
RETURNING id
"""


def start_process(conn: Connection, life: ProcessLife) -> int:
    """Record that a process begins, and that those before it of its name are lost; its id. Twice is once."""
    there = f"SELECT id FROM rowtide.runs WHERE kind = '{PROCESS}' AND actor = %s AND incarnation = %s"
    ids = {"name": life.name, "incarnation": life.incarnation}
    values = {**ids, "slots": list(life.slots), "detail": Jsonb(dict(life.detail))}
    with conn.transaction():
        lose(conn, life.name, life.incarnation)
        found = conn.execute(there, [life.name, life.incarnation]).fetchall()
        [(id_,)] = found or conn.execute(_START, values).fetchall()
    return int(id_)


def saw_process(conn: Connection, run_id: int, slots: Sequence[str]) -> None:
    """Record that a process lives, and how far its slots are."""
    query = f"""
        UPDATE rowtide.runs SET seen_at = clock_timestamp(), to_pos = coalesce({_POSITIONS}, to_pos)
         WHERE id = %(id)s AND ended_at IS NULL
    """
    conn.execute(query, {"id": run_id, "slots": list(slots)})


def finish_process(conn: Connection, run_id: int, verdict: str, code: str | None) -> None:
    """Record how a process ended, with the code of the error by which it did."""
    with conn.transaction():
        finish(conn, run_id, verdict, {} if code is None else {"code": code})
        conn.execute(_FOLD, {"id": run_id})


def lose(conn: Connection, name: str, but: UUID | None = None) -> int:
    """End the runs of processes of this name that no longer live, ``but`` for one; how many.

    By whoever holds the lock of that name, or has found it free and the process silent.
    """
    query = f"""
        UPDATE rowtide.runs SET ended_at = seen_at, verdict = '{LOST}'
         WHERE kind = '{PROCESS}' AND actor = %s AND ended_at IS NULL AND incarnation IS DISTINCT FROM %s RETURNING id
    """
    with conn.transaction():
        ended = sorted(id_ for (id_,) in conn.execute(query, [name, but]))
        for id_ in ended:
            conn.execute(_FOLD, {"id": id_})
    return len(ended)


# A process that ends within a minute, again and again in the same way, is one run: else a crash loop is all there is to
# see. The waits between its turns grow to minutes at most.
_FOLD = f"""
WITH ours AS (
     SELECT * FROM rowtide.runs WHERE id = %(id)s AND ended_at - started_at < interval '1 minute'),
before AS (
     SELECT b.* FROM rowtide.runs AS b CROSS JOIN ours
      WHERE b.kind = '{PROCESS}' AND b.actor = ours.actor AND b.id < ours.id ORDER BY b.id DESC LIMIT 1),
gone AS (
     DELETE FROM rowtide.runs AS r USING ours, before
      WHERE r.id = ours.id AND before.verdict = ours.verdict
        AND (before.detail ->> 'code') IS NOT DISTINCT FROM (ours.detail ->> 'code')
        AND (before.turns > 1 OR before.ended_at - before.started_at < interval '1 minute')
        AND ours.started_at - before.ended_at < interval '10 minutes'
     RETURNING r.*)
UPDATE rowtide.runs AS r
   SET turns = r.turns + gone.turns, ended_at = gone.ended_at, seen_at = gone.seen_at, incarnation = gone.incarnation,
       to_pos = coalesce(gone.to_pos, r.to_pos), detail = r.detail || gone.detail
  FROM gone, before WHERE r.id = before.id
"""


# --- read ---------------------------------------------------------------------------------------------------------

# Of a reconcile its own record says when it was seen.
_READ = """
SELECT r.id, r.kind, r.sync, r.incarnation, r.started_at, s.seen_at,
       extract(epoch FROM clock_timestamp() - s.seen_at)::float8 AS silent_s,
       r.ended_at, r.verdict, r.turns, r.from_pos, r.to_pos, r.actor, r.detail
  FROM rowtide.runs AS r
  LEFT JOIN rowtide.reconcile AS c ON c.run_id = r.id
 CROSS JOIN LATERAL (SELECT greatest(r.seen_at, c.updated_at) AS seen_at) AS s
"""


def read(conn: Connection, limit: int, sync: str | None = None, kind: str | None = None) -> list[Run]:
    """Runs, the last one first: of a sync, of a kind, or all."""
    query = f"""
        {_READ} WHERE (%(sync)s::text IS NULL OR r.sync = %(sync)s) AND (%(kind)s::text IS NULL OR r.kind = %(kind)s)
         ORDER BY r.id DESC LIMIT %(limit)s
    """
    return _runs(conn, query, {"sync": sync, "kind": kind, "limit": limit})


def read_one(conn: Connection, run_id: int) -> Run | None:
    """The run with this id."""
    return next(iter(_runs(conn, f"{_READ} WHERE r.id = %(id)s", {"id": run_id})), None)


def _runs(conn: Connection, query: str, values: Mapping[str, object]) -> list[Run]:
    with conn.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(query.encode(), values).fetchall()
