"""`$batch`: limits, dependencies, order, quota, faults."""

from typing import Any

import pytest

from graphsim.http.errors import GraphError

JSON = {"Content-Type": "application/json"}


def post(number: int | str, address: str, **fields: Any) -> dict[str, Any]:
    return {"id": str(number), "method": "POST", "url": address + "/items", "headers": JSON, "body": {"fields": fields}}


def test_twenty_members_each_with_its_own_answer(desk: Any) -> None:
    orders = desk.make_list()
    members = [post(n, orders, RowtideKey=f"k{n % 19}") for n in range(20)]
    answers = desk.batch_answers(members)
    assert len(answers) == 20
    assert sorted(answers[n]["status"] for n in ("0", "19")) == [201, 400]
    assert all(answers[str(n)]["status"] == 201 for n in range(1, 19))
    assert answers["5"]["body"]["fields"]["RowtideKey"] == "k5"


def test_answers_come_in_any_order_but_repeatably(make_desk: Any) -> None:
    orders = []
    for _ in range(2):
        desk = make_desk()
        address = desk.make_list()
        served = desk.batch([post(n, address) for n in range(20)])
        orders.append([a["id"] for a in served.reply.body["responses"]])
    assert orders[0] == orders[1] != [str(n) for n in range(20)]
    desk = make_desk(batch_order="given")
    address = desk.make_list()
    served = desk.batch([post(n, address) for n in range(20)])
    assert [a["id"] for a in served.reply.body["responses"]] == [str(n) for n in range(20)]


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "The batch has no requests"),
        ([post(n, "/x") for n in range(21)], "Number of batch request steps exceeds the maximum value of 20."),
        ([post("a", "/x"), post("A", "/x")], "The batch request Id 'A' is used more than once."),
        ([{**post(1, "/x"), "headers": {}}], "The batch request 1 has a body but no Content-Type header"),
        ([{**post(1, "/x"), "dependsOn": ["2"]}, post(2, "/x")], "Invalid dependency for request Id: 1"),
        (
            [{**post(1, "/x"), "url": "https://graph.microsoft.com/x"}],
            "The batch request 1 needs a url relative to the version: https://graph.microsoft.com/x",
        ),
        ([{**post(1, "/x"), "method": "FETCH"}], "The batch request 1 has no valid method"),
        ([{**post(1, "/x"), "id": ""}], "A batch request needs an id"),
    ],
)
def test_envelopes_that_cannot_be_read(desk: Any, requests: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(GraphError) as error:
        desk.batch(requests)
    assert (error.value.status, error.value.message) == (400, message)


def test_members_wait_for_those_they_depend_on_and_fail_with_them(desk: Any) -> None:
    orders = desk.make_list()
    for n in range(19):
        chain = [post(n, orders, RowtideKey=f"{n}") for n in range(n, n + 1)]
        desk.batch_answers(chain)
    patch = {"id": "p", "method": "PATCH", "url": orders + "/items/20/fields", "headers": JSON, "body": {"Title": "x"}}
    answers = desk.batch_answers([post("A", orders, RowtideKey="new"), {**patch, "dependsOn": ["a"]}])
    assert (answers["A"]["status"], answers["p"]["status"]) == (201, 200)
    bad = post("1", orders, RowtideKey="new")
    chained = [bad, {**post("2", orders), "dependsOn": ["1"]}, {**post("3", orders), "dependsOn": ["2"]}]
    answers = desk.batch_answers(chained)
    assert [answers[n]["status"] for n in "123"] == [400, 424, 424]
    assert answers["3"]["body"]["error"]["code"] == "failedDependency"


def test_members_carry_their_own_if_match(desk: Any) -> None:
    orders = desk.make_list()
    made = desk.add(orders, Title="a")
    patch = {"id": "1", "method": "PATCH", "url": orders[1:] + "/items/1/fields", "body": {"Title": "b"}}
    headers = {**JSON, "if-match": made["eTag"]}
    assert desk.batch_answers([{**patch, "headers": headers}])["1"]["status"] == 200
    assert desk.batch_answers([{**patch, "headers": headers}])["1"]["status"] == 412
    removed = desk.batch_answers([{"id": "1", "method": "DELETE", "url": orders + "/items/1"}])["1"]
    assert removed["status"] == 204
    assert removed["body"] is None


@pytest.mark.parametrize(("switch", "status"), [("200", 200), ("424", 424)])
def test_members_are_charged_and_throttled_one_by_one(make_desk: Any, switch: str, status: int) -> None:
    desk = make_desk(tier="1000", window_s=1, batch_status=switch)
    orders = desk.make_list()
    desk.time += 1
    served = desk.batch([post(n, orders) for n in range(20)])
    statuses = sorted(a["status"] for a in served.reply.body["responses"])
    assert statuses == [201] * 10 + [429] * 10
    throttled = next(a for a in served.reply.body["responses"] if a["status"] == 429)
    assert throttled["headers"]["Retry-After"] == "1"
    assert throttled["body"]["error"]["code"] == "activityLimitReached"
    assert served.reply.status == status


def test_a_fault_strikes_one_member_only(desk: Any) -> None:
    orders = desk.make_list()
    rule = {"level": "member", "method": "POST", "count": 1, "status": 503, "retry_after": 2, "after_commit": True}
    desk.tenant.faults.add(rule)
    answers = desk.batch_answers([post(n, orders) for n in range(5)])
    struck = [a for a in answers.values() if a["status"] == 503]
    assert len(struck) == 1
    assert struck[0]["headers"]["Retry-After"] == "2"
    assert len(desk.get(orders + "/items")["value"]) == 5
    desk.tenant.faults.add({"level": "member", "action": "reset", "count": 1})
    served = desk.batch([post(n, orders) for n in range(5)])
    assert served.connection_fault is not None
    assert len(desk.get(orders + "/items")["value"]) == 9
