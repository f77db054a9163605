"""The token endpoint: `POST /{tenant}/oauth2/v2.0/token` and what MSAL asks before it (docs/facts.md section 6).

In: the form of a client-credentials request. Out: an access token, or an AADSTS error. Rules: a secret, a certificate's
assertion or a federated token is checked as Entra checks it; a new credential is accepted once it has spread, a removed
one until its removal has spread.
"""

import hmac
from typing import Any
from urllib.parse import parse_qs

import orjson
from aiohttp import web

from graphsim.clock import to_text
from graphsim.identity.app_registrations import App, Secret
from graphsim.identity.credentials import Refusal, has_spread
from graphsim.tenant import Tenant

_AUDIENCES = frozenset({"https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000"})
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class TokenEndpoint:
    """The listener of the token endpoint: metadata for MSAL, and tokens for credentials."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer of one request; errors have Entra's numbers and words."""
        parts = request.path.strip("/").split("/")
        root = f"https://{request.host}"
        if request.path.endswith("/.well-known/openid-configuration") and request.method == "GET":
            return _json(200, _configuration(root, parts[0]))
        if request.path.endswith("/discovery/instance") and request.method == "GET":
            endpoint = f"{root}/common/v2.0/.well-known/openid-configuration"
            return _json(200, {"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": []})
        if parts[1:] == ["oauth2", "v2.0", "token"] and request.method == "POST":
            form = parse_qs((await request.read()).decode(errors="replace"), keep_blank_values=True)
            return self._answer(parts[0], {k: v[0] for k, v in form.items()}, root)
        if parts[1:] == ["oauth2", "v2.0", "token"]:
            wrong = f"The endpoint only accepts POST requests. Received a {request.method} request."
            return _json(400, self._refused(Refusal(400, "invalid_request", 900561, wrong)))
        return _json(404, {"error": "not_found", "error_description": "there is nothing here"})

    def _answer(self, tenant_id: str, form: dict[str, str], root: str) -> web.Response:
        tenant = self._tenant
        try:
            app = self._judge(tenant_id, form, root)
        except Refusal as refusal:
            tenant.stats.tokens[refusal.status] += 1
            return _json(refusal.status, self._refused(refusal))
        tenant.stats.tokens[200] += 1
        life_s = int(tenant.switches.token_life_s)
        token = tenant.tokens.issue(app, tenant.now(), tenant.switches.token_life_s)
        tenant.journal.record("token", token, [app.client_id, tenant.now() + tenant.switches.token_life_s])
        tenant.journal.flush()
        return _json(
            200, {"token_type": "Bearer", "expires_in": life_s, "ext_expires_in": life_s, "access_token": token}
        )

    def _refused(self, refusal: Refusal) -> dict[str, Any]:
        tenant = self._tenant
        trace, correlation = tenant.request_id(), tenant.request_id()
        stamp = to_text(int(tenant.now()))
        text = f"AADSTS{refusal.number}: {refusal} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}"
        return {
            "error": refusal.error,
            "error_description": text,
            "error_codes": [refusal.number],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={refusal.number}",
        }

    def _judge(self, tenant_id: str, form: dict[str, str], root: str) -> App:
        tenant = self._tenant
        if tenant.only_tenant_id is not None and tenant_id.lower() != tenant.only_tenant_id.lower():
            raise Refusal(400, "invalid_request", 90002, f"Tenant '{tenant_id}' not found.")
        for name in ("grant_type", "client_id", "scope"):
            if not form.get(name):
                raise Refusal(
                    400, "invalid_request", 900144, f"The request body must contain the following parameter: '{name}'."
                )
        if form["grant_type"] != "client_credentials":
            raise Refusal(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        _check_scope(form["scope"], tenant_id)
        app = tenant.apps.get(form["client_id"])
        if app is None:
            raise Refusal(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{form['client_id']}' was not found in the directory.",
            )
        if "client_secret" in form:
            self._check_secret(app, form["client_secret"])
        elif form.get("client_assertion_type") == _ASSERTION_TYPE and form.get("client_assertion"):
            # Reading signed tokens takes a fifth of the start: imported when the first one comes.
            from graphsim.identity import assertions

            assertions.check(tenant, app, form["client_assertion"], tenant_id, root)
        else:
            raise Refusal(
                401,
                "invalid_client",
                7000218,
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            )
        return app

    def _check_secret(self, app: App, given: str) -> None:
        tenant = self._tenant
        now = tenant.now()
        matching = [s for s in app.secrets if hmac.compare_digest(s.text.encode(), given.encode())]
        usable = [s for s in matching if self._has_spread(s, now)]
        if not usable:
            raise Refusal(401, "invalid_client", 7000215, f"Invalid client secret provided for app '{app.client_id}'.")
        if all(s.end <= now for s in usable):
            raise Refusal(
                401,
                "invalid_client",
                7000222,
                f"The client secret keys of app '{app.client_id}' are expired.",
            )

    def _has_spread(self, secret: Secret, now: float) -> bool:
        return has_spread(self._tenant, secret.accepted_from, secret.accepted_until, now)


def _check_scope(scope: str, tenant_id: str) -> None:
    """A token is for Graph and nothing else: another audience is refused as Entra refuses it."""
    if len(scope.split()) != 1:
        raise Refusal(
            400, "invalid_scope", 70011, "The provided request must include a 'scope' input parameter with one scope."
        )
    resource, _, permission = scope.rpartition("/")
    if permission != ".default":
        raise Refusal(
            400,
            "invalid_scope",
            1002012,
            f"The provided value for scope {scope} is not valid. Client credential flows must have a scope value with "
            "/.default suffixed to the resource identifier (application ID URI).",
        )
    if resource.rstrip("/").lower() not in _AUDIENCES:
        raise Refusal(
            400,
            "invalid_resource",
            500011,
            f"The resource principal named {resource} was not found in the tenant named {tenant_id}.",
        )


def _configuration(root: str, tenant_id: str) -> dict[str, Any]:
    return {
        "issuer": f"{root}/{tenant_id}/v2.0",
        "authorization_endpoint": f"{root}/{tenant_id}/oauth2/v2.0/authorize",
        "token_endpoint": f"{root}/{tenant_id}/oauth2/v2.0/token",
        "jwks_uri": f"{root}/{tenant_id}/discovery/v2.0/keys",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
    }


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
