"""Client assertions: certificates and federated identities (docs/facts.md section 6).

In: a signed JWT and the app it is for. Out: nothing, or a `Refusal` with Entra's number. Rule: the signature is really
verified.
"""

import hashlib
from base64 import urlsafe_b64encode
from typing import Any

import jwt
from cryptography import x509

from graphsim.identity.app_registrations import App, FederatedIdentity, Key
from graphsim.identity.credentials import Refusal, has_spread
from graphsim.tenant import Tenant


def check(tenant: Tenant, app: App, text: str, tenant_id: str, root: str) -> None:
    """Returns when the assertion proves that the caller is the app; raises `Refusal` otherwise."""
    try:
        claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False, "verify_exp": False})
    except jwt.PyJWTError:
        raise Refusal(400, "invalid_request", 50027, "JWT token is invalid or malformed.") from None
    now = tenant.now()
    if float(claims.get("exp", 0)) + 300 < now:
        raise Refusal(401, "invalid_client", 700024, "Client assertion is not within its valid time range.")
    if claims.get("iss") == app.client_id:
        _check_certificate(tenant, app, text, claims, f"{root}/{tenant_id}/oauth2/v2.0/token", now)
    else:
        _check_federation(app, text, claims)


def _check_certificate(tenant: Tenant, app: App, text: str, claims: dict[str, Any], endpoint: str, now: float) -> None:
    if claims.get("sub") != app.client_id or claims.get("aud") != endpoint:
        raise Refusal(401, "invalid_client", 700023, "Client assertion audience or subject does not match.")
    key = next(
        (
            key
            for key in app.keys
            if has_spread(tenant, key.accepted_from, key.accepted_until, now) and is_signed_by(text, key)
        ),
        None,
    )
    if key is None:
        raise Refusal(
            401, "invalid_client", 700027, "The certificate used to sign the client assertion is not registered."
        )
    if key.end <= now:
        raise Refusal(401, "invalid_client", 1000502, "The provided certificate has expired.")


def is_signed_by(text: str, key: Key) -> bool:
    """Whether the certificate's key signed the token, and the token names no other certificate."""
    certificate = x509.load_der_x509_certificate(key.certificate)
    header = jwt.get_unverified_header(text)
    prints = {"x5t": hashlib.sha1(key.certificate).digest(), "x5t#S256": hashlib.sha256(key.certificate).digest()}
    for name, digest in prints.items():
        if name in header and header[name].rstrip("=") != urlsafe_b64encode(digest).decode().rstrip("="):
            return False
    try:
        jwt.decode(
            text,
            certificate.public_key(),  # type: ignore[arg-type]
            algorithms=["RS256", "PS256"],
            options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except jwt.PyJWTError:
        return False
    return True


def _check_federation(app: App, text: str, claims: dict[str, Any]) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    for federation in app.federations:
        if federation.issuer == claims.get("iss") and federation.subject == claims.get("sub"):
            if federation.audience not in audiences:
                raise Refusal(401, "invalid_client", 700212, "No matching federated identity record for the audience.")
            if not _is_signed_by_issuer(text, federation):
                raise Refusal(401, "invalid_client", 5000224, "The signature of the federated token is invalid.")
            return
    raise Refusal(
        401,
        "invalid_client",
        700213,
        f"No matching federated identity record found for presented assertion subject '{claims.get('sub')}'.",
    )


def _is_signed_by_issuer(text: str, federation: FederatedIdentity) -> bool:
    if federation.jwks is None:
        return True
    for key in jwt.PyJWKSet.from_dict(federation.jwks).keys:
        try:
            jwt.decode(
                text,
                key,
                algorithms=["RS256", "ES256"],
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.PyJWTError:
            continue
        return True
    return False
