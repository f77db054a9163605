"""The sender of notifications: handshake, deliveries, lifecycle events.

In: lists marked as changed, the switches for delay, loss and duplication. Out: POSTs to the receivers. Rules: several
changes of a list make one notification; a receiver that does not answer 2xx within three seconds is tried again, with
growing pauses.
"""

import asyncio
import contextlib
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from graphsim.clock import to_text
from graphsim.http.errors import GraphError
from graphsim.tenant import Tenant
from graphsim.webhooks.subscriptions import Subscription

HANDSHAKE_S = 10.0
ANSWER_S = 3.0
RETRIES = 6


async def shake_hands(tenant: Tenant, url: str) -> None:
    """GraphError 400 unless the receiver returns the validation token as it is."""
    token = f"Validation: Testing client application reachability for subscription Request-Id: {tenant.request_id()}"
    full = f"{url}{'&' if '?' in url else '?'}validationToken={quote(token, safe='')}"
    try:
        timeout = aiohttp.ClientTimeout(total=HANDSHAKE_S)
        headers = {"Content-Type": "text/plain"}
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(full, data=b"", headers=headers, ssl=False) as answer,
        ):
            text = (await answer.content.read(4096)).decode(errors="replace")
            kind = answer.content_type
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise _failed(f"{type(error).__name__}") from None
    if status != 200:
        raise _failed(f"HTTP status code is '{status}'")
    if kind != "text/plain" or text != token:
        raise _failed("the response must be the validation token as text/plain")


def _failed(why: str) -> GraphError:
    return GraphError(400, "ValidationError", f"Subscription validation request failed: {why}.")


def to_notification(tenant: Tenant, subscription: Subscription) -> dict[str, Any]:
    """One notification as the receiver reads it."""
    return {
        "subscriptionId": subscription.id,
        "subscriptionExpirationDateTime": to_text(int(subscription.expires)),
        "clientState": subscription.client_state,
        "changeType": "updated",
        "resource": subscription.resource,
        "tenantId": tenant.tenant_id(),
    }


def to_lifecycle(tenant: Tenant, subscription: Subscription, event: str) -> dict[str, Any]:
    """One lifecycle event as the receiver reads it."""
    out = to_notification(tenant, subscription)
    del out["changeType"]
    return {**out, "lifecycleEvent": event}


class Notifier:
    """The loop that tells receivers, and the tasks still under way."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Tells the receivers of marked lists until it is cancelled."""
        tenant = self._tenant
        while True:
            await asyncio.sleep(0.05)
            if tenant.subscriptions.marked:
                for subscription in tenant.subscriptions.take_due(tenant.now(), tenant.switches.notify_delay_ms / 1000):
                    self._tell(subscription)

    def _tell(self, subscription: Subscription) -> None:
        tenant = self._tenant
        if tenant.chance.random() < tenant.switches.notify_loss:
            tenant.stats.notifications["lost"] += 1
            return
        body = {"value": [to_notification(tenant, subscription)]}
        self.send(subscription.notification_url, body)
        if tenant.chance.random() < tenant.switches.notify_duplicate:
            tenant.stats.notifications["duplicated"] += 1
            self.send(subscription.notification_url, body)

    def send(self, url: str, body: dict[str, Any]) -> None:
        """Starts the delivery of one body; it is retried without holding anybody up."""
        task = asyncio.create_task(self._deliver(url, orjson.dumps(body)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, url: str, body: bytes) -> None:
        counter = self._tenant.stats.notifications
        for attempt in range(RETRIES):
            if attempt:
                await asyncio.sleep(min(2.0 ** (attempt - 1), 30.0))
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                timeout = aiohttp.ClientTimeout(total=ANSWER_S)
                async with aiohttp.ClientSession(timeout=timeout) as session:
                    headers = {"Content-Type": "application/json"}
                    async with session.post(url, data=body, headers=headers, ssl=False) as answer:
                        if 200 <= answer.status < 300:
                            counter["delivered"] += 1
                            return
            counter["refused"] += 1
        counter["given_up"] += 1

    async def close(self) -> None:
        """Ends all deliveries under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
