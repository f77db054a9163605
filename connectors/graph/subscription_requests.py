"""Subscriptions to lists: the requests that make, renew and end them, and what Graph answers.

In: a list, an address, a client state; answers. Out: paths and bodies; `ListSubscription`s, or the error that there is.
Rule (docs/facts.md section 2.2): lists tell of ``updated`` alone, without data.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from connectors.graph import batch, retry_after
from connectors.graph.batch import Throttled
from connectors.graph.client import NoAnswer, NotSent, Reply
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphRefused, GraphUnavailable
from rowtide.subscriptions import ListSubscription

PATH: Final = "/subscriptions"

Problem = GraphUnavailable | Throttled | GraphRefused
"""Why a request was not carried out."""


def to_body(site_id: str, list_id: str, url: str, state: str, expires: datetime) -> bytes:
    """What a subscription to a list is made of."""
    return orjson.dumps(
        {
            "changeType": "updated",
            "notificationUrl": url,
            "lifecycleNotificationUrl": url,
            "resource": f"sites/{site_id}/lists/{list_id}",
            "expirationDateTime": _to_text(expires),
            "clientState": state,
        }
    )


def to_renewal(expires: datetime) -> bytes:
    """What a subscription lives on by."""
    return orjson.dumps({"expirationDateTime": _to_text(expires)})


def _to_text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def to_found(answer: Reply | NotSent | NoAnswer) -> tuple[Sequence[ListSubscription], str | None] | Problem:
    """The subscriptions of a page, and the link of the next; what cannot be read as one is none of ours."""
    if (problem := to_problem(answer, "subscriptions")) is not None:
        return problem
    assert isinstance(answer, Reply), "what is no reply is a problem"
    body = _loaded(answer.body)
    value = body.get("value") if isinstance(body, dict) else None
    if not isinstance(value, list):
        return graph_errors.GRAPH_UNREADABLE(what="subscriptions")
    found = [one for one in map(_to_subscription, value) if one is not None]
    link = body.get("@odata.nextLink")
    return found, link if isinstance(link, str) else None


def to_problem(answer: Reply | NotSent | NoAnswer, what: str) -> Problem | None:
    """Why a request was not carried out; None: it was."""
    if not isinstance(answer, Reply):
        return answer.error
    if 200 <= answer.status < 300:
        return None
    if answer.status == 429:
        return Throttled(retry_after.retry_after_s(answer.headers))
    code, message = batch.error_of(_loaded(answer.body))
    if answer.status >= 500:
        return graph_errors.ITEMS_UNREADABLE(status=answer.status, code=code)
    return graph_errors.SUBSCRIPTION_REFUSED(what=what, status=answer.status, code=code, message=message)


def _to_subscription(entry: Any) -> ListSubscription | None:
    if not isinstance(entry, dict):
        return None
    known, url, text = entry.get("id"), entry.get("notificationUrl"), entry.get("expirationDateTime")
    if not (isinstance(known, str) and isinstance(url, str) and isinstance(text, str)):
        return None
    try:
        expires = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ListSubscription(known, url, expires) if expires.tzinfo is not None else None


def _loaded(content: bytes | bytearray) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
