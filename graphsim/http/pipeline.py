"""The pipeline of every call, single or member of a batch: quota, faults, handler, error body, counters.

In: an `ApiCall` whose app is known. Out: an `ApiReply`, and the fault of the connection, if one was drawn. Rules: a
refused call costs as much as one that is carried out; a fault before the commit leaves no trace but its answer, one
after it leaves the work done; members of a batch pass the same pipeline as requests.
"""

import asyncio
import sys
import traceback
from dataclasses import dataclass

from graphsim.http import errors
from graphsim.http.errors import GraphError, to_body
from graphsim.http.request import ApiCall, ApiReply
from graphsim.http.routes import dispatch
from graphsim.limits.costs import cost
from graphsim.limits.faults import Fault, FaultTarget
from graphsim.limits.throttle import Denial
from graphsim.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Served:
    """An answer, and the fault of the connection that carries it, if one was drawn."""

    reply: ApiReply
    connection_fault: Fault | None = None


def serve(tenant: Tenant, call: ApiCall) -> ApiReply:
    """The answer of a call without a fault: synchronous, because this is the hot path of `$batch`."""
    key = _count_post(tenant, call)
    try:
        _pay(tenant, call)
        reply = dispatch(tenant, call)
    except GraphError as error:
        reply = to_reply(tenant, call, error)
    except Exception:
        # A defect of the simulator fails its own call only, not the batch around it.
        reply = to_reply(tenant, call, tell_defect(f"{call.method} {call.path}"))
    if key is not None and reply.status == 201:
        tenant.stats.count_made(key)
    return _finish(tenant, call, reply)


def tell_defect(call: str) -> GraphError:
    """The answer to a call that met a defect of the simulator, called where it is caught; stderr says where to look."""
    sys.stderr.write(f"graphsim: {call} failed\n{traceback.format_exc()}")
    return errors.general_exception()


def _count_post(tenant: Tenant, call: ApiCall) -> str | None:
    is_create = call.method == "POST" and call.segments and call.segments[-1] == "items"
    return tenant.stats.count_post(call.body) if is_create else None


async def await_pending(tenant: Tenant, call: ApiCall, reply: ApiReply) -> ApiReply:
    """The answer after the work that needs the network (a subscription's handshake)."""
    if reply.pending is None:
        return reply
    try:
        final = await reply.pending()
    except GraphError as error:
        final = to_reply(tenant, call, error)
    return _finish(tenant, call, final)


def _finish(tenant: Tenant, call: ApiCall, reply: ApiReply) -> ApiReply:
    if reply.pending is not None:
        return reply
    tenant.stats.answers[(call.method, reply.status)] += 1
    if tenant.throttle.limits is not None:
        limit_headers = tenant.throttle.headers(call.app.client_id, tenant.now())
        if limit_headers and not (reply.status == 429 and "X-Sim-Other-Limit" in reply.headers):
            reply.headers.update(limit_headers)
        reply.headers.pop("X-Sim-Other-Limit", None)
    return reply


def to_reply(tenant: Tenant, call: ApiCall, error: GraphError) -> ApiReply:
    """The answer that tells a client of an error."""
    request_id = tenant.request_id()
    body = to_body(
        error,
        request_id=request_id,
        client_id=call.headers.get("client-request-id") or request_id,
        now=tenant.now(),
        inner_name=tenant.switches.error_spelling,
    )
    return ApiReply(error.status, body, {**error.headers, "request-id": request_id})


def _pay(tenant: Tenant, call: ApiCall) -> None:
    """Charges the call; 429 when the quota is used up, 503 for an app that was blocked."""
    app = call.app
    now = tenant.now()
    denial = tenant.throttle.charge(app.client_id, cost(call), now)
    if app.blocked:
        raise errors.unavailable(None)
    if denial is not None:
        if tenant.throttle.is_abuse(app.client_id):
            app.blocked = True
        raise _throttled(tenant, denial)


def _throttled(tenant: Tenant, denial: Denial) -> GraphError:
    missing = tenant.switches.retry_after_missing
    is_missing = missing > 0 and tenant.chance.random() < missing
    # A 429 of any limit but the app's minute carries no RateLimit headers (spdev throttling).
    marks = {} if denial.by_minute else {"X-Sim-Other-Limit": "1"}
    return errors.throttled(None if is_missing else denial.retry_after_s, marks)


async def serve_with_faults(tenant: Tenant, call: ApiCall) -> Served:
    """As `serve`, under the rules of `faults`."""
    fault = tenant.faults.draw(_to_target(tenant, call)) if tenant.faults.rules else None
    if fault is None:
        return Served(await await_pending(tenant, call, serve(tenant, call)))
    return await apply_fault(tenant, call, fault)


