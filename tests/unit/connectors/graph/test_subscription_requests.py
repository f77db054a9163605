"""Subscriptions as Graph lists them, and what its refusals become."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from connectors.graph.batch import Throttled
from connectors.graph.client import Reply
from connectors.graph.subscription_requests import to_body, to_found, to_problem, to_renewal
from rowtide.errors import GraphRefused, GraphUnavailable
from rowtide.subscriptions import ListSubscription

EXPIRES = datetime(2026, 12, 20, 10, 0, 0, 500, tzinfo=UTC)
ENTRY = {"id": "1", "notificationUrl": "https://here/a", "expirationDateTime": "2026-12-20T10:00:00Z"}


def reply(status: int, body: Any) -> Reply:
    return Reply(status, {}, orjson.dumps(body), "token")


def test_a_page_of_subscriptions() -> None:
    odd: list[Any] = [None, {}, {**ENTRY, "expirationDateTime": "soon"}, {**ENTRY, "id": 7}]
    found = to_found(reply(200, {"value": [ENTRY, *odd], "@odata.nextLink": "https://graph/next"}))
    assert found == ([ListSubscription("1", "https://here/a", EXPIRES.replace(microsecond=0))], "https://graph/next")
    assert to_found(reply(200, {"value": []})) == ([], None)
    assert isinstance(to_found(reply(200, [])), GraphUnavailable)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, GraphRefused), (404, GraphRefused), (503, GraphUnavailable), (429, Throttled)]
)
def test_what_is_not_carried_out(status: int, kind: type[object]) -> None:
    assert isinstance(to_problem(reply(status, {"error": {"code": "c", "message": "m"}}), "list"), kind)
    assert isinstance(to_found(reply(status, None)), kind)


def test_what_a_subscription_is_made_of() -> None:
    assert orjson.loads(to_body("site", "list", "https://here/list", "state", EXPIRES)) == {
        "changeType": "updated",
        "notificationUrl": "https://here/list",
        "lifecycleNotificationUrl": "https://here/list",
        "resource": "sites/site/lists/list",
        "expirationDateTime": "2026-12-20T10:00:00Z",
        "clientState": "state",
    }
    assert orjson.loads(to_renewal(EXPIRES)) == {"expirationDateTime": "2026-12-20T10:00:00Z"}
    assert to_problem(reply(204, None), "list") is None
