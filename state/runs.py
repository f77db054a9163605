"""Long tasks, and how each ended: table ``runs``.

In: the beginning and the end of a reconcile. Out: rows of the table. Rule: a run without an end
was cut short or is under way; ``detail`` holds counts and names, never values of rows.
"""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import func, insert, update

from state.database import Connection, execute
from state.tables import runs


def start(conn: Connection, kind: str, sync: str | None = None, detail: Mapping[str, Any] | None = None) -> int:
    """Record that a run begins; its id."""
    values = {"kind": kind, "sync": sync, "detail": Jsonb(dict(detail or {}))}
    return int(execute(conn, insert(runs).values(values).returning(runs.c.id))[0]["id"])


def finish(conn: Connection, run_id: int, verdict: str, detail: Mapping[str, Any]) -> None:
    """Record how a run ended; a run that has ended keeps its first verdict."""
    values = {"ended_at": func.now(), "verdict": verdict, "detail": runs.c.detail.op("||")(Jsonb(dict(detail)))}
    execute(conn, update(runs).where(runs.c.id == run_id, runs.c.ended_at.is_(None)).values(values))
