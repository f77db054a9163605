"""An app's own credentials: addPassword, removePassword, addKey, removeKey (docs/facts.md section 7).

In: calls on `/applications/{object id}` or `/applications(appId='...')`. Out: replies. Rules: a secret's text is shown
once; what is added or removed takes effect on the token endpoint only after it has spread (`secret-delay-s`); addKey
and removeKey need a proof signed by a key the app already has, but no permission.
"""

import base64
import re
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from graphsim.clock import to_text
from graphsim.http import errors
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.identity.app_registrations import App, Key, Secret, app_to_record
from graphsim.identity.credentials import has_spread
from graphsim.identity.permissions import APPLICATION_WRITERS
from graphsim.tenant import Tenant

_BY_APP_ID = re.compile(r"applications\(appId='([^']+)'\)")
_GRAPH_APP_ID = "00000002-0000-0000-c000-000000000000"
_KEY_PROPERTIES = frozenset({"type", "usage", "key", "displayName", "startDateTime", "endDateTime"})
_TWO_YEARS_S = 2 * 365 * 86400.0


def to_segments(segments: list[str]) -> list[str]:
    """`applications(appId='...')/x` as `applications/appId='...'/x`, so that both forms are one route."""
    match = _BY_APP_ID.fullmatch(segments[0])
    if match is None:
        raise errors.no_segment(segments[0])
    return ["applications", f"appId={match.group(1)}", *segments[1:]]


def get(tenant: Tenant, call: ApiCall, name: str) -> ApiReply:
    """GET of one application, without the texts of its secrets."""
    app = _find(tenant, name)
    _check_permission(call, app)
    return ApiReply(200, _show(call, app))


def act(tenant: Tenant, call: ApiCall, name: str, action: str) -> ApiReply:
    """POST of an action on an application's credentials."""
    app = _find(tenant, name)
    reply = ACTIONS[action](tenant, call, app)
    tenant.journal.record("app", app.client_id, app_to_record(app))
    return reply


def _find(tenant: Tenant, name: str) -> App:
    """By object id, or by `appId=` and the client id."""
    client_id = name.removeprefix("appId=")
    if client_id != name:
        app = tenant.apps.get(client_id)
    else:
        app = next((held for held in tenant.apps.values() if held.object_id == name.lower()), None)
    if app is None:
        raise errors.GraphError(404, "Request_ResourceNotFound", "The application does not exist or cannot be read")
    return app


def _check_permission(call: ApiCall, app: App) -> None:
    """OwnedBy: an app may manage itself, as owner of its own application; `.All` any."""
    allowed = call.app.roles & APPLICATION_WRITERS
    if not allowed or (app is not call.app and "Application.ReadWrite.All" not in allowed):
        raise errors.GraphError(
            403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."
        )


def _add_password(tenant: Tenant, call: ApiCall, app: App) -> ApiReply:
    _check_permission(call, app)
    parameters = errors.check_parameters(call.body, {"passwordCredential"}, "addPassword")
    given = parameters.get("passwordCredential")
    given = {} if given is None else given
    errors.check_properties(given, {"displayName", "startDateTime", "endDateTime"}, "passwordCredential")
    now = tenant.now()
    start, end = _read_dates(given, now, now + _TWO_YEARS_S)
    text = f"{tenant.ids.getrandbits(32):08x}~{tenant.ids.getrandbits(128):032x}"
    name = str(given.get("displayName") or "")
    secret = Secret(tenant.new_id(), text, name, start, end, now + tenant.switches.secret_delay_s)
    app.secrets.append(secret)
    body = {"@odata.context": f"{call.base}/$metadata#microsoft.graph.passwordCredential", **_show_secret(secret)}
    return ApiReply(200, {**body, "secretText": text})


def _remove_password(tenant: Tenant, call: ApiCall, app: App) -> ApiReply:
    _check_permission(call, app)
    key_id = errors.check_parameters(call.body, {"keyId"}, "removePassword").get("keyId")
    secret = next((s for s in app.secrets if s.key_id == key_id and s.accepted_until is None), None)
    if secret is None:
        raise errors.GraphError(400, "Request_BadRequest", "No password credential found with keyId")
    secret.accepted_until = tenant.now() + tenant.switches.secret_delay_s
    return ApiReply(204)


