"""`rowtide init`: the first rowtide.yaml.

In: a path, and when asked for the tables of a running database. Out: the name of the file. Rule: what happens is
control.operations.init's.
"""

from typing import Annotated

import typer

from control.cli import options, output
from control.operations import init as operations
from rowtide.error_catalogue import command_errors


def init(
    config: options.Config = options.CONFIG,
    dsn: Annotated[
        str | None, typer.Option("--dsn", metavar="REF", help="Source to look at, as env:NAME or file:PATH.")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", metavar="SCHEMA.TABLE", help="A table to sync; may be repeated.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the source is called in the file.")] = "main",
    as_json: options.Json = False,
) -> None:
    """Write a commented rowtide.yaml.

    With --dsn and --table its fields are proposed from the columns of those tables.
    """
    if bool(dsn) != bool(table):
        raise command_errors.INIT_OPTIONS()
    operations.require_new(config)
    draft = operations.draft_of_tables(name, dsn, table, config) if dsn and table else operations.draft(name)
    found = operations.write(config, draft)
    if as_json:
        output.document(found)
        return
    output.say(f"wrote {config}")
    output.say("next: fill in tenant_id, client_id and site, then `rowtide validate` and `rowtide plan`")
