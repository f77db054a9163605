"""Webhooks with the simulator: subscriptions are made, renewed and ended; an edit comes without a poll.

In: people's edits, lifecycle events, a receiver on an address of its own. Rule: a notification saves a wait and nothing
else; without any the list is read all the same.
"""

import asyncio
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors import listening
from connectors.graph.budget import Budget
from connectors.graph.client import Reply
from connectors.graph.settings import WebhookSettings
from connectors.liveness import Liveness
from flows.collector import Collector
from flows.graph_reads import GraphReads, PacedGraph
from flows.probes import Probes
from flows.subscriber import Subscriber
from rowtide.polling import PollBounds, PolledList
from rowtide.subscriptions import client_state
from state import database
from tests.e2e.conftest import Simulator
from tests.integration.flows.collecting import CollectBench
from tests.integration.graph.conftest import make_lists, settings_for
from tests.integration.reconcile.bench import eventually

pytestmark = pytest.mark.long

KEY = b"a key of this test"
TITLE = "Orders"


@pytest.fixture(scope="module")
def address() -> str:
    """Where this process listens; it never ends to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    listening.serve(f"127.0.0.1:{port}", Probes(0, ["deliver"], Liveness()))
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def bench(tmp_path: Path, state_dsn: str, address: str) -> Iterator[CollectBench]:
    """A list that is polled once in ten minutes."""
    simulator = Simulator(tmp_path, "--tier", "off", "--switch", "notify-delay-ms=50")
    made = make_lists(settings_for(simulator), TITLE)
    settings = settings_for(simulator, webhooks=WebhookSettings(f"{address}/hooks", KEY))
    with database.connect(state_dsn, "tests") as conn:
        yield CollectBench(simulator, settings, state_dsn, conn, made.site_id, dict(made.list_ids))
    simulator.close()


class Hooked:
    """A collector and a subscriber, as a process has them."""

    def __init__(self, bench: CollectBench, lists: list[PolledList]) -> None:
        self.lists = lists
        graphs = {"contoso": PacedGraph(bench.settings, Budget(bench.settings))}
        self.collector = Collector(bench.dsn, lambda _: self.lists, graphs)
        self.subscriber = Subscriber(bench.dsn, lambda _: self.lists, graphs, self.collector.note_changed)


@contextmanager
def running(bench: CollectBench) -> Iterator[Hooked]:
    rare = [replace(one, bounds=PollBounds(600.0, 600.0)) for one in bench.polled(TITLE)]
    hooked = Hooked(bench, rare)
    hooked.collector.start()
    hooked.subscriber.start()
    try:
        eventually(lambda: len(subscriptions(bench)) == 1, "a subscription is made")
        eventually(lambda: (one := bench.cursor(TITLE)) is not None and not one.full, "the list is read")
        yield hooked
    finally:
        hooked.subscriber.stop()
        hooked.collector.stop()


def subscriptions(bench: CollectBench) -> dict[str, Any]:
    """Those that the simulator has, by id, as our app sees them."""
    found = asked(bench, "/subscriptions")
    return {one["id"]: one for one in found["value"]}


def asked(bench: CollectBench, path: str) -> Any:
    """An answer of Graph's to our app."""

    async def ask() -> Any:
        reads = GraphReads({"contoso": PacedGraph(bench.settings, Budget(bench.settings))})
        answer = await reads.get("contoso", path)
        await reads.close()
        assert isinstance(answer, Reply)
        return orjson.loads(answer.body)

    return asyncio.run(ask())


def ends(subscriber: Subscriber) -> Mapping[str, datetime]:
    """By graph when Graph stops telling of its first list, as a metric says it."""
    reading = subscriber.reading()
    return {} if reading is None else reading.ends


