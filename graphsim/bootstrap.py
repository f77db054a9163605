"""From settings to a tenant: sites, apps, fault rules, and the contents of a data file.

In: `Settings`. Out: a `Tenant` ready to serve, and notes for the ready line. Rule: without `--client` the simulator
makes one app with a secret and tells both in the ready line, so that a newcomer needs no arguments at all.
"""

import random
import time
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from graphsim.clock import Clock
from graphsim.file_journal import FileJournal
from graphsim.identity.app_registrations import FederatedIdentity, Key, Secret
from graphsim.lists.sites import make_site
from graphsim.settings import Settings, UsageError
from graphsim.tenant import Tenant

_TEN_YEARS_S = 10 * 365 * 86400.0


def make_tenant(settings: Settings) -> tuple[Tenant, dict[str, Any]]:
    """A tenant ready to serve, and the credentials of the app that was made when none was given."""
    journal = _open_journal(settings)
    starts = journal.count_start() if journal is not None else 0
    tenant = Tenant(
        clock=Clock(time.time),
        seed=f"{settings.seed}/{starts}" if starts > 1 else settings.seed,
        journal=journal,
        switches=settings.switches,
        tier=settings.tier,
        window_s=settings.window_s,
        only_tenant_id=settings.tenant_id,
        key_field=settings.key_field,
    )
    for text in settings.sites:
        _add_site(tenant, text)
    if journal is not None:
        journal.load(tenant)
    notes = _add_apps(tenant, settings)
    try:
        tenant.faults.add(settings.faults)
    except ValueError as error:
        raise UsageError(f"--faults: {error}") from None
    return tenant, notes


def _open_journal(settings: Settings) -> FileJournal | None:
    if settings.data is None:
        return None
    try:
        return FileJournal(settings.data)
    except ValueError as error:
        raise UsageError(f"--data: {error}") from None


def _add_site(tenant: Tenant, text: str) -> None:
    try:
        site = make_site(text, int(tenant.now()))
    except ValueError as error:
        raise UsageError(f"--site: {error}") from None
    tenant.sites.add(site)
    tenant.sites.add(make_site(site.host, site.created))


def _add_apps(tenant: Tenant, settings: Settings) -> dict[str, Any]:
    now = tenant.now()
    for client in settings.clients:
        app = tenant.add_app(client.client_id)
        if client.secret and all(s.text != client.secret for s in app.secrets):
            app.secrets.append(_make_secret(tenant, client.secret, now))
    for client_id, path in settings.certificates:
        key = _read_key(tenant, client_id, path.read_bytes(), now)
        app = tenant.add_app(client_id)
        if all(known.certificate != key.certificate for known in app.keys):
            app.keys.append(key)
    for client_id, path in settings.federations:
        tenant.add_app(client_id).federations.append(_read_federation(client_id, path.read_bytes()))
    notes: dict[str, Any] = {}
    if not (settings.clients or settings.certificates or settings.federations):
        secret = f"sim-{random.Random(f'{settings.seed}:secret').getrandbits(160):040x}"
        app = tenant.add_app("00000000-0000-4000-8000-000000000001", "Demo app")
        app.secrets = [_make_secret(tenant, secret, now)]
        notes = {"client_id": app.client_id, "client_secret": secret}
    for client_id, roles in settings.roles:
        tenant.add_app(client_id).roles = roles
    return notes


def _make_secret(tenant: Tenant, text: str, now: float) -> Secret:
    return Secret(tenant.new_id(), text, "command line", now, now + _TEN_YEARS_S, 0.0)


def _read_key(tenant: Tenant, client_id: str, pem: bytes, now: float) -> Key:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise UsageError(f"--client-cert {client_id}: the file holds no certificate in PEM form") from None
    end = certificate.not_valid_after_utc.timestamp()
    return Key(tenant.new_id(), certificate.public_bytes(Encoding.DER), "command line", now, end, 0.0)


def _read_federation(client_id: str, raw: bytes) -> FederatedIdentity:
    """`{"issuer", "subject", "audience", "jwks"}`; without jwks the signature is not looked at."""
    try:
        given = orjson.loads(raw)
        audience = str(given.get("audience", "api://AzureADTokenExchange"))
        return FederatedIdentity(str(given["issuer"]), str(given["subject"]), audience, given.get("jwks"))
    except (ValueError, KeyError, AttributeError):
        raise UsageError(f"--federated {client_id}: the file needs issuer and subject as JSON") from None
