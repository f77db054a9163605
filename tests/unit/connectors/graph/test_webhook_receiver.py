"""What the receiver answers, and what it passes on: nothing without the list's client state."""

from collections.abc import Collection
from typing import Any

import orjson
import pytest

from connectors.graph.webhook_receiver import Receiver
from connectors.listening import HttpAnswer
from rowtide.subscriptions import client_state

KEY = b"key"
GENUINE = {"clientState": client_state(KEY, "list"), "changeType": "updated", "resource": "whatever"}
OF_ANOTHER = {"clientState": client_state(KEY, "other")}


class Heard:
    """A receiver of lists ``list`` and ``other``, and what it passed on."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.renewed: list[str] = []
        self.receiver = Receiver(lambda one: KEY if one in ("list", "other") else None, self._add, self.renewed.append)

    def _add(self, list_ids: Collection[str]) -> None:
        self.changed += list_ids

    def post(self, body: Any, path: str = "/hooks/list", token: str | None = None) -> HttpAnswer:
        return self.receiver.answer(path, token, body if isinstance(body, bytes) else orjson.dumps(body))


def test_it_shakes_hands_for_lists_that_are_known() -> None:
    heard = Heard()
    assert heard.post(b"", token="Validation: <b>&") == HttpAnswer(200, "Validation: <b>&")
    assert heard.post(b"", path="/hooks/unknown", token="t") == HttpAnswer(404)
    assert heard.post(b"", token="x" * 3000) == HttpAnswer(400)
    assert heard.changed == []


@pytest.mark.parametrize(
    ("value", "changed", "refused"),
    [
        ([GENUINE], ["list"], 0),
        ([GENUINE, GENUINE, OF_ANOTHER], ["list"], 1),
        ([OF_ANOTHER], [], 1),
        ([{"clientState": None}, {}], [], 2),
        ([], [], 0),
        (["odd"], [], 0),
    ],
)
def test_a_notification_is_a_hint_if_it_is_genuine(value: list[Any], changed: list[str], refused: int) -> None:
    """Whoever is refused is answered as everybody is."""
    heard = Heard()
    assert heard.post({"value": value}) == HttpAnswer(202)
    assert (heard.changed, heard.receiver.refused, heard.renewed) == (changed, refused, [])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"value": 1}', b"\xff"])
def test_what_is_no_notification_is_refused(body: bytes) -> None:
    heard = Heard()
    assert heard.post(body) == HttpAnswer(400)
    assert heard.changed == []


def test_a_lifecycle_event_asks_for_a_renewal() -> None:
    heard = Heard()
    heard.post({"value": [{**GENUINE, "lifecycleEvent": "reauthorizationRequired"}]})
    heard.post({"value": [{**OF_ANOTHER, "lifecycleEvent": "reauthorizationRequired"}]})
    assert heard.renewed == ["list"]
