"""`rowtide status`: what is wanted of every sync, what it does, and in one sentence why it is not moving.

In: the definition. Out: a table or one JSON document, with ``--watch`` again each second. Rule: what is shown is
control.operations.status's; while watching, a state database that does not answer is shown and asked again.
"""

import sys
from typing import Annotated

import typer
from rich.text import Text

from control.cli import options, output, session
from control.cli.status_table import table_lines
from control.operations import status as operations
from control.operations.session import Session
from rowtide.errors import RowtideError
from rowtide.legible import legible

WATCH_S = 1.0


def status(
    config: options.Config = options.CONFIG,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again each second until Ctrl-C.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Show every figure, however wide the table becomes.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show where every sync stands.

    With one sentence for each that says why it is not moving, and what to do next.
    """
    opened = session.start_session(config)
    if watch and not as_json and sys.stdout.isatty():
        output.watch(lambda: _picture(opened, wide), WATCH_S)
        return
    found = operations.status(opened)
    if as_json:
        output.document(found)
        return
    for line in table_lines(found, output.width(), wide):
        output.say(line)


def _picture(opened: Session, wide: bool) -> Text:
    try:
        found = operations.status(opened)
    except RowtideError as error:  # what does not answer now may answer at the next look
        return Text(legible(f"{error.code}: {error.sentence}"))
    return Text("\n".join(legible(line) for line in table_lines(found, output.width(), wide)))
