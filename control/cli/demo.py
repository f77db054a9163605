"""`rowtide demo`: the command line of the package ``demo``.

In: options. Out: the demo's exit code. Rule: everything it needs is imported only when it runs, so that no other
command waits for it.
"""

from pathlib import Path
from typing import Annotated

import typer

from control.cli import options, output
from demo.options import TIERS, DemoOptions
from rowtide.error_catalogue import command_errors

_DEFAULTS = DemoOptions()
_EXIT_CODES = {"equal": output.DONE, "different": output.FAILED, "interrupted": 130}
"""130, as shells say it: ended before anything could be compared."""


def demo(
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Seconds of live traffic.")] = _DEFAULTS.seconds,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, to be tried out by hand.")] = False,
    seed: Annotated[
        int, typer.Option("--seed", help="The same seed gives the same rows and traffic.")
    ] = _DEFAULTS.seed,
    rate: Annotated[float, typer.Option("--rate", help="Business transactions a second.")] = _DEFAULTS.rate,
    tier: Annotated[str, typer.Option("--tier", help=f"Quota of the tenant: {', '.join(TIERS)}.")] = _DEFAULTS.tier,
    directory: Annotated[Path | None, typer.Option("--dir", help="Where to make its private directory.")] = (None),
    as_json: options.Json = False,
) -> None:
    """See it work on this machine.

    PostgreSQL, a simulator of Graph and the sync between them, live, then thrown away. At its end each change of the
    stream was coalesced (a newer one of its row overtook it), nothing to the lists, or written; these add up.
    """
    from demo import command

    if tier not in TIERS:
        raise command_errors.UNKNOWN_TIER(tier=tier, known=", ".join(TIERS))
    told = command.run_demo(DemoOptions(seconds, keep, as_json, seed, rate, tier, directory), output.document)
    raise typer.Exit(_EXIT_CODES[told.word])