async def apply_fault(tenant: Tenant, call: ApiCall, fault: Fault) -> Served:
    """The answer of a call that drew a fault: before the commit nothing is done, after it only the answer fails."""
    tenant.stats.faults += 1
    if not fault.after_commit:
        await _delay(fault)
        if fault.action == "delay":
            return Served(await await_pending(tenant, call, serve(tenant, call)))
        _count_post(tenant, call)
        tenant.throttle.charge(call.app.client_id, cost(call), tenant.now())
        return _faulted_reply(tenant, call, fault, None)
    return await apply_fault_after_commit(tenant, call, fault, await await_pending(tenant, call, serve(tenant, call)))


async def apply_fault_after_commit(tenant: Tenant, call: ApiCall, fault: Fault, reply: ApiReply) -> Served:
    """The answer of a call whose work is done and kept; only the answer goes wrong."""
    tenant.journal.flush()
    if fault.action == "status":
        # The counters show the answer that the client gets, not the one it would have got.
        tenant.stats.answers[(call.method, reply.status)] -= 1
    await _delay(fault)
    return _faulted_reply(tenant, call, fault, reply)


async def _delay(fault: Fault) -> None:
    if fault.delay_ms:
        await asyncio.sleep(fault.delay_ms / 1000)


def _faulted_reply(tenant: Tenant, call: ApiCall, fault: Fault, reply: ApiReply | None) -> Served:
    """The answer of a faulted call; for reset, truncation and garbage the connection does the rest."""
    if fault.action == "delay" and reply is not None:
        return Served(reply)
    if fault.action == "status":
        faulted = _finish(tenant, call, _status_reply(tenant, call, fault))
        if reply is not None:
            # A schema change that was made still ends with its answer, whatever the answer says.
            faulted.unlock, faulted.hold_s = reply.unlock, reply.hold_s
        return Served(faulted)
    base = reply or ApiReply(200, {"value": []})
    return Served(base, fault)


def _status_reply(tenant: Tenant, call: ApiCall, fault: Fault) -> ApiReply:
    """The rule's own body, or Graph's body for that status."""
    error = _STATUS_ERRORS.get(fault.status) or GraphError(fault.status, "generalException", "An error has occurred")
    made = GraphError(
        fault.status, fault.code or error.code, fault.message or error.message, inner=fault.inner_code or error.inner
    )
    if fault.retry_after is not None:
        made.headers["Retry-After"] = f"{fault.retry_after:g}"
    reply = to_reply(tenant, call, made)
    if fault.body is not None:
        reply.body = fault.body
    reply.headers.update({str(k): str(v) for k, v in fault.headers.items()})
    return reply


_STATUS_ERRORS: dict[int, GraphError] = {
    400: errors.invalid("Invalid request"),
    401: errors.unauthenticated("Access token has expired or is not yet valid."),
    403: errors.denied(),
    404: errors.item_missing(),
    409: GraphError(
        409,
        "resourceModified",
        "The resource has changed since the caller last read it; usually an eTag mismatch",
    ),
    410: GraphError(410, "resyncRequired", "Resync required", inner="resyncChangesApplyDifferences"),
    412: GraphError(
        412,
        "resourceModified",
        "The resource has changed since the caller last read it; usually an eTag mismatch",
        inner="entityTagDoesNotMatch",
    ),
    423: GraphError(423, "resourceLocked", "The resource is locked"),
    429: errors.throttled(None),
    500: errors.general_exception(),
    502: GraphError(502, "BadGateway", "Bad gateway"),
    503: errors.unavailable(None),
    504: GraphError(504, "GatewayTimeout", "The server did not answer in time"),
    507: GraphError(507, "quotaLimitReached", "The quota limit has been reached"),
}


def _to_target(tenant: Tenant, call: ApiCall) -> FaultTarget:
    return FaultTarget(call.method, call.path, lists_of(tenant, call), call.app.client_id, call.is_member)


def lists_of(tenant: Tenant, call: ApiCall) -> tuple[str, ...]:
    """Id and title of the list a call is about, in lower case, for rules that name one."""
    segments = call.segments
    if "lists" not in segments or segments.index("lists") + 1 >= len(segments):
        return ()
    text = segments[segments.index("lists") + 1]
    lst = tenant.lists.by_id.get(text.lower())
    if lst is None:
        lst = next((held for (_, title), held in tenant.lists.by_title.items() if title == text.casefold()), None)
    return (text.casefold(),) if lst is None else (lst.id, lst.display_name.casefold())


def draw_fault(tenant: Tenant, call: ApiCall) -> Fault | None:
    """The fault that this call draws, if any: for the envelope and the members of a batch."""
    return tenant.faults.draw(_to_target(tenant, call)) if tenant.faults.rules else None
