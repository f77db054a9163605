"""Who does an act: pauses a sync, applies a definition, drops a slot.

In: what is known of the caller. Out: an `Actor`, which every act of `control.operations` takes. Rule: a name is never
passed on without how it is known, so that nobody takes a claim for a proof.
"""

from dataclasses import dataclass
from enum import Enum


class Authentication(Enum):
    """How an actor's name is known."""

    CLAIMED = "claimed"
    """The caller said so and nobody checked: whoever can reach the databases can claim any name."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does an act. ``name`` is what records and `rowtide status` show."""

    name: str
    authentication: Authentication

    def __str__(self) -> str:
        return f"{self.authentication.value} {self.name}"


def claimed_actor(user: str, host: str) -> Actor:
    """The actor who says to be ``user`` on ``host``."""
    return Actor(f"{user}@{host}", Authentication.CLAIMED)
