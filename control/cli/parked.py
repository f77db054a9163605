"""`rowtide parked`: rows set aside because they cannot be carried as they are.

In: a sync, keys. Out: rows listed, shown, made due again or forgotten. Rule: a row's values are shown only by `show`,
only to whoever asks for that row; a newer change of a parked row makes it due again by itself.
"""

from dataclasses import asdict
from typing import Annotated

import typer

from control.cli import options, output
from control.operations.session import load, on_state, require_applied
from rowtide.errors import UserError
from rowtide.position import lsn_to_text
from state import outbox
from state.database import Connection

app = typer.Typer(no_args_is_help=True)

Sync = Annotated[str, typer.Argument(metavar="SYNC")]
Keys = Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="Row keys as `parked list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="Every parked row of the sync.")]


@app.command("list")
def list_(
    sync: Annotated[str | None, typer.Argument(metavar="[SYNC]", help="Default: every sync.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many rows.")] = 100,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """List parked rows, the longest parked first (exit 3 when there are any)."""
    loaded = load(config)
    found = on_state(loaded, lambda connection: outbox.parked(connection, sync, limit))
    if as_json:
        output.document({"parked": [_described(row) for row in found]})
    elif found:
        output.table(
            ["sync", "key", "code", "parked at", "why"],
            [[row.sync, row.key, row.reason_code, row.staged_at, row.reason] for row in found],
        )
    else:
        output.say("nothing is parked")
    if found:
        raise typer.Exit(output.FINDINGS)


def _described(row: outbox.Parked) -> dict[str, object]:
    return {**asdict(row), "lsn": lsn_to_text(row.lsn)}


@app.command("show")
def show(
    sync: Sync,
    key: Annotated[str, typer.Argument(metavar="KEY")],
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Show one parked row with the values that would be written."""

    def work(connection: Connection) -> dict[str, object]:
        fields = outbox.parked_fields(connection, sync, key)
        row = next((one for one in outbox.parked(connection, sync, 1_000_000) if one.key == key), None)
        if row is None or fields is None:
            raise UserError("not_parked", f"Row {key} of sync {sync} is not parked.")
        return {**_described(row), "list": fields[0], "fields": fields[1]}

    found = on_state(load(config), work)
    if as_json:
        output.document(found)
    else:
        output.table(["what", "value"], list(found.items()))


@app.command("retry")
def retry(
    sync: Sync,
    keys: Keys = None,
    every: All = False,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Read parked rows anew and try them again."""
    wanted = _wanted(keys, every)

    def work(connection: Connection) -> int:
        _known(connection, sync)
        return outbox.retry_parked(connection, sync, wanted)

    _tell("retried", on_state(load(config), work), as_json)


@app.command("discard")
def discard(
    sync: Sync,
    keys: Keys = None,
    every: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Forget parked rows; their items stay as they are until the rows change again or a reconcile finds them."""
    loaded, wanted = load(config), _wanted(keys, every)
    if not yes:
        output.confirm(f"Forget {'every parked row' if wanted is None else f'{len(wanted)} parked rows'} of {sync}?")

    def work(connection: Connection) -> int:
        _known(connection, sync)
        these = wanted if wanted is not None else [row.key for row in outbox.parked(connection, sync, 1_000_000)]
        return outbox.discard_parked(connection, sync, these)

    _tell("discarded", on_state(loaded, work), as_json)


def _known(connection: Connection, sync: str) -> None:
    syncs = require_applied(connection)[1].syncs
    if sync not in syncs:
        raise UserError("unknown_sync", f"There is no sync {sync}: there are {', '.join(sorted(syncs))}.")


def _wanted(keys: list[str] | None, every: bool) -> list[str] | None:
    """The keys a person means; None for all."""
    if bool(keys) == every:
        raise UserError("which_rows", "Name row keys, or say --all.")
    return keys or None


def _tell(verb: str, count: int, as_json: bool) -> None:
    if as_json:
        output.document({verb: count})
    else:
        output.say(f"{verb} {count} row{'s' if count != 1 else ''}")
