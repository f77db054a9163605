"""A server that stands in Graph's place and answers what a test tells it to, and another one beside it.

In: by path what is answered. Out: `Hostile`, with whatever was asked of either server. Rule: real sockets; the token
comes from the simulator, so that it is one that somebody could use.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SITE_ID = "contoso,site"
SITE_PATH = "/sites/contoso.sharepoint.com:/sites/ops"
LISTS_PATH = f"/sites/{SITE_ID}/lists"
COLUMNS_PATH = f"{LISTS_PATH}/orders-id/columns"
ORDERS = {"id": "orders-id", "displayName": "Orders"}

Answer = Callable[["Hostile", web.Request], web.StreamResponse | dict[str, Any]]


@dataclass
class Hostile:
    """Both servers: their addresses, the paths that were asked in Graph's place, the tokens that came elsewhere."""

    answers: Mapping[str, Answer]
    base_url: str = ""
    elsewhere: str = ""
    asked: list[str] = field(default_factory=list)
    led_away: list[str | None] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """An answer in Graph's place."""
        path = request.path.removeprefix("/v1.0")
        self.asked.append(path)
        made = self.answers[path](self, request)
        return web.json_response(made) if isinstance(made, dict) else made

    async def serve_elsewhere(self, request: web.Request) -> web.StreamResponse:
        """An answer of the other server: it notes the token."""
        self.led_away.append(request.headers.get("Authorization"))
        return web.json_response({"value": []})


def usual(**answers: Answer) -> dict[str, Answer]:
    """A site with a list and no columns, and ``site``, ``lists`` or ``columns`` in the place of their usual answers."""
    paths = {"site": SITE_PATH, "lists": LISTS_PATH, "columns": COLUMNS_PATH}
    found: dict[str, Answer] = {
        SITE_PATH: lambda *_: {"id": SITE_ID},
        LISTS_PATH: lambda *_: {"value": [ORDERS]},
        COLUMNS_PATH: lambda *_: {"value": []},
        f"{LISTS_PATH}/orders-id/items": lambda *_: {"value": []},
    }
    return found | {paths[name]: answer for name, answer in answers.items()}


@asynccontextmanager
async def running(answers: Mapping[str, Answer]) -> AsyncIterator[Hostile]:
    """The servers, until the block ends."""
    hostile = Hostile(answers)
    async with served(hostile.serve) as graph, served(hostile.serve_elsewhere) as elsewhere:
        hostile.base_url, hostile.elsewhere = f"http://127.0.0.1:{graph}/v1.0", f"http://127.0.0.1:{elsewhere}/v1.0"
        yield hostile


@asynccontextmanager
async def served(handler: Callable[[web.Request], Any], context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a port of its own."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await asyncio.shield(runner.cleanup())
