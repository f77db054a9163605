"""`rowtide status`: where every sync stands, and in one sentence why it is not moving.

In: the state database (what is staged, delivered, parked; the processes' beats), the sources' slots. Out: a table or
one JSON document. Rule: it works while everything but the state database is down; what a source cannot be asked is
shown as unknown, never guessed.
"""

import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from connectors.settings import Loaded
from control.cli import options, output
from control.operations import status_snapshot
from control.operations.diagnosis import reason_of
from control.operations.session import load, on_state
from control.operations.status_snapshot import STALE_S, Seen
from rowtide.errors import RowtideError
from rowtide.position import lsn_to_text
from state import processes, progress
from state.reconcile import record as reconciles

WATCH_S = 1.0


def gather(loaded: Loaded) -> dict[str, Any]:
    """The document of `status --json`."""
    found = status_snapshot.read_slots(loaded)
    return document(on_state(loaded, lambda connection: status_snapshot.read_seen(connection, found)))


# --- the document -------------------------------------------------------------------------------------------------


def document(seen: Seen) -> dict[str, Any]:
    """What was seen, as JSON."""
    return {
        "at": seen.now,
        "definition": {
            "version": seen.applied.version,
            "applied_at": seen.applied.applied_at,
            "applied_by": seen.applied.applied_by,
        },
        "processes": [_process(process) for process in seen.processes],
        "sources": {name: _source(seen, name) for name in seen.catalog.definition.postgres},
        "graphs": {name: _graph(seen, name) for name in seen.catalog.definition.graph},
        "syncs": [_sync(seen, name) for name in seen.catalog.syncs],
    }


def _process(process: processes.Process) -> dict[str, Any]:
    return {
        "process_id": process.process_id,
        "roles": process.roles,
        "host": process.host,
        "pid": process.pid,
        "started_at": process.started_at,
        "seen_s_ago": round(process.age_s, 1),
        "alive": process.age_s <= STALE_S,
    }


def _source(seen: Seen, name: str) -> dict[str, Any]:
    slot, cursor = seen.slots.get(name), seen.cursors.get(seen.catalog.definition.slot(name))
    return {
        "slot": seen.catalog.definition.slot(name),
        "era": None if cursor is None else cursor.era,
        "lsn": None if cursor is None else lsn_to_text(cursor.lsn),
        "lag_bytes": None if slot is None else slot.lag_bytes,
        "retained_bytes": None if slot is None else slot.retained_bytes,
        "wal_status": None if slot is None else slot.wal_status,
        "problem": status_snapshot.problem_of(seen, "source", seen.catalog.definition.slot(name)),
    }


def _graph(seen: Seen, name: str) -> dict[str, Any]:
    health = status_snapshot.health_of(seen, "graph", name)
    return {
        "ru_used": sum(part.get("ru_used") or 0 for part in health),
        "ru_per_minute": status_snapshot.ru_per_minute(seen, name),
        "throttled": sum(part.get("throttled") or 0 for part in health),
        "gate_until": status_snapshot.gate_until(seen, name),
        "problem": status_snapshot.problem_of(seen, "graph", name),
    }


def _sync(seen: Seen, name: str) -> dict[str, Any]:
    waits, did = seen.waiting.get(name), seen.progress.get(name)
    sync, state, record = seen.catalog.syncs[name], seen.states.get(name), seen.reconciles.get(name)
    cursor, slot = seen.cursors.get(seen.catalog.definition.slot(sync.postgres)), seen.slots.get(sync.postgres)
    reason = reason_of(status_snapshot.facts_of(seen, name))
    oldest = None if waits is None else waits.oldest
    return {
        "sync": name,
        "state": "running" if state is None else state.state,
        "position": None if cursor is None else {"era": cursor.era, "lsn": lsn_to_text(cursor.lsn)},
        "lag_bytes": None if slot is None else slot.lag_bytes,
        "lag_s": 0.0 if oldest is None else round(max((seen.now - oldest).total_seconds(), 0.0), 1),
        "waiting": 0 if waits is None else waits.waiting - waits.in_flight,
        "in_flight": 0 if waits is None else waits.in_flight,
        "parked": 0 if waits is None else waits.parked,
        "changes": 0 if did is None else did.changes,
        "delivered": 0 if did is None else did.delivered,
        "writes": 0 if did is None else did.writes,
        "suppressed": 0 if did is None else did.suppressed,
        "foreign_edits": 0 if did is None else did.foreign_edits,
        "latency_ms": {word: _latency(did, share) for word, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))},
        "ru_used": 0 if did is None else round(did.ru_used),
        "reconcile": None if record is None else _reconcile(record),
        "reason": {"code": reason.code, "sentence": reason.sentence},
    }


def _latency(did: progress.Progress | None, share: float) -> float | None:
    found = None if did is None else did.percentile_ms(share)
    return None if found is None else round(found, 1)


def _reconcile(record: reconciles.Reconcile) -> dict[str, Any]:
    return {
        "state": record.state,
        "why": record.why,
        "compared": record.counts.get("rows", 0),
        "estimate": record.estimate,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "counts": dict(record.counts),
    }


# --- the command ----------------------------------------------------------------------------------------------------

_COLUMNS = ("sync", "state", "waiting", "in_flight", "parked", "delivered", "writes", "lag_bytes", "lag_s")


def _row(sync: Mapping[str, Any]) -> list[Any]:
    latency = sync["latency_ms"]
    row = [sync[name] for name in _COLUMNS]
    return [*row, latency["p50"], latency["p95"], latency["p99"], sync["ru_used"], sync["reason"]["sentence"]]


_HEADS = [*_COLUMNS, "p50_ms", "p95_ms", "p99_ms", "ru", "why"]


def _head(found: Mapping[str, Any]) -> str:
    alive = sum(process["alive"] for process in found["processes"])
    running = "1 process runs" if alive == 1 else f"{alive} processes run"
    return f"definition {found['definition']['version']}, {running}, {found['at']:%Y-%m-%d %H:%M:%S} UTC"


def status(
    config: options.Config = options.CONFIG,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again each second until Ctrl-C.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show where every sync stands.

    With one sentence for each that says why it is not moving.
    """
    loaded = load(config)
    if watch and not as_json and sys.stdout.isatty():
        _watch(loaded)
        return
    found = gather(loaded)
    if as_json:
        output.document(found)
        return
    output.say(_head(found))
    output.table(_HEADS, [_row(sync) for sync in found["syncs"]])


def _watch(loaded: Loaded) -> None:
    try:
        with Live(refresh_per_second=4) as live:
            while True:
                live.update(_picture(loaded))
                time.sleep(WATCH_S)
    except KeyboardInterrupt:
        return


def _picture(loaded: Loaded) -> Group | Text:
    try:
        found = gather(loaded)
    except RowtideError as error:  # what does not answer now may answer at the next look
        return Text(f"{error.code}: {error.sentence}")
    return Group(Text(_head(found)), output.drawn(_HEADS, [_row(sync) for sync in found["syncs"]]))
