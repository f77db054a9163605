"""`rowtide db`: the schema of the state database.

In: the definition's ``state.dsn``. Out: the schema at this release's version, or what is wrong with it. Called by the
command line. Rule: `upgrade` only moves forward and may be run again at any time; `check` changes nothing.
"""

import typer

from control import answer, options
from control.opened import load, state_dsn
from state import db

app = typer.Typer(no_args_is_help=True)


@app.command("upgrade")
def upgrade(config: options.Config = options.CONFIG, as_json: options.Json = False) -> None:
    """Bring the state database's schema to this release's version; creates the database when it is missing."""
    dsn = state_dsn(load(config))
    created = db.create_if_missing(dsn)
    before = created or bool(db.check_version(dsn))
    db.upgrade(dsn)
    if as_json:
        answer.document({"upgraded": before})
    else:
        answer.say("state schema upgraded" if before else "state schema was current already")


@app.command("check")
def check(config: options.Config = options.CONFIG, as_json: options.Json = False) -> None:
    """Say whether the state database's schema fits this release (exit 3 when it does not)."""
    findings = db.check(state_dsn(load(config)))
    if as_json:
        answer.document({"findings": findings})
    else:
        for finding in findings:
            answer.say(finding)
        if not findings:
            answer.say("state schema is current")
    if findings:
        raise typer.Exit(answer.FINDINGS)
