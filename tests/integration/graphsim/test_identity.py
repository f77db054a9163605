"""Who may ask: secrets, certificates, federated tokens, rotation, Sites.Selected."""

import base64
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from azure.identity import CertificateCredential, ClientSecretCredential, WorkloadIdentityCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from graphsim.identity.app_registrations import Key, Secret
from graphsim.identity.credentials import has_spread
from graphsim.lists.principals import Principal

SCOPE = "https://graph.microsoft.com/.default"
OLD_KEY = "0d3e5b1c-0000-4000-8000-00000000000a"


def make_certificate() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    return key, builder.not_valid_after(now + datetime.timedelta(days=9000)).sign(key, hashes.SHA256())


def to_pem(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> bytes:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def test_azure_identity_gets_tokens_in_three_ways(simulators: Callable[..., Any], tmp_path: Path) -> None:
    key, certificate = make_certificate()
    (tmp_path / "public.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    federation = {"issuer": "https://cluster.example", "subject": "system:serviceaccount:a:b"}
    (tmp_path / "federation.json").write_text(json.dumps(federation))
    claims = {
        "iss": federation["issuer"],
        "sub": federation["subject"],
        "aud": "api://AzureADTokenExchange",
        "exp": 4_000_000_000,
    }
    (tmp_path / "token").write_text(jwt.encode(claims, key, "RS256"))
    simulator = simulators(
        "--client-cert", f"app-2={tmp_path / 'public.pem'}", "--federated", f"app-3={tmp_path / 'federation.json'}"
    )
    options: dict[str, Any] = {
        "authority": simulator.ready["authority"],
        "disable_instance_discovery": True,
        "connection_verify": simulator.ready["ca_file"],
    }
    with (
        ClientSecretCredential("t", "app-1", "s3cret", **options) as by_secret,
        CertificateCredential("t", "app-2", certificate_data=to_pem(key, certificate), **options) as by_certificate,
        WorkloadIdentityCredential(
            tenant_id="t", client_id="app-3", token_file_path=str(tmp_path / "token"), **options
        ) as by_federation,
    ):
        for credential in (by_secret, by_certificate, by_federation):
            token = credential.get_token(SCOPE).token
            answer = simulator.client.get("/sites/root", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_id": "nobody"}, 400, "unauthorized_client", 700016),
        ({"scope": "https://graph.microsoft.com/Sites.Read.All"}, 400, "invalid_scope", 1002012),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"scope": ""}, 400, "invalid_request", 900144),
        ({"client_secret": None}, 401, "invalid_client", 7000218),
        ({"client_secret": None, "client_assertion": "x.y.z"}, 400, "invalid_request", 50027),
    ],
)
def test_refusals_of_the_token_endpoint(
    running: Any, change: dict[str, str | None], status: int, error: str, number: int
) -> None:
    form: dict[str, str | None] = {
        "client_id": "app-1",
        "client_secret": "s3cret",
        "grant_type": "client_credentials",
        "scope": SCOPE,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        **change,
    }
    answer = running.authority("/t/oauth2/v2.0/token", {k: v for k, v in form.items() if v is not None})
    assert (answer.status_code, answer.json()["error"], answer.json()["error_codes"]) == (status, error, [number])
    assert answer.json()["error_description"].startswith(f"AADSTS{number}: ")


def test_only_living_tokens_of_this_authority_are_taken(running: Any) -> None:
    running.client.headers.pop("Authorization", None)
    for header in (None, "Bearer nonsense", "Basic x"):
        answer = running.client.get("/sites/root", headers={} if header is None else {"Authorization": header})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")
        assert "WWW-Authenticate" in answer.headers
    running.sign_in()
    assert running.client.get("/sites/root").status_code == 200
    running.order("clock", {"advance_s": 3601})
    assert running.client.get("/sites/root").status_code == 401
    running.sign_in()
    running.order("tokens", {"revoke": True})
    assert running.client.get("/sites/root").status_code == 401


def test_a_password_is_added_spreads_and_is_removed(simulators: Callable[..., Any]) -> None:
    simulator = simulators("--switch", "secret-delay-s=30").sign_in()
    made = simulator.client.post(
        "/applications(appId='app-1')/addPassword", json={"passwordCredential": {"displayName": "new"}}
    ).json()
    assert made["displayName"] == "new"
    assert made["secretText"].startswith(made["hint"])
    assert simulator.token(made["secretText"]).json()["error_codes"] == [7000215]
    simulator.order("clock", {"advance_s": 31})
    assert simulator.token(made["secretText"]).status_code == 200
    application = simulator.client.get("/applications(appId='app-1')").json()
    assert [c["secretText"] for c in application["passwordCredentials"]] == [None, None]
    removed = simulator.client.post(f"/applications/{application['id']}/removePassword", json={"keyId": made["keyId"]})
    assert removed.status_code == 204
    assert simulator.token(made["secretText"]).status_code == 200
    simulator.order("clock", {"advance_s": 31})
    assert simulator.token(made["secretText"]).status_code == 401


