"""Which Rowtide processes run, and their health: table ``process``.

In: a beat each second from every running process, with its health. Out: the beats, for `rowtide status` and `rowtide
doctor`; the names of processes that died. Rule: a beat says only what the process itself knows; its reader decides by
the database's clock whether the process is still there, and calls it dead only if its lock is free too.

``health`` is JSON with these parts, each of which may be missing (``problem``: ``{"code", "sentence"}`` or null):

- ``source``: slot -> ``{"problem", "incarnation": int, "lsn": int, "connected": bool, "walsender_pid": int | null,
  "unwatched": {"seconds": int, "sentence"} | null}``
- ``sessions``: source -> ``{"problem"}``: why a session beside the stream cannot be had
- ``graph``: name -> ``{"problem", "lists": {list id: sentence}, "gate_until": ISO time | null, "quota_wait_s": number,
  "ru_used": number, "requests": int, "throttled": int}``; the counters since the process started
- ``reconcile``: sync -> ``{"problem", "done": int, "total": int | null}``
- ``definition``: ``{"version", "problem"}``: the version it works by, and why that is not the one in force
- ``due``: ``{"problem", "in_flight": int}``
- ``loops``: thread -> ``{"failures": int, "problem"}``: the loops that met an unexpected error, how often since the
  process started, and the last one
- ``oldest_tick``: ``{"loop", "silent_s": number, "waits_for": str}``: the loop that has been silent longest
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from rowtide.catalog import FORMAT
from state.pulse import Silence

ALIVE_S = 5.0
"""A process beats each second; one that missed five beats counts as gone."""


@dataclass(frozen=True, slots=True)
class ProcessBeat:
    """The last beat of one process; ``age_s`` is how long ago it was, by the database's clock.

    ``format``: of the definitions that it understands (`rowtide.catalog.FORMAT`).
    """

    process_id: int
    roles: list[str]
    pid: int
    host: str
    started_at: datetime
    seen_at: datetime
    age_s: float
    format: int
    health: dict[str, Any]

    @property
    def silence(self) -> Silence | None:
        """The loop of the process that is stuck, if one is: its oldest tick is believed, whatever still beats."""
        oldest = self.health.get("oldest_tick")
        if not oldest:
            return None
        found = Silence(str(oldest["loop"]), float(oldest["silent_s"]) + self.age_s, str(oldest["waits_for"]))
        return found if found.is_stuck else None

    @property
    def moved_s(self) -> float:
        """For how long nothing is known to have gone on there: since its last beat, or since a loop got stuck."""
        stuck = self.silence
        return self.age_s if stuck is None else max(self.age_s, stuck.silent_s)

    @property
    def is_alive(self) -> bool:
        """Whether it has beaten lately."""
        return self.age_s <= ALIVE_S


def beat(
    conn: psycopg.Connection[Any],
    process_id: int,
    roles: Collection[str],
    pid: int,
    host: str,
    started_at: datetime,
    health: Mapping[str, Any],
) -> None:
    """Record that the process is there; this replaces its earlier beat."""
    conn.execute(
        """
        INSERT INTO rowtide.process AS p (process_id, roles, pid, host, started_at, seen_at, format, health)
        VALUES (%s, %s, %s, %s, %s, clock_timestamp(), %s, %s)
        ON CONFLICT (process_id, roles) DO UPDATE
           SET pid = excluded.pid, host = excluded.host, started_at = excluded.started_at,
               seen_at = excluded.seen_at, format = excluded.format, health = excluded.health
        """,
        [process_id, ",".join(sorted(roles)), pid, host, started_at, FORMAT, Jsonb(dict(health), dumps=_dumps)],
    )


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)


def leave(conn: psycopg.Connection[Any], process_id: int, roles: Collection[str]) -> None:
    """Take the process off the list, because it ends as it should."""
    conn.execute(
        "DELETE FROM rowtide.process WHERE process_id = %s AND roles = %s", [process_id, ",".join(sorted(roles))]
    )


DEAD_S = 4.0
"""Seconds without a beat after which a process that no longer holds its lock is dead; it sends nothing by then."""


def name_of(process_id: int, roles: Collection[str]) -> str:
    """The name of a process, by which it holds an advisory lock."""
    return f"rowtide:{','.join(sorted(roles))}:{process_id}"


def silent_s(conn: psycopg.Connection[Any], process_id: int, roles: Collection[str]) -> float | None:
    """For how long the process of this name has not beaten; None for one that has left or never was."""
    query = """
        SELECT extract(epoch FROM clock_timestamp() - seen_at)::float8
          FROM rowtide.process WHERE process_id = %s AND roles = %s
    """
    found = conn.execute(query, [process_id, ",".join(sorted(roles))]).fetchone()
    return None if found is None else found[0]


# The two halves of a lock's 64-bit key are columns of pg_locks. A process that hangs still holds its lock.
_DEAD = """
SELECT n.name
  FROM rowtide.process AS p
 CROSS JOIN LATERAL (SELECT 'rowtide:' || p.roles || ':' || p.process_id AS name) AS n
 CROSS JOIN LATERAL (SELECT hashtextextended(n.name, 0) AS key) AS k
 WHERE p.seen_at < clock_timestamp() - make_interval(secs => %s)
   AND NOT EXISTS (
       SELECT FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.classid::bigint = (k.key >> 32) & 4294967295 AND l.objid::bigint = k.key & 4294967295)
"""


def find_dead(conn: psycopg.Connection[Any]) -> list[str]:
    """Names of the processes that ended without leaving: they beat no more, and nobody holds their lock."""
    return [name for (name,) in conn.execute(_DEAD, [DEAD_S])]


def role_alive(conn: psycopg.Connection[Any], role: str) -> bool:
    """Whether a process with this role has beaten lately."""
    query = """
        SELECT EXISTS (SELECT FROM rowtide.process WHERE %s = ANY (string_to_array(roles, ','))
                          AND seen_at > clock_timestamp() - make_interval(secs => %s))
    """
    [(alive,)] = conn.execute(query, [role, ALIVE_S]).fetchall()
    return bool(alive)


def read(conn: psycopg.Connection[Any]) -> list[ProcessBeat]:
    """The last beat of every process that has not left, by process id."""
    with conn.cursor(row_factory=class_row(ProcessBeat)) as cursor:
        return cursor.execute(
            """
            SELECT process_id, string_to_array(roles, ',') AS roles, pid, host, started_at, seen_at,
                   extract(epoch FROM clock_timestamp() - seen_at)::float8 AS age_s, format, health
              FROM rowtide.process
             ORDER BY process_id, roles
            """
        ).fetchall()
