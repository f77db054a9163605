"""The process that does the work, for as long as it lives.

In: a session, the roles of the process, its place in a cluster, an actor. Out: the flow's exit code. Rule: how a flow
runs is flows.run's; Bytewax, which is slow to import, is imported only when a flow starts.
"""

from collections.abc import Collection, Sequence

import structlog

from control.operations.session import Session
from rowtide.actor import Actor
from rowtide.error_catalogue import command_errors

log = structlog.get_logger()

ROLES = ("capture", "deliver")


def run(session: Session, roles: Collection[str], process_id: int, addresses: Sequence[str], actor: Actor) -> int:
    """Carry changes until the process is asked to end; ``addresses`` of all processes of a cluster, none for one."""
    if not roles or not set(roles) <= set(ROLES):
        raise command_errors.UNKNOWN_ROLE(roles=" and ".join(ROLES))
    if addresses and process_id >= len(addresses):
        raise command_errors.PROCESS_ID(process_id=process_id, addresses=len(addresses))
    from flows import run as flow

    log.info("process begins", by=str(actor), roles=",".join(sorted(roles)), process_id=process_id)
    return flow.run(session.loaded, frozenset(roles), process_id, addresses)
