"""Subscriptions: handshake, limits, renewal, delivery with loss and duplication."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


class Receiver:
    """A receiver that shakes hands, and keeps what it is sent; `refuse` answers 500 that many times."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.refuse = 0
        self.spoil = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                token = parse_qs(urlsplit(self.path).query).get("validationToken")
                if token:
                    self.answer(200, b"wrong" if receiver.spoil else token[0].encode())
                elif receiver.refuse:
                    receiver.refuse -= 1
                    self.answer(500, b"")
                else:
                    receiver.got += json.loads(body)["value"]
                    self.answer(202, b"")

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def wanted(address: str, url: str, **change: Any) -> dict[str, Any]:
    return {
        "changeType": "updated",
        "notificationUrl": url,
        "resource": address[1:],
        "expirationDateTime": (datetime.now(UTC) + timedelta(days=2)).isoformat(),
        "clientState": "mine",
        **change,
    }


def test_a_change_is_told_once_and_again_after_a_refusal(
    running: Any, receiver: Receiver, eventually: Callable[..., Any]
) -> None:
    simulator = running.sign_in()
    simulator.order("switches", {"notify-delay-ms": 100})
    orders = simulator.make_list("Orders")
    made = simulator.client.post("/subscriptions", json=wanted(orders, receiver.url))
    assert made.status_code == 201, made.text
    for n in range(5):
        simulator.client.post(orders + "/items", json={"fields": {"RowtideKey": str(n)}})
    told = eventually(lambda: receiver.got)[0]
    assert told["subscriptionId"] == made.json()["id"]
    assert (told["clientState"], told["changeType"], told["resource"]) == ("mine", "updated", orders[1:])
    receiver.got.clear()
    receiver.refuse = 1
    simulator.client.delete(orders + "/items/1")
    eventually(lambda: receiver.got)
    assert simulator.stats()["notifications"]["refused"] == 1
    simulator.order("switches", {"notify-duplicate": 1})
    receiver.got.clear()
    simulator.client.delete(orders + "/items/2")
    eventually(lambda: len(receiver.got) == 2)
    simulator.order("switches", {"notify-loss": 1})
    simulator.client.delete(orders + "/items/3")
    eventually(lambda: simulator.stats()["notifications"].get("lost"))
    simulator.order("switches", {"notify-loss": 0, "notify-duplicate": 0})
    assert len(receiver.got) == 2
    assert simulator.client.delete(f"/subscriptions/{made.json()['id']}").status_code == 204
    assert simulator.client.get("/subscriptions").json()["value"] == []


def test_lifecycle_events_go_to_their_own_address(
    running: Any, receiver: Receiver, eventually: Callable[..., Any]
) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("Lifecycle")
    body = wanted(orders, receiver.url, lifecycleNotificationUrl=receiver.url)
    made = simulator.client.post("/subscriptions", json=body).json()
    simulator.order("lifecycle", {"subscription": made["id"], "event": "reauthorizationRequired"})
    assert eventually(lambda: receiver.got)[0]["lifecycleEvent"] == "reauthorizationRequired"
    assert simulator.client.post(f"/subscriptions/{made['id']}/reauthorize").status_code == 204


def test_without_a_handshake_there_is_no_subscription(running: Any, receiver: Receiver) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("Handshake")
    receiver.spoil = True
    for url in (receiver.url, "http://127.0.0.1:9/hook"):
        answer = simulator.client.post("/subscriptions", json=wanted(orders, url))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ValidationError")
    assert simulator.client.get(orders + "/subscriptions").json()["value"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"changeType": "created"},
        {"resource": "me/messages"},
        {"clientState": "x" * 129},
        {"notificationUrl": "http://example.com/hook"},
        {"expirationDateTime": "2001-01-01T00:00:00Z"},
        {"expirationDateTime": "2999-01-01T00:00:00Z"},
        {"expirationDateTime": "soon"},
    ],
)
def test_subscriptions_that_cannot_be(desk: Any, change: dict[str, Any]) -> None:
    body = wanted(desk.make_list(), "https://example.com/hook")
    body["expirationDateTime"] = "2027-01-20T00:00:00Z"
    assert desk.error("POST", "/subscriptions", {**body, **change})[0] == 400


def test_a_subscription_is_renewed_up_to_the_limit_and_ends(simulators: Callable[..., Any], receiver: Receiver) -> None:
    simulator = simulators("--tier", "off").sign_in()
    made = simulator.client.post("/subscriptions", json=wanted(simulator.make_list(), receiver.url)).json()
    url = f"/subscriptions/{made['id']}"
    later = (datetime.now(UTC) + timedelta(minutes=42_200)).isoformat()
    assert (
        simulator.client.patch(url, json={"expirationDateTime": later}).json()["expirationDateTime"][:16] == later[:16]
    )
    too_late = (datetime.now(UTC) + timedelta(minutes=42_400)).isoformat()
    assert simulator.client.patch(url, json={"expirationDateTime": too_late}).status_code == 400
    simulator.order("clock", {"advance_s": 42_200 * 60})
    simulator.sign_in()
    assert simulator.client.get(url).status_code == 404