def test_an_expired_secret_has_its_own_number(simulators: Callable[..., Any]) -> None:
    simulator = simulators("--switch", "secret-delay-s=0").sign_in()
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    body = {"passwordCredential": {"endDateTime": end.isoformat()}}
    made = simulator.client.post("/applications(appId='app-1')/addPassword", json=body).json()
    assert simulator.token(made["secretText"]).status_code == 200
    simulator.order("clock", {"advance_s": 7200})
    assert simulator.token(made["secretText"]).json()["error_codes"] == [7000222]


def test_a_key_is_added_by_proof_of_an_older_one(desk: Any) -> None:
    key, certificate = make_certificate()
    der = certificate.public_bytes(serialization.Encoding.DER)
    desk.app.keys.append(Key(OLD_KEY, der, "", 0, 4e9, 0))
    other_key, other = make_certificate()
    claims = {
        "aud": "00000002-0000-0000-c000-000000000000",
        "iss": desk.app.object_id,
        "nbf": int(desk.time),
        "exp": int(desk.time) + 600,
    }
    url = f"/applications/{desk.app.object_id}"
    credential = {
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "key": base64.b64encode(other.public_bytes(serialization.Encoding.DER)).decode(),
    }
    body = {"keyCredential": credential, "passwordCredential": None}
    wrong = jwt.encode(claims, other_key, "RS256")
    assert desk.call("POST", url + "/addKey", {**body, "proof": wrong}).status == 401
    late = jwt.encode({**claims, "exp": int(desk.time) + 7200}, key, "RS256")
    assert desk.call("POST", url + "/addKey", {**body, "proof": late}).status == 401
    proof = jwt.encode(claims, key, "RS256")
    added = desk.call("POST", url + "/addKey", {**body, "proof": proof})
    assert added.status == 200
    assert len(desk.get(url)["keyCredentials"]) == 2
    removed = desk.call("POST", url + "/removeKey", {"keyId": OLD_KEY, "proof": proof})
    assert removed.status == 204
    assert [k["keyId"] for k in desk.get(url)["keyCredentials"]] == [added.body["keyId"]]


def test_an_app_without_the_role_cannot_rotate_anothers_secret(desk: Any) -> None:
    other = desk.tenant.add_app("app-2")
    body: dict[str, dict[str, str]] = {"passwordCredential": {}}
    reply = desk.call("POST", "/applications(appId='app-1')/addPassword", body, app=other)
    assert (reply.status, reply.body["error"]["code"]) == (403, "Authorization_RequestDenied")
    assert desk.call("POST", "/applications(appId='app-2')/addPassword", body, app=other).status == 200
    assert desk.error("GET", "/applications(appId='none')")[0] == 404


def test_sites_selected_sees_what_was_granted_and_no_more(desk: Any) -> None:
    orders, other = desk.make_list("Orders"), desk.make_list("Other")
    app = desk.tenant.add_app("app-2")
    app.roles = frozenset({"Sites.Selected", "Lists.SelectedOperations.Selected"})
    items = orders + "/items"
    assert desk.call("GET", items, app=app).body["error"]["code"] == "accessDenied"
    grant = {"roles": ["read"], "grantedToIdentities": [{"application": {"id": "app-2", "displayName": "Second"}}]}
    made = desk.call("POST", f"/sites/{desk.site.id}/permissions", grant)
    assert made.status == 201
    assert desk.call("GET", items, app=app).status == 200
    assert desk.call("POST", items, {"fields": {}}, app=app).status == 403
    assert desk.call("POST", f"/sites/{desk.site.id}/permissions", grant, app=app).status == 403
    url = f"/sites/{desk.site.id}/permissions/{made.body['id']}"
    assert desk.call("PATCH", url, {"roles": ["write"]}).body["roles"] == ["write"]
    assert desk.call("POST", items, {"fields": {}}, app=app).status == 201
    assert desk.call("POST", orders + "/columns", {"name": "C", "text": {}}, app=app).status == 403
    assert desk.call("DELETE", url).status == 204
    assert desk.call("GET", items, app=app).status == 403
    assert desk.call("POST", orders + "/permissions", {**grant, "roles": ["manage"]}).status == 201
    assert desk.call("POST", orders + "/columns", {"name": "C", "text": {}}, app=app).status == 201
    assert desk.call("GET", other + "/items", app=app).status == 403
    assert desk.call("GET", f"/sites/{desk.site.id}", app=app).status == 403


def test_a_credential_on_its_way_may_flap(make_desk: Any) -> None:
    desk = make_desk(secret_flap="on", secret_delay_s=100)
    secret = Secret("k", "text", "", desk.time, desk.time + 1e6, desk.time + 100)
    tries = {has_spread(desk.tenant, secret.accepted_from, None, desk.time) for _ in range(50)}
    assert tries == {True, False}
    assert has_spread(desk.tenant, secret.accepted_from, None, desk.time + 100)
    assert isinstance(desk.app.principal, Principal)
