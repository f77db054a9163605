"""`rowtide forget` and `rowtide purge`: forget one row, or everything of a sync that is retired.

In: a sync, a row key. Out: one line for each thing that went or stays. Rule: what happens is
control.operations.forget's; nothing goes without a person's yes or ``--yes``.
"""

from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import forget as operations
from control.operations.forget import ForgottenDocument
from rowtide.forgetting import SyncRecords

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def forget(
    sync: Annotated[str, typer.Argument(metavar="SYNC", help="A sync, also one that is retired.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="A row key, as `rowtide diff` and `parked list` show it.")],
    yes: Yes = False,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Forget the values of a row that is gone.

    Refused while the row is there or something of it waits. Nothing is changed in SharePoint or in the source.
    """
    opened = session.start_session(config)
    if not yes:
        output.confirm(f"Forget what is kept of row {key} of {sync}?")
    found = operations.forget(opened, sync, key, session.actor())
    if as_json:
        output.document(found)
    else:
        _tell(found)


def _tell(found: ForgottenDocument) -> None:
    went = {"values": "its values", "waiting": "a change that waited", "key_gone": "its key, its item's ids"}
    names = [words for name, words in went.items() if found[name]]  # type: ignore[literal-required]
    output.say(f"forgotten: {', '.join(names)}" if names else "no value of it was kept")
    if found["key_stays"]:
        output.say("kept: its key, its item's ids and a position, until no replay can speak of the row any more")
    if found["being_read"]:
        output.say("its lists are being read: what was seen of the row goes when that has ended")


def purge(
    sync: Annotated[str, typer.Argument(metavar="SYNC", help="A sync that the applied definition names no more.")],
    discard: Annotated[
        bool, typer.Option("--discard", help="Also what waits to be written, and items still to be removed.")
    ] = False,
    yes: Yes = False,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Delete every record of a retired sync.

    Its lists and their items stay as they are, and nobody knows any more whose they are.
    """
    opened = session.start_session(config)
    if not yes:
        known = operations.purgeable(opened, sync, discard)
        output.confirm(f"Delete {_described(known)} of {sync}?")
    found = operations.purge(opened, sync, discard, session.actor())
    if as_json:
        output.document(found)
        return
    for table, rows in found["purged"].items():
        if rows:
            output.say(f"deleted from {table}: {rows:,}")
    output.say(f"nothing is kept of {sync}; its lists and their items stay as they are")


def _described(known: SyncRecords) -> str:
    parts = {
        "known rows": known.rows, "waiting changes": known.waiting, "items still to be removed": known.left,
        "known lists": known.lists,
    }  # fmt: skip
    return ", ".join(f"{count:,} {name}" for name, count in parts.items() if count) or "what is left"
