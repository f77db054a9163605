"""`rowtide`: the command line's table of contents.

In: arguments. Out: an exit code (0 done, 1 failed, 2 usage or invalid definition, 3 findings). Rule: each noun has a
file of its own and this one only names them; it is the only place where an error that a person can mend becomes a line
on stderr instead of a traceback.
"""

from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from control.cli import (
    apply,
    conflicts,
    db,
    diff,
    doctor,
    explain,
    forget,
    init,
    logs,
    options,
    output,
    parked,
    pause,
    plan,
    reconcile,
    run,
    slot,
    status,
    validate,
)
from rowtide.errors import RowtideError


class Commands(TyperGroup):
    """The root group: reports what went wrong, for every command."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a RowtideError becomes its line and exit code."""
        try:
            return super().invoke(ctx)
        except RowtideError as problem:
            raise typer.Exit(output.error(problem, options.wants_json(ctx))) from problem


app = typer.Typer(
    cls=Commands,
    name="rowtide",
    help="Keep PostgreSQL tables and SharePoint lists the same, in real time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        output.say(f"rowtide {version('rowtide')}")
        raise typer.Exit


@app.callback()
def root(
    _show: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = (
        False
    ),
) -> None:
    """Keep PostgreSQL tables and SharePoint lists the same, in real time."""
    logs.set_up()


with suppress(ModuleNotFoundError):  # the demo is a distribution of its own, and no part of a production install
    from control.cli import demo

    app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("validate")(validate.validate)
app.command("plan")(plan.plan)
app.command("apply")(apply.apply)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.add_typer(slot.app, name="slot", help="The replication slots on the source.")
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("explain")(explain.explain)
app.command("diff")(diff.diff)
app.command("reconcile")(reconcile.reconcile)
app.add_typer(parked.app, name="parked", help="Rows that cannot be carried as they are.")
app.add_typer(conflicts.app, name="conflicts", help="Changes of both sides that did not agree.")
app.command("forget")(forget.forget)
app.command("purge")(forget.purge)
app.add_typer(db.app, name="db", help="The schema of the state database.")


def main() -> None:
    """Entry point of the ``rowtide`` script."""
    app()


if __name__ == "__main__":
    main()
