"""What must not bring the simulator down, stop it, or lose an answered write."""

import asyncio
import gc
import socket
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import httpx
import orjson
import pytest

from graphsim import control_views
from graphsim.lists.changes import ChangeLog
from tests.integration.graphsim.reach import Meter

MEMBER = {"id": "1", "method": "GET"}


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "fields/Amount eq 1" + ")" * 5000,
        "not " * 5000 + "fields/Amount eq 1",
        " or ".join(["fields/Amount eq 1"] * 5000),
        " and ".join(["fields/Amount eq 1"] * 26),
    ],
)
def test_a_deep_or_long_filter_is_refused(desk: Any, text: str) -> None:
    orders = desk.make_list()
    status, code, message = desk.error("GET", f"{orders}/items?$filter={text}", Prefer="HonorNonIndexedQueries")
    assert (status, code) == (400, "BadRequest")
    assert "node count limit of '100'" in message


def test_a_filter_refused_in_a_batch_leaves_the_other_members(running: Any) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("Deep")
    deep = f"{orders}/items?$filter=" + "(" * 3000 + "id eq 1" + ")" * 3000
    requests = [{**MEMBER, "url": deep}, {**MEMBER, "id": "2", "url": orders}]
    answers = simulator.client.post("/$batch", json={"requests": requests}).json()["responses"]
    assert {answer["id"]: answer["status"] for answer in answers} == {"1": 400, "2": 200}


@pytest.mark.parametrize("option", ["$filter=" + "(" * 1_000_000, "$expand=" + "fields," * 500_000])
def test_megabytes_of_query_in_a_batch_cost_little_and_leave_the_other_members(running: Any, option: str) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list(f"Megabytes {len(option)}")
    before = Meter(simulator.process.pid).cpu_s()
    requests = [{**MEMBER, "url": f"{orders}/items?{option}"}, {**MEMBER, "id": "2", "url": orders}]
    answers = simulator.client.post("/$batch", json={"requests": requests}).json()["responses"]
    assert {answer["id"]: answer["status"] for answer in answers} == {"1": 400, "2": 200}
    assert Meter(simulator.process.pid).cpu_s() - before < 0.2


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        (b"GET /v1.0/sites/none HTTP/1.1\r\nclient-request-id: a\xff", b"", 400),
        (b"GET /v1.0/nons%ff HTTP/1.1", b"", 400),
        (b"GET http://x/v1.0/nonsense HTTP/1.1", b"", 400),
        (b"POST /v1.0/$batch HTTP/1.1", b"\xff\xfe", 400),
        (b"POST /v1.0/$batch HTTP/1.1", b"[" * 100_000, 400),
    ],
)
def test_odd_bytes_are_refused_in_graphs_words(running: Any, head: bytes, body: bytes, status: int) -> None:
    simulator = running.sign_in()
    token = simulator.client.headers["Authorization"].encode()
    head += b"\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nAuthorization: " + token
    head += b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    url = httpx.URL(simulator.ready["base_url"])
    with socket.create_connection((url.host, url.port), 30) as connection, connection.makefile("rb") as answer:
        connection.sendall(head + body)
        assert int(answer.readline().split()[1]) == status
        error = orjson.loads(answer.read().partition(b"\r\n\r\n")[2])["error"]
    assert error["code"]
    assert simulator.client.get("/sites/root").status_code == 200


