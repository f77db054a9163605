"""Subscriptions over the wire: create with handshake, read, renew, delete (reference section 2.6).

In: calls below `/subscriptions`. Out: replies; a creation waits for the receiver's handshake. Rules: lists know only
`updated`; at most 42,300 minutes; clientState of at most 128 characters; the receiver must answer the validation token
within ten seconds as text/plain, or there is no subscription.
"""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from graphsim.clock import to_text
from graphsim.http import errors
from graphsim.http.request import Call, JsonObject, Reply
from graphsim.identity.permissions import WRITE
from graphsim.lists.list_store import SimList
from graphsim.tenant import World
from graphsim.webhooks import webhook_sender
from graphsim.webhooks.subscriptions import Subscription

MAX_LIFE_S = 42_300 * 60
_RESOURCE = re.compile(r"/?(?:v1\.0/)?sites/([^/]+)/lists/([^/]+)/?")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def dispatch(world: World, call: Call, rest: list[str]) -> Reply:
    if not rest:
        if call.method == "GET":
            return list_subscriptions(world, call, None)
        if call.method == "POST":
            return _create(world, call)
        raise _no_method(call)
    subscription = world.subscriptions.by_id.get(rest[0].lower())
    if subscription is None or subscription.client_id != call.app.client_id or subscription.expires <= world.now():
        raise errors.GraphError(404, "ResourceNotFound", "The object was not found.")
    if rest[1:] == ["reauthorize"] and call.method == "POST":
        return Reply(204)
    if len(rest) > 1:
        raise _no_method(call)
    return _one(world, call, subscription)


def _no_method(call: Call) -> errors.GraphError:
    return errors.GraphError(405, "notAllowed", f"The method {call.method} is not allowed here")


def _one(world: World, call: Call, subscription: Subscription) -> Reply:
    if call.method == "DELETE":
        world.subscriptions.remove(subscription)
        world.journal.record("subscription", subscription.id, None)
        return Reply(204)
    if call.method == "PATCH":
        given = call.object_body()
        if unknown := {k for k in given if "@" not in k} - {"expirationDateTime", "notificationUrl"}:
            raise errors.invalid(f"Property '{sorted(unknown)[0]}' of a subscription cannot be changed")
        if "expirationDateTime" in given:
            subscription.expires = _read_expiry(world, given["expirationDateTime"])
        _save(world, subscription)
    elif call.method != "GET":
        raise _no_method(call)
    return Reply(200, _show(call, subscription))


def list_subscriptions(world: World, call: Call, list_id: str | None) -> Reply:
    found = [
        _show(call, s)
        for s in world.subscriptions.by_id.values()
        if s.client_id == call.app.client_id and s.expires > world.now() and list_id in {None, s.list_id}
    ]
    return Reply(200, {"@odata.context": f"{call.base}/$metadata#subscriptions", "value": found})


def _create(world: World, call: Call) -> Reply:
    given = call.object_body()
    if given.get("changeType") != "updated":
        raise errors.invalid("Lists support the changeType 'updated' only")
    lst = _read_resource(world, given.get("resource"))
    world.permissions.check(call.app, WRITE, lst.site_id, lst.id)
    state = given.get("clientState")
    if state is not None and (not isinstance(state, str) or len(state) > 128):
        raise errors.invalid("clientState has at most 128 characters")
    lifecycle = given.get("lifecycleNotificationUrl")
    subscription = Subscription(
        id=world.new_id(),
        list_id=lst.id,
        resource=str(given["resource"]),
        notification_url=_read_url(given.get("notificationUrl"), "notificationUrl"),
        lifecycle_url=None if lifecycle is None else _read_url(lifecycle, "lifecycleNotificationUrl"),
        client_state=state,
        expires=_read_expiry(world, given.get("expirationDateTime")),
        client_id=call.app.client_id,
    )

    async def finish() -> Reply:
        for url in {subscription.notification_url, subscription.lifecycle_url or subscription.notification_url}:
            await webhook_sender.shake_hands(world, url)
        world.subscriptions.add(subscription)
        _save(world, subscription)
        return Reply(201, _show(call, subscription))

    return Reply(201, pending=finish)


def _save(world: World, subscription: Subscription) -> None:
    value = {name: getattr(subscription, name) for name in Subscription.__slots__}
    world.journal.record("subscription", subscription.id, value)


def _read_resource(world: World, resource: Any) -> SimList:
    match = _RESOURCE.fullmatch(resource) if isinstance(resource, str) else None
    if match is None:
        raise errors.invalid("The resource of a subscription is sites/{site-id}/lists/{list-id}")
    site = world.find_site(match.group(1).replace("%2C", ","))
    return world.find_list(site, match.group(2))


def _read_url(given: Any, name: str) -> str:
    parts = urlsplit(given) if isinstance(given, str) else urlsplit("")
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return str(given)
    raise errors.invalid(f"{name} must be an https address (http is taken from 127.0.0.1 only)")


def _read_expiry(world: World, given: Any) -> float:
    try:
        moment = datetime.fromisoformat(re.sub(r"\.(\d{6})\d+", r".\1", given))
    except (TypeError, ValueError):
        raise errors.invalid("expirationDateTime must be an ISO 8601 date and time") from None
    expires = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if expires <= world.now():
        raise errors.invalid("Subscription expiration must be in the future")
    if expires > world.now() + MAX_LIFE_S + 60:
        raise errors.invalid("Subscription expiration can only be 42300 minutes in the future.")
    return expires


def _show(call: Call, subscription: Subscription) -> JsonObject:
    return {
        "@odata.context": f"{call.base}/$metadata#subscriptions/$entity",
        "id": subscription.id,
        "applicationId": subscription.client_id,
        "changeType": "updated",
        "clientState": subscription.client_state,
        "creatorId": call.app.object_id,
        "expirationDateTime": to_text(int(subscription.expires)),
        "includeResourceData": None,
        "latestSupportedTlsVersion": "v1_2",
        "lifecycleNotificationUrl": subscription.lifecycle_url,
        "notificationUrl": subscription.notification_url,
        "resource": subscription.resource,
    }
