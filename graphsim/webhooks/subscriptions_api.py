"""The `/subscriptions` API: create with handshake, read, renew, delete (docs/facts.md section 2.2).

In: calls below `/subscriptions`. Out: replies; a creation waits for the receiver's handshake. Rules: lists know only
`updated`; a subscription lives 42,300 minutes at most; clientState has at most 128 characters; without the validation
token as text/plain within ten seconds there is no subscription.
"""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from graphsim.clock import to_text
from graphsim.http import errors
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.identity.permissions import WRITE
from graphsim.lists.list_store import SimList
from graphsim.tenant import Tenant
from graphsim.webhooks import webhook_sender
from graphsim.webhooks.subscriptions import Subscription

MAX_LIFE_S = 42_300 * 60
_RESOURCE = re.compile(r"/?(?:v1\.0/)?sites/([^/]+)/lists/([^/]+)/?")
_PROPERTIES = frozenset(
    {
        "changeType",
        "notificationUrl",
        "lifecycleNotificationUrl",
        "resource",
        "expirationDateTime",
        "clientState",
        "latestSupportedTlsVersion",
        "includeResourceData",
    }
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def get(tenant: Tenant, call: ApiCall, subscription_id: str) -> ApiReply:
    """GET of one subscription of the caller."""
    return ApiReply(200, _show(call, _find(tenant, call, subscription_id)))


def change(tenant: Tenant, call: ApiCall, subscription_id: str) -> ApiReply:
    """PATCH: another end; nothing else of a subscription changes."""
    subscription, given = _find(tenant, call, subscription_id), call.object_body()
    errors.check_properties(given, {"expirationDateTime"}, "subscription")
    if "expirationDateTime" in given:
        subscription.expires = _read_expiry(tenant, given["expirationDateTime"])
    _save(tenant, subscription)
    return ApiReply(200, _show(call, subscription))


def delete(tenant: Tenant, call: ApiCall, subscription_id: str) -> ApiReply:
    """DELETE: the receiver hears no more."""
    subscription = _find(tenant, call, subscription_id)
    tenant.subscriptions.remove(subscription)
    tenant.journal.record("subscription", subscription.id, None)
    return ApiReply(204)


def reauthorize(tenant: Tenant, call: ApiCall, subscription_id: str) -> ApiReply:
    """POST: the answer to a lifecycle event; nothing changes here."""
    _find(tenant, call, subscription_id)
    errors.check_parameters(call.body, (), "reauthorize")
    return ApiReply(204)


def _find(tenant: Tenant, call: ApiCall, subscription_id: str) -> Subscription:
    found = tenant.subscriptions.by_id.get(subscription_id.lower())
    if found is None or found.client_id != call.app.client_id or found.expires <= tenant.now():
        raise errors.GraphError(404, "ResourceNotFound", "The object was not found.")
    return found


def list_subscriptions(tenant: Tenant, call: ApiCall, list_id: str | None) -> ApiReply:
    """The caller's living subscriptions, of one list or of all."""
    found = [
        _show(call, s)
        for s in tenant.subscriptions.by_id.values()
        if s.client_id == call.app.client_id and s.expires > tenant.now() and list_id in {None, s.list_id}
    ]
    return ApiReply(200, {"@odata.context": f"{call.base}/$metadata#subscriptions", "value": found})


def create(tenant: Tenant, call: ApiCall) -> ApiReply:
    """POST: the reply waits until the receiver has shaken hands."""
    given = call.object_body()
    errors.check_properties(given, _PROPERTIES, "subscription")
    if given.get("includeResourceData"):
        raise errors.invalid("Lists send no resource data")
    if given.get("changeType") != "updated":
        raise errors.invalid("Lists support the changeType 'updated' only")
    lst = _read_resource(tenant, given.get("resource"))
    tenant.permissions.check(call.app, WRITE, lst.site_id, lst.id)
    state = given.get("clientState")
    if state is not None and (not isinstance(state, str) or len(state) > 128):
        raise errors.invalid("clientState has at most 128 characters")
    lifecycle = given.get("lifecycleNotificationUrl")
    subscription = Subscription(
        id=tenant.new_id(),
        list_id=lst.id,
        resource=str(given["resource"]),
        notification_url=_read_url(given.get("notificationUrl"), "notificationUrl"),
        lifecycle_url=None if lifecycle is None else _read_url(lifecycle, "lifecycleNotificationUrl"),
        client_state=state,
        expires=_read_expiry(tenant, given.get("expirationDateTime")),
        client_id=call.app.client_id,
    )

    async def finish() -> ApiReply:
        for url in {subscription.notification_url, subscription.lifecycle_url or subscription.notification_url}:
            await webhook_sender.shake_hands(tenant, url)
        tenant.subscriptions.add(subscription)
        _save(tenant, subscription)
        return ApiReply(201, _show(call, subscription))

    return ApiReply(201, pending=finish)


def _save(tenant: Tenant, subscription: Subscription) -> None:
    value = {name: getattr(subscription, name) for name in Subscription.__slots__}
    tenant.journal.record("subscription", subscription.id, value)


def _read_resource(tenant: Tenant, resource: Any) -> SimList:
    match = _RESOURCE.fullmatch(resource) if isinstance(resource, str) else None
    if match is None:
        raise errors.invalid("The resource of a subscription is sites/{site-id}/lists/{list-id}")
    site = tenant.sites.find(match.group(1).replace("%2C", ","))
    return tenant.lists.find(site, match.group(2))


def _read_url(given: Any, name: str) -> str:
    parts = urlsplit(given) if isinstance(given, str) else urlsplit("")
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return str(given)
    raise errors.invalid(f"{name} must be an https address (http is taken from 127.0.0.1 only)")


def _read_expiry(tenant: Tenant, given: Any) -> float:
    try:
        moment = datetime.fromisoformat(re.sub(r"\.(\d{6})\d+", r".\1", given))
    except (TypeError, ValueError):
        raise errors.invalid("expirationDateTime must be an ISO 8601 date and time") from None
    expires = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if expires <= tenant.now():
        raise errors.invalid("Subscription expiration must be in the future")
    if expires > tenant.now() + MAX_LIFE_S + 60:
        raise errors.invalid("Subscription expiration can only be 42300 minutes in the future.")
    return expires


def _show(call: ApiCall, subscription: Subscription) -> JsonObject:
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
