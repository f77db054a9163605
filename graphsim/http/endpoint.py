"""HTTP to calls and back: the only module that sees sockets of `/v1.0`.

In: aiohttp requests. Out: answers, or a faulted connection (reset, truncation, garbage). Rules: everything below
`/v1.0` needs a bearer token, and what stands below another version is refused; an answer leaves only after the journal
has been flushed; every answer carries `request-id` and the caller's `client-request-id`.
"""

import asyncio
from email.utils import formatdate
from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web

from graphsim.http import batch, errors, pipeline
from graphsim.http.addresses import PublicAddress
from graphsim.http.request import ApiCall, ApiReply, split_target
from graphsim.limits.faults import Fault
from graphsim.tenant import Tenant

PREFIX = "/v1.0"
_JSON = "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8"
_MAX_BATCH_BYTES = 4 * 1024 * 1024


class Endpoint:
    """Answers requests below `/v1.0`; `latency_s` is spent half before and half after the work."""

    def __init__(self, tenant: Tenant, latency_s: float, address: PublicAddress) -> None:
        self._tenant = tenant
        self._address = address
        self.latency_s = latency_s

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The way of one HTTP request: token, call, answer, journal, and a fault of the connection if one was drawn."""
        tenant = self._tenant
        latency_s = self._latency()
        if latency_s:
            await asyncio.sleep(latency_s / 2)
        try:
            call = self._to_call(request, await _read(request))
            served = await self._serve(call)
        except errors.GraphError as error:
            served = pipeline.Served(self._refuse(request, error))
        except Exception:
            served = pipeline.Served(self._refuse(request, pipeline.tell_defect(f"{request.method} {request.path}")))
        reply = served.reply
        try:
            if reply.hold_s:
                await asyncio.sleep(reply.hold_s)
        finally:
            if reply.unlock:
                tenant.schema_busy.discard(reply.unlock)
        if latency_s:
            await asyncio.sleep(latency_s / 2)
        tenant.journal.flush()
        is_cut = served.connection_fault is not None and served.connection_fault.action == "reset"
        tenant.stats.http[(request.method, 0 if is_cut else reply.status)] += 1
        return await _send(request, self._to_response(request, reply), served.connection_fault)

    def _latency(self) -> float:
        jitter = self._tenant.switches.latency_jitter
        return self.latency_s * (1 + jitter * self._tenant.chance.uniform(-1, 1)) if jitter else self.latency_s

    async def _serve(self, call: ApiCall) -> pipeline.Served:
        if call.segments == ["$batch"]:
            return await self._serve_batch(call)
        return await pipeline.serve_with_faults(self._tenant, call)

    async def _serve_batch(self, call: ApiCall) -> pipeline.Served:
        """The envelope may draw a fault of its own, before or after its members."""
        fault = pipeline.draw_fault(self._tenant, call)
        if fault is not None and not fault.after_commit:
            if fault.action == "delay":
                await asyncio.sleep(fault.delay_ms / 1000)
                return await batch.run(self._tenant, call)
            return await pipeline.apply_fault(self._tenant, call, fault)
        served = await batch.run(self._tenant, call)
        if fault is not None:
            self._tenant.stats.answers[(call.method, served.reply.status)] += fault.action == "status"
            return await pipeline.apply_fault_after_commit(self._tenant, call, fault, served.reply)
        return served

    def _to_call(self, request: web.BaseRequest, raw: bytes) -> ApiCall:
        tenant = self._tenant
        if not f"{request.path}/".startswith(PREFIX + "/"):
            raise errors.invalid_version()
        app = tenant.tokens.check(request.headers.get("Authorization"), tenant.now())
        path, segments, query = split_target(request.raw_path[len(PREFIX) :])
        body = None
        if raw:
            if segments == ["$batch"] and len(raw) > _MAX_BATCH_BYTES:
                raise errors.GraphError(413, "RequestEntityTooLarge", "The batch is larger than 4 MB")
            body = self._to_json(request, raw)
        headers = {name.lower(): value for name, value in request.headers.items()}
        base = self._address.of(request) + PREFIX
        return ApiCall(request.method, path, segments, query, headers, body, base, app)

    def _to_json(self, request: web.BaseRequest, raw: bytes) -> Any:
        if "json" not in request.headers.get("Content-Type", "").lower():
            raise errors.GraphError(415, "UnsupportedMediaType", "The body must be application/json")
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise errors.GraphError(400, "BadRequest", "Unable to read JSON request payload.") from None

    def _refuse(self, request: web.BaseRequest, error: errors.GraphError) -> ApiReply:
        """The answer of a call that never reached the pipeline: no token, no JSON, no valid envelope."""
        self._tenant.stats.answers[(request.method, error.status)] += 1
        request_id = self._tenant.request_id()
        client_id = request.headers.get("client-request-id") or request_id
        body = errors.to_body(
            error,
            request_id=request_id,
            client_id=client_id,
            now=self._tenant.now(),
            inner_name=self._tenant.switches.error_spelling,
        )
        return ApiReply(error.status, body, {**error.headers, "request-id": request_id})

    def _to_response(self, request: web.BaseRequest, reply: ApiReply) -> web.Response:
        headers = dict(reply.headers)
        request_id = headers.setdefault("request-id", self._tenant.request_id())
        headers.setdefault("client-request-id", request.headers.get("client-request-id") or request_id)
        headers["Date"] = _date(int(self._tenant.now()))
        headers["x-ms-ags-diagnostic"] = '{"ServerInfo":{"DataCenter":"Simulator","Slice":"E","Ring":"0"}}'
        if reply.body is None:
            return web.Response(status=reply.status, headers=headers)
        headers["Content-Type"] = _JSON
        headers["OData-Version"] = "4.0"
        if isinstance(reply.body, dict) and isinstance(etag := reply.body.get("@odata.etag"), str):
            headers["ETag"] = etag
        body = reply.body.encode() if isinstance(reply.body, str) else orjson.dumps(reply.body)
        return web.Response(status=reply.status, headers=headers, body=body)


@lru_cache(maxsize=64)
def _date(second: int) -> str:
    """By the tenant's clock, like every other time that Graph shows."""
    return formatdate(second, usegmt=True)


async def _read(request: web.BaseRequest) -> bytes:
    """The body; GraphError for one that is too large for anything, or that its own encoding cannot be read from."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise errors.GraphError(413, "RequestEntityTooLarge", "The request is too large") from None
    except web.RequestPayloadError:
        raise errors.GraphError(400, "BadRequest", "The request body cannot be read") from None


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
