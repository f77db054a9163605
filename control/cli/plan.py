"""`rowtide plan`: what `apply` would do, what the first load costs, what others have to allow.

In: the definition, the applied one, sources and tenants as they are. Out: differences, statements, lists and columns, a
forecast per list; with ``--sql`` the DBA's script, with ``--grants`` the Graph permissions. Rule: nothing is changed
anywhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from control.cli import options, output
from control.operations import grants, plan_document, requirements
from control.operations.forecast import spoken
from control.operations.session import load
from rowtide.definition.model import Definition
from rowtide.errors import UserError


def plan(
    config: options.Config = options.CONFIG,
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements for the DBA.")] = False,
    grants_: Annotated[bool, typer.Option("--grants", help="Print the Graph permissions.")] = False,
    as_json: options.Json = False,
) -> None:
    """Say what apply would do and cost.

    Differences, statements, lists and columns, and per list how long the first load takes; nothing is changed.
    """
    if sql and grants_:
        raise UserError("plan_options", "Give --sql or --grants, not both.")
    loaded = load(config)
    if sql:
        _print_sql(loaded.definition, as_json)
    elif grants_:
        _print_grants(loaded.definition, as_json)
    else:
        found = plan_document.make(loaded, datetime.now(UTC)).document()
        if as_json:
            output.document(found)
        else:
            show(found)


def _print_sql(definition: Definition, as_json: bool) -> None:
    lines: list[str] = []
    for name in definition.postgres:
        found, why = requirements.source_needs(definition, name)
        if why is not None:
            output.warn(f"source {name} was not asked, so its owners are placeholders: {why}")
        lines += [*grants.source_statements(found), ""]
    lines += grants.state_statements(requirements.state_database(definition))
    if as_json:
        output.document({"sql": lines})
    else:
        output.say("\n".join(lines))


def _print_grants(definition: Definition, as_json: bool) -> None:
    found = [
        grant for name in definition.graph for grant in grants.graph_grants(requirements.graph_needs(definition, name))
    ]
    if as_json:
        output.document({"grants": [asdict(grant) for grant in found]})
        return
    for grant in found:
        output.say(f"{grant.graph}: app {grant.client_id} needs the application permission {grant.permission}")
        output.say(f"  to {grant.why}; give admin consent, then for each site, as its administrator:")
        for request in grant.requests:
            output.say(f"  {request}")


def show(found: Mapping[str, Any]) -> None:
    """Print a proposal's document for people."""
    version = found["definition"]["applied"]
    _section(
        "definition", f"version {version} is applied" if version else "none is applied", found["definition"]["changes"]
    )
    _section("state database", "current" if not found["state"] else "", found["state"])
    for name, source in found["sources"].items():
        _section(f"source {name}", source["problem"] or "", source["statements"])
    for name, graph in found["graphs"].items():
        _section(f"graph {name}", graph["problem"] or "", graph["work"])
    for warning in found["warnings"]:
        output.say(f"warning: {warning}")
    if found["left_alone"]:
        _section("left alone", "apply never deletes", found["left_alone"])
    _show_loads(found["first_load"])


def _section(name: str, said: str, lines: Iterable[str]) -> None:
    shown = list(lines)
    output.say(f"{name}: {said or (f'{len(shown)} to do' if shown else 'nothing to do')}")
    for line in shown:
        output.say(f"  {line}")


def _show_loads(loads: list[Mapping[str, Any]]) -> None:
    if not loads:
        return
    output.say("first load")
    rows = []
    for load_ in loads:
        about = "" if load_["exact"] else "about "
        ends = datetime.fromisoformat(load_["ends_at"])
        rows.append(
            [
                load_["sync"],
                load_["list"],
                f"{about}{load_['rows']:,}",
                load_["writes"],
                load_["ru"],
                spoken_seconds(load_["seconds"]),
                f"{ends:%Y-%m-%d %H:%M} UTC",
                f"{load_['day_share']:.1%}",
            ]
        )
    output.table(["sync", "list", "rows", "writes", "ru", "takes", "ends", "of the day's quota"], rows)


def spoken_seconds(seconds: float) -> str:
    """Seconds as people say them."""
    return spoken(timedelta(seconds=seconds))
