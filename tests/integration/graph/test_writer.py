"""The writer against the simulator: every way a request can end, and what is in the lists afterwards."""

import json
import queue
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from rowtide.deciding.outcomes import Outcome, ParkRow, Release, Settle
from rowtide.deciding.records import NoItem
from rowtide.keys import ROWTIDE_KEY
from tests.e2e.conftest import Simulator
from tests.integration.graph.conftest import make_lists, settings_for
from tests.integration.graph.delivery import Delivery

MakeSimulator = Callable[..., Simulator]


@pytest.fixture
def new_delivery(sim: MakeSimulator) -> Iterator[Callable[..., tuple[Simulator, Delivery, str, str]]]:
    """Makes a simulator with lists A and B and a delivery to it: options of the simulator, changes of the settings."""
    made: list[Delivery] = []

    def make(*options: str, **changes: Any) -> tuple[Simulator, Delivery, str, str]:
        simulator = sim(*options)
        provisioned = make_lists(settings_for(simulator), "A", "B")
        simulator.ask("stats", method="DELETE")
        delivery = Delivery(settings_for(simulator, **changes), provisioned.site_id)
        made.append(delivery)
        return simulator, delivery, provisioned.list_ids["A"], provisioned.list_ids["B"]

    yield make
    for delivery in made:
        delivery.writer.stop(0.0)


Make = Callable[..., tuple[Simulator, Delivery, str, str]]


def shown(simulator: Simulator) -> dict[str, tuple[str, Any, Any]]:
    """RowtideKey -> list, Title, Amount; fails when a key has two items."""
    items = [item for item in simulator.items() if not item["deleted"]]
    keys = [item["fields"].get(ROWTIDE_KEY) for item in items]
    assert len(keys) == len(set(keys)), "an item is doubled"
    return {
        item["fields"][ROWTIDE_KEY]: (item["list"], item["fields"].get("Title"), item["fields"].get("Amount"))
        for item in items
    }


def test_creates_updates_moves_and_deletes(new_delivery: Make) -> None:
    simulator, delivery, a, b = new_delivery()
    for number in range(50):
        delivery.commit(str(number), a, {"Title": f"row {number}", "Amount": number, "Notes": None})
    delivery.deliver()
    delivery.commit("1", a, {"Title": "changed", "Amount": 1, "Notes": None})
    delivery.commit("2", b, {"Title": "moved", "Amount": 2, "Notes": "n"})
    delivery.commit("3", None, {})
    delivery.commit("4", a, {"Title": "row 4", "Amount": 4, "Notes": None})
    delivery.deliver()
    items = shown(simulator)
    assert len(items) == 49
    assert items["orders:1"] == ("A", "changed", 1)
    assert items["orders:2"] == ("B", "moved", 2)
    stats = simulator.stats()
    # Nothing for row 4: 50 creates, a PATCH, a POST and two DELETEs.
    assert (stats["creates"]["total"], stats["updates"]["total"], stats["deletes"]["total"]) == (51, 1, 2)
    assert delivery.writer.counters.writes == 54
    assert delivery.writer.counters.ru_used == 108
    assert isinstance(delivery.ledger["3"], NoItem)


