"""Turns the tenant's quota on while the demo runs.

In: a running environment, the definition that says so, a tier. Out: a flow that knows its quota. Rule: the flow is told
before the simulator begins to refuse.
"""

from demo.environment import Environment
from rowtide.actor import Actor, Authentication
from state import definitions
from state.database import Connection

_DEMO = Actor("demo", Authentication.CLAIMED)


def turn_quota_on(environment: Environment, text: str, tier: str) -> int:
    """Put the definition ``text`` into force, give the tenant its tier, restart the flow; the flow's process id."""
    environment.define(text)
    _apply_pacing(environment)
    environment.simulator.set_tier(tier)
    return environment.restart_flow()


def _apply_pacing(environment: Environment) -> None:
    """What `apply` does where nothing but pacing is new, without asking Graph for all lists again."""
    session = environment.session()

    def work(connection: Connection) -> None:
        applied = definitions.read_applied(connection)
        assert applied is not None
        compiled = {**applied.compiled, "definition": session.definition.to_json()}
        definitions.apply(connection, compiled, _DEMO.name, applied.version)

    session.on_state(work, _DEMO)
