"""The process: the listeners of the API and of the token endpoint, the ready line, a clean end.

In: `Settings`. Out: an exit code; on stdout one line of JSON once both ports listen. Rules: SIGTERM and SIGINT end with
0 and no traceback; the CA file is written before the ready line, so whoever reads the line can use the file.
"""

import asyncio
import contextlib
import gc
import signal
import ssl
import sys
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from graphsim import page_server, parent_watch
from graphsim.bootstrap import make_tenant
from graphsim.control import PREFIX as CONTROL_PREFIX
from graphsim.control import ControlSide
from graphsim.control_guard import ControlGuard
from graphsim.http.addresses import PublicAddress
from graphsim.http.endpoint import PREFIX, Endpoint
from graphsim.identity.authority import TokenEndpoint
from graphsim.identity.certificates import make_authority
from graphsim.settings import Settings, UsageError
from graphsim.tenant import Tenant
from graphsim.webhooks.webhook_sender import Notifier

_MAX_BYTES = 32 * 1024 * 1024


class Router:
    """The first part of the path decides: Graph, control, page."""

    def __init__(self, tenant: Tenant, notifier: Notifier, settings: Settings) -> None:
        address = PublicAddress(settings.public_url, settings.trusts_forwarded)
        self._endpoint = Endpoint(tenant, settings.latency_ms / 1000, address)
        guard = ControlGuard([*_certificate_names(settings), settings.host], address)
        self._control = ControlSide(tenant, self._endpoint, notifier, guard)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Hands the request to the part that its path names; Graph refuses addresses below any other version."""
        if request.path.startswith(CONTROL_PREFIX):
            return await self._control.handle(request)
        if request.path == PREFIX or request.path.count("/") > 1:
            return await self._endpoint.handle(request)
        return page_server.answer(request)


def _make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """With room for a batch of four megabytes: `endpoint` refuses a larger one in Graph's words."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BYTES)


async def _listen(
    runners: contextlib.AsyncExitStack, handler: Any, host: str, port: int, context: ssl.SSLContext | None
) -> int:
    """The port listened on; the stack closes the listener."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer: web.StreamResponse = await handler(request)
        except ConnectionResetError:  # the client died in mid-request: nobody reads this
            return web.Response(status=400)
        return answer

    server = web.Server(handle, access_log=None, request_factory=_make_request)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    runners.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, host, port, ssl_context=context)
    try:
        await site.start()
    except OSError as error:
        raise UsageError(f"port {port} of {host} cannot be used: {error.strerror}") from None
    return int(runner.addresses[0][1])


async def _run(settings: Settings) -> None:
    tenant, notes = make_tenant(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(tenant.journal.close)
        notifier = Notifier(tenant)
        stack.push_async_callback(notifier.close)
        authority = make_authority(_certificate_names(settings))
        router = Router(tenant, notifier, settings)
        api_context = authority.context if settings.tls else None
        port = await _listen(stack, router.handle, settings.host, settings.port, api_context)
        token_endpoint = TokenEndpoint(tenant)
        auth_port = await _listen(stack, token_endpoint.handle, settings.host, settings.auth_port, authority.context)
        here = "127.0.0.1" if settings.host in {"0.0.0.0", "127.0.0.1"} else settings.host
        own = settings.public_url or f"{'https' if settings.tls else 'http'}://{here}:{port}"
        ready = {
            "base_url": f"{own}/v1.0",
            "authority": f"https://{here}:{auth_port}",
            "ca_file": _write_ca(settings, authority.ca_pem),
            "ui_url": f"{own}/",
            "control_url": f"{own}{CONTROL_PREFIX.rstrip('/')}",
            "sites": [tenant.sites.to_text(site_id) for site_id in tenant.sites.by_id],
            **notes,
        }
        await _serve(settings, tenant, notifier, ready)


def _certificate_names(settings: Settings) -> list[str]:
    """Under which names clients reach this machine: loopback, and what the command line adds."""
    public = urlsplit(settings.public_url or "").hostname
    return list(dict.fromkeys(["127.0.0.1", "localhost", *settings.names, *([public] if public else [])]))


async def _serve(settings: Settings, tenant: Tenant, notifier: Notifier, ready: dict[str, Any]) -> None:
    """Says that it is ready, and waits for a signal."""
    stop = asyncio.Event()
    _end_by_signal(asyncio.get_running_loop(), stop)
    tasks = [asyncio.create_task(notifier.run()), asyncio.create_task(tenant.lists.free_deleted())]
    if settings.parent_pid is not None:
        tasks.append(asyncio.create_task(parent_watch.watch(settings.parent_pid)))
    _collect_new_objects_only()
    sys.stdout.write(orjson.dumps(ready).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    for task in tasks:
        task.cancel()


def _collect_new_objects_only() -> None:
    """Items live long and form no cycles; a collection that looks at a million of them takes half a second."""
    gc.freeze()
    gc.set_threshold(50_000, 2, 50)
    gc.callbacks.append(_freeze_survivors)


def _freeze_survivors(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] > 0:
        gc.freeze()


def _end_by_signal(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """The handlers outlive the loop, so that a second signal while the process ends changes nothing."""

    def end(*_: object) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def _write_ca(settings: Settings, pem: bytes) -> str | None:
    if settings.ca_out is None:
        return None
    try:
        settings.ca_out.write_bytes(pem)
    except OSError as error:
        raise UsageError(f"--ca-out: '{settings.ca_out}' cannot be written: {error.strerror}") from None
    return str(settings.ca_out)


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; the exit code."""
    if settings.parent_pid is not None:
        parent_watch.ask_for_signal(settings.parent_pid)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(settings))
    # A second signal while the interpreter ends must not turn the exit code into "killed".
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    return 0
