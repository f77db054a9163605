"""What one process says of itself: the document of its beat.

In: readers, writers, budgets, the claimer, the reconciler, sessions on sources. Out: a JSON document of the shape of
state.processes. Rule: it only reads what the parts know already, and waits for nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from connectors.claimer import Claimer
from connectors.graph.budget import Budget
from connectors.graph.writer import Writer
from connectors.pace import Pace
from connectors.postgres.replication.reader import Reader
from connectors.postgres.source_sessions import SourceSessions
from flows.applied_view import View
from flows.puller import Puller
from flows.reconcile import Reconciler
from flows.shape_watch import ShapeWatch
from rowtide.error_catalogue import source_errors
from rowtide.errors import RowtideError


def to_health(
    readers: Mapping[str, Reader],
    watches: Mapping[str, ShapeWatch],
    writers: Mapping[str, Writer],
    budgets: Mapping[str, Budget],
    claimer: Claimer | None,
    puller: Puller | None,
    reconciler: Reconciler | None,
    sessions: Callable[[], Iterable[SourceSessions]],
    pace: Pace,
    view: Callable[[], View],
    now: Callable[[], datetime],
) -> dict[str, Any]:
    """What `status` shows of this process; readers and watches by PostgreSQL, writers and budgets by graph.

    ``now`` is the state database's clock, which the reader of the document has too.
    """
    in_force = view()
    return {
        "definition": {"version": in_force.catalog.version, "problem": _problem(in_force.not_taken)},
        "source": {reader.settings.slot: _of_reader(reader, watches[name]) for name, reader in readers.items()},
        "graph": {name: _of_graph(writer, budgets[name], now) for name, writer in writers.items()},
        "reconcile": reconciler.health() if reconciler is not None else {},
        "due": _of_claimer(claimer) if claimer is not None else {},
        "pull": {}
        if puller is None
        else {sync: {"problem": _problem(error)} for sync, error in puller.problems.items()},
        "sessions": _of_sessions(watches, sessions()),
        "pace": pace.rates(),
    }


def _of_reader(reader: Reader, watch: ShapeWatch) -> dict[str, Any]:
    place = reader.place
    return {
        "problem": _problem(reader.problem),
        "incarnation": reader.incarnation,
        "lsn": place.lsn if place is not None else 0,
        "connected": reader.streaming,
        "walsender_pid": reader.walsender_pid,
        "unwatched": _of_watch(watch),
    }


def _of_sessions(watches: Mapping[str, ShapeWatch], sessions: Iterable[SourceSessions]) -> dict[str, Any]:
    """Why sessions beside the streams cannot be had; a watch that cannot look has a sentence of its own in `status`."""
    problems = {name: watch.problem for name, watch in watches.items() if watch.problem is not None}
    problems = {name: one for name, one in problems.items() if one.code == source_errors.SOURCE_DIFFERS.code}
    for of_thread in sessions:
        problems |= of_thread.problems()
    return {name: {"problem": _problem(error)} for name, error in problems.items()}


def _of_watch(watch: ShapeWatch) -> dict[str, Any] | None:
    unwatched_s, problem = watch.unwatched_s, watch.problem
    if unwatched_s is None:
        return None
    return {"seconds": round(unwatched_s), "sentence": problem.sentence if problem is not None else "no answer yet"}


def _of_graph(writer: Writer, budget: Budget, now: Callable[[], datetime]) -> dict[str, Any]:
    gate_s, counters = budget.gate.left_s(), writer.counters
    return {
        "problem": _problem(writer.problem),
        "lists": {list_id: _problem(error) for list_id, error in writer.list_problems.items()},
        "gate_until": (now() + timedelta(seconds=gate_s)).isoformat() if gate_s else None,
        "gate_throttled": budget.gate.throttled_s() > 0,
        "quota_wait_s": round(budget.quota_wait_s(), 3),
        "ru_used": counters.ru_used,
        "requests": counters.requests,
        "throttled": counters.throttled,
    }


def _of_claimer(claimer: Claimer) -> dict[str, Any]:
    return {"in_flight": claimer.in_flight, "problem": _problem(claimer.problem)}


def _problem(error: RowtideError | None) -> dict[str, str] | None:
    return None if error is None else {"code": error.code, "sentence": error.sentence, "remedy": error.remedy}
