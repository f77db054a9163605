"""Fault rules: what they match, when they strike, what is left behind; on the wire too."""

from typing import Any

import httpx
import pytest


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        ({}, True),
        ({"method": "post"}, True),
        ({"method": "PATCH"}, False),
        ({"path": "/items$"}, True),
        ({"path": "/columns$"}, False),
        ({"list": "orders"}, True),
        ({"list": "Other"}, False),
        ({"level": "request"}, True),
        ({"level": "member"}, False),
        ({"client": "app-1"}, True),
        ({"client": "app-2"}, False),
        ({"probability": 0}, False),
        ({"count": 0}, False),
        ({"skip": 1}, False),
    ],
)
def test_a_rule_matches(desk: Any, rule: dict[str, Any], struck: bool) -> None:
    orders = desk.make_list()
    desk.tenant.faults.add({"status": 502, **rule})
    assert (desk.call("POST", orders + "/items", {"fields": {}}).status == 502) is struck


@pytest.mark.parametrize(("after", "items"), [(False, 0), (True, 1)])
def test_before_the_commit_nothing_is_left_after_it_the_work_is(desk: Any, after: bool, items: int) -> None:
    orders = desk.make_list()
    desk.tenant.faults.add({"method": "POST", "status": 504, "count": 1, "after_commit": after})
    reply = desk.call("POST", orders + "/items", {"fields": {"RowtideKey": "k"}})
    assert (reply.status, reply.body["error"]["code"]) == (504, "GatewayTimeout")
    assert len(desk.get(orders + "/items")["value"]) == items
    assert desk.tenant.stats.posts_of("k") == {"attempts": 1, "created": items}


def test_a_rule_may_bring_its_own_answer(desk: Any) -> None:
    orders = desk.make_list()
    desk.tenant.faults.add({"status": 409, "code": "resourceModified", "message": "m", "inner_code": "i", "count": 1})
    error = desk.call("GET", orders).body["error"]
    assert (error["code"], error["message"], error["innerError"]["code"]) == ("resourceModified", "m", "i")
    desk.tenant.faults.add({"status": 429, "retry_after": 120, "headers": {"x-a": "b"}, "count": 1})
    headers = desk.call("GET", orders).headers
    assert (headers["Retry-After"], headers["x-a"]) == ("120", "b")
    assert desk.call("GET", orders).status == 200


def test_probability_is_drawn_from_the_seed(make_desk: Any) -> None:
    runs = []
    for _ in range(2):
        desk = make_desk()
        orders = desk.make_list()
        desk.tenant.faults.add({"probability": 0.5, "status": 500})
        runs.append([desk.call("GET", orders).status for _ in range(50)])
    assert runs[0] == runs[1]
    assert 10 < runs[0].count(500) < 40


@pytest.mark.parametrize(
    "rule",
    [
        {"nope": 1},
        {"action": "explode"},
        {"path": "("},
        {"probability": "x"},
        {"count": -1},
        {"level": "outer"},
        5,
    ],
)
def test_rules_that_make_no_sense_are_refused(desk: Any, rule: Any) -> None:
    with pytest.raises(ValueError):
        desk.tenant.faults.add(rule)


def test_on_the_wire(running: Any) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list()
    rules = [
        {"method": "POST", "list": "Orders", "path": "/items$", "count": 1, "after_commit": True} for _ in range(3)
    ]
    for rule, action in zip(rules, ("reset", "truncate", "garbage"), strict=True):
        simulator.order("faults", {**rule, "action": action})
    for n, expected in enumerate((httpx.RemoteProtocolError, httpx.RemoteProtocolError)):
        with pytest.raises(expected):
            simulator.client.post(orders + "/items", json={"fields": {"RowtideKey": str(n)}})
    garbage = simulator.client.post(orders + "/items", json={"fields": {"RowtideKey": "2"}})
    with pytest.raises(ValueError):
        garbage.json()
    assert len(simulator.client.get(orders + "/items").json()["value"]) == 3
    simulator.order("faults", [{"path": "batch$", "action": "reset", "count": 1}, {"action": "delay", "delay_ms": 50}])
    member = {"id": "1", "method": "GET", "url": orders}
    with pytest.raises(httpx.RemoteProtocolError):
        simulator.client.post("/$batch", json={"requests": [member]})
    slow = simulator.client.post("/$batch", json={"requests": [member]})
    assert slow.elapsed.total_seconds() > 0.05
    hits = [rule["hits"] for rule in simulator.control.get("/faults").json()["rules"]]
    assert hits[:4] == [1, 1, 1, 1]
    assert simulator.control.delete("/faults").json() == {"rules": []}
    assert simulator.stats()["faults"] >= 5
