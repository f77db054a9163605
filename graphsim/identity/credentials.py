"""What secrets and certificates share: the time they need to spread, and the refusal of the token endpoint.

In: the times from and until which a credential is accepted. Out: whether it is accepted now; `Refusal`. Rule: the token
endpoint sees a change of credentials late (docs/facts.md section 7), by `secret-delay-s`.
"""

from graphsim.tenant import Tenant


class Refusal(Exception):
    """An error of the token endpoint: `number` is the AADSTS number."""

    def __init__(self, status: int, error: str, number: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.number = number


def has_spread(tenant: Tenant, accepted_from: float, accepted_until: float | None, now: float) -> bool:
    """Whether a credential is accepted now; while it spreads, by chance if `secret-flap` is on."""
    if accepted_until is not None and now >= accepted_until:
        return False
    is_spreading = now < accepted_from or accepted_until is not None
    if is_spreading and tenant.switches.secret_flap:
        return tenant.chance.random() < 0.5
    return now >= accepted_from
