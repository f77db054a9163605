"""`rowtide status`: where every sync stands, and in one sentence why it is not moving.

In: the definition. Out: a table or one JSON document, with ``--watch`` again each second. Rule: what is shown is
control.operations.status's; while watching, a state database that does not answer is shown and asked again.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from control.cli import options, output, session
from control.operations import status as operations
from control.operations.session import Session
from control.operations.status import StatusDocument, SyncDocument
from rowtide.errors import RowtideError

WATCH_S = 1.0

_HEADS = (
    "sync",
    "state",
    "waiting",
    "in_flight",
    "parked",
    "delivered",
    "writes",
    "lag_bytes",
    "lag_s",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "ru",
    "why",
)


def _row(sync: SyncDocument) -> Sequence[object]:
    latency = sync["latency_ms"]
    return [
        sync["sync"],
        sync["state"],
        sync["waiting"],
        sync["in_flight"],
        sync["parked"],
        sync["delivered"],
        sync["writes"],
        sync["lag_bytes"],
        sync["lag_s"],
        latency["p50"],
        latency["p95"],
        latency["p99"],
        sync["ru_used"],
        sync["reason"]["sentence"],
    ]


def _head(found: StatusDocument) -> str:
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
    opened = session.start_session(config)
    if watch and not as_json and sys.stdout.isatty():
        output.watch(lambda: _picture(opened), WATCH_S)
        return
    found = operations.status(opened)
    if as_json:
        output.document(found)
        return
    output.say(_head(found))
    output.table(_HEADS, [_row(sync) for sync in found["syncs"]])


def _picture(opened: Session) -> Group | Text:
    try:
        found = operations.status(opened)
    except RowtideError as error:  # what does not answer now may answer at the next look
        return Text(f"{error.code}: {error.sentence}")
    return Group(Text(_head(found)), output.drawn(_HEADS, [_row(sync) for sync in found["syncs"]]))
