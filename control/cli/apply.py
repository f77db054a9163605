"""`rowtide apply`: make the definition so.

In: rowtide.yaml. Out: publication and slot on each source, lists and columns in each tenant, the compiled definition
stored and in force. Rule: the publication before the slot; nothing is ever deleted, what is left is named; the
definition is stored last, so that a running flow never sees one whose parts are missing. It may be run again at any
time.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from connectors.postgres import slots
from connectors.settings import Loaded
from control.cli import options, output, plan
from control.cli.pause import whoever
from control.operations import compile, list_plan, plan_document
from control.operations.compile import Compiled
from control.operations.plan_document import Proposal
from control.operations.session import load, on_state, read_applied, require_schema, source, state_dsn
from rowtide import catalog
from rowtide.catalog import ListRef
from rowtide.definition.model import Definition
from state import database, definitions
from state.database import Connection

Lists = dict[str, dict[str, ListRef]]
"""Per sync its lists by title."""


def apply(
    config: options.Config = options.CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Bring the state database's schema up to date first.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Put the definition into force.

    Makes publication, slot, lists and columns that are missing, and deletes nothing.
    """
    loaded = load(config)
    if upgrade:
        database.create_if_missing(state_dsn(loaded))
        database.upgrade(state_dsn(loaded))
    require_schema(loaded)
    wanted = plan_document.make(loaded, datetime.now(UTC))
    _require_answers(wanted)
    if not yes:
        plan.show(wanted.document())
        output.confirm("Apply this?")
    done = {name: _apply_source(loaded.definition, name) for name in loaded.definition.postgres}
    found = compile.compile_known(loaded, compile.read_all_columns(loaded.definition))
    lists, made = _apply_graphs(loaded.definition, found)
    version, changed = _store(loaded, found, lists)
    _tell({"version": version, "changed": changed, "sources": done, "graphs": made, **_left(wanted)}, as_json)


def _require_answers(wanted: Proposal) -> None:
    """Every source and tenant has to answer before the first thing is changed."""
    for part in [*wanted.sources.values(), *wanted.graphs.values()]:
        if part.error is not None:
            raise part.error


def _apply_source(definition: Definition, name: str) -> list[str]:
    """Publication, then slot; what was done."""
    publication, slot = definition.publication(name), definition.slot(name)
    with source(definition, name, admin=True) as connection:
        done = slots.ensure_publication(connection, publication, definition.tables(name))
    with source(definition, name) as connection:
        _, made = slots.ensure_slot(connection, slot, publication, definition.postgres[name].failover)
    return [*done, slots.slot_statement(slot, definition.postgres[name].failover)] if made else done


def _apply_graphs(definition: Definition, found: Compiled) -> tuple[Lists, dict[str, list[str]]]:
    """Lists and columns of every tenant; the lists, and what was made."""
    lists: Lists = {}
    made: dict[str, list[str]] = {}
    for name in definition.graph:
        here, made[name] = list_plan.provision(definition, name, found)
        lists |= here
    return lists, made


def _store(loaded: Loaded, found: Compiled, lists: Lists) -> tuple[int, bool]:
    """The version in force, and whether it is a new one."""
    stored = catalog.to_compiled(loaded.definition, found.columns, lists)

    def work(connection: Connection) -> tuple[int, bool]:
        applied = read_applied(connection)
        if applied is not None and applied[0].compiled == stored and applied[0].source_text == loaded.source_text:
            return applied[0].version, False
        return definitions.apply(connection, loaded.source_text, stored, whoever()), True

    return on_state(loaded, work)


def _left(wanted: Proposal) -> dict[str, Any]:
    return {"left_alone": list(wanted.left_alone), "warnings": list(wanted.warnings)}


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.document(found)
        return
    for lines in [*found["sources"].values(), *found["graphs"].values()]:
        for line in lines:
            output.say(line)
    for line in found["left_alone"]:
        output.say(f"left alone: {line}")
    for line in found["warnings"]:
        output.warn(f"warning: {line}")
    version = found["version"]
    output.say(f"version {version} is in force" if found["changed"] else f"version {version} stays in force: no change")
