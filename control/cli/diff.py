"""`rowtide diff`: what differs between a sync's table, the records and its lists.

In: a sync. Out: the findings; exit code 0 when all are equal, 1 when something differs. Rule: what happens is
control.operations.diff's; the first SIGTERM or Ctrl-C ends it in order, and the next call goes on with what was read.
"""

from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import diff as operations
from control.operations.diff import DiffDocument

MOST_LINES = 200
DIFFERS = 1

_WORDS = {
    "edited": "the item was changed in SharePoint",
    "older": "the item is older than what was written",
    "missing": "the item is gone",
    "stale": "the row was not delivered",
    "unsent": "the row has no item",
    "left": "the row is gone, its item is there",
    "unknown": "an item with the row's key that Rowtide does not know",
    "copy": "another item with the row's key",
    "orphan": "an item whose row is gone",
    "stranger": "an item that Rowtide did not make",
    "moving": "it changed whenever it was looked at",
}


def diff(
    sync: Annotated[str, typer.Argument(metavar="SYNC")],
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Compare a sync's table with what is in its lists, item by item.

    Nothing is changed. Exit code 1 when something differs.
    """
    opened = session.start_session(config)
    with session.stop_on_signals() as stop, output.progress("read") as show:
        found = operations.diff(opened, sync, stop, lambda _, count: show(count, 0))
    if as_json:
        output.document(found)
    else:
        _print(found)
    if not found["equal"]:
        raise typer.Exit(DIFFERS)


def _print(found: DiffDocument) -> None:
    rows = [
        (one["kind"], one["key"], one["list"], one["item_id"], _WORDS[one["kind"]] + _fields(one["fields"]))
        for one in found["findings"]
    ]
    if rows:
        output.table(("what", "key", "list", "item", "says"), rows[:MOST_LINES])
    if len(rows) > MOST_LINES:
        output.say(f"... and {len(rows) - MOST_LINES:,} more; --json has all of them")
    output.say(_sentence(found))


def _fields(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _sentence(found: DiffDocument) -> str:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found["counts"].items())
    verdict = "equal" if found["equal"] else "different"
    seen = f"{found['rows']:,} rows and {found['items']:,} items compared for {found['ru']:,} resource units"
    apart = f"; {found['waiting']:,} rows waiting, {found['parked']:,} parked"
    return f"{found['sync']}: {verdict}{f' ({counts})' if counts else ''}; {seen}{apart}"
