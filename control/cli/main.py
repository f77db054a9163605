"""`rowtide`: the command line's table of contents.

In: arguments. Out: an exit code (0 done, 1 failed, 2 usage or invalid definition, 3 findings). Rule: each noun has a
file of its own and this one only names them, so that a process loads what its own command needs; it is the only place
where an error that a person can mend becomes a line on stderr instead of a traceback.
"""

from contextlib import nullcontext, suppress
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from control.cli import logs, options, output
from rowtide.errors import RowtideError

COMMANDS: Final = MappingProxyType({
    "demo": "demo", "init": "init", "validate": "validate", "plan": "plan", "apply": "apply", "run": "run",
    "status": "status", "doctor": "doctor", "slot": "slot", "pause": "pause", "resume": "pause", "explain": "explain",
    "diff": "diff", "reconcile": "reconcile", "parked": "parked", "conflicts": "conflicts", "runs": "runs",
    "forget": "forget", "purge": "forget", "db": "db",
})  # fmt: skip
"""Command -> the module of this package that has it: a function of its name, or an ``app`` of several commands."""


class Commands(TyperGroup):
    """The root group: loads the command that is named, and reports what went wrong, for every command."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All that this installation has, in the order of the help; they are loaded."""
        return [name for name in COMMANDS if self.get_command(ctx, name) is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, loaded when it is asked for; None: there is no such command."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            # The demo is a distribution of its own, and no part of a production install.
            with suppress(ModuleNotFoundError) if cmd_name == "demo" else nullcontext():
                self.add_command(_load(cmd_name), cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As Typer does; what is close to a mistyped name is looked for among all commands."""
        if args and args[0] not in COMMANDS:
            self.list_commands(ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a RowtideError becomes its line and exit code."""
        try:
            return super().invoke(ctx)
        except RowtideError as problem:
            raise typer.Exit(output.error(problem, options.wants_json(ctx))) from problem


def _load(name: str) -> Any:
    module = import_module(f"control.cli.{COMMANDS[name]}")
    one = typer.Typer(rich_markup_mode=None)
    if hasattr(module, "app"):
        one.add_typer(module.app, name=name)
    else:
        one.command(name)(getattr(module, name))
    return get_group(one).commands[name]


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


def main() -> None:
    """Entry point of the ``rowtide`` script."""
    app()


if __name__ == "__main__":
    main()