def test_a_body_that_is_not_what_its_encoding_says_is_refused(simulators: Any) -> None:
    simulator = simulators("--tier", "off").sign_in()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = simulator.client.post("/$batch", content=b"this is no gzip", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


def test_a_defect_fails_its_own_call_only(desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    orders = desk.make_list("Orders")
    desk.add(orders, Amount=1)
    # Bytes that no write can leave behind.
    desk.tenant.lists.by_id[desk.lists["Orders"]].rows[0].fields = b"{"
    requests = [{**MEMBER, "url": f"{orders}/items/1?$expand=fields"}, {**MEMBER, "id": "2", "url": orders}]
    answers = desk.batch_answers(requests)
    assert (answers["1"]["status"], answers["2"]["status"]) == (500, 200)
    assert answers["1"]["body"]["error"]["code"] == "generalException"
    assert "items/1" in capsys.readouterr().err


def test_a_data_file_has_one_simulator(simulators: Any, tmp_path: Any) -> None:
    data = str(tmp_path / "state.db")
    first = simulators("--data", data).sign_in()
    with pytest.raises(AssertionError, match="in use by another simulator"):
        simulators("--data", data)
    orders = first.make_list()
    assert first.client.post(orders + "/items", json={"fields": {}}).status_code == 201
    assert first.stop() == 0
    again = simulators("--data", data).sign_in()
    assert len(again.client.get(orders + "/items").json()["value"]) == 1


@pytest.mark.parametrize("action", ["status", "reset", "truncate", "garbage", "delay"])
@pytest.mark.parametrize("in_batch", [False, True])
def test_a_faulted_schema_change_does_not_keep_the_list_busy(simulators: Any, action: str, in_batch: bool) -> None:
    simulator = simulators("--tier", "off", "--switch", "schema-ms=1").sign_in()
    orders = simulator.make_list()
    level = "member" if in_batch else "request"
    simulator.order("faults", {"path": "/columns$", "action": action, "after_commit": True, "count": 1, "level": level})

    def add(name: str) -> int:
        body = {"name": name, "text": {}}
        if not in_batch:
            return int(simulator.client.post(orders + "/columns", json=body).status_code)
        member = {"id": "1", "method": "POST", "url": orders + "/columns", "body": body}
        member["headers"] = {"Content-Type": "application/json"}
        answer = simulator.client.post("/$batch", json={"requests": [member]})
        return int(answer.json()["responses"][0]["status"])

    with suppress(httpx.HTTPError, ValueError, KeyError):  # the answer is lost, cut off or garbage
        add("A")
    assert add("B") == 201
    names = {column["name"] for column in simulator.client.get(orders + "/columns").json()["value"]}
    assert {"A", "B"} <= names


def test_members_of_a_batch_interleave_with_other_calls(simulators: Any) -> None:
    simulator = simulators("--tier", "off", "--switch", "batch-order=given").sign_in()
    orders = simulator.make_list()
    ids: list[int] = []
    stop = threading.Event()

    def write_alone() -> None:
        while not stop.is_set():
            made = simulator.client.post(orders + "/items", json={"fields": {}})
            ids.append(int(made.json()["id"]))

    thread = threading.Thread(target=write_alone)
    thread.start()
    headers = {"Content-Type": "application/json"}
    member = {"method": "POST", "url": orders + "/items", "headers": headers, "body": {"fields": {}}}
    requests = [{**member, "id": str(n)} for n in range(20)]
    end = time.monotonic() + 60
    between = False
    while not between and time.monotonic() < end:
        answers = simulator.client.post("/$batch", json={"requests": requests}).json()["responses"]
        own = sorted(int(answer["body"]["id"]) for answer in answers)
        between = own[-1] - own[0] > 19
    stop.set()
    thread.join()
    assert between, "no other call came between the members of any batch"


def test_no_write_and_no_page_passes_many_overtaken_changes() -> None:
    newest: dict[int, int] = {}
    passed = [0]

    def is_last(item_id: int, position: int) -> bool:
        passed[0] += 1
        return newest[item_id] == position

    log = ChangeLog(is_last)

    def write(item_id: int) -> int:
        before, passed[0] = newest.get(item_id), 0
        newest[item_id] = log.append(item_id, 0.0)
        if before is not None:
            log.overtake(before)
        return passed[0]

    most = 0
    for n in range(200_000):
        # All items in turn, one item again and again, and some of them by leaps.
        most = max(most, write(1 + n % 20_000 if n < 60_000 else 7 if n < 120_000 else 1 + (n * 7919) % 20_000))
    assert most <= 2048
    passed[0] = 0
    assert log.page(0, log.position, 10)[0] == sorted(newest, key=lambda item: newest[item])[:10]
    assert passed[0] <= 3 * 2048
    assert list(log.newest()) == sorted(newest, key=lambda item: -newest[item])


def test_a_deleted_list_gives_its_memory_back(desk: Any) -> None:
    orders = desk.make_list()
    for n in range(3):
        desk.add(orders, RowtideKey=f"k{n}")
        desk.call("PATCH", orders + "/items/1/fields", {"Amount": n})
    lists = desk.tenant.lists

    freed = asyncio.Event()
    weakref.finalize(lists.by_id[desk.lists["Orders"]], freed.set)
    assert desk.call("DELETE", orders).status == 204

    async def run() -> None:
        freeing = asyncio.create_task(lists.free_deleted())
        await asyncio.wait_for(freed.wait(), 20)
        freeing.cancel()

    gc.disable()
    try:
        asyncio.run(run())
    finally:
        gc.enable()


def test_a_deleted_list_leaves_the_data_file(simulators: Any, tmp_path: Any) -> None:
    data = tmp_path / "state.db"
    first = simulators("--tier", "off", "--data", str(data)).sign_in()
    orders = first.make_list()
    member = {"method": "POST", "url": orders + "/items", "headers": {"Content-Type": "application/json"}}
    for start in range(0, 1200, 20):
        requests = [{**member, "id": str(n), "body": {"fields": {"Amount": start + n}}} for n in range(20)]
        assert first.client.post("/$batch", json={"requests": requests}).status_code == 200
    assert first.client.delete(orders).status_code == 204
    first.process.kill()
    first.process.wait()
    again = simulators("--tier", "off", "--data", str(data)).sign_in()
    assert again.client.get(orders).status_code == 404
    assert again.stop() == 0
    with closing(sqlite3.connect(data)) as file:
        assert file.execute("SELECT count(*) FROM item").fetchone() == (0,)


def test_what_is_very_large_is_told_in_portions(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = desk.make_list()
    for n in range(5):
        desk.add(orders, RowtideKey=f"k{n}")
    whole = [control_views.items(desk.tenant, {"all": "1"}), control_views.stats(desk.tenant, {})]
    monkeypatch.setattr(control_views, "_AT_ONCE", 4)
    monkeypatch.setattr(control_views, "_PORTION", 2)
    told = [control_views.items(desk.tenant, {"all": "1"}), control_views.stats(desk.tenant, {})]
    for before, after in zip(whole, told, strict=True):
        assert isinstance(before, bytes)
        assert isinstance(after, Iterator)
        portions = list(after)
        assert len(portions) == 5
        assert orjson.loads(b"".join(portions)) == orjson.loads(before)
