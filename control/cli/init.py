"""`rowtide init`: the first rowtide.yaml.

In: a path, and when asked for the tables of a running database. Out: a commented file that `rowtide validate` takes.
Rule: an existing file is never overwritten; only the reference to a DSN is written, never the DSN itself.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from connectors import settings
from connectors.postgres import connections, preflight
from control.cli import options, output
from control.operations import template
from rowtide.errors import UserError


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
        raise UserError("init_options", "--dsn and --table go together: tables are looked up in that database.")
    _refuse_existing(config)
    draft = template.Draft(source=name, slot=f"rowtide_{name}", publication=f"rowtide_{name}")
    if dsn and table:
        draft = replace(draft, source_dsn=dsn, syncs=_proposals(dsn, table))
    _write(config, template.definition_text(draft))
    if as_json:
        output.document({"written": str(config), "syncs": [sync.name for sync in draft.syncs]})
        return
    output.say(f"wrote {config}")
    output.say("next: fill in tenant_id, client_id and site, then `rowtide validate` and `rowtide plan`")


def _refuse_existing(config: Path) -> None:
    if config.exists():
        raise UserError(
            "config_exists", f"{config} is there already.", "Name another file with -c, or move that one away."
        )


def _write(config: Path, text: str) -> None:
    try:
        with config.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise UserError("config_unwritable", f"{config} cannot be written: {error.strerror}.") from error


def _proposals(dsn: str, tables: list[str]) -> list[template.SyncDraft]:
    with connections.open_source(settings.resolve_secret(dsn), "rowtide init") as connection:
        drafts = []
        for table in tables:
            schema, _, name = table.rpartition(".")
            schema = schema or "public"
            drafts.append(template.propose(f"{schema}.{name}", preflight.read_columns(connection, schema, name)))
        return drafts
