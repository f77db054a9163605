"""`rowtide slot`: the replication slots of a source.

In: the definition. Out: slots made, listed, shown, dropped. Rule: the publication exists before the slot; a slot in use
is dropped only with ``--force``, for whatever the slot has not handed on yet is lost to the stream (a reconcile then
heals by difference).
"""

from typing import Annotated, Any

import typer

from connectors.postgres import slots
from control.cli import options, output
from control.operations.session import load, one_source, source
from rowtide.errors import SourceRefused
from rowtide.position import lsn_to_text

app = typer.Typer(no_args_is_help=True)

Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Which source, when there are several.")]
Name = Annotated[str | None, typer.Argument(metavar="SLOT", help="Default: the slot of the definition.")]


def described(slot: slots.Slot, ours: bool) -> dict[str, Any]:
    """A slot as `--json` shows it."""
    return {
        "slot": slot.name,
        "database": slot.database,
        "plugin": slot.plugin,
        "ours": ours,
        "active_pid": slot.active_pid,
        "confirmed_lsn": lsn_to_text(slot.confirmed_lsn),
        "restart_lsn": None if slot.restart_lsn is None else lsn_to_text(slot.restart_lsn),
        "lag_bytes": slot.lag_bytes,
        "retained_bytes": slot.retained_bytes,
        "wal_status": slot.wal_status,
        "safe_wal_size": slot.safe_wal_size,
        "failover": slot.failover,
        "lost": slot.why_lost if slot.lost else None,
    }


@app.command("create")
def create(config: options.Config = options.CONFIG, source_name: Source = None, as_json: options.Json = False) -> None:
    """Create the source's slot, and its publication before it, where they are missing."""
    definition = load(config).definition
    name = one_source(definition, source_name)
    with source(definition, name, admin=True) as connection:
        done = slots.ensure_publication(connection, definition.publication(name), definition.tables(name))
    with source(definition, name) as connection:
        slot, made = slots.ensure_slot(
            connection, definition.slot(name), definition.publication(name), definition.postgres[name].failover
        )
    if as_json:
        output.document({"created": made, "publication": done, **described(slot, True)})
        return
    for statement in done:
        output.say(statement)
    output.say(f"slot {slot.name} " + ("created" if made else "was there already"))


@app.command("list")
def list_(config: options.Config = options.CONFIG, source_name: Source = None, as_json: options.Json = False) -> None:
    """List the logical slots of the source's server, ours and others'."""
    definition = load(config).definition
    name = one_source(definition, source_name)
    with source(definition, name) as connection:
        found = [described(slot, slot.name == definition.slot(name)) for slot in slots.list_slots(connection)]
    if as_json:
        output.document({"slots": found})
        return
    columns = ["slot", "ours", "database", "plugin", "active_pid", "confirmed_lsn", "lag_bytes", "retained_bytes"]
    output.table([*columns, "wal_status"], [[slot[column] for column in [*columns, "wal_status"]] for slot in found])


@app.command("show")
def show(
    slot_name: Name = None,
    config: options.Config = options.CONFIG,
    source_name: Source = None,
    as_json: options.Json = False,
) -> None:
    """Show one slot (exit 3 when it is lost)."""
    definition = load(config).definition
    name = one_source(definition, source_name)
    wanted = slot_name or definition.slot(name)
    with source(definition, name) as connection:
        slot = slots.show_slot(connection, wanted)
    if slot is None:
        raise SourceRefused("slot_missing", f"There is no slot {wanted}.", "Run `rowtide slot create`.")
    found = described(slot, wanted == definition.slot(name))
    if as_json:
        output.document(found)
    else:
        output.table(["what", "value"], list(found.items()))
    if slot.lost:
        raise typer.Exit(output.FINDINGS)


@app.command("drop")
def drop(
    slot_name: Name = None,
    config: options.Config = options.CONFIG,
    source_name: Source = None,
    force: Annotated[bool, typer.Option("--force", help="End the reader that uses it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: options.Json = False,
) -> None:
    """Drop a slot; it is refused while in use."""
    definition = load(config).definition
    name = one_source(definition, source_name)
    wanted = slot_name or definition.slot(name)
    if not yes:
        output.confirm(f"Drop the slot {wanted}? What it still holds back is then found by a reconcile only.")
    with source(definition, name) as connection:
        dropped = slots.drop_slot(connection, wanted, force)
    if as_json:
        output.document({"slot": wanted, "dropped": dropped})
    else:
        output.say(f"slot {wanted} " + ("dropped" if dropped else "was not there"))
