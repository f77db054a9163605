"""The options that every command shares.

In: nothing. Out: annotated types for command functions. Rule: one spelling each: ``-c/--config`` (environment
``ROWTIDE_CONFIG``, default ``rowtide.yaml``) and ``--json``.
"""

from pathlib import Path
from typing import Annotated

import typer

_WANTS_JSON = "rowtide.json"


def _note_json(context: typer.Context, value: bool) -> bool:
    # Whoever reports an error has only the context, and has to know that stdout belongs to one JSON document.
    context.meta[_WANTS_JSON] = value
    return value


def wants_json(context: typer.Context) -> bool:
    """Whether the running command was given ``--json``."""
    return bool(context.meta.get(_WANTS_JSON, False))


Config = Annotated[
    Path,
    typer.Option(
        "--config", "-c", envvar="ROWTIDE_CONFIG", metavar="FILE", help="The definition file.", show_default=True
    ),
]
CONFIG = Path("rowtide.yaml")

Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout and nothing else.", callback=_note_json),
]
