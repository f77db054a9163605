"""`rowtide plan`: what `apply` would do, what the first load costs, what others have to allow.

In: the definition, the applied one, sources and tenants as they are. Out: differences, statements, lists and columns, a
forecast per list; with ``--sql`` the DBA's script, with ``--grants`` the Graph permissions. Rules: nothing is changed
anywhere; a part that could not be asked, or something that would stop `apply`, makes the exit code 3.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from control.cli import options, output, session
from control.operations import plan_document, requirements
from control.operations.forecast import spoken
from control.operations.plan_document import ApplyPlan, ForecastDocument, PlanDocument
from control.operations.session import Session
from rowtide.error_catalogue import command_errors


def plan(
    config: options.Config = options.CONFIG,
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements for the DBA.")] = False,
    grants: Annotated[bool, typer.Option("--grants", help="Print the Graph permissions.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="As `apply --take-over` would do.")] = False,
    as_json: options.Json = False,
) -> None:
    """Say what apply would do and cost.

    Differences, statements, lists and columns, and per list what is still to be written; nothing is changed. Exit code
    3: a part could not be asked, or something would stop apply.
    """
    if sql and grants:
        raise command_errors.PLAN_OPTIONS()
    opened = session.start_session(config)
    if sql:
        _print_script(opened, as_json)
    elif grants:
        _print_grants(opened, as_json)
    else:
        _print_plan(plan_document.plan(opened, datetime.now(UTC), take_over), as_json)


def _print_plan(found: ApplyPlan, as_json: bool) -> None:
    if as_json:
        output.document(found.document())
    else:
        show(found.document())
    if not found.clear:
        raise typer.Exit(output.FINDINGS)


def _print_script(opened: Session, as_json: bool) -> None:
    found = requirements.script(opened)
    for name, why in found.unreached.items():
        output.warn(f"source {name} was not asked, so its owners are placeholders: {why}")
    if as_json:
        output.document(found.document())
    else:
        output.script(found.lines)


def _print_grants(opened: Session, as_json: bool) -> None:
    found = requirements.grants(opened)
    if as_json:
        output.document(found)
        return
    for grant in found["grants"]:
        app, permission = grant["client_id"], grant["permission"]
        output.say(f"{grant['graph']}: app {app} needs the application permission {permission}")
        output.say(f"  to {grant['why']}; give admin consent, then for each site, as its administrator:")
        for request in grant["requests"]:
            output.say(f"  {request}")


def show(found: PlanDocument) -> None:
    """Print a plan for people."""
    version = found["definition"]["applied"]
    _section(
        "definition", f"version {version} is applied" if version else "none is applied", found["definition"]["changes"]
    )
    _section("state database", "current" if not found["state"] else "", found["state"])
    for name, source in found["sources"].items():
        _section(f"source {name}", source["problem"] or "", source["statements"])
        for fault in source["faults"]:
            output.say(f"  stops apply: {fault['sentence']}")
            output.say(f"    {fault['remedy']}")
    for name, graph in found["graphs"].items():
        _section(f"graph {name}", graph["problem"] or "", graph["work"])
    for line in found["readers"]:
        output.say(f"note: {line}")
    for warning in found["warnings"]:
        output.say(f"warning: {warning}")
    if found["left_alone"]:
        _section("left alone", "apply never deletes", found["left_alone"])
    if found["first_load"]:
        output.say("first load and rewrites")
        output.table(_LOAD_HEADS, [_load_row(load) for load in found["first_load"]])


def _section(name: str, state: str, lines: Iterable[str]) -> None:
    shown = list(lines)
    output.say(f"{name}: {state or (f'{len(shown)} to do' if shown else 'nothing to do')}")
    for line in shown:
        output.say(f"  {line}")


_LOAD_HEADS = ("sync", "list", "rows", "writes", "ru", "takes", "ends", "of the day's quota", "ru of diff or --deep")


def _load_row(load: ForecastDocument) -> Sequence[object]:
    about = "" if load["exact"] else "about "
    return [
        load["sync"],
        load["list"],
        f"{about}{load['rows']:,}",
        f"up to {load['writes']:,}" if load["rewrites"] else load["writes"],
        load["ru"],
        spoken(timedelta(seconds=load["seconds"])),
        f"{datetime.fromisoformat(load['ends_at']):%Y-%m-%d %H:%M} UTC",
        f"{load['day_share']:.1%}",
        load["deep_ru"],
    ]
