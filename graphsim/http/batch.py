"""`$batch`: up to twenty calls in one body (contrib batching, 2025-02).

In: the body of `POST /$batch`. Out: `{"responses": [...]}`, and the fault of the connection that a member drew. Rules:
members run in a seeded random order, dependencies first; a member whose dependency failed is answered 424; ids match
in any case; nothing is rolled back; each member is charged by itself.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphsim.http import errors, pipeline
from graphsim.http.odata import check_options
from graphsim.http.request import ApiCall, ApiReply, JsonObject, split_target
from graphsim.limits.faults import Fault
from graphsim.tenant import Tenant

LIMIT = 20
# `depends_on` is what msgraph-core writes in place of `dependsOn`: Graph ignores it (pull request 996 there).
_KEYS = frozenset({"id", "method", "url", "headers", "body", "dependsOn", "depends_on"})
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})


@dataclass(slots=True, eq=False)
class BatchMember:
    """One request of a batch: `needs` are the lower-case ids it depends on."""

    id: str
    call: ApiCall
    needs: tuple[str, ...]
    fault: Fault | None = None
    served: pipeline.Served | None = None


async def run(tenant: Tenant, outer: ApiCall) -> pipeline.Served:
    """Carries the batch out. GraphError when the envelope cannot be read; only POST is known, and no option."""
    if outer.method != "POST":
        raise errors.wrong_method(["POST"], "BadRequest")
    check_options(outer.query, ())
    members = _read(outer)
    tenant.stats.batches += 1
    waiting = list(members)
    if tenant.switches.batch_order == "shuffled":
        tenant.order.shuffle(waiting)
    done: dict[str, BatchMember] = {}
    while waiting:
        ready = [m for m in waiting if all(need in done for need in m.needs)]
        waiting = [m for m in waiting if m not in ready] if len(ready) < len(waiting) else []
        await _run_wave(tenant, ready, done)
    return _answer(tenant, list(done.values()) if tenant.switches.batch_order == "shuffled" else members)


async def _run_wave(tenant: Tenant, ready: list[BatchMember], done: dict[str, BatchMember]) -> None:
    """Runs members that need nothing of each other; a faulted one may wait without holding up the rest."""
    faulted = []
    for member in ready:
        for need in member.needs:
            _release(tenant, done[need])
        failed = any(_status(done[need]) >= 400 for need in member.needs)
        if failed:
            error = errors.GraphError(424, "failedDependency", "A request this one depends on failed")
            member.served = pipeline.Served(pipeline.to_reply(tenant, member.call, error))
            tenant.stats.answers[(member.call.method, 424)] += 1
        elif tenant.faults.rules and (fault := pipeline.draw_fault(tenant, member.call)) is not None:
            member.fault = fault
            faulted.append(member)
        else:
            reply = pipeline.serve(tenant, member.call)
            if reply.pending is not None:
                reply = await pipeline.await_pending(tenant, member.call, reply)
            member.served = pipeline.Served(reply)
        done[member.id.lower()] = member
        # Other requests have their turn between two members, as they would with Graph.
        await asyncio.sleep(0)
    if faulted:
        await asyncio.gather(*(_apply_fault(tenant, member) for member in faulted))


async def _apply_fault(tenant: Tenant, member: BatchMember) -> None:
    if member.fault is not None:
        member.served = await pipeline.apply_fault(tenant, member.call, member.fault)


def _status(member: BatchMember) -> int:
    return 500 if member.served is None else member.served.reply.status


def _release(tenant: Tenant, member: BatchMember) -> None:
    """A dependency has ended: so has its schema change."""
    if member.served is not None and member.served.reply.unlock:
        tenant.schema_busy.discard(member.served.reply.unlock)


def _answer(tenant: Tenant, members: list[BatchMember]) -> pipeline.Served:
    responses: list[JsonObject] = []
    connection_fault: Fault | None = None
    hold_s = 0.0
    is_throttled = False
    for member in members:
        served = member.served
        if served is None:
            continue
        reply = served.reply
        _release(tenant, member)
        hold_s = max(hold_s, reply.hold_s)
        connection_fault = connection_fault or served.connection_fault
        is_throttled = is_throttled or reply.status == 429
        responses.append(_to_response(member.id, reply))
    status = 424 if is_throttled and tenant.switches.batch_status == "424" else 200
    return pipeline.Served(ApiReply(status, {"responses": responses}, hold_s=hold_s), connection_fault)


def _to_response(member_id: str, reply: ApiReply) -> JsonObject:
    headers = dict(reply.headers)
    if reply.body is not None:
        headers["Content-Type"] = "application/json"
        headers.setdefault("Cache-Control", "no-store")
    # An empty answer is `"body": null` (contrib batching, the example's 204).
    return {"id": member_id, "status": reply.status, "headers": headers, "body": reply.body}


def _read(outer: ApiCall) -> list[BatchMember]:
    envelope = outer.object_body()
    unknown = next((name for name in envelope if name != "requests"), None)
    if unknown is not None:
        raise _bad(f"The batch has the unknown property '{unknown}'")
    requests = envelope.get("requests")
    if not isinstance(requests, list) or not requests:
        raise _bad("The batch has no requests")
    if len(requests) > LIMIT:
        raise _bad(f"Number of batch request steps exceeds the maximum value of {LIMIT}.")
    members: list[BatchMember] = []
    seen: set[str] = set()
    for entry in requests:
        member = _read_member(outer, entry)
        key = member.id.lower()
        if key in seen:
            raise _bad(f"The batch request Id '{member.id}' is used more than once.")
        for need in member.needs:
            if need not in seen:
                raise _bad(f"Invalid dependency for request Id: {member.id}")
        seen.add(key)
        members.append(member)
    return members


def _bad(message: str) -> errors.GraphError:
    return errors.GraphError(400, "BadRequest", message)


def _read_member(outer: ApiCall, entry: Any) -> BatchMember:
    if not isinstance(entry, Mapping):
        raise _bad("A batch request must be an object")
    member_id, method, url = entry.get("id"), entry.get("method"), entry.get("url")
    if not isinstance(member_id, str) or not member_id:
        raise _bad("A batch request needs an id")
    if not isinstance(method, str) or method.upper() not in _METHODS:
        raise _bad(f"The batch request {member_id} has no valid method")
    # Whole urls, which msgraph-core may send, are refused by Graph too (msgraph-sdk-python/1015, -core/1116).
    if not isinstance(url, str) or not url or url.startswith(("http:", "https:")):
        raise _bad(f"The batch request {member_id} needs a url relative to the version: {url}")
    unknown = next((name for name in entry if name not in _KEYS), None)
    if unknown is not None:
        raise _bad(f"The batch request {member_id} has the unknown property '{unknown}'")
    headers = _read_headers(entry.get("headers"), member_id)
    body = entry.get("body")
    if body is not None and "json" not in headers.get("content-type", "").lower():
        raise _bad(f"The batch request {member_id} has a body but no Content-Type header")
    path, segments, query = split_target(url)
    if segments and segments[0] in {"v1.0", "$batch"}:
        raise _bad(f"The batch request {member_id} has a url that cannot be in a batch")
    call = ApiCall(method.upper(), path, segments, query, headers, body, outer.base, outer.app, is_member=True)
    needs = entry.get("dependsOn") or []
    if not isinstance(needs, list):
        raise _bad(f"The batch request {member_id} has a dependsOn that is not a list")
    return BatchMember(member_id, call, tuple(str(need).lower() for need in needs))


def _read_headers(given: Any, member_id: str) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise _bad(f"The batch request {member_id} has headers that are not an object")
    return {str(k).lower(): str(v) for k, v in given.items()}
