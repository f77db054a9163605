"""`rowtide reconcile`: compare a sync's whole table with what is in its lists and mend the differences.

In: a sync. Out: the pass, seen through to its end, or with ``--dry-run`` what it would find (exit 3 when it would find
anything). Rule: a process that is running does the work if it has it in hand already; the command then only watches.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Annotated, Any

import typer

from connectors import settings
from connectors.settings import Loaded
from control.cli import options, output
from control.cli.pause import whoever
from control.operations.session import load, on_state, require_applied, require_schema, state_dsn
from rowtide.catalog import Catalog
from rowtide.errors import UserError
from state.reconcile.record import Reconcile


def reconcile(
    sync: Annotated[str, typer.Argument(metavar="SYNC")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the differences.")] = False,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Compare a whole sync and mend it.

    Unchanged rows cost no request. With --dry-run nothing is written.
    """
    loaded = load(config)
    require_schema(loaded)
    catalog = on_state(loaded, require_applied)[1]
    if sync not in catalog.syncs:
        raise UserError("unknown_sync", f"There is no sync {sync}: there are {', '.join(sorted(catalog.syncs))}.")
    source_dsn = settings.resolve_secret(catalog.definition.postgres[catalog.syncs[sync].postgres].dsn)
    if dry_run:
        _dry_run(loaded, catalog, sync, source_dsn, as_json)
    else:
        _for_real(loaded, catalog, sync, source_dsn, as_json)


def _dry_run(loaded: Loaded, catalog: Catalog, sync: str, source_dsn: str, as_json: bool) -> None:
    from flows import reconcile as passes

    with _progress() as report:
        rows, found = passes.dry_run(state_dsn(loaded), catalog, sync, source_dsn, report)
    differences = asdict(found)
    if as_json:
        output.document({"sync": sync, "dry_run": True, "rows": rows, "differences": differences})
    else:
        output.say(f"{sync}: {rows:,} rows compared; a reconcile would stage {_words(differences)}")
    if any(differences.values()):
        raise typer.Exit(output.FINDINGS)


def _for_real(loaded: Loaded, catalog: Catalog, sync: str, source_dsn: str, as_json: bool) -> None:
    from flows import reconcile as passes

    owner = f"rowtide reconcile by {whoever()}"
    with _stop_on_signals() as stop, _progress() as report:
        record = passes.reconcile_here(
            state_dsn(loaded), catalog, sync, source_dsn, owner, stop, lambda one: report(*_far(one))
        )
    done = record.state == "done"
    if as_json:
        output.document({"sync": sync, "dry_run": False, "done": done, "waits": record.waits, "counts": record.counts})
    elif done:
        compared, counts = _far(record)[0], {name: record.counts.get(name, 0) for name in _STAGED}
        output.say(f"{sync}: {compared:,} rows compared, {_words(counts)} staged")
    else:
        waits = record.waits or "the sync is paused or no process has opened its stream yet: see `rowtide status`"
        output.say(f"{sync}: asked for, and not done yet: {waits}")
    if not done:
        raise typer.Exit(output.FINDINGS)


_STAGED = ("creates", "updates", "moves", "deletes", "parked")


def _far(record: Reconcile) -> tuple[int, int]:
    return int(record.counts.get("rows", 0)), record.estimate


def _words(counts: dict[str, Any]) -> str:
    found = [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    return ", ".join(found) or "nothing"


class _Report:
    """How far a pass is, on stderr, where a person looks on."""

    def __init__(self) -> None:
        self._shown = False

    def __call__(self, rows: int, estimate: int) -> None:
        if sys.stderr.isatty():
            self._shown = True
            about = f" of about {estimate:,}" if estimate else ""
            sys.stderr.write(f"\r{rows:,}{about} rows compared")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            sys.stderr.write("\n")


@contextmanager
def _progress() -> Iterator[_Report]:
    report = _Report()
    try:
        yield report
    finally:
        report.end()


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    stop = threading.Event()

    def ask(_signum: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {signum: signal.signal(signum, ask) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
