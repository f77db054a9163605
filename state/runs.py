"""What Rowtide did at length and how it ended: table ``runs``.

In: the beginning and the end of a reconcile, an apply, a run. Out: rows for `rowtide runs`. Rule: a run without an end
was cut short or goes on; ``detail`` holds counts and names, never values of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import delete, func, insert, select, update

from state.database import Connection, execute
from state.tables import runs


@dataclass(frozen=True, slots=True)
class Run:
    """A row of ``runs``; ``verdict`` is None while it goes on."""

    id: int
    kind: str
    sync: str | None
    started_at: datetime
    ended_at: datetime | None
    verdict: str | None
    detail: dict[str, Any]


def start(conn: Connection, kind: str, sync: str | None = None, detail: Mapping[str, Any] | None = None) -> int:
    """Write down that something begins; the run's id."""
    values = {"kind": kind, "sync": sync, "detail": Jsonb(dict(detail or {}))}
    return int(execute(conn, insert(runs).values(values).returning(runs.c.id))[0]["id"])


def finish(conn: Connection, run_id: int, verdict: str, detail: Mapping[str, Any]) -> None:
    """Write down how it ended; a run that has ended keeps its first verdict."""
    values = {"ended_at": func.now(), "verdict": verdict, "detail": runs.c.detail.op("||")(Jsonb(dict(detail)))}
    execute(conn, update(runs).where(runs.c.id == run_id, runs.c.ended_at.is_(None)).values(values))


def list_newest(conn: Connection, limit: int = 50, kind: str | None = None, sync: str | None = None) -> list[Run]:
    """The newest runs first, of this kind and sync where they are given."""
    query = select(runs).order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(runs.c.kind == kind)
    if sync is not None:
        query = query.where(runs.c.sync == sync)
    return [Run(**row) for row in execute(conn, query)]


def read(conn: Connection, run_id: int) -> Run | None:
    """One run."""
    rows = execute(conn, select(runs).where(runs.c.id == run_id))
    return Run(**rows[0]) if rows else None


def prune(conn: Connection, older_than: timedelta) -> int:
    """Forget runs that ended longer ago than this; how many."""
    ended = delete(runs).where(runs.c.ended_at < func.now() - older_than).returning(runs.c.id)
    return len(execute(conn, ended))
