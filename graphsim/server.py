"""The process: two listeners on 127.0.0.1, the ready line, a clean end.

In: `Settings`. Out: an exit code; on stdout one line of JSON once both ports listen. Rules: SIGTERM and SIGINT end with
0 and no traceback; the CA file is written before the ready line, so whoever reads the line can use the file.
"""

import asyncio
import contextlib
import gc
import signal
import sys
from typing import Any

import orjson
from aiohttp import web

from graphsim import page, parent_watch
from graphsim.bootstrap import make_tenant
from graphsim.control import PREFIX as CONTROL_PREFIX
from graphsim.control import ControlSide
from graphsim.http.endpoint import PREFIX, Endpoint
from graphsim.identity.authority import TokenEndpoint
from graphsim.identity.certificates import make_authority
from graphsim.settings import Settings, UsageError
from graphsim.tenant import Tenant
from graphsim.webhooks.webhook_sender import Notifier

_MAX_BYTES = 32 * 1024 * 1024


class Router:
    """The first part of the path decides: Graph, control, page."""

    def __init__(self, tenant: Tenant, notifier: Notifier, latency_s: float) -> None:
        self._endpoint = Endpoint(tenant, latency_s)
        self._control = ControlSide(tenant, self._endpoint, notifier)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Hands the request to the part that its path names."""
        if request.path.startswith(PREFIX + "/"):
            return await self._endpoint.handle(request)
        if request.path.startswith(CONTROL_PREFIX):
            return await self._control.handle(request)
        return page.answer(request)


def _make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """With room for a batch of four megabytes: `endpoint` refuses a larger one in Graph's words."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BYTES)


async def _listen(runners: contextlib.AsyncExitStack, handler: Any, port: int, context: Any = None) -> int:
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
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
    try:
        await site.start()
    except OSError as error:
        raise UsageError(f"port {port} of 127.0.0.1 cannot be used: {error.strerror}") from None
    return int(runner.addresses[0][1])


async def _run(settings: Settings) -> None:
    tenant, notes = make_tenant(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(tenant.journal.close)
        notifier = Notifier(tenant)
        stack.push_async_callback(notifier.close)
        authority = make_authority()
        router = Router(tenant, notifier, settings.latency_ms / 1000)
        port = await _listen(stack, router.handle, settings.port)
        auth_port = await _listen(stack, TokenEndpoint(tenant).handle, settings.auth_port, authority.context)
        ready = {
            "base_url": f"http://127.0.0.1:{port}/v1.0",
            "authority": f"https://127.0.0.1:{auth_port}",
            "ca_file": _write_ca(settings, authority.ca_pem),
            "ui_url": f"http://127.0.0.1:{port}/",
            "control_url": f"http://127.0.0.1:{port}{CONTROL_PREFIX.rstrip('/')}",
            "sites": [tenant.sites.to_text(site_id) for site_id in tenant.sites.by_id],
            **notes,
        }
        await _serve(settings, notifier, ready)


async def _serve(settings: Settings, notifier: Notifier, ready: dict[str, Any]) -> None:
    """Says that it is ready, and waits for a signal."""
    stop = asyncio.Event()
    _end_by_signal(asyncio.get_running_loop(), stop)
    tasks = [asyncio.create_task(notifier.run())]
    if settings.parent_pid is not None:
        tasks.append(asyncio.create_task(parent_watch.watch(settings.parent_pid)))
    # Many small objects live long here, and collecting them often would only cost time.
    gc.set_threshold(50_000, 20, 50)
    sys.stdout.write(orjson.dumps(ready).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    for task in tasks:
        task.cancel()


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
