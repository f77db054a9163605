"""The way of every call, single or member of a batch: quota, faults, handler, error body, counters.

In: a `Call` whose app is known. Out: a `Reply`, and what the connection shall suffer (`Served.wire`). Rules: a call
refused costs as much as one carried out; a fault before the commit leaves no trace but its answer, one after it leaves
the work done; members pass the same way as requests.
"""

import asyncio
from dataclasses import dataclass

from graphsim.http import errors
from graphsim.http.errors import GraphError, to_body
from graphsim.http.request import Call, Reply
from graphsim.http.routes import dispatch
from graphsim.limits.costs import cost
from graphsim.limits.faults import Fault, Target
from graphsim.limits.throttle import Denial
from graphsim.tenant import World


@dataclass(frozen=True, slots=True)
class Served:
    """An answer, and the fault the connection itself must suffer, if any."""

    reply: Reply
    wire: Fault | None = None


def serve(world: World, call: Call) -> Reply:
    """The answer when no fault strikes: synchronous, because this is the hot path of `$batch`."""
    key = _count_post(world, call)
    try:
        _pay(world, call)
        reply = dispatch(world, call)
    except GraphError as error:
        reply = to_reply(world, call, error)
    if key is not None and reply.status == 201:
        world.stats.count_made(key)
    return _finish(world, call, reply)


def _count_post(world: World, call: Call) -> str | None:
    is_create = call.method == "POST" and call.segments and call.segments[-1] == "items"
    return world.stats.count_post(call.body) if is_create else None


async def settle(world: World, call: Call, reply: Reply) -> Reply:
    """The answer after the work that needs the network (a subscription's handshake)."""
    if reply.pending is None:
        return reply
    try:
        final = await reply.pending()
    except GraphError as error:
        final = to_reply(world, call, error)
    return _finish(world, call, final)


def _finish(world: World, call: Call, reply: Reply) -> Reply:
    if reply.pending is not None:
        return reply
    world.stats.answers[(call.method, reply.status)] += 1
    if world.throttle.limits is not None:
        limit_headers = world.throttle.headers(call.app.client_id, world.now())
        if limit_headers and not (reply.status == 429 and "X-Sim-Other-Limit" in reply.headers):
            reply.headers.update(limit_headers)
        reply.headers.pop("X-Sim-Other-Limit", None)
    return reply


def to_reply(world: World, call: Call, error: GraphError) -> Reply:
    request_id = world.request_id()
    body = to_body(
        error,
        request_id=request_id,
        client_id=call.headers.get("client-request-id") or request_id,
        now=world.now(),
        inner_name=world.switches.error_spelling,
    )
    return Reply(error.status, body, {**error.headers, "request-id": request_id})


def _pay(world: World, call: Call) -> None:
    """Charges the call; 429 when the quota is used up, 503 for an app that was blocked."""
    app = call.app
    now = world.now()
    denial = world.throttle.charge(app.client_id, cost(call), now)
    if app.blocked:
        raise errors.unavailable(None)
    if denial is not None:
        if world.throttle.is_abuse(app.client_id):
            app.blocked = True
        raise _throttled(world, denial)


def _throttled(world: World, denial: Denial) -> GraphError:
    missing = world.switches.retry_after_missing
    is_missing = missing > 0 and world.chance.random() < missing
    # A 429 of any limit but the app's minute carries no RateLimit headers (spdev throttling).
    marks = {} if denial.by_minute else {"X-Sim-Other-Limit": "1"}
    return errors.throttled(None if is_missing else denial.retry_after_s, marks)


async def serve_with_faults(world: World, call: Call) -> Served:
    """As `serve`, under the rules of `faults`."""
    fault = world.faults.strike(_to_target(world, call)) if world.faults.rules else None
    if fault is None:
        return Served(await settle(world, call, serve(world, call)))
    return await suffer(world, call, fault)


async def suffer(world: World, call: Call, fault: Fault) -> Served:
    world.stats.faults += 1
    if not fault.after_commit:
        await _delay(fault)
        if fault.action == "delay":
            return Served(await settle(world, call, serve(world, call)))
        _count_post(world, call)
        world.throttle.charge(call.app.client_id, cost(call), world.now())
        return _strike(world, call, fault, None)
    return await suffer_after(world, call, fault, await settle(world, call, serve(world, call)))


async def suffer_after(world: World, call: Call, fault: Fault, reply: Reply) -> Served:
    """The work is done and kept; only the answer suffers."""
    world.journal.flush()
    if fault.action == "status":
        # Counted is the answer the client gets, not the one it would have got.
        world.stats.answers[(call.method, reply.status)] -= 1
    await _delay(fault)
    return _strike(world, call, fault, reply)


async def _delay(fault: Fault) -> None:
    if fault.delay_ms:
        await asyncio.sleep(fault.delay_ms / 1000)


def _strike(world: World, call: Call, fault: Fault, reply: Reply | None) -> Served:
    """The answer a struck call gets; for reset, truncation and garbage the connection does the rest."""
    if fault.action == "delay" and reply is not None:
        return Served(reply)
    if fault.action == "status":
        struck = _finish(world, call, _status_reply(world, call, fault))
        return Served(struck)
    base = reply or Reply(200, {"value": []})
    return Served(base, fault)


def _status_reply(world: World, call: Call, fault: Fault) -> Reply:
    """The rule's own body, or Graph's body for that status."""
    error = _STATUS_ERRORS.get(fault.status) or GraphError(fault.status, "generalException", "An error has occurred")
    made = GraphError(
        fault.status, fault.code or error.code, fault.message or error.message, inner=fault.inner_code or error.inner
    )
    if fault.retry_after is not None:
        made.headers["Retry-After"] = f"{fault.retry_after:g}"
    reply = to_reply(world, call, made)
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


def _to_target(world: World, call: Call) -> Target:
    return Target(call.method, call.path, lists_of(world, call), call.app.client_id, call.is_member)


def lists_of(world: World, call: Call) -> tuple[str, ...]:
    """Id and title of the list a call is about, in lower case, for rules that name one."""
    segments = call.segments
    if "lists" not in segments or segments.index("lists") + 1 >= len(segments):
        return ()
    text = segments[segments.index("lists") + 1]
    lst = world.lists.get(text.lower())
    if lst is None:
        lst = next((held for (_, title), held in world.titles.items() if title == text.casefold()), None)
    return (text.casefold(),) if lst is None else (lst.id, lst.display_name.casefold())


def find_strike(world: World, call: Call) -> Fault | None:
    """For members of a batch: the fault that strikes this one."""
    return world.faults.strike(_to_target(world, call)) if world.faults.rules else None
