"""`rowtide apply`: put the definition into force.

In: rowtide.yaml. Out: the plan, a question, and then what was done. Rule: what happens is control.operations.apply's;
nothing happens without a person's yes or ``--yes``.
"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from control.cli import options, output, plan, session
from control.operations import apply as operations
from control.operations import db, plan_document
from control.operations.apply import AppliedDocument
from control.operations.session import require_schema


def apply(
    config: options.Config = options.CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Bring the state database's schema up to date first.")
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Lists that another installation has marked become this one's."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Put the definition into force.

    Makes publication, slot, lists and columns that are missing, and deletes nothing.
    """
    opened, actor = session.start_session(config), session.actor()
    if upgrade:
        db.upgrade(opened, actor)
    require_schema(opened)
    wanted = plan_document.plan(opened, datetime.now(UTC), take_over)
    operations.require_answers(wanted)
    if not yes:
        plan.show(wanted.document())
        output.confirm("Apply this?")
    found = operations.apply(opened, wanted, actor)
    if as_json:
        output.document(found)
    else:
        _tell(found)


def _tell(found: AppliedDocument) -> None:
    for lines in [*found["sources"].values(), *found["graphs"].values()]:
        for line in lines:
            output.say(line)
    for line in found["readers"]:
        output.say(f"note: {line}")
    for line in found["left_alone"]:
        output.say(f"left alone: {line}")
    for statement in found["revocable"]:
        output.say(f"may be taken back until a table is added: {statement}")
    for line in found["warnings"]:
        output.warn(f"warning: {line}")
    version = found["version"]
    output.say(f"version {version} is in force" if found["changed"] else f"version {version} stays in force: no change")