FAULTS: dict[str, dict[str, Any]] = {
    "503 before": {"status": 503, "level": "member"},
    "504 after": {"status": 504, "level": "member", "after_commit": True},
    "500 of the batch, after": {"status": 500, "path": r"/\$batch$", "after_commit": True},
    "502 of the batch, before": {"status": 502, "path": r"/\$batch$"},
    "reset before": {"action": "reset", "path": r"/\$batch$"},
    "reset after": {"action": "reset", "path": r"/\$batch$", "after_commit": True},
    "reset of a member, after": {"action": "reset", "level": "member", "after_commit": True},
    "truncated": {"action": "truncate", "path": r"/\$batch$", "after_commit": True},
    "garbage": {"action": "garbage", "path": r"/\$batch$", "after_commit": True},
    "time-out, done late": {"action": "delay", "delay_ms": 700, "level": "member"},
    "time-out, done": {"action": "delay", "delay_ms": 700, "level": "member", "after_commit": True},
    "429 of a member": {"status": 429, "retry_after": 0.2, "level": "member"},
    "429 of the batch": {"status": 429, "retry_after": 0.2, "path": r"/\$batch$"},
    "429 without Retry-After": {"status": 429, "level": "member", "probability": 0.02},
    "401 of a member": {"status": 401, "level": "member"},
    "401 of the batch": {"status": 401, "path": r"/\$batch$"},
    "412": {"status": 412, "level": "member", "method": "PATCH"},
    "409 resourceModified": {"status": 409, "level": "member", "method": "PATCH"},
    "409 for a POST": {"status": 409, "level": "member", "method": "POST"},
    "424": {"status": 424, "level": "member"},
}


SIDE_BY_SIDE = 4
"""So many faults are lived through at once, each beside a simulator of its own: most of their time is waiting."""


@dataclass(frozen=True, slots=True)
class Converged:
    """What one history of a fault left: the simulator's items and POSTs by key, and how the claims ended."""

    items: dict[str, tuple[str, Any, Any]]
    created: dict[str, int]
    outcomes: list[Outcome]


@pytest.fixture(scope="module")
def converged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Converged]]:
    """What became of a history under the fault of that name; all of them are lived through, the slow ones first."""
    idle: queue.SimpleQueue[tuple[Simulator, str, str, str]] = queue.SimpleQueue()
    simulators = [
        Simulator(tmp_path_factory.mktemp("sim"), "--tier", "off", "--seed", "7") for _ in range(SIDE_BY_SIDE)
    ]
    for simulator in simulators:
        made = make_lists(settings_for(simulator), "A", "B")
        idle.put((simulator, made.site_id, made.list_ids["A"], made.list_ids["B"]))

    def live(name: str) -> Converged:
        place = idle.get()
        try:
            return live_through(name, *place)
        finally:
            idle.put(place)

    slow_first = sorted(FAULTS, key=lambda name: FAULTS[name].get("action") != "delay")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as hands:
        histories = {name: hands.submit(live, name) for name in slow_first}
        yield lambda name: histories[name].result()
    for simulator in simulators:
        simulator.close()


def live_through(name: str, simulator: Simulator, site_id: str, a: str, b: str) -> Converged:
    """Creates, updates, moves and deletes while a fifth of the requests goes wrong."""
    short = {"request_timeout_s": 0.5, "absent_after_s": 0.3, "send_within_s": 0.5}
    delivery = Delivery(settings_for(simulator, **short), site_id)
    simulator.set_faults([{"probability": 0.2, **FAULTS[name]}])
    keys = keys_of(name)
    try:
        for number, key in enumerate(keys):
            delivery.commit(key, a, {"Title": f"row {number}", "Amount": number, "Notes": None})
        delivery.deliver()
        for number, key in enumerate(keys):
            target = (None, b, a)[number % 3]
            delivery.commit(key, target, {"Title": f"new {number}", "Amount": number, "Notes": None} if target else {})
        delivery.deliver()
    finally:
        simulator.clear_faults()
        delivery.writer.stop(0.0)
    posts = simulator.stats()["posts_by_key"]
    created = {key: int(posts[f"orders:{key}"]["created"]) for key in keys}
    return Converged(shown(simulator), created, delivery.outcomes)


def keys_of(name: str) -> list[str]:
    """The row keys of a fault's history."""
    return [f"{list(FAULTS).index(name)}-{number}" for number in range(24)]


