"""`rowtide parked`: rows that cannot be carried as they are.

In: a sync, row keys or ``--all``. Out: the rows as a table, one row with its values, or how many were tried again or
forgotten. Rule: what happens is control.operations.parked's; forgetting rows needs a person's yes.
"""

from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import parked
from control.operations.parked import EveryRow, RowKeys, RowSelection
from rowtide.error_catalogue import command_errors

app = typer.Typer(no_args_is_help=True, help="Rows that cannot be carried as they are.")

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
    found = parked.list_rows(session.start_session(config), sync, limit)
    rows, edits = found["parked"], found["edits"]
    if as_json:
        output.document(found)
    if rows and not as_json:
        output.table(
            ["sync", "key", "code", "parked at", "why"],
            [[row["sync"], row["key"], row["reason_code"], row["staged_at"], row["reason"]] for row in rows],
        )
    if edits and not as_json:
        output.table(
            ["sync", "edit of row", "item", "code", "seen at", "why"],
            [
                [one["sync"], one["key"] or "(new)", one["item_id"], one["reason_code"], one["seen_at"], one["reason"]]
                for one in edits
            ],
        )
    if not rows and not edits and not as_json:
        output.say("nothing is parked")
    if rows or edits:
        raise typer.Exit(output.FINDINGS)


@app.command("show")
def show(
    sync: Sync,
    key: Annotated[str, typer.Argument(metavar="KEY")],
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Show one parked row with the values that would be written."""
    found = parked.show(session.start_session(config), sync, key)
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
    found = parked.retry(session.start_session(config), sync, rows_of(keys, every), session.actor())
    if as_json:
        output.document(found)
    else:
        output.say(f"retried {_rows(found['retried'])}")


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
    opened, rows = session.start_session(config), rows_of(keys, every)
    if not yes:
        which = f"{len(rows.keys)} parked rows" if isinstance(rows, RowKeys) else "every parked row"
        output.confirm(f"Forget {which} of {sync}?")
    found = parked.discard(opened, sync, rows, session.actor())
    if as_json:
        output.document(found)
    else:
        output.say(f"discarded {_rows(found['discarded'])}")


def rows_of(keys: list[str] | None, every: bool) -> RowSelection:
    """The rows that the arguments select; UserError unless there are either keys or ``--all``."""
    if bool(keys) == every:
        raise command_errors.WHICH_ROWS()
    return RowKeys(tuple(keys)) if keys else EveryRow()


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
