"""`rowtide run`: the process that does the work.

In: roles and process id. Out: the flow's exit code. Rule: what happens is
control.operations.run's.
"""

import os
import sys
from typing import Annotated

import typer

from control.cli import logs, options, session
from control.operations import run as operations
from control.operations.run import ROLES


def run(
    config: options.Config = options.CONFIG,
    roles: Annotated[
        str, typer.Option("--roles", metavar="LIST", help="What this process does, comma-separated.")
    ] = ",".join(ROLES),
    process_id: Annotated[int, typer.Option("--process-id", min=0, help="Which of several processes this is.")] = 0,
) -> None:
    """Carry changes until SIGTERM or Ctrl-C.

    What it does was applied, and a newly applied definition is taken over within two seconds. How it reaches sources
    and tenants is said by the file, which is read again when it changes.
    """
    chosen = frozenset(role.strip() for role in roles.split(",") if role.strip())
    started = session.start_session(config)
    logs.log_what_nobody_caught()
    code = operations.run(started, chosen, process_id, session.actor())
    # Everything of ours is closed; taking the interpreter apart would only spend the seconds a SIGTERM leaves.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
