"""What it takes to speak to one tenant's Graph.

In: plain values that the caller resolved (secrets included). Out: `GraphSettings`, read by auth, budget, client,
writer and lists. Rule: ``base_url``, ``authority`` and ``ca_file`` stand for a simulator; left alone, everything goes
to Microsoft with default verification.
"""

from dataclasses import dataclass, field
from datetime import timedelta

GRAPH = "https://graph.microsoft.com/v1.0"
SCOPE = "https://graph.microsoft.com/.default"


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A secret of the app registration."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of the app registration with its private key, PEM or PKCS12."""

    data: bytes = field(repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class WorkloadIdentity:
    """The token file of a Kubernetes service account; None: where AZURE_FEDERATED_TOKEN_FILE says."""

    token_file: str | None = None


@dataclass(frozen=True, slots=True)
class ManagedIdentity:
    """The identity of the machine we run on."""


Credential = ClientSecret | Certificate | WorkloadIdentity | ManagedIdentity


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """One app in one tenant; times in seconds.

    ``lease_s`` is the outbox lease; a row is only sent within ``send_within_s`` of its claim.
    """

    name: str
    tenant_id: str
    client_id: str
    credential: Credential
    licences: int = 1000
    quota_share: float = 0.8
    quota_off: bool = False
    window_s: float = 60.0
    base_url: str = GRAPH
    authority: str | None = None
    ca_file: str | None = None
    user_agent: str = "NONISV|Rowtide|Rowtide/1.0"
    request_timeout_s: float = 30.0
    absent_after_s: float = 60.0
    lease_s: float = 120.0
    send_within_s: float = 30.0

    @property
    def patience(self) -> timedelta:
        """How long after its claim an attempt may still arrive: sent late, timed out, and then on its way."""
        return timedelta(seconds=self.send_within_s + self.request_timeout_s + self.absent_after_s)
