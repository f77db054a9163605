"""What secrets and certificates share: the time they need to spread, and how the token endpoint refuses.

In: when a credential is accepted from and until. Out: whether it is accepted now; `Refusal`. Rule: a change of
credentials is seen late (reference section 7), by `secret-delay-s`.
"""

from graphsim.tenant import World


class Refusal(Exception):
    """An error of the token endpoint: `number` is the AADSTS number."""

    def __init__(self, status: int, error: str, number: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.number = number


def has_spread(world: World, accepted_from: float, accepted_until: float | None, now: float) -> bool:
    """Whether a credential is accepted now; while it spreads, by chance if `secret-flap` is on."""
    if accepted_until is not None and now >= accepted_until:
        return False
    is_spreading = now < accepted_from or accepted_until is not None
    if is_spreading and world.switches.secret_flap:
        return world.chance.random() < 0.5
    return now >= accepted_from
