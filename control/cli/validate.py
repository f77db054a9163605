"""`rowtide validate`: whether the definition is sound.

In: rowtide.yaml and, where it can be reached, the source. Out: every problem as ``file:line: sentence`` (exit 2), or
what was checked. Rule: what happens is control.operations.validate's; a source that cannot be reached is named on
stderr, and makes the exit code 3.
"""

from pathlib import Path
from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import validate as operations
from control.operations.validate import Validation
from rowtide.errors import DefinitionError


def validate(
    config: options.Config = options.CONFIG,
    offline: Annotated[bool, typer.Option("--offline", help="Check the file alone.")] = False,
    as_json: options.Json = False,
) -> None:
    """Check the definition.

    The file itself, and the tables it names. Exit code 3: a source could not be asked.
    """
    try:
        opened = session.start_session(config)
        found = operations.validate(opened, offline)
    except DefinitionError as error:
        if not as_json:
            raise
        output.document(operations.invalid_document(error))
        raise typer.Exit(output.USAGE) from error
    _print(found, config, len(opened.definition.syncs), as_json)
    if found.unreached:
        raise typer.Exit(output.FINDINGS)


def _print(found: Validation, config: Path, count: int, as_json: bool) -> None:
    if as_json:
        output.document(found.document())
        return
    for name, sentence in found.unreached.items():
        output.warn(f"tables of source {name} were not checked: {sentence}")
    for doubt in found.doubts:
        output.warn(f"warning: {doubt}")
    for sentence in found.polls:
        output.say(sentence)
    said = "is sound" if not found.unreached else "is sound as far as it could be checked"
    output.say(
        f"{config} {said}: {count} sync{'s' if count != 1 else ''}, {found.checked} checked against their tables"
    )
