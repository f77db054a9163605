"""The process that does the work, for as long as it lives.

In: a session, the roles of the process, its id among several, an actor. Out: the flow's exit code. Rule: how a flow
runs is flows.run's; Bytewax, which is slow to import, is imported only when a flow starts.
"""

from collections.abc import Collection

import structlog

from control.operations.session import Session
from rowtide.actor import Actor
from rowtide.error_catalogue import command_errors

log = structlog.get_logger()

ROLES = ("capture", "deliver")


def run(session: Session, roles: Collection[str], process_id: int, actor: Actor) -> int:
    """Carry changes until the process is asked to end."""
    if not roles or not set(roles) <= set(ROLES):
        raise command_errors.UNKNOWN_ROLE(roles=" and ".join(ROLES))
    from flows import run as flow

    log.info("process begins", by=str(actor), roles=",".join(sorted(roles)), process_id=process_id)
    return flow.run(session.loaded, frozenset(roles), process_id)
