"""The address under which clients know the simulator: links in answers are built from it.

In: a request, `--public-url`, `--trust-forwarded`. Out: the address of the API. Rules: without an option a link begins
with what the client itself used (scheme of the connection, `Host` header); forwarded headers count only when the
command line says that a proxy sets them, because anybody can send them.
"""

import re
from dataclasses import dataclass

from aiohttp import web

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """`url` is the whole address without `/v1.0`, when the command line gives one."""

    url: str | None = None
    trusts_forwarded: bool = False

    def of(self, request: web.BaseRequest) -> str:
        """Scheme, host and port for the links of the answer to this request."""
        return self.asked(request) if self.url is None else self.url

    def asked(self, request: web.BaseRequest) -> str:
        """The same by what the client itself used, whatever the command line says."""
        scheme, host = request.scheme, request.host
        if self.trusts_forwarded:
            scheme, host = _forwarded(request, scheme, host)
        if scheme not in {"http", "https"} or not _HOST.fullmatch(host):
            scheme, host = request.scheme, _own_host(request)
        return f"{scheme}://{host}"


def _forwarded(request: web.BaseRequest, scheme: str, host: str) -> tuple[str, str]:
    """What the nearest proxy says: `Forwarded` (RFC 7239), or the older `X-Forwarded-` headers."""
    if request.forwarded:
        nearest = request.forwarded[-1]
        return nearest.get("proto", scheme).lower(), nearest.get("host", host)
    given = (request.headers.get("X-Forwarded-Proto", scheme), request.headers.get("X-Forwarded-Host", host))
    proto, named = (text.split(",")[-1].strip() for text in given)
    return proto.lower(), named


def _own_host(request: web.BaseRequest) -> str:
    """The address listened on, for a `Host` header that is no host."""
    own = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return f"{own[0]}:{own[1]}" if own else "127.0.0.1"
