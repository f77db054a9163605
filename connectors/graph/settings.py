"""The settings for one tenant's Graph.

In: plain values, or the section of a graph as a file has it. Out: `GraphSettings`, read by auth, budget,
client, writer and lists. Rules: a secret is resolved when settings are made and kept nowhere else; ``base_url``,
``authority`` and ``ca_file`` are for a simulator; without them everything goes to Microsoft with default
verification.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Self

from connectors.settings import resolve_secret
from rowtide.definition.model import CredentialDefinition, GraphDefinition, WebhooksDefinition

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
class WebhookSettings:
    """Where Graph reaches this installation, and the key of the client states by which it is known."""

    url: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """One app in one tenant; times in seconds.

    ``lease_s`` is the outbox lease; a row is only sent within ``send_within_s`` of its claim. ``credential_ends``: None
    where nobody has said so.
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
    webhooks: WebhookSettings | None = None
    credential_ends: datetime | None = None

    @classmethod
    def from_section(cls, name: str, graph: GraphDefinition, provisioning: bool = False) -> Self:
        """The settings of a file's graph; ``provisioning``: as the identity that makes lists and columns."""
        credential = graph.credential
        if provisioning and graph.provisioning_credential is not None:
            credential = graph.provisioning_credential
        return cls(
            name=name,
            tenant_id=graph.tenant_id,
            client_id=credential.client_id or graph.client_id,
            credential=(own := _credential(credential)),
            credential_ends=_ends(own, credential.expires),
            licences=graph.licences,
            quota_share=graph.quota_share,
            quota_off=graph.quota == "off",
            window_s=graph.rate_window.total_seconds(),
            base_url=graph.base_url,
            authority=graph.authority,
            ca_file=None if graph.ca_file is None else str(Path(graph.ca_file).expanduser()),
            user_agent=graph.user_agent,
            request_timeout_s=graph.request_timeout.total_seconds(),
            absent_after_s=graph.absent_after.total_seconds(),
            webhooks=None if provisioning else _webhooks(graph.webhooks),
        )

    @property
    def app(self) -> str:
        """The app in its tenant, by what Graph knows it: quotas are its own."""
        return f"{self.tenant_id}/{self.client_id}"

    @property
    def patience(self) -> timedelta:
        """How long after its claim an attempt may still arrive: it may be sent late, time out, and still go on."""
        return timedelta(seconds=self.send_within_s + self.request_timeout_s + self.absent_after_s)


def _webhooks(section: WebhooksDefinition | None) -> WebhookSettings | None:
    return None if section is None else WebhookSettings(section.url, resolve_secret(section.key).encode())


def _credential(section: CredentialDefinition) -> ClientSecret | Certificate:
    if section.client_secret is not None:
        return ClientSecret(resolve_secret(section.client_secret))
    return Certificate(resolve_secret(section.certificate or "").encode())


def _ends(credential: ClientSecret | Certificate, expires: date | None) -> datetime | None:
    """When Entra takes it no longer: a certificate says so; a secret's last day ends first in the east."""
    if isinstance(credential, Certificate):
        from cryptography import x509

        try:
            return x509.load_pem_x509_certificates(credential.data)[0].not_valid_after_utc
        except ValueError:  # whoever signs in with it says what is wrong
            return None
    return None if expires is None else datetime.combine(expires, time.min, UTC)
