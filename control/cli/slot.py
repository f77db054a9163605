"""`rowtide slot`: the replication slots of a source.

In: a slot, a source. Out: slots as a table, or what was created or dropped. Rule: what happens is
control.operations.slot's; dropping a slot needs a person's yes.
"""

from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import slot
from control.operations.session import choose_source

app = typer.Typer(no_args_is_help=True, help="The replication slots on the source.")

Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Which source, when there are several.")]
_HEADS = (
    "slot",
    "ours",
    "database",
    "plugin",
    "active_pid",
    "confirmed_lsn",
    "lag_bytes",
    "retained_bytes",
    "wal_status",
)
Name = Annotated[str | None, typer.Argument(metavar="SLOT", help="Default: the slot of the definition.")]


@app.command("create")
def create(config: options.Config = options.CONFIG, source: Source = None, as_json: options.Json = False) -> None:
    """Create the source's slot, and its publication before it, where they are missing."""
    found = slot.create(session.start_session(config), source, session.actor())
    if as_json:
        output.document(found)
        return
    for statement in found["publication"]:
        output.say(statement)
    output.say(f"slot {found['slot']} " + ("created" if found["created"] else "was there already"))


@app.command("list")
def list_(config: options.Config = options.CONFIG, source: Source = None, as_json: options.Json = False) -> None:
    """List the logical slots of the source's server, ours and others'."""
    found = slot.list_slots(session.start_session(config), source)
    if as_json:
        output.document(found)
        return
    output.table(
        _HEADS,
        [
            [
                one["slot"],
                one["ours"],
                one["database"],
                one["plugin"],
                one["active_pid"],
                one["confirmed_lsn"],
                one["lag_bytes"],
                one["retained_bytes"],
                one["wal_status"],
            ]
            for one in found["slots"]
        ],
    )


@app.command("show")
def show(
    name: Name = None,
    config: options.Config = options.CONFIG,
    source: Source = None,
    as_json: options.Json = False,
) -> None:
    """Show one slot (exit 3 when it is lost)."""
    found = slot.show(session.start_session(config), source, name)
    if as_json:
        output.document(found)
    else:
        output.table(["what", "value"], list(found.items()))
    if found["lost"]:
        raise typer.Exit(output.FINDINGS)


@app.command("drop")
def drop(
    name: Name = None,
    config: options.Config = options.CONFIG,
    source: Source = None,
    force: Annotated[bool, typer.Option("--force", help="End the reader that uses it.")] = False,
    foreign: Annotated[bool, typer.Option("--foreign", help="A slot that this definition does not name.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: options.Json = False,
) -> None:
    """Drop a slot; it is refused while in use."""
    opened = session.start_session(config)
    chosen = choose_source(opened.definition, source)
    wanted = name or opened.definition.slot(chosen)
    if not yes:
        output.confirm(f"Drop the slot {wanted}? What it still holds back is then found by a reconcile only.")
    found = slot.drop(opened, chosen, wanted, force, session.actor(), foreign)
    if as_json:
        output.document(found)
    else:
        output.say(f"slot {wanted} " + ("dropped" if found["dropped"] else "was not there"))