def post(url: str, body: bytes) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_an_edit_comes_without_a_poll(bench: CollectBench) -> None:
    with running(bench) as hooked:
        one = bench.edit(TITLE, Title="one")
        eventually(lambda: bench.told(TITLE) == {one: "one"}, "the new item has come")
        bench.edit(TITLE, one, Title="two")
        eventually(lambda: bench.told(TITLE) == {one: "two"}, "the edit has come")
        cursor = bench.cursor(TITLE)
        assert cursor is not None
        assert cursor.due_in_s > 300
        reading = hooked.subscriber.reading()
        assert reading is not None
        assert reading.age_s is not None
        assert 0 <= reading.age_s < 60
    assert bench.simulator.stats()["notifications"]["delivered"] >= 2


def test_a_subscription_is_kept_and_renewed_when_graph_asks(bench: CollectBench) -> None:
    with running(bench):
        [(known, before)] = subscriptions(bench).items()
        bench.simulator.ask("clock", {"advance_s": 3600})
        bench.simulator.ask("lifecycle", {"subscription": known, "event": "reauthorizationRequired"})

        def renewed() -> bool:
            return bool(subscriptions(bench)[known]["expirationDateTime"] > before["expirationDateTime"])

        eventually(renewed, "the subscription is renewed")
    with running(bench) as hooked:
        assert subscriptions(bench).keys() == {known}
        eventually(lambda: ends(hooked.subscriber), "when it ends is known")
        [now] = bench.conn.execute("SELECT now()").fetchone() or [None]
        assert timedelta(days=27) < ends(hooked.subscriber)["contoso"] - now <= timedelta(days=28)


def test_a_subscription_ends_with_its_list(bench: CollectBench) -> None:
    with running(bench) as hooked:
        hooked.lists = []
        eventually(lambda: subscriptions(bench) == {}, "the subscription has ended")


def test_what_is_not_genuine_asks_no_list(bench: CollectBench, address: str) -> None:
    list_id = bench.list_ids[TITLE]
    with running(bench):
        before = bench.cursor(TITLE)
        body = '{"value": [{"clientState": "%s"}]}'
        assert post(f"{address}/hooks/{list_id}", (body % client_state(b"other", list_id)).encode()) == 202
        assert post(f"{address}/hooks/{list_id}", b"x" * (300 << 10)) == 413
        assert post(f"{address}/hooks/unknown?validationToken=t", b"") == 404
        assert bench.cursor(TITLE).round == before.round  # type: ignore[union-attr]
        assert post(f"{address}/hooks/{list_id}", (body % client_state(KEY, list_id)).encode()) == 202
        eventually(lambda: bench.cursor(TITLE).round > before.round, "the list is asked")  # type: ignore[union-attr]


def test_an_address_that_graph_does_not_reach_holds_nothing_back(bench: CollectBench) -> None:
    settings = replace(bench.settings, webhooks=WebhookSettings("http://127.0.0.1:9/hooks", KEY))
    bench.settings = settings
    with bench.collecting(TITLE):
        graphs = {"contoso": PacedGraph(settings, Budget(settings))}
        subscriber = Subscriber(bench.dsn, lambda _: bench.polled(TITLE), graphs, lambda _: None)
        subscriber.start()
        one = bench.edit(TITLE, Title="one")
        bench.read(TITLE)
        eventually(lambda: ends(subscriber), "it was found that none tells of the list")
        [now] = bench.conn.execute("SELECT now()").fetchone() or [None]
        assert ends(subscriber)["contoso"] <= now
        subscriber.stop()
    assert bench.told(TITLE) == {one: "one"}
    assert subscriptions(bench) == {}


def test_metrics_are_on_the_same_address(address: str) -> None:
    def read() -> str:
        with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def there() -> bool:
        try:
            return "python_info" in read()
        except urllib.error.URLError:
            return False

    assert eventually(there, "metrics are served")


def test_without_a_receiver_nobody_shakes_hands(address: str, bench: CollectBench) -> None:
    eventually(lambda: reaches(address), "the address is listened on")
    assert post(f"{address}/hooks/{bench.list_ids[TITLE]}?validationToken=t", b"") == 404


def reaches(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    try:
        with socket.create_connection((host, int(port)), 1):
            return True
    except OSError:
        return False
