"""One request and its answer, free of HTTP: `endpoint` reads them off a socket, `batch` takes them out of a body.

In: method, path below `/v1.0`, query, headers, parsed JSON. Out: `ApiCall` for the handlers, `ApiReply` back. Rule: a
member of a batch is the same `ApiCall` as a request of its own, so no handler can tell them apart.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, unquote_plus

from graphsim.http.errors import invalid
from graphsim.identity.app_registrations import App

JsonObject = dict[str, Any]
# The key under which `parse_query` tells which option was given twice; no option can have this name.
REPEATED = "$repeated"


@dataclass(slots=True)
class ApiCall:
    """A request: `segments` are the unquoted path parts below `/v1.0`, header names are lower case."""

    method: str
    path: str
    segments: list[str]
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any
    base: str
    app: App
    is_member: bool = False

    def object_body(self) -> JsonObject:
        """The body; GraphError 400 when it is not a JSON object."""
        if not isinstance(self.body, dict):
            raise invalid("The request body must be a JSON object")
        return self.body


@dataclass(slots=True)
class ApiReply:
    """An answer; `hold_s` delays it after the work is done, `unlock` names a list whose schema change ends with it.

    `pending` is work that needs the network: it is awaited before the answer is sent, and gives the real answer.
    """

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hold_s: float = 0.0
    unlock: str | None = None
    pending: Callable[[], Awaitable["ApiReply"]] | None = None


def split_target(target: str) -> tuple[str, list[str], dict[str, str]]:
    """Path, unquoted segments and query of a relative URL. SDKs send `%2C` and `%24expand`; both forms are read."""
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        path = "/" + path
    parts = path[1:].split("/")
    segments = [unquote(p) for p in parts] if "%" in path else parts
    if segments and not segments[-1]:
        segments.pop()
    return path, segments, parse_query(query) if query else {}


def parse_query(query: str) -> dict[str, str]:
    """Query options by lower-case name; `expand` and `$expand` are the same option (the `$` is optional in v1.0)."""
    out: dict[str, str] = {}
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            name = unquote_plus(name).removeprefix("$").lower()
            if name in out:
                out[REPEATED] = name
            out[name] = unquote_plus(value)
    return out
