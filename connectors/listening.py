"""What a process answers on ``run.listen``: whether it lives and works, its metrics, and Graph's notifications.

In: HTTP requests. Out: `/livez`, `/readyz`, `/healthz` (`Probed`), `/metrics` (Prometheus text); whatever the receiver
that is in place answers to POSTs; 404 for every other path. Rules: one address and one thread a process, whatever runs
of the flow come and go; a taken port is logged, tried again and does no harm; no request is read further than its
bound, and none holds another up; nothing here waits for anything outside the process; only loopback is told names.
"""

import asyncio
import ipaddress
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
import structlog
from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from connectors.liveness import LOOK_S
from connectors.loops import Loop
from state import failpoints, pulse

log = structlog.get_logger()

MOST_BYTES: Final = 256 << 10
"""No body is read further: a notification has a few hundred bytes, and they come a few at a time."""
_BODY_S: Final = 10.0
AGAIN_S: Final = 2.0
"""Seconds until a taken port is tried again."""
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
"""A request with one of these comes from elsewhere, though it came over loopback."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status and plain text."""

    status: int
    text: str = ""


class Answers(Protocol):
    """Who answers POSTs (`connectors.graph.webhook_receiver`); it never waits."""

    def answer(self, path: str, token: str | None, body: bytes) -> HttpAnswer:
        """The answer to a POST; ``token`` is its validationToken."""


class Probed(Protocol):
    """What is known of the process (`flows.probes`); nothing of it waits."""

    def look(self) -> None:
        """Called once a second."""

    def why_dead(self) -> Sequence[str]:
        """Codes of what only a restart mends; none: it lives."""

    def why_unready(self) -> Sequence[str]:
        """Codes of why it does not do its work; none: it does."""

    def document(self, *, with_names: bool) -> Mapping[str, Any]:
        """Counts and codes, and names if they may be told."""


class _Address:
    """One address that is listened on, for as long as the process lives."""

    def __init__(self, listen: str, health: Probed) -> None:
        self._listen = listen
        self._health = health
        self._loop = Loop(failpoints.LOOP_LISTEN, lambda: asyncio.run(self._serve()), threading.Event())
        self._loop.start()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", _metrics)
        app.router.add_get("/{path:.*}", _unknown)
        app.router.add_post("/{path:.*}", _receive)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        serving = asyncio.create_task(self._listen_on(runner))
        try:
            while True:  # also where no port is to be had: what is stuck is said in the log
                pulse.tick()
                self._health.look()
                await asyncio.sleep(LOOK_S)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await runner.cleanup()

    async def _listen_on(self, runner: web.AppRunner) -> None:
        """Until the port is had: another process that has it may be about to end."""
        address, _, port = self._listen.rpartition(":")
        is_said = False
        while True:
            try:
                await web.TCPSite(runner, address.strip("[]") or "127.0.0.1", int(port)).start()
                return
            except OSError as error:
                if not is_said:
                    log.warning("metrics not served", listen=self._listen, problem=error.strerror)
                is_said = True
            await asyncio.sleep(AGAIN_S)

    async def _livez(self, _request: web.Request) -> web.Response:
        return _answer_to_probe(self._health.why_dead(), "live")

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _answer_to_probe(self._health.why_unready(), "ready")

    async def _healthz(self, request: web.Request) -> web.Response:
        document = self._health.document(with_names=_is_of_this_machine(request))
        return web.Response(body=orjson.dumps(document, default=str), content_type="application/json")


def _answer_to_probe(codes: Sequence[str], well: str) -> web.Response:
    """200, or 503 with a line for each code."""
    return web.Response(status=503 if codes else 200, text="".join(f"{line}\n" for line in codes or [well]))


def _is_of_this_machine(request: web.Request) -> bool:
    """Whether the request was made on this machine: over loopback, and by no proxy there."""
    try:
        is_loopback = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False
    return is_loopback and not any(name in request.headers for name in _FORWARDED)


async def _metrics(request: web.Request) -> web.Response:
    encode, kind = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(REGISTRY), headers={"Content-Type": kind})


async def _unknown(_request: web.Request) -> web.Response:
    return web.Response(status=404)


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


def serve(listen: str, health: Probed) -> None:
    """Listen on ``address:port``, once in a process."""
    if listen not in _served:
        _served[listen] = _Address(listen, health)


def receive_by(receiver: Answers | None) -> None:
    """Have POSTs answered by this receiver from now on; None: by nobody."""
    if receiver is None:
        _receiver.clear()
    else:
        _receiver["receiver"] = receiver