def _add_key(tenant: Tenant, call: ApiCall, app: App) -> ApiReply:
    given = errors.check_parameters(call.body, {"keyCredential", "passwordCredential", "proof"}, "addKey")
    if given.get("passwordCredential") is not None:
        raise errors.GraphError(400, "Request_BadRequest", "Keys with a password are not supported")
    _check_proof(tenant, app, given.get("proof"))
    credential = errors.check_properties(given.get("keyCredential"), _KEY_PROPERTIES, "keyCredential")
    if credential.get("type") != "AsymmetricX509Cert" or credential.get("usage") != "Verify":
        raise errors.GraphError(400, "Request_BadRequest", "The key must be an AsymmetricX509Cert for Verify")
    try:
        der = base64.b64decode(credential["key"])
        certificate = x509.load_der_x509_certificate(der)
    except (KeyError, ValueError, TypeError):
        raise errors.GraphError(400, "Request_BadRequest", "The key is no certificate") from None
    end = certificate.not_valid_after_utc.timestamp()
    name = str(credential.get("displayName") or "")
    now = tenant.now()
    key = Key(tenant.new_id(), der, name, now, end, now + tenant.switches.secret_delay_s)
    app.keys.append(key)
    return ApiReply(200, {"@odata.context": f"{call.base}/$metadata#microsoft.graph.keyCredential", **_show_key(key)})


def _remove_key(tenant: Tenant, call: ApiCall, app: App) -> ApiReply:
    given = errors.check_parameters(call.body, {"keyId", "proof"}, "removeKey")
    _check_proof(tenant, app, given.get("proof"))
    key = next((k for k in app.keys if k.key_id == given.get("keyId") and k.accepted_until is None), None)
    if key is None:
        raise errors.GraphError(400, "Request_BadRequest", "No key credential found with keyId")
    key.accepted_until = tenant.now() + tenant.switches.secret_delay_s
    return ApiReply(204)


def _check_proof(tenant: Tenant, app: App, proof: Any) -> None:
    """A JWT by an existing key: audience the directory, issuer the object id, ten minutes at most."""
    # Reading signed tokens takes a fifth of the start: imported when the first one comes.
    import jwt

    from graphsim.identity.assertions import is_signed_by

    refusal = errors.GraphError(401, "Authentication_MissingOrMalformed", "The proof of possession is not valid")
    if not isinstance(proof, str):
        raise refusal
    try:
        claims: dict[str, Any] = jwt.decode(proof, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise refusal from None
    now = tenant.now()
    is_dated = float(claims.get("nbf", 0)) - 300 <= now < float(claims.get("exp", 0)) <= now + 900
    if claims.get("aud") != _GRAPH_APP_ID or claims.get("iss") != app.object_id or not is_dated:
        raise refusal
    usable = [k for k in app.keys if has_spread(tenant, k.accepted_from, k.accepted_until, now) and k.end > now]
    if not any(is_signed_by(proof, key) for key in usable):
        raise refusal


def _read_dates(given: JsonObject, start: float, end: float) -> tuple[float, float]:
    try:
        if given.get("startDateTime"):
            start = datetime.fromisoformat(given["startDateTime"]).replace(tzinfo=UTC).timestamp()
        if given.get("endDateTime"):
            end = datetime.fromisoformat(given["endDateTime"]).astimezone(UTC).timestamp()
    except (TypeError, ValueError):
        raise errors.GraphError(400, "Request_BadRequest", "A date of the credential is not valid") from None
    if end <= start:
        raise errors.GraphError(400, "Request_BadRequest", "The credential ends before it starts")
    return start, end


def _show_secret(secret: Secret) -> JsonObject:
    return {
        "customKeyIdentifier": None,
        "displayName": secret.name or None,
        "endDateTime": to_text(int(secret.end)),
        "hint": secret.text[:3],
        "keyId": secret.key_id,
        "secretText": None,
        "startDateTime": to_text(int(secret.start)),
    }


def _show_key(key: Key) -> JsonObject:
    return {
        "customKeyIdentifier": None,
        "displayName": key.name or None,
        "endDateTime": to_text(int(key.end)),
        "key": None,
        "keyId": key.key_id,
        "startDateTime": to_text(int(key.start)),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    }


def _show(call: ApiCall, app: App) -> JsonObject:
    return {
        "@odata.context": f"{call.base}/$metadata#applications/$entity",
        "id": app.object_id,
        "appId": app.client_id,
        "displayName": app.name,
        "passwordCredentials": [_show_secret(s) for s in app.secrets if s.accepted_until is None],
        "keyCredentials": [_show_key(k) for k in app.keys if k.accepted_until is None],
    }


ACTIONS = {
    "addPassword": _add_password,
    "removePassword": _remove_password,
    "addKey": _add_key,
    "removeKey": _remove_key,
}
