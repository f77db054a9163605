"""`rowtide runs`: what ran, how it ended, and what each sync did by minute and hour.

In: a sync, a run, how far back. Out: tables, or the documents. Rule: what is told is control.operations.runs'; nothing
here changes anything.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import runs
from control.operations.runs import BucketsDocument, DidDocument, RunDocument

app = typer.Typer(no_args_is_help=True, help="What ran, and what each sync did by minute and hour.")

Sync = Annotated[str | None, typer.Argument(metavar="[SYNC]", help="Default: every sync.")]


@app.command("list")
def list_(
    sync: Annotated[str | None, typer.Argument(metavar="[SYNC]", help="Default: of everything.")] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="process, reconcile, forget or purge.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many runs.")] = 20,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """List processes, reconciles and what was forgotten, the last one first."""
    found = runs.list_runs(session.start_session(config), sync, kind, limit)
    if as_json:
        output.document(found)
    elif not found["runs"]:
        output.say("nothing has run")
    else:
        heads = ["run", "kind", "sync", "state", "turns", "started at", "seconds", "by"]
        output.table(heads, [_line(one) for one in found["runs"]])


@app.command("show")
def show(
    run: Annotated[int, typer.Argument(metavar="RUN", help="As `runs list` shows it.")],
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Show one run: how it ended, from where to where it went, what it did for each sync."""
    found = runs.show(session.start_session(config), run)
    if as_json:
        output.document(found)
        return
    told = {name: value for name, value in found.items() if name not in ("detail", "did") and value is not None}
    output.table(["what", "value"], [*told.items(), *found["detail"].items()])
    if found["did"]:
        output.say()
        output.table(_HEADS[1:], [_did(one)[1:] for one in found["did"]])


@app.command("minutes")
def minutes(
    sync: Sync = None,
    last: Annotated[int, typer.Option("--last", min=1, help="So many minutes, or hours, back from now.")] = 60,
    hours: Annotated[bool, typer.Option("--hours", help="By hours; the last two are not told yet.")] = False,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Show what each sync did minute by minute; one in which nothing was done is left out."""
    opened = session.start_session(config)
    back = timedelta(hours=last) if hours else timedelta(minutes=last)
    found = runs.list_minutes(opened, sync, back, "hour" if hours else "minute")
    if as_json:
        output.document(found)
    elif not found["did"]:
        output.say("nothing was done")
    else:
        output.table(_HEADS, [_did(one) for one in found["did"]])


_COUNTS = ("changes", "delivered", "writes", "parked", "pulled", "conflicts")
_HEADS = ("at", "sync", *_COUNTS, "push p50/p95", "bulk p50/p95", "pull p50/p95")


def _line(run: RunDocument) -> Sequence[object]:
    return [
        run["id"], run["kind"], run["sync"] or "", run["state"], run["turns"], _moment(run["started_at"]),
        run["seconds"], run["actor"],
    ]  # fmt: skip


def _did(one: DidDocument) -> Sequence[object]:
    latencies = [_latency(one["push"]), _latency(one["bulk"]), _latency(one["pull"])]
    return [_moment(one["at"]), one["sync"], *(one["counts"][name] for name in _COUNTS), *latencies]


def _latency(one: BucketsDocument) -> str:
    if not sum(one["buckets"]):
        return ""
    return "/".join(f"{bound / 1000:g} s" if bound else "more" for bound in (one["p50_ms"], one["p95_ms"]))


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"
