"""HTTP to calls and back: the only module that sees sockets of `/v1.0`.

In: aiohttp requests. Out: answers, or what a fault does to the connection (reset, truncation, garbage). Rules:
everything below `/v1.0` needs a bearer token; an answer leaves only after the journal has been flushed; every answer
carries `request-id` and the caller's `client-request-id`.
"""

import asyncio
from typing import Any

import orjson
from aiohttp import web

from graphsim.http import batch, errors, pipeline
from graphsim.http.request import Call, Reply, split_target
from graphsim.limits.faults import Fault
from graphsim.tenant import World

PREFIX = "/v1.0"
_JSON = "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8"
_MAX_BATCH_BYTES = 4 * 1024 * 1024


class Wire:
    """Answers requests below `/v1.0`; `latency_s` is spent half before and half after the work."""

    def __init__(self, world: World, latency_s: float) -> None:
        self._world = world
        self.latency_s = latency_s

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        world = self._world
        raw = await request.read()
        latency_s = self._latency()
        if latency_s:
            await asyncio.sleep(latency_s / 2)
        try:
            call = self._to_call(request, raw)
            served = await self._serve(call)
        except errors.GraphError as error:
            served = pipeline.Served(self._refuse(request, error))
        reply = served.reply
        if reply.hold_s:
            await asyncio.sleep(reply.hold_s)
        if reply.unlock:
            world.schema_busy.discard(reply.unlock)
        if latency_s:
            await asyncio.sleep(latency_s / 2)
        world.journal.flush()
        is_cut = served.wire is not None and served.wire.action == "reset"
        world.stats.http[(request.method, 0 if is_cut else reply.status)] += 1
        return await _send(request, self._to_response(request, reply), served.wire)

    def _latency(self) -> float:
        jitter = self._world.switches.latency_jitter
        return self.latency_s * (1 + jitter * self._world.chance.uniform(-1, 1)) if jitter else self.latency_s

    async def _serve(self, call: Call) -> pipeline.Served:
        if call.segments == ["$batch"] and call.method == "POST":
            return await self._serve_batch(call)
        return await pipeline.serve_with_faults(self._world, call)

    async def _serve_batch(self, call: Call) -> pipeline.Served:
        """The envelope may be struck by a fault of its own, before or after its members."""
        fault = pipeline.find_strike(self._world, call)
        if fault is not None and not fault.after_commit:
            if fault.action == "delay":
                await asyncio.sleep(fault.delay_ms / 1000)
                return await batch.run(self._world, call)
            return await pipeline.suffer(self._world, call, fault)
        served = await batch.run(self._world, call)
        if fault is not None:
            self._world.stats.answers[("POST", served.reply.status)] += fault.action == "status"
            return await pipeline.suffer_after(self._world, call, fault, served.reply)
        return served

    def _to_call(self, request: web.BaseRequest, raw: bytes) -> Call:
        world = self._world
        app = world.tokens.check(request.headers.get("Authorization"), world.now())
        path, segments, query = split_target(request.raw_path[len(PREFIX) :])
        body = None
        if raw:
            if segments == ["$batch"] and len(raw) > _MAX_BATCH_BYTES:
                raise errors.GraphError(413, "RequestEntityTooLarge", "The batch is larger than 4 MB")
            body = self._to_json(request, raw)
        headers = {name.lower(): value for name, value in request.headers.items()}
        base = f"{request.scheme}://{request.host}{PREFIX}"
        return Call(request.method, path, segments, query, headers, body, base, app)

    def _to_json(self, request: web.BaseRequest, raw: bytes) -> Any:
        if "json" not in request.headers.get("Content-Type", "").lower():
            raise errors.GraphError(415, "UnsupportedMediaType", "The body must be application/json")
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise errors.GraphError(400, "BadRequest", "Unable to read JSON request payload.") from None

    def _refuse(self, request: web.BaseRequest, error: errors.GraphError) -> Reply:
        """Answers of calls that never reached the gate: no token, no JSON, no valid envelope."""
        self._world.stats.answers[(request.method, error.status)] += 1
        request_id = self._world.request_id()
        client_id = request.headers.get("client-request-id") or request_id
        body = errors.to_body(
            error,
            request_id=request_id,
            client_id=client_id,
            now=self._world.now(),
            inner_name=self._world.switches.error_spelling,
        )
        return Reply(error.status, body, {**error.headers, "request-id": request_id})

    def _to_response(self, request: web.BaseRequest, reply: Reply) -> web.Response:
        headers = dict(reply.headers)
        request_id = headers.setdefault("request-id", self._world.request_id())
        headers.setdefault("client-request-id", request.headers.get("client-request-id") or request_id)
        headers["x-ms-ags-diagnostic"] = '{"ServerInfo":{"DataCenter":"Simulator","Slice":"E","Ring":"0"}}'
        if reply.body is None:
            return web.Response(status=reply.status, headers=headers)
        headers["Content-Type"] = _JSON
        headers["OData-Version"] = "4.0"
        if isinstance(reply.body, dict) and isinstance(etag := reply.body.get("@odata.etag"), str):
            headers["ETag"] = etag
        body = reply.body.encode() if isinstance(reply.body, str) else orjson.dumps(reply.body)
        return web.Response(status=reply.status, headers=headers, body=body)


async def _send(request: web.BaseRequest, response: web.Response, fault: Fault | None) -> web.StreamResponse:
    if fault is None:
        return response
    if fault.action == "reset":
        return reset(request)
    body = response.body if isinstance(response.body, bytes) else b""
    if fault.action == "garbage":
        response.body = b"<html><body>upstream said nothing useful" + bytes(range(128, 160))
        return response
    keep = len(body) // 2 if fault.keep_bytes is None else fault.keep_bytes
    return await _truncate(request, response, body[:keep])


def reset(request: web.BaseRequest) -> web.StreamResponse:
    """Ends the connection without an answer (RST where the system sends one)."""
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError


async def _truncate(request: web.BaseRequest, response: web.Response, part: bytes) -> web.StreamResponse:
    """Announces the whole body, sends a part, ends the connection."""
    size = len(response.body) if isinstance(response.body, bytes) else 0
    headers = {k: v for k, v in response.headers.items() if k.lower() != "content-length"}
    stream = web.StreamResponse(status=response.status, headers=headers)
    stream.content_length = max(size, 1)
    await stream.prepare(request)
    if part:
        await stream.write(part)
    if request.transport is not None:
        request.transport.close()
    raise asyncio.CancelledError
