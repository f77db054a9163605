"""Whether a request may use the control side: it has no sign-in, and a browser sends what any page tells it to.

In: a request, the names that the command line gives this machine. Out: None, or one sentence of refusal. Rules: the
`Host` is an address or a known name, since a stranger's page may have its own name lead here (DNS rebinding); an
`Origin`, which browsers add to what changes something, is the simulator's own.
"""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import web

from graphsim.http.addresses import PublicAddress


class ControlGuard:
    """Knows the names of this machine; addresses need no name."""

    def __init__(self, names: Iterable[str], address: PublicAddress) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._address = address

    def refusal(self, request: web.BaseRequest) -> str | None:
        """Why the request is refused; None for one that comes from where it may."""
        asked = self._address.asked(request)
        host = _host_of(asked)
        if not (_is_address(host) or host in self._names):
            return f"the control side is not known as '{host}' here; name it with --tls-name or --public-url"
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() not in {asked.lower(), (self._address.url or asked).lower()}:
            return "the control side takes no requests of other pages"
        return None


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
