"""`rowtide pause` and `rowtide resume`: hold syncs back and let them go on.

In: a sync, a source (``--source``), a graph (``--target``) or ``--all``. Out: what is held or goes on, and what still
holds it (exit 3). Rule: exactly one of the four ways to say which is given; what happens is control.operations.pause's.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import pause as operations
from control.operations.pause import Everything, Held, HoldDocument, OneGraph, OneSource, OneSync
from rowtide.error_catalogue import command_errors

Sync = Annotated[str | None, typer.Argument(metavar="[SYNC]", help="A sync of the definition.")]
Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Every sync of this PostgreSQL.")]
Target = Annotated[str | None, typer.Option("--target", metavar="NAME", help="Every sync that writes to this graph.")]
All = Annotated[bool, typer.Option("--all", help="Every sync, also those applied later.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; shown by `rowtide status`.")]


def named_by(sync: str | None, source: str | None, target: str | None, every: bool) -> Held:
    """What the arguments name; UserError unless exactly one of them is given."""
    given: list[Held] = []
    if sync is not None:
        given.append(OneSync(sync))
    if source is not None:
        given.append(OneSource(source))
    if target is not None:
        given.append(OneGraph(target))
    if every:
        given.append(Everything())
    if len(given) != 1:
        raise command_errors.WHICH_SYNC()
    return given[0]


def pause(
    sync: Sync = None,
    source: Source = None,
    target: Target = None,
    every: All = False,
    reason: Why = "",
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Hold syncs back.

    Changes go on being collected and the slot goes on moving; nothing is written to the lists.
    """
    held = named_by(sync, source, target, every)
    found = operations.pause(session.start_session(config), held, reason, session.actor())
    if as_json:
        output.document(found)
    else:
        output.say(f"paused{'' if found['placed'] else ' already'}: {', '.join(found['syncs']) or 'no sync yet'}")


def resume(
    sync: Sync = None,
    source: Source = None,
    target: Target = None,
    every: All = False,
    approve_deletes: Annotated[
        bool,
        typer.Option("--approve-deletes", help="Let the deletions go that the mass-delete breaker holds back now."),
    ] = False,
    approve_creates: Annotated[
        bool,
        typer.Option("--approve-creates", help="Have the items made anew that lists lack and the breaker holds back."),
    ] = False,
    accept_source: Annotated[
        str | None,
        typer.Option(
            "--accept-source", metavar="NAME", help="After a migration: the server that answers now is right."
        ),
    ] = None,
    take_slot: Annotated[
        str | None,
        typer.Option("--take-slot", metavar="NAME", help="The slot of this PostgreSQL is no other installation's."),
    ] = None,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Let go on what was paused, and try at once what fails.

    Only the last state of each row is delivered. Whatever else holds a sync back is named, with what lifts it.
    """
    opened = session.start_session(config)
    if accept_source is not None:
        accepted = operations.accept_source(opened, accept_source, session.actor())
        if as_json:
            output.document(accepted)
        else:
            output.say(f"whichever server answers for {accept_source} is taken for it; every sync of it is reconciled")
        return
    if take_slot is not None:
        taken = operations.take_slot(opened, take_slot, session.actor())
        if as_json:
            output.document(taken)
        else:
            output.say(f"the slot {taken['slot']} is read by this installation, unless another one still reads it")
        return
    held = named_by(sync, source, target, every)
    found = operations.resume(opened, held, approve_deletes, session.actor(), approve_creates)
    if as_json:
        output.document(found)
    else:
        object_ = found["object"] or "everything"
        output.say(f"{'resumed' if found['resumed'] else 'was not paused by a person:'} {object_}")
        if found["approved"] is not None:
            output.say(f"{found['approved']['count']:,} deletions go: {', '.join(found['approved']['sample'])}, ...")
        if found["made_anew"] is not None:
            sample = ", ".join(found["made_anew"]["sample"])
            output.say(f"{found['made_anew']['count']:,} items are made anew: {sample}, ...")
        if found["tried"]:
            output.say(f"tried again at once: {found['tried']:,} of what fails (`rowtide status` says what)")
        _tell(found["remaining"])
    if found["remaining"]:
        raise typer.Exit(output.FINDINGS)


def _tell(remaining: Mapping[str, Sequence[HoldDocument]]) -> None:
    for sync, holds in remaining.items():
        for hold in holds:
            output.say(f"{sync} is still held by {hold['by']}: {hold['reason']}")
            output.say(f"  {hold['lifts']}")
