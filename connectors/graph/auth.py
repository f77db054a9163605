"""Tokens for Graph, by azure-identity against the configured authority.

In: `GraphSettings`. Out: a bearer token, cached until five minutes before its end. Rule: a refusal raises
`IdentityRefused` with Entra's own number, a missing answer or a certificate that is not accepted
`IdentityUnavailable`; a token that Graph refused is forgotten together with azure-identity's own cache.
"""

import re
import ssl
import threading
import time
from typing import Any, Final, Protocol

from connectors.graph.settings import (
    SCOPE,
    Certificate,
    ClientSecret,
    GraphSettings,
    ManagedIdentity,
    WorkloadIdentity,
)
from rowtide.error_catalogue import graph_errors
from rowtide.errors import IdentityRefused, IdentityUnavailable

_EARLY_S: Final = 300.0
_TIMEOUT_S: Final = 10.0


class _Token(Protocol):
    token: str
    expires_on: int


class _Credential(Protocol):
    def get_token(self, *scopes: str, **options: Any) -> _Token: ...


class TokenSource:
    """One credential of one app; thread-safe."""

    def __init__(self, settings: GraphSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._credential: _Credential | None = None
        self._token = ""
        self._good_until = 0.0

    @property
    def current(self) -> str | None:
        """The cached token while it is valid; None: call `fetch_token`."""
        return self._token if self._token and time.monotonic() < self._good_until else None

    def fetch_token(self) -> str:
        """A token, from the cache or from the authority. IdentityRefused, IdentityUnavailable."""
        with self._lock:
            current = self.current
            if current is not None:
                return current
            if self._credential is None:
                self._credential = make_credential(self._settings)
            answer = _ask(self._credential, self._settings)
            # azure-identity has reckoned the end by this machine's clock a moment ago: only the difference counts.
            life_s = answer.expires_on - time.time()
            self._token = answer.token
            self._good_until = time.monotonic() + max(life_s - _EARLY_S, life_s / 2)
            return self._token

    def forget(self, token: str) -> None:
        """Drop ``token``, which Graph refused; the next `fetch_token` asks the authority again."""
        with self._lock:
            if token == self._token:
                self._token, self._credential = "", None


def make_credential(settings: GraphSettings) -> Any:
    """The azure-identity credential that the settings describe; IdentityUnavailable when ``ca_file`` is of no use."""
    from azure import identity

    from connectors.graph.identity_transport import make_transport

    require_ca_file(settings)
    travel: dict[str, Any] = {"connection_timeout": _TIMEOUT_S, "read_timeout": _TIMEOUT_S}
    if settings.ca_file:
        travel["connection_verify"] = settings.ca_file
    options: dict[str, Any] = {"retry_total": 0, "transport": make_transport(2 * _TIMEOUT_S, **travel)}
    if settings.authority:
        options["authority"] = settings.authority
        # Only an authority of our own is trusted without validation; Microsoft's are always validated.
        options["disable_instance_discovery"] = "login.microsoftonline." not in settings.authority
    tenant, client = settings.tenant_id, settings.client_id
    match settings.credential:
        case ClientSecret(secret):
            return identity.ClientSecretCredential(tenant, client, secret, **options)
        case Certificate(data, password):
            return identity.CertificateCredential(tenant, client, certificate_data=data, password=password, **options)
        case WorkloadIdentity(token_file):
            return identity.WorkloadIdentityCredential(
                tenant_id=tenant, client_id=client, token_file_path=token_file, **options
            )
        case ManagedIdentity():
            return identity.ManagedIdentityCredential(client_id=client)


def require_ca_file(settings: GraphSettings) -> None:
    """Raise IdentityUnavailable unless ``ca_file``, if there is one, holds certificates and may be read."""
    if not settings.ca_file:
        return
    try:
        ssl.create_default_context(cafile=settings.ca_file)
    except ssl.SSLError as error:
        raise graph_errors.CA_FILE(path=settings.ca_file, problem="it holds no certificates in PEM") from error
    except OSError as error:
        raise graph_errors.CA_FILE(path=settings.ca_file, problem=error.strerror or "it cannot be read") from error


def tls_problem(error: Exception) -> str | None:
    """What is wrong with the other side's certificate or with TLS, as far as the error's text tells; else None."""
    text = str(error)
    refused = re.search(r"certificate verify failed: ([^(]+)", text)
    if refused is not None:
        return refused[1].strip(" .'\"")
    other = re.search(r"\[SSL[^\]]*\] ([^(]+)", text)
    return None if other is None else other[1].strip(" .'\"")


def _ask(credential: _Credential, settings: GraphSettings) -> _Token:
    from azure.core import exceptions

    try:
        return credential.get_token(SCOPE)
    except exceptions.ClientAuthenticationError as error:
        # azure-identity calls a refused or broken connection an authentication error too.
        if isinstance(error.__cause__, exceptions.ServiceRequestError | exceptions.ServiceResponseError | OSError):
            raise _unavailable(error.__cause__, settings) from error
        raise _refused(error, settings) from error
    except (exceptions.AzureError, ValueError) as error:
        raise _unavailable(error, settings) from error


def _unavailable(error: Exception, settings: GraphSettings) -> IdentityUnavailable:
    where = settings.authority or "https://login.microsoftonline.com"
    problem = tls_problem(error)
    if problem is not None:
        return graph_errors.IDENTITY_CERTIFICATE(where=where, said=problem)
    return graph_errors.IDENTITY_UNAVAILABLE(where=where, error=type(error).__name__)


def _refused(error: Exception, settings: GraphSettings) -> IdentityRefused:
    found = re.search(r"AADSTS(\d+)", str(error))
    number = found.group(1) if found else ""
    remedies = graph_errors.ENTRA_REMEDIES
    return graph_errors.IDENTITY_REFUSED(
        graph=settings.name,
        number=f" (AADSTS{number})" if number else "",
        remedy=remedies.get(number, remedies[""]),
    )
