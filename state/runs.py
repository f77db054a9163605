"""Long tasks, and how each ended: table ``runs``.

In: the beginning and the end of a reconcile. Out: rows of the table, which no command shows yet (docs/design.md
section 18). Rule: a run without an end was cut short or is under way; ``detail`` holds counts and names, never values
of rows.
"""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from state.database import Connection


def start(conn: Connection, kind: str, sync: str | None = None, detail: Mapping[str, Any] | None = None) -> int:
    """Record that a run begins; its id."""
    query = "INSERT INTO rowtide.runs (kind, sync, detail) VALUES (%s, %s, %s) RETURNING id"
    row = conn.execute(query, [kind, sync, Jsonb(dict(detail or {}))]).fetchone()
    assert row is not None
    return int(row[0])


def finish(conn: Connection, run_id: int, verdict: str, detail: Mapping[str, Any]) -> None:
    """Record how a run ended; a run that has ended keeps its first verdict."""
    query = """
        UPDATE rowtide.runs SET ended_at = now(), verdict = %s, detail = detail || %s
         WHERE id = %s AND ended_at IS NULL
    """
    conn.execute(query, [verdict, Jsonb(dict(detail)), run_id])
