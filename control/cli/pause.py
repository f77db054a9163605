"""`rowtide pause` and `rowtide resume`: hold syncs back and let them go on.

In: a sync, a graph (``--target``) or ``--all``. Out: the syncs' state in the state database; a running flow obeys
within two seconds. Rule: a paused sync never holds the slot back: its changes go on being staged and only the last
state of each row is delivered afterwards. One that stopped at capture has a gap, so resuming it asks for a reconcile.
"""

import getpass
import socket
from typing import Annotated

import typer

from control.cli import options, output
from control.operations.session import known_sync, load, on_state, require_applied
from rowtide.definition.model import Definition
from rowtide.errors import UserError
from state import definitions
from state.database import Connection
from state.reconcile import record as reconciles

Sync = Annotated[str | None, typer.Argument(metavar="[SYNC]", help="A sync of the definition.")]
Target = Annotated[str | None, typer.Option("--target", metavar="NAME", help="Every sync that writes to this graph.")]
All = Annotated[bool, typer.Option("--all", help="Every sync.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; shown by `rowtide status`.")]


def whoever() -> str:
    """Who is asking, for the record: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def chosen(definition: Definition, sync: str | None, target: str | None, every: bool) -> list[str]:
    """The syncs a person means; exactly one of the three ways has to be given."""
    if [sync is not None, target is not None, every].count(True) != 1:
        raise UserError("which_sync", "Say which: a sync, --target NAME or --all.")
    if sync is not None:
        return [known_sync(definition, sync)]
    if target is not None and target not in definition.graph:
        raise UserError("unknown_graph", f"There is no graph {target}: there are {', '.join(definition.graph)}.")
    return [name for name, one in definition.syncs.items() if every or one.target.graph == target]


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
    loaded = load(config)

    def work(connection: Connection) -> list[str]:
        syncs = chosen(require_applied(connection)[1].definition, sync, target, every)
        definitions.pause(connection, syncs, "paused", reason or "Paused by hand.", whoever())
        return syncs

    _tell("paused", on_state(loaded, work), [], as_json)


def resume(
    sync: Sync = None,
    target: Target = None,
    every: All = False,
    approve_deletes: Annotated[
        bool,
        typer.Option("--approve-deletes", help="Let the deletions go that the mass-delete breaker held back."),
    ] = False,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Let syncs go on.

    Only the last state of each row is delivered. A sync that was stopped at capture is reconciled.
    """
    loaded = load(config)

    def work(connection: Connection) -> tuple[list[str], list[str]]:
        syncs = chosen(require_applied(connection)[1].definition, sync, target, every)
        with connection.transaction():
            gaps = definitions.resume(connection, syncs, whoever(), approve_deletes)
            for name in gaps:
                reconciles.request(connection, name, "resumed after it was stopped at capture")
        return syncs, gaps

    syncs, gaps = on_state(loaded, work)
    _tell("resumed", syncs, gaps, as_json)


def _tell(verb: str, syncs: list[str], reconciled: list[str], as_json: bool) -> None:
    if as_json:
        output.document({verb: syncs, "reconcile": reconciled})
        return
    output.say(f"{verb} {', '.join(syncs)}")
    if reconciled:
        output.say(f"a reconcile of {', '.join(reconciled)} was asked for: their changes passed by while stopped")
