"""Compare a whole table with what is in its lists, and mend the differences.

In: a session, a sync of the definition in force, an actor. Out: how far the pass came, or what a dry run found. Rules:
a running process that has the pass in hand does the work, and the operation then only watches; a dry run writes
nothing. Bytewax, which is slow to import, is imported only here.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TypedDict

from control.operations.pause import judge_anew
from control.operations.session import Session, open_sync
from rowtide.actor import Actor
from state.reconcile.record import Reconcile

Report = Callable[[int, int], None]
"""Called now and then with the rows compared so far and an estimate of all rows (0: not known)."""


class ReconciledDocument(TypedDict):
    """How a pass went; ``waits``: one sentence why it is not done."""

    sync: str
    dry_run: bool
    done: bool
    waits: str | None
    counts: Mapping[str, int]


class DryRunDocument(TypedDict):
    """What a pass would stage, by kind."""

    sync: str
    dry_run: bool
    rows: int
    differences: Mapping[str, int]


def reconcile(
    session: Session,
    sync: str,
    actor: Actor,
    stop: threading.Event,
    report: Report,
    tell: Callable[[str], None],
    deep: bool = False,
) -> ReconciledDocument:
    """Ask for a pass over ``sync`` and see it done, paused, waiting, or stopped by ``stop``.

    ``tell`` is given one sentence whenever the pass waits for something else than before. ``deep``: what its lists hold
    is compared too, item by item.
    """
    from flows import reconcile as passes

    catalog, sync_id, sessions = open_sync(session, sync, passes.SOURCE)
    said: str | None = None

    def follow(record: Reconcile) -> None:
        nonlocal said
        report(int(record.counts.get("rows", 0)), record.estimate)
        if record.waits is not None and record.waits != said:
            tell(record.waits)
        said = record.waits

    session.on_state(lambda connection: judge_anew(connection, sync_id), actor)
    record = passes.reconcile_here(
        session.state_dsn(),
        catalog,
        sync_id,
        sessions,
        f"rowtide reconcile by {actor.name}",
        stop,
        follow,
        deep,
    )
    return {
        "sync": sync,
        "dry_run": False,
        "done": record.state == "done",
        "waits": record.waits,
        "counts": record.counts,
    }


def dry_run(session: Session, sync: str, report: Report) -> DryRunDocument:
    """Compare every row of ``sync`` and count what a pass would stage."""
    from flows import reconcile as passes

    catalog, sync_id, sessions = open_sync(session, sync, passes.SOURCE)
    rows, found = passes.dry_run(session.state_dsn(), catalog, sync_id, sessions, report)
    return {"sync": sync, "dry_run": True, "rows": rows, "differences": asdict(found)}
