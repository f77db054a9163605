"""`rowtide validate`: is the definition sound?

In: rowtide.yaml and, where it can be reached, the source. Out: every problem as ``file:line: sentence`` (exit 2), or
what was checked. Rule: nothing is changed anywhere; a source that cannot be reached is no problem of the definition, it
is said on stderr.
"""

from typing import Annotated

import typer

from connectors.settings import Loaded
from control.cli import options, output
from control.operations import compile
from control.operations.session import load, source
from rowtide.errors import DefinitionError, RowtideError


def validate(
    config: options.Config = options.CONFIG,
    offline: Annotated[bool, typer.Option("--offline", help="Check the file alone.")] = False,
    as_json: options.Json = False,
) -> None:
    """Check the definition.

    The file itself, and the tables it names when their source can be reached.
    """
    try:
        loaded = load(config)
        columns, unreached = ({}, {}) if offline else _columns(loaded)
        found = compile.compile_known(loaded, columns)
    except DefinitionError as error:
        if not as_json:
            raise
        lines = error.sentence.splitlines()
        output.document({"valid": False, "problems": lines, "warnings": [], "unreached": {}})
        raise typer.Exit(output.USAGE) from error
    if as_json:
        output.document({"valid": True, "problems": [], "warnings": found.doubts, "unreached": unreached})
        return
    for name, sentence in unreached.items():
        output.warn(f"tables of source {name} were not checked: {sentence}")
    for doubt in found.doubts:
        output.warn(f"warning: {doubt}")
    count = len(loaded.definition.syncs)
    output.say(
        f"{config} is sound: {count} sync{'s' if count != 1 else ''}, {len(columns)} checked against their tables"
    )


def _columns(loaded: Loaded) -> tuple[compile.Columns, dict[str, str]]:
    """Columns of the tables that could be asked, and why others could not."""
    definition = loaded.definition
    columns: compile.Columns = {}
    unreached: dict[str, str] = {}
    for name in sorted({sync.source.postgres for sync in definition.syncs.values()}):
        try:
            with source(definition, name) as connection:
                columns |= compile.read_columns(definition, name, connection)
        except RowtideError as error:
            unreached[name] = error.sentence
    return columns, unreached
