"""Placeholder: not built yet."""

from graphsim import errors
from graphsim.calls import Call, Reply
from graphsim.world import World


def dispatch(_world: World, _call: Call, _rest: list[str]) -> Reply:
    raise errors.GraphError(501, "notSupported", "Not built yet")


def list_subscriptions(_world: World, _call: Call, _list_id: str) -> Reply:
    raise errors.GraphError(501, "notSupported", "Not built yet")
