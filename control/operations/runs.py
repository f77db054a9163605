"""What ran and what it did: runs, one run, the minutes and hours of syncs.

In: a session, which of them. Out: documents. Rule: these look only, with the state database's role for looking too; a
figure that nobody has is null, never 0.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from control.operations.session import Session, read_applied_definition
from rowtide.error_catalogue import command_errors
from rowtide.position import lsn_to_text
from state import history, processes, runs
from state.database import Connection
from state.history import Did
from state.runs import PROCESS, Positions, Run


class RunDocument(TypedDict):
    """A run. ``state``: ``running``, ``silent`` (a process that was not seen for seconds) or how it ended.

    ``turns``: how many short runs that ended alike this stands for. ``from`` and ``to``: by slot, of a reconcile by
    sync, its incarnation or era and ``lsn``.
    """

    id: int
    kind: str
    sync: str | None
    state: str
    turns: int
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    seconds: float
    actor: str
    incarnation: str | None
    from_position: Mapping[str, Mapping[str, int | str]] | None
    to_position: Mapping[str, Mapping[str, int | str]] | None
    detail: Mapping[str, Any]


class BucketsDocument(TypedDict):
    """How long rows took: how many in each bucket, up to ``bounds_ms``; the bounds below which a share of them lies.

    A share is null without rows, and where it lies above the last bound.
    """

    buckets: Sequence[int]
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None


class DidDocument(TypedDict):
    """What was done for a sync in the time that begins ``at``: ``push`` rows of the stream, ``bulk`` of reconciles."""

    at: datetime
    sync: str
    counts: Mapping[str, int]
    push: BucketsDocument
    bulk: BucketsDocument
    pull: BucketsDocument


class RunsDocument(TypedDict):
    """Runs, the last one first."""

    runs: list[RunDocument]


class OneRunDocument(RunDocument):
    """A run with what it did for each sync as far as its minutes are kept; of several turns, the last one's."""

    did: list[DidDocument]


class MinutesDocument(TypedDict):
    """What was done for syncs, oldest first; a time in which nothing was done has no entry."""

    by: Literal["minute", "hour"]
    since: datetime
    bounds_ms: Sequence[int]
    did: list[DidDocument]


def list_runs(session: Session, sync: str | None, kind: str | None, limit: int) -> RunsDocument:
    """At most ``limit`` runs: of a sync, of a kind, or all."""

    def work(connection: Connection) -> list[Run]:
        return runs.read(connection, limit, _id_of(connection, sync), kind)

    return {"runs": [_to_document(one) for one in session.on_state(work)]}


def show(session: Session, run_id: int) -> OneRunDocument:
    """One run; UserError for one that is not on record."""

    def work(connection: Connection) -> OneRunDocument:
        run = runs.read_one(connection, run_id)
        if run is None:
            raise command_errors.UNKNOWN_RUN(run=run_id)
        did = []
        if run.incarnation is not None:
            did = history.read_incarnation(connection, run.incarnation, run.started_at, run.seen_at)
        return {**_to_document(run), "did": [_to_did(one) for one in did]}

    return session.on_state(work)


def list_minutes(session: Session, sync: str | None, last: timedelta, by: Literal["minute", "hour"]) -> MinutesDocument:
    """What was done for a sync, or all, by minutes or hours, so long back from now by the state database's clock."""

    def work(connection: Connection) -> tuple[datetime, list[Did]]:
        [(since,)] = connection.execute("SELECT date_trunc(%s, now() - %s, 'UTC')", [by, last]).fetchall()
        read = history.read_minutes if by == "minute" else history.read_hours
        return since, read(connection, since, _id_of(connection, sync))

    since, did = session.on_state(work)
    return {"by": by, "since": since, "bounds_ms": list(history.BOUNDS_MS), "did": [_to_did(one) for one in did]}


def _id_of(connection: Connection, sync: str | None) -> str | None:
    """The id of a sync that is applied; else the word itself: what a retired sync did is kept under its id."""
    if sync is None:
        return None
    applied = read_applied_definition(connection)
    return (applied.catalog.definition.find_sync(sync) if applied else None) or sync


def _to_document(run: Run) -> RunDocument:
    return {
        "id": run.id,
        "kind": run.kind,
        "sync": run.sync,
        "state": run.verdict or _unended(run),
        "turns": run.turns,
        "started_at": run.started_at,
        "seen_at": run.seen_at,
        "ended_at": run.ended_at,
        "seconds": round(((run.ended_at or run.seen_at) - run.started_at).total_seconds(), 1),
        "actor": run.actor,
        "incarnation": None if run.incarnation is None else str(run.incarnation),
        "from_position": _to_positions(run.from_pos),
        "to_position": _to_positions(run.to_pos),
        "detail": run.detail,
    }


def _unended(run: Run) -> str:
    # A reconcile waits for its lists, for a person, for a process: that it is silent says nothing.
    return "silent" if run.kind == PROCESS and run.silent_s > processes.ALIVE_S else "running"


def _to_positions(found: Positions | None) -> Mapping[str, Mapping[str, int | str]] | None:
    if found is None:
        return None
    return {
        name: {what: lsn_to_text(value) if what == "lsn" else value for what, value in sorted(one.items())}
        for name, one in sorted(found.items())
    }


def _to_did(did: Did) -> DidDocument:
    return {
        "at": did.at,
        "sync": did.sync,
        "counts": did.counts,
        "push": _to_latency(did.push_ms),
        "bulk": _to_latency(did.bulk_ms),
        "pull": _to_latency(did.pull_ms),
    }


def _to_latency(buckets: Sequence[int]) -> BucketsDocument:
    p50, p95, p99 = (history.to_quantile_ms(buckets, share) for share in (0.5, 0.95, 0.99))
    return {"buckets": buckets, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}
