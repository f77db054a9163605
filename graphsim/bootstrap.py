"""From settings to a world: sites, apps, rules, and what a data file still holds.

In: `Settings`. Out: a `World` ready to serve, and notes for the ready line. Rule: without `--client` one app with a
secret of its own is made, and both are told in the ready line, so that a newcomer needs no arguments at all.
"""

import random
import time
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from graphsim.clock import Clock
from graphsim.identity.app_registrations import Federation, Key, Secret
from graphsim.lists.sites import make_site
from graphsim.settings import Settings, UsageError
from graphsim.store import Store
from graphsim.tenant import World

_TEN_YEARS_S = 10 * 365 * 86400.0


def make_world(settings: Settings) -> tuple[World, dict[str, Any]]:
    store = _open_store(settings)
    starts = store.count_start() if store is not None else 0
    world = World(
        clock=Clock(time.time),
        seed=f"{settings.seed}/{starts}" if starts > 1 else settings.seed,
        journal=store,
        switches=settings.switches,
        tier=settings.tier,
        window_s=settings.window_s,
        tenant=settings.tenant,
        key_field=settings.key_field,
    )
    for text in settings.sites:
        _add_site(world, text)
    if store is not None:
        store.load(world)
    notes = _add_apps(world, settings)
    try:
        world.faults.add(settings.faults)
    except ValueError as error:
        raise UsageError(f"--faults: {error}") from None
    return world, notes


def _open_store(settings: Settings) -> Store | None:
    if settings.data is None:
        return None
    try:
        return Store(settings.data)
    except ValueError as error:
        raise UsageError(f"--data: {error}") from None


def _add_site(world: World, text: str) -> None:
    try:
        site = make_site(text, int(world.now()))
    except ValueError as error:
        raise UsageError(f"--site: {error}") from None
    world.add_site(site)
    world.add_site(make_site(site.host, site.created))


def _add_apps(world: World, settings: Settings) -> dict[str, Any]:
    now = world.now()
    for client in settings.clients:
        app = world.add_app(client.client_id)
        if client.secret and all(s.text != client.secret for s in app.secrets):
            app.secrets.append(_make_secret(world, client.secret, now))
    for client_id, path in settings.certificates:
        key = _read_key(world, client_id, path.read_bytes(), now)
        app = world.add_app(client_id)
        if all(known.certificate != key.certificate for known in app.keys):
            app.keys.append(key)
    for client_id, path in settings.federations:
        world.add_app(client_id).federations.append(_read_federation(client_id, path.read_bytes()))
    notes: dict[str, Any] = {}
    if not (settings.clients or settings.certificates or settings.federations):
        secret = f"sim-{random.Random(f'{settings.seed}:secret').getrandbits(160):040x}"
        app = world.add_app("00000000-0000-4000-8000-000000000001", "Demo app")
        app.secrets = [_make_secret(world, secret, now)]
        notes = {"client_id": app.client_id, "client_secret": secret}
    for client_id, roles in settings.roles:
        world.add_app(client_id).roles = roles
    return notes


def _make_secret(world: World, text: str, now: float) -> Secret:
    return Secret(world.new_id(), text, "command line", now, now + _TEN_YEARS_S, 0.0)


def _read_key(world: World, client_id: str, pem: bytes, now: float) -> Key:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise UsageError(f"--client-cert {client_id}: the file holds no certificate in PEM form") from None
    end = certificate.not_valid_after_utc.timestamp()
    return Key(world.new_id(), certificate.public_bytes(Encoding.DER), "command line", now, end, 0.0)


def _read_federation(client_id: str, raw: bytes) -> Federation:
    """`{"issuer", "subject", "audience", "jwks"}`; without jwks the signature is not looked at."""
    try:
        given = orjson.loads(raw)
        audience = str(given.get("audience", "api://AzureADTokenExchange"))
        return Federation(str(given["issuer"]), str(given["subject"]), audience, given.get("jwks"))
    except (ValueError, KeyError, AttributeError):
        raise UsageError(f"--federated {client_id}: the file needs issuer and subject as JSON") from None
