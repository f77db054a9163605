"""What a process answers on ``run.listen``: its metrics, and Graph's notifications.

In: HTTP requests. Out: Prometheus text; whatever the receiver that is in place answers. Rules: one address and one
thread a process, whatever runs of the flow come and go; a taken port is logged and does no harm; no request is read
further than its bound, and none holds another up.
"""

import asyncio
import threading
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from connectors.loops import Loop
from state import failpoints

log = structlog.get_logger()

MOST_BYTES: Final = 256 << 10
"""No body is read further: a notification has a few hundred bytes, and they come a few at a time."""
_BODY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status and plain text."""

    status: int
    text: str = ""


class Answers(Protocol):
    """Who answers POSTs (`connectors.graph.webhook_receiver`); it never waits."""

    def answer(self, path: str, token: str | None, body: bytes) -> HttpAnswer:
        """The answer to a POST; ``token`` is its validationToken."""


class _Address:
    """One address that is listened on, for as long as the process lives."""

    def __init__(self, listen: str) -> None:
        self._listen = listen
        self._loop = Loop(failpoints.LOOP_LISTEN, lambda: asyncio.run(self._serve()), threading.Event())
        self._loop.start()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_get("/{path:.*}", _metrics)
        app.router.add_post("/{path:.*}", _receive)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        address, _, port = self._listen.rpartition(":")
        try:
            await web.TCPSite(runner, address.strip("[]") or "127.0.0.1", int(port)).start()
        except OSError as error:
            log.warning("metrics not served", listen=self._listen, problem=error.strerror)
            await runner.cleanup()
            return
        await asyncio.Event().wait()


async def _metrics(request: web.Request) -> web.Response:
    encode, kind = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(REGISTRY), headers={"Content-Type": kind})


async def _receive(request: web.Request) -> web.Response:
    receiver = _receiver.get("receiver")
    if receiver is None:
        return web.Response(status=404)
    async with asyncio.timeout(_BODY_S):
        body = await request.read()
    answer = receiver.answer(request.path, request.query.get("validationToken"), body)
    return web.Response(status=answer.status, text=answer.text, headers={"X-Content-Type-Options": "nosniff"})


_served: Final[dict[str, _Address]] = {}
_receiver: Final[dict[str, Answers]] = {}


def serve(listen: str) -> None:
    """Listen on ``address:port``, once in a process."""
    if listen not in _served:
        _served[listen] = _Address(listen)


def receive_by(receiver: Answers | None) -> None:
    """Have POSTs answered by this receiver from now on; None: by nobody."""
    if receiver is None:
        _receiver.clear()
    else:
        _receiver["receiver"] = receiver
