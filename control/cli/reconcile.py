"""`rowtide reconcile`: compare a sync's whole table with what is in its lists and mend the differences.

In: a sync. Out: the pass, seen through to its end, or with ``--dry-run`` what it would find (exit 3 when it would find
anything). Rule: what happens is control.operations.reconcile's; the first SIGTERM or Ctrl-C ends the pass in order.
"""

from collections.abc import Mapping
from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import reconcile as operations
from control.operations.reconcile import ReconciledDocument
from control.operations.session import Session
from rowtide.error_catalogue import command_errors


def reconcile(
    sync: Annotated[str, typer.Argument(metavar="SYNC")],
    deep: Annotated[bool, typer.Option("--deep", help="Read the lists too, item by item.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the differences.")] = False,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Compare a whole sync and mend it.

    Unchanged rows cost no request. With --deep the items are compared too: 2 resource units for 200 of them. With
    --dry-run nothing is written.
    """
    if deep and dry_run:
        raise command_errors.RECONCILE_OPTIONS()
    opened = session.start_session(config)
    if dry_run:
        _count(opened, sync, as_json)
    else:
        _mend(opened, sync, deep, as_json)


def _count(opened: Session, sync: str, as_json: bool) -> None:
    with output.progress("rows compared") as report:
        found = operations.dry_run(opened, sync, report)
    if as_json:
        output.document(found)
    else:
        staged = _words(found["differences"])
        output.say(f"{sync}: {found['rows']:,} rows compared; a reconcile would stage {staged}")
    if any(found["differences"].values()):
        raise typer.Exit(output.FINDINGS)


def _mend(opened: Session, sync: str, deep: bool, as_json: bool) -> None:
    with session.stop_on_signals() as stop, output.progress("rows compared") as report:
        found = operations.reconcile(opened, sync, session.actor(), stop, report, output.warn, deep)
    if as_json:
        output.document(found)
    else:
        output.say(_sentence(found))
    if not found["done"]:
        raise typer.Exit(output.FINDINGS)


_STAGED = ("creates", "updates", "moves", "deletes", "parked")


def _sentence(found: ReconciledDocument) -> str:
    if found["done"]:
        counts = found["counts"]
        staged = _words({name: counts.get(name, 0) for name in _STAGED})
        return f"{found['sync']}: {counts.get('rows', 0):,} rows compared, {staged} staged{_of_lists(counts)}"
    return f"{found['sync']}: asked for, and not done yet. {found['waits'] or 'See `rowtide status`.'}"


_MENDED = ("adopted", "edited", "older", "missing", "copies")
_APART = ("orphans", "strangers", "moving")


def _of_lists(counts: Mapping[str, int]) -> str:
    """What a deep pass says besides."""
    if "seen" not in counts:
        return ""
    mended = _words({name: counts.get(name, 0) for name in _MENDED})
    apart = _words({name: counts.get(name, 0) for name in _APART})
    return f"; {counts['seen']:,} items read, {mended} mended, {apart} left alone"


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing"
