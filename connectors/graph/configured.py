"""Graph settings as a definition describes them, secrets resolved.

In: a `Definition`, the name of one of its graphs. Out: `GraphSettings`. Rule: secrets are resolved when asked for and
kept nowhere else; `apply` uses the provisioning credential where there is one.
"""

from pathlib import Path

from connectors.graph.settings import Certificate, ClientSecret, GraphSettings
from connectors.settings import resolve_secret
from rowtide.definition.model import CredentialDefinition, Definition


def settings_of(definition: Definition, name: str, provisioning: bool = False) -> GraphSettings:
    """What it takes to speak to the graph; ``provisioning``: as the identity that makes lists and columns."""
    graph = definition.graph[name]
    credential = graph.credential
    if provisioning and graph.provisioning_credential is not None:
        credential = graph.provisioning_credential
    return GraphSettings(
        name=name,
        tenant_id=graph.tenant_id,
        client_id=credential.client_id or graph.client_id,
        credential=_credential(credential),
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
    )


def _credential(section: CredentialDefinition) -> ClientSecret | Certificate:
    if section.client_secret is not None:
        return ClientSecret(resolve_secret(section.client_secret))
    return Certificate(resolve_secret(section.certificate or "").encode())
