"""`rowtide parked`: rows set aside because they cannot be carried as they are.

In: a sync, keys. Out: rows listed, shown, made due again or thrown away. Called by the command line. Rule: a row's
values are shown only by `show`, only to whoever asks for that row; a newer change of a parked row makes it due again
by itself.
"""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)

Sync = Annotated[str, typer.Argument(metavar="SYNC")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The row key as `parked list` shows it.")]
Keys = Annotated[list[str] | None, typer.Argument(metavar="[KEY]...")]
All = Annotated[bool, typer.Option("--all", help="Every parked row of the sync.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many rows.")]
