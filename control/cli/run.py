"""`rowtide run`: the process that does the work.

In: roles, and for a cluster the process id and all addresses. Out: the flow's exit code. Rule: how a flow runs is
flows.run's; Bytewax, which is slow to import, is imported only when a flow starts.
"""

import os
import sys
from typing import Annotated

import typer

from control.cli import options, session
from rowtide.error_catalogue import command_errors

ROLES = ("capture", "deliver")


def run(
    config: options.Config = options.CONFIG,
    roles: Annotated[
        str, typer.Option("--roles", metavar="LIST", help="What this process does, comma-separated.")
    ] = ",".join(ROLES),
    process_id: Annotated[int, typer.Option("--process-id", min=0, help="Which process of a cluster this is.")] = 0,
    addresses: Annotated[
        str, typer.Option("--addresses", metavar="A,B", help="host:port of every process of the cluster, in order.")
    ] = "",
) -> None:
    """Carry changes until SIGTERM or Ctrl-C.

    Obeys the applied definition, not the file, and takes a newly applied one over within two seconds.
    """
    chosen = frozenset(role.strip() for role in roles.split(",") if role.strip())
    if not chosen or not chosen <= set(ROLES):
        raise command_errors.UNKNOWN_ROLE(roles=" and ".join(ROLES))
    peers = [address.strip() for address in addresses.split(",") if address.strip()]
    if peers and process_id >= len(peers):
        raise command_errors.PROCESS_ID(process_id=process_id, addresses=len(peers))
    loaded = session.start_session(config).loaded
    from flows import run as flow

    code = flow.run(loaded, chosen, process_id, peers)
    # Everything of ours is closed; taking the interpreter apart would only spend the seconds a SIGTERM leaves.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
