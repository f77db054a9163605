"""`rowtide db`: the schema of the state database.

In: the definition's ``state.dsn``. Out: what was done, or the findings (exit code 3). Rule: what happens is
control.operations.db's.
"""

import typer

from control.cli import options, output, session
from control.operations import db

app = typer.Typer(no_args_is_help=True, help="The schema of the state database.")


@app.command("upgrade")
def upgrade(config: options.Config = options.CONFIG, as_json: options.Json = False) -> None:
    """Bring the state database's schema to this release's version; creates the database when it is missing."""
    found = db.upgrade(session.start_session(config), session.actor())
    if as_json:
        output.document(found)
    else:
        output.say("state schema upgraded" if found["upgraded"] else "state schema was current already")


@app.command("check")
def check(config: options.Config = options.CONFIG, as_json: options.Json = False) -> None:
    """Say whether the state database's schema fits this release (exit 3 when it does not)."""
    findings = db.check(session.start_session(config))["findings"]
    if as_json:
        output.document({"findings": findings})
    else:
        for line in findings or ["state schema is current"]:
            output.say(line)
    if findings:
        raise typer.Exit(output.FINDINGS)
