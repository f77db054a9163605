"""`rowtide pause` and `rowtide resume`: hold syncs back and let them go on.

In: a sync, a graph (``--target``) or ``--all``. Out: the names of the syncs. Rule: exactly one of the three ways to
select syncs is given; what happens is control.operations.pause's.
"""

from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import pause as operations
from control.operations.pause import EverySync, OneSync, SyncSelection, SyncsOfGraph
from rowtide.error_catalogue import command_errors

Sync = Annotated[str | None, typer.Argument(metavar="[SYNC]", help="A sync of the definition.")]
Target = Annotated[str | None, typer.Option("--target", metavar="NAME", help="Every sync that writes to this graph.")]
All = Annotated[bool, typer.Option("--all", help="Every sync.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; shown by `rowtide status`.")]


def selection_of(sync: str | None, target: str | None, every: bool) -> SyncSelection:
    """The selection that the arguments make; UserError unless exactly one of them is given."""
    given: list[SyncSelection] = []
    if sync is not None:
        given.append(OneSync(sync))
    if target is not None:
        given.append(SyncsOfGraph(target))
    if every:
        given.append(EverySync())
    if len(given) != 1:
        raise command_errors.WHICH_SYNC()
    return given[0]


def pause(
    sync: Sync = None,
    target: Target = None,
    every: All = False,
    reason: Why = "",
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Hold syncs back.

    Changes go on being collected and the slot goes on moving; nothing is written to the lists.
    """
    opened = session.start_session(config)
    found = operations.pause(opened, selection_of(sync, target, every), reason, session.actor())
    if as_json:
        output.document(found)
    else:
        output.say(f"paused {', '.join(found['paused'])}")


def resume(
    sync: Sync = None,
    target: Target = None,
    every: All = False,
    approve_deletes: Annotated[
        bool,
        typer.Option("--approve-deletes", help="Let the deletions go that the mass-delete breaker held back."),
    ] = False,
    accept_source: Annotated[
        str | None,
        typer.Option(
            "--accept-source", metavar="NAME", help="After a migration: the server that answers now is right."
        ),
    ] = None,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Let syncs go on.

    Only the last state of each row is delivered. A sync that was stopped at capture is reconciled.
    """
    opened = session.start_session(config)
    if accept_source is not None:
        accepted = operations.accept_source(opened, accept_source, session.actor())
        if as_json:
            output.document(accepted)
        else:
            output.say(f"whichever server answers for {accept_source} is taken for it; every sync of it is reconciled")
        return
    found = operations.resume(opened, selection_of(sync, target, every), approve_deletes, session.actor())
    if as_json:
        output.document(found)
        return
    output.say(f"resumed {', '.join(found['resumed'])}")
    if found["reconcile"]:
        names = ", ".join(found["reconcile"])
        output.say(f"a reconcile of {names} was asked for: their changes passed by while stopped")
