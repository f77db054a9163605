"""`rowtide db`: the schema of the state database.

In: the definition's ``state.dsn``. Out: the schema at this release's version, or what is wrong with it. Rule: `upgrade`
only moves forward and may be run again at any time; `check` changes nothing.
"""

import typer

from control.cli import options, output
from control.operations.session import load, state_dsn
from state import database

app = typer.Typer(no_args_is_help=True)


@app.command("upgrade")
def upgrade(config: options.Config = options.CONFIG, as_json: options.Json = False) -> None:
    """Bring the state database's schema to this release's version; creates the database when it is missing."""
    dsn = state_dsn(load(config))
    created = database.create_if_missing(dsn)
    before = created or bool(database.check_version(dsn))
    database.upgrade(dsn)
    if as_json:
        output.document({"upgraded": before})
    else:
        output.say("state schema upgraded" if before else "state schema was current already")


@app.command("check")
def check(config: options.Config = options.CONFIG, as_json: options.Json = False) -> None:
    """Say whether the state database's schema fits this release (exit 3 when it does not)."""
    findings = database.check(state_dsn(load(config)))
    if as_json:
        output.document({"findings": findings})
    else:
        for finding in findings:
            output.say(finding)
        if not findings:
            output.say("state schema is current")
    if findings:
        raise typer.Exit(output.FINDINGS)