@pytest.mark.parametrize("name", FAULTS.keys())
def test_converges_without_doubles(converged: Callable[[str], Converged], name: str) -> None:
    found = converged(name)
    for number, key in enumerate(keys_of(name)):
        wanted = ("B" if number % 3 == 1 else "A", f"new {number}", number) if number % 3 else None
        assert found.items.get(f"orders:{key}") == wanted
        # Once in each list it was in.
        assert found.created[key] <= 2
    assert not [outcome for outcome in found.outcomes if isinstance(outcome, ParkRow)]


def test_answers_without_etag(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    simulator.ask("switches", {"patch-etag": "off"})
    for title in ("one", "two", "three"):
        delivery.commit("1", a, {"Title": title, "Amount": None, "Notes": None})
        delivery.deliver()
    assert shown(simulator) == {"orders:1": ("A", "three", None)}
    assert delivery.item("1").etag == simulator.items()[0]["eTag"]


def test_postgresql_wins_over_a_foreign_edit(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    delivery.commit("1", a, {"Title": "ours", "Amount": 1, "Notes": None})
    delivery.deliver()
    (item,) = simulator.items()
    simulator.edit(list="A", item_id=item["id"], fields={"Title": "theirs", "Amount": 9})
    delivery.commit("1", a, {"Title": "ours", "Amount": 2, "Notes": None})
    delivery.deliver()
    assert shown(simulator) == {"orders:1": ("A", "ours", 2)}
    assert [outcome.foreign_edit for outcome in delivery.outcomes if isinstance(outcome, Settle)] == [False, True]
    simulator.edit(list="A", item_id=item["id"], touch=True)
    delivery.commit("1", a, {"Title": "ours", "Amount": 3, "Notes": None})
    delivery.deliver()
    last = delivery.outcomes[-1]
    assert isinstance(last, Settle)
    assert not last.foreign_edit


def test_an_item_deleted_by_hand_comes_back(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    delivery.commit("1", a, {"Title": "one", "Amount": 1, "Notes": None})
    delivery.deliver()
    simulator.edit(list="A", item_id=simulator.items()[0]["id"], delete=True)
    delivery.commit("1", a, {"Title": "two", "Amount": 1, "Notes": None})
    delivery.deliver()
    assert shown(simulator) == {"orders:1": ("A", "two", 1)}


@pytest.mark.parametrize("status", ["400", "409"])
def test_poison_is_parked_and_neighbours_go_on(new_delivery: Make, status: str) -> None:
    simulator, delivery, a, _ = new_delivery()
    simulator.ask("switches", {"unique-error": status})
    for number in range(20):
        delivery.commit(str(number), a, {"Title": "x" * 300 if number == 7 else "fine", "Amount": 1, "Notes": None})
    delivery.deliver()
    (parked,) = [outcome for outcome in delivery.outcomes if isinstance(outcome, ParkRow)]
    assert (parked.work.desired.key, parked.code) == ("7", "invalidRequest")
    assert len(shown(simulator)) == 19


def test_an_item_of_ours_in_the_way_is_adopted(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    simulator.edit(list="A", fields={"Title": "lost ledger", ROWTIDE_KEY: "orders:1"})
    delivery.commit("1", a, {"Title": "found", "Amount": 1, "Notes": None})
    delivery.deliver()
    assert shown(simulator) == {"orders:1": ("A", "found", 1)}


@pytest.mark.parametrize(("status", "code"), [(403, "accessDenied"), (404, "itemNotFound"), (507, "quotaLimitReached")])
def test_a_list_problem_blames_the_list(new_delivery: Make, status: int, code: str) -> None:
    simulator, delivery, a, b = new_delivery()
    simulator.set_faults([{"list": "A", "status": status}])
    for number in range(10):
        delivery.commit(str(number), a if number % 2 else b, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.deliver(until=lambda: len(delivery.outcomes) == 10)
    releases = [outcome for outcome in delivery.outcomes if isinstance(outcome, Release)]
    assert len(releases) == 5
    assert all(0 < release.after_s <= 60 and not release.unknown and code in release.reason for release in releases)
    assert code in delivery.writer.list_problems[a].sentence
    assert list(delivery.writer.list_problems) == [a]
    assert delivery.writer.problem is None
    simulator.clear_faults()
    for row in delivery.rows.values():
        row.due_at -= timedelta(hours=1)
    delivery.deliver()
    assert delivery.writer.list_problems == {}


LIST_FAULTS = {
    "refuses": {"status": 403, "level": "member"},
    "is gone": {"status": 404, "level": "member"},
    "fails": {"status": 503, "level": "member"},
    "loses batches": {"action": "reset", "level": "member"},
}


@pytest.mark.parametrize("fault", LIST_FAULTS.values(), ids=LIST_FAULTS.keys())
def test_a_list_that_fails_holds_back_itself_only(new_delivery: Make, fault: dict[str, Any]) -> None:
    """Its rows wait for the answer to one of them, longer each time, and cost next to no requests."""
    simulator, delivery, a, b = new_delivery()
    simulator.set_faults([{"list": "A", **fault}])
    for number in range(400):
        delivery.commit(f"a{number}", a, {"Title": "t", "Amount": 1, "Notes": None})
    for number in range(40):
        delivery.commit(f"b{number}", b, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.deliver(until=lambda: not any(key.startswith("b") for key in delivery.rows))
    assert delivery.budget.gate.left_s() == 0
    assert list(delivery.writer.list_problems) == [a]
    assert delivery.writer.counters.requests < 20
    assert delivery.writer.counters.ru_used < 400  # of the 880 that all rows cost
    simulator.clear_faults()
    delivery.deliver()
    assert delivery.writer.list_problems == {}
    assert len(shown(simulator)) == 440


def test_a_list_that_hangs_takes_no_slot_from_the_others(new_delivery: Make) -> None:
    simulator, delivery, a, b = new_delivery(request_timeout_s=20.0)
    simulator.set_faults([{"list": "A", "action": "delay", "delay_ms": 15_000, "level": "member"}])
    for number in range(200):
        delivery.commit(f"a{number}", a, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.writer.submit(delivery.claim())
    for number in range(40):
        delivery.commit(f"b{number}", b, {"Title": "t", "Amount": 1, "Notes": None})
    started = time.monotonic()
    delivery.deliver(until=lambda: not any(key.startswith("b") for key in delivery.rows))
    assert time.monotonic() - started < 8
    simulator.clear_faults()


def test_a_429_closes_the_gate_for_all(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    simulator.set_faults([{"status": 429, "retry_after": 300, "level": "member", "count": 1}])
    for number in range(100):
        delivery.commit(str(number), a, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.deliver(until=lambda: len(delivery.outcomes) == 100)
    assert 150 < delivery.budget.gate.left_s() <= 300
    requests = delivery.writer.counters.requests
    assert "throttles" in str(delivery.writer.problem)
    delivery.writer.submit(delivery.claim())
    for row in delivery.rows.values():
        row.due_at -= timedelta(hours=1)
    delivery.writer.submit(delivery.claim())
    wait_for(lambda: delivery.writer.pending() == len(delivery.writer._outcomes))
    outcomes = delivery.settle()
    assert outcomes
    assert all(isinstance(outcome, Release) and not outcome.unknown for outcome in outcomes)
    assert delivery.writer.counters.requests == requests


@pytest.mark.long
def test_paces_itself_within_the_quota(new_delivery: Make) -> None:
    options = ("--tier", "1000", "--window-s", "3")
    simulator, delivery, a, _ = new_delivery(*options, quota_off=False, window_s=3.0, send_within_s=5.0)
    # What provisioning spent is not ours to pace: begin when its window is over.
    made_at = time.monotonic()
    wait_for(lambda: time.monotonic() > made_at + 3.0)
    started = time.monotonic()
    for number in range(80):
        delivery.commit(str(number), a, {"Title": "t", "Amount": number, "Notes": None})
    while delivery.rows:
        wait_for(lambda: delivery.budget.quota_wait_s() == 0)
        units = delivery.budget.take(40)
        plans = delivery.claim(limit=units // 2)
        delivery.budget.refund(units - 2 * len(plans))
        delivery.writer.submit(plans)
        delivery.settle()
        assert time.monotonic() < started + 60
    ru = simulator.stats()["ru"]
    assert simulator.stats()["throttled"] == 0
    assert ru["max_accepted_in_window"] <= 62
    # 160 RU at 0.8 x 62.5 RU in 3 s.
    assert time.monotonic() - started > 8


def test_a_token_that_is_refused_is_renewed_once(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    delivery.commit("1", a, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.deliver()
    simulator.ask("tokens", {"revoke": True})
    delivery.commit("1", a, {"Title": "u", "Amount": 1, "Notes": None})
    delivery.deliver()
    assert shown(simulator) == {"orders:1": ("A", "u", 1)}
    assert not [outcome for outcome in delivery.outcomes if isinstance(outcome, Release)]


def test_a_refused_token_is_named(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    simulator.set_faults([{"status": 401, "path": r"/\$batch$"}])
    delivery.commit("1", a, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.deliver(until=lambda: bool(delivery.outcomes))
    (release,) = delivery.outcomes
    assert isinstance(release, Release)
    assert not release.unknown
    assert str(delivery.writer.problem) == "Graph does not accept the token of graph 'contoso'"
    simulator.clear_faults()
    delivery.deliver()
    assert delivery.writer.problem is None


def test_a_wrong_secret_is_named_and_nothing_is_sent(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery(secret="wrong")
    delivery.commit("1", a, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.deliver(until=lambda: bool(delivery.outcomes))
    (release,) = delivery.outcomes
    assert isinstance(release, Release)
    assert not release.unknown
    assert release.after_s >= 1.0
    assert "AADSTS7000215" in str(delivery.writer.problem)
    assert simulator.stats()["batches"] == 0


def test_no_connection_is_not_applied(new_delivery: Make) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/v1.0"
    _, delivery, a, _ = new_delivery(base_url=address)
    delivery.commit("1", a, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.deliver(until=lambda: len(delivery.outcomes) == 3)
    assert all(isinstance(outcome, Release) and not outcome.unknown for outcome in delivery.outcomes)
    assert "cannot be reached" in str(delivery.writer.problem)
    assert delivery.writer.counters.ru_used == 0


@pytest.mark.parametrize("lists", [1, 2])
def test_an_outage_costs_few_requests(new_delivery: Make, lists: int) -> None:
    """With one list nobody can tell whether it is the list's; once two lists are lost, it is the tenant's."""
    simulator, delivery, *targets = new_delivery()
    simulator.set_faults([{"status": 503}])
    for number in range(40):
        delivery.commit(str(number), targets[number % lists], {"Title": "t", "Amount": 1, "Notes": None})
    end = time.monotonic() + 3

    def is_said() -> bool:
        said = delivery.writer.problem if lists == 2 else delivery.writer.list_problems.get(targets[0])
        return "503" in str(said)

    delivery.deliver(until=lambda: time.monotonic() > end and is_said())
    assert delivery.writer.counters.requests < 25


def test_stop_hands_everything_back(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    simulator.ask("latency", {"latency_ms": 3000})
    for number in range(200):
        delivery.commit(str(number), a, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.writer.submit(delivery.claim())
    wait_for(lambda: delivery.writer.counters.requests == 4)
    started = time.monotonic()
    outcomes = delivery.writer.stop(0.3)
    assert time.monotonic() - started < 1.5
    assert len(outcomes) == 200
    releases = [outcome for outcome in outcomes if isinstance(outcome, Release)]
    assert sum(release.unknown for release in releases) == 80
    assert delivery.writer.pending() == 0


def test_a_row_is_never_in_flight_twice(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    simulator.ask("latency", {"latency_ms": 300})
    delivery.commit("1", a, {"Title": "t", "Amount": 1, "Notes": None})
    (plan,) = delivery.claim()
    delivery.writer.submit([plan])
    delivery.writer.submit([plan])
    wait_for(lambda: len(delivery.writer._outcomes) == 2)
    first, second = delivery.writer.poll()
    assert isinstance(first, Release)
    assert not first.unknown
    assert isinstance(second, Settle)


def test_a_claim_that_is_too_old_is_not_sent(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery(send_within_s=0.0)
    delivery.commit("1", a, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.deliver(until=lambda: bool(delivery.outcomes))
    (release,) = delivery.outcomes
    assert isinstance(release, Release)
    assert not release.unknown
    assert simulator.stats()["batches"] == 0


def test_a_claim_that_grows_too_old_while_it_waits_for_its_window_is_not_sent(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery(quota_off=False, licences=1000, window_s=3.0, send_within_s=0.3)
    while delivery.budget.send_wait_s(1) == 0:
        continue  # the window is full
    delivery.commit("1", a, {"Title": "t", "Amount": 1, "Notes": None})
    delivery.deliver(until=lambda: bool(delivery.outcomes))
    (release,) = delivery.outcomes
    assert isinstance(release, Release)
    assert not release.unknown
    assert simulator.stats()["batches"] == 0


def test_a_batch_that_is_refused_is_one_failure(new_delivery: Make) -> None:
    """The wait doubles with each failure: counted for each row, one batch would hold the tenant for a minute."""
    simulator, delivery, a, _ = new_delivery(send_within_s=5.0)
    simulator.ask("latency", {"latency_ms": 200})
    for number in range(30):
        delivery.commit(str(number), a, {"Title": "t", "Amount": number, "Notes": None})
    simulator.set_faults([{"status": 401, "path": r"/\$batch$"}])
    delivery.writer.submit(delivery.claim())
    wait_for(lambda: delivery.writer.pending() == len(delivery.writer._outcomes))
    counters = delivery.writer.counters
    assert len(delivery.settle()) == 30
    assert 1 <= counters.failures <= counters.requests


def test_one_row_does_not_wait_for_others(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery()
    delivery.commit("0", a, {"Title": "first, for token and connection", "Amount": 1, "Notes": None})
    delivery.deliver()
    simulator.ask("latency", {"latency_ms": 100})
    times = []
    for number in range(1, 6):  # a busy machine delays some of them; whoever waits for more rows delays each
        delivery.commit(str(number), a, {"Title": "t", "Amount": 1, "Notes": None})
        started = time.monotonic()
        delivery.deliver()
        times.append(time.monotonic() - started)
    assert min(times) < 0.5


def test_a_large_body_is_sent_in_halves(new_delivery: Make) -> None:
    simulator, delivery, a, _ = new_delivery(request_timeout_s=30.0)
    for number in range(20):
        delivery.commit(str(number), a, {"Title": str(number), "Amount": 1, "Notes": "€" * 63_000})
    delivery.deliver()
    assert len(shown(simulator)) == 20
    assert delivery.writer.counters.requests >= 2


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_items_are_what_json_says(new_delivery: Make) -> None:
    """Every kind of key reaches the item as its RowtideKey and finds it again."""
    simulator, delivery, a, _ = new_delivery()
    keys = ["1", "a'b", "Ä|1", "550e8400-e29b-41d4-a716-446655440000", "x" * 200, "Ab", "aB", "100%", "a&b?c#d"]
    simulator.set_faults([{"method": "POST", "status": 504, "level": "member", "after_commit": True, "count": 9}])
    for key in keys:
        delivery.commit(key, a, {"Title": json.dumps(key)[:200], "Amount": 1, "Notes": None})
    delivery.deliver()
    assert len(shown(simulator)) == len(keys)
    assert simulator.stats()["creates"]["total"] == len(keys)
