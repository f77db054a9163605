"""Applications of the directory: who may ask for tokens, and with which credentials.

In: the command line's `--client`s, later addPassword, removePassword, addKey, removeKey. Out: `App`, looked up by
client id or object id. Rule: an object id is derived from the client id, so it is the same after a restart.
"""

import uuid
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from typing import Any

from graphsim.lists.principals import Principal

NAMESPACE = uuid.UUID("6f0c5d58-3b0c-5a39-9d0e-2f5d6a4b7c11")
ALL_ROLES = frozenset({"Sites.FullControl.All", "Application.ReadWrite.OwnedBy"})


@dataclass(slots=True)
class Secret:
    """A client secret: usable from `accepted_from` to `accepted_until` (propagation), dated `start` to `end`."""

    key_id: str
    text: str
    name: str
    start: float
    end: float
    accepted_from: float
    accepted_until: float | None = None


@dataclass(slots=True)
class Key:
    """A certificate credential: `certificate` is the DER form."""

    key_id: str
    certificate: bytes
    name: str
    start: float
    end: float
    accepted_from: float
    accepted_until: float | None = None


@dataclass(slots=True)
class FederatedIdentity:
    """A federated identity: tokens of this issuer for this subject, signed by one of these keys, are accepted."""

    issuer: str
    subject: str
    audience: str
    jwks: dict[str, object] | None


@dataclass(slots=True)
class App:
    """One application of the directory: its roles, its credentials, and who it is in the user information list."""

    client_id: str
    object_id: str
    name: str
    principal: Principal
    roles: frozenset[str] = ALL_ROLES
    secrets: list[Secret] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    federations: list[FederatedIdentity] = field(default_factory=list)
    blocked: bool = False


def make_app(client_id: str, principal: Principal, roles: frozenset[str] = ALL_ROLES) -> App:
    """A new application without credentials."""
    return App(
        client_id=client_id,
        object_id=str(uuid.uuid5(NAMESPACE, "application:" + client_id)),
        name=principal.name,
        principal=principal,
        roles=roles,
    )


def app_to_record(app: App) -> dict[str, Any]:
    """What a data file keeps of an app: its credentials."""
    keys = [{**asdict(key), "certificate": b64encode(key.certificate).decode()} for key in app.keys]
    return {"name": app.name, "secrets": [asdict(secret) for secret in app.secrets], "keys": keys}


def restore_credentials(app: App, record: dict[str, Any]) -> None:
    """Puts back the credentials that `app_to_record` kept."""
    app.secrets = [Secret(**given) for given in record["secrets"]]
    app.keys = [Key(**{**given, "certificate": b64decode(given["certificate"])}) for given in record["keys"]]
