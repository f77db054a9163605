"""The command line, read and judged.

In: the arguments of `python -m graphsim`. Out: `Settings`, or `UsageError` with one clear sentence. Rule: secrets come
by reference (`env:NAME`, `file:PATH`), never as arguments.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import orjson

from graphsim.identity.permissions import KNOWN_ROLES
from graphsim.limits.throttle import TIERS
from graphsim.switches import Switches, apply_switches

# Thirty years, in seconds.
_MOST = 1e9


class UsageError(Exception):
    """One sentence for the person who typed the command."""


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """An app: its secret, certificates (PEM files) and federations (JSON files), and its roles."""

    client_id: str
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line as values, each already judged."""

    host: str
    port: int
    auth_port: int
    tls: bool
    public_url: str | None
    trusts_forwarded: bool
    names: tuple[str, ...]
    ca_out: Path | None
    sites: tuple[str, ...]
    clients: tuple[ClientSpec, ...]
    certificates: tuple[tuple[str, Path], ...]
    federations: tuple[tuple[str, Path], ...]
    roles: tuple[tuple[str, frozenset[str]], ...]
    tenant_id: str | None
    tier: str
    window_s: float
    latency_ms: float
    seed: int
    key_field: str
    faults: Any
    switches: Switches
    data: Path | None
    parent_pid: int | None


class _ArgumentParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _ArgumentParser(
        prog="python -m graphsim", description="Simulates SharePoint lists behind Microsoft Graph."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on")
    add("--port", type=int, default=0, help="port of the API (0: a free one)")
    add("--tls", action="store_true", help="the API over TLS too, with a certificate of the CA of --ca-out")
    add("--tls-name", action="append", default=[], metavar="NAME", help="one more name for the certificate")
    add("--public-url", metavar="URL", help="how clients reach the API, if not by the address they connect to")
    add("--trust-forwarded", action="store_true", help="build links from the Forwarded headers of a proxy")
    add("--auth-port", type=int, default=0, help="port of the token endpoint, over TLS (0: a free one)")
    add("--ca-out", type=Path, metavar="FILE", help="where the CA of the token endpoint is written")
    add("--site", action="append", default=[], metavar="HOST:/PATH", help="a site (repeatable)")
    add("--client", action="append", default=[], metavar="ID=env:NAME|file:PATH", help="an app and its secret")
    add("--client-cert", action="append", default=[], metavar="ID=FILE", help="an app and its certificate (PEM)")
    add("--federated", action="append", default=[], metavar="ID=FILE", help="an app and a trusted issuer (JSON)")
    add("--roles", action="append", default=[], metavar="ID=ROLE,ROLE", help="an app's roles (default: all)")
    add("--tenant", metavar="ID", help="the tenant (default: any is accepted)")
    add("--tier", choices=list(TIERS), default="1000", help="the tenant's licences, which set the quota")
    add("--window-s", type=float, default=60.0, help="length of a quota minute; the rate stays the same")
    add("--latency-ms", type=float, default=0.0, help="time every call takes")
    add("--seed", type=int, default=0, help="of all that is left to chance")
    add("--key-field", default="RowtideKey", help="the field by whose value POSTs are counted")
    add("--faults", type=Path, metavar="FILE", help="fault rules as JSON")
    add("--switch", action="append", default=[], metavar="NAME=VALUE", help="see docs/graphsim.md (repeatable)")
    add("--data", type=Path, metavar="FILE", help="keep everything in this file across restarts")
    add("--die-with-parent", nargs="?", type=int, const=0, metavar="PID", help="end when the parent process ends")
    return parser


def read_settings(arguments: list[str]) -> Settings:
    """The settings of a command line; `UsageError` with one sentence for a bad one."""
    given = _parser().parse_args(arguments)
    if not 0 < given.window_s <= _MOST or not 0 <= given.latency_ms <= _MOST:
        raise UsageError(f"--window-s must be positive and --latency-ms not negative, and neither above {_MOST:g}")
    for name in ("port", "auth_port"):
        if not 0 <= getattr(given, name) <= 65535:
            raise UsageError(f"--{name.replace('_', '-')} must be between 0 and 65535")
    return Settings(
        host=given.host,
        port=given.port,
        auth_port=given.auth_port,
        tls=given.tls,
        public_url=_to_url(given.public_url),
        trusts_forwarded=given.trust_forwarded,
        names=tuple(given.tls_name),
        ca_out=given.ca_out,
        sites=tuple(given.site) or ("contoso.sharepoint.com:/sites/demo",),
        clients=tuple(_to_client(text) for text in given.client),
        certificates=tuple(_to_file(text, "--client-cert") for text in given.client_cert),
        federations=tuple(_to_file(text, "--federated") for text in given.federated),
        roles=tuple(_to_roles(text) for text in given.roles),
        tenant_id=given.tenant,
        tier=given.tier,
        window_s=given.window_s,
        latency_ms=given.latency_ms,
        seed=given.seed,
        key_field=given.key_field,
        faults=_read_faults(given.faults),
        switches=_to_switches(given.switch),
        data=given.data,
        parent_pid=os.getppid() if given.die_with_parent == 0 else given.die_with_parent,
    )


def _split(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"{option} is written NAME=VALUE, not '{text}'")
    return name, value


def _to_url(text: str | None) -> str | None:
    """The address without a path: `/v1.0` and the others are added to it."""
    if text is None:
        return None
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise UsageError(f"--public-url is written https://HOST[:PORT], not '{text}'")
    return f"{parts.scheme}://{parts.netloc}"


def _to_client(text: str) -> ClientSpec:
    client_id, reference = _split(text, "--client")
    kind, _, where = reference.partition(":")
    if kind == "env":
        secret = os.environ.get(where)
        if not secret:
            raise UsageError(f"--client {client_id}: the environment variable '{where}' is not set")
    elif kind == "file":
        try:
            secret = Path(where).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"--client {client_id}: '{where}' cannot be read: {error.strerror}") from None
    else:
        raise UsageError(f"--client {client_id}: the secret is given as env:NAME or file:PATH")
    return ClientSpec(client_id, secret)


def _to_file(text: str, option: str) -> tuple[str, Path]:
    client_id, where = _split(text, option)
    if not Path(where).is_file():
        raise UsageError(f"{option} {client_id}: there is no file '{where}'")
    return client_id, Path(where)


def _to_roles(text: str) -> tuple[str, frozenset[str]]:
    client_id, names = _split(text, "--roles")
    roles = frozenset(role.strip() for role in names.split(",") if role.strip())
    unknown = sorted(roles - KNOWN_ROLES)
    if unknown:
        known = ", ".join(sorted(KNOWN_ROLES))
        raise UsageError(f"--roles {client_id}: there is no role '{unknown[0]}'; there are {known}")
    return client_id, roles


def _read_faults(path: Path | None) -> Any:
    if path is None:
        return []
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"--faults: '{path}' cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise UsageError(f"--faults: '{path}' is no JSON: {error}") from None


def _to_switches(given: list[str]) -> Switches:
    switches = Switches()
    try:
        apply_switches(switches, dict(_split(text, "--switch") for text in given))
    except ValueError as error:
        raise UsageError(f"--switch: {error}") from None
    return switches
