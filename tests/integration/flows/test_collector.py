"""The collector against the simulator: what people do in lists comes into the inbox, whatever Graph answers.

In: people's edits, faults, expired links, killed processes. Rule: nothing is lost, and nothing is taken for deleted
because a list did not answer.
"""

import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from connectors.graph.settings import GraphSettings
from state import collecting, database
from tests.e2e.conftest import Simulator
from tests.integration.flows.collecting import SYNC, CollectBench, collect_until_read
from tests.integration.forks import preload, run_forked
from tests.integration.graph.conftest import make_lists, settings_for
from tests.integration.reconcile.bench import eventually

pytestmark = pytest.mark.long

preload(__name__)
TITLES = [f"Orders {number}" for number in range(1, 31)]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator for all tests here; each takes lists of its own."""
    simulator = Simulator(Path(tmp_path_factory.mktemp("simulator")), "--tier", "off")
    yield simulator
    simulator.close()


@pytest.fixture(scope="module")
def settings(simulator: Simulator) -> GraphSettings:
    """How it is reached."""
    return settings_for(simulator)


@pytest.fixture(scope="module")
def provisioned(settings: GraphSettings) -> tuple[str, dict[str, str]]:
    """Site and lists."""
    made = make_lists(settings, *TITLES)
    return made.site_id, dict(made.list_ids)


_numbers = count(1)


@pytest.fixture
def title() -> str:
    """A list that no other test has."""
    return f"Orders {next(_numbers)}"


@pytest.fixture
def bench(
    simulator: Simulator, settings: GraphSettings, provisioned: tuple[str, dict[str, str]], state_dsn: str
) -> Iterator[CollectBench]:
    """Nothing is read yet."""
    site_id, list_ids = provisioned
    with database.connect(state_dsn, "tests") as conn:
        conn.execute("INSERT INTO rowtide.sync (sync, changed_by, era) VALUES (%s, 'test', 3)", [SYNC])
        yield CollectBench(simulator, settings, state_dsn, conn, site_id, list_ids)
    simulator.clear_faults()
    simulator.ask(
        "switches", {"page-cap": 5000, "delta-resync": "apply", "delta-repeat": 0, "delta-token-life-s": 2592000}
    )


def test_a_list_is_read_whole_and_then_what_people_change(bench: CollectBench, title: str) -> None:
    one, two = bench.edit(title, Title="one", Amount=1.5), bench.edit(title, Title="two")
    with bench.collecting(title):
        bench.read(title)
        assert bench.told(title) == {one: "one", two: "two"}
        bench.edit(title, one, user="Bela", Title="one more")
        three = bench.edit(title, Title="three")
        bench.delete(title, two)
        bench.read(title)
    assert bench.told(title) == {one: "one more", two: "deleted", three: "three"}
    entry = bench.entries(title)[one]
    assert (entry["editor_name"], entry["by_app"], entry["revision"]) == ("Bela", False, 2)
    assert entry["fields"]["Amount"] == 1.5
    assert entry["version"] > 1
    assert entry["modified_at"] is not None


def test_a_list_without_items_is_read(bench: CollectBench, title: str) -> None:
    with bench.collecting(title):
        bench.read(title)
        bench.read(title)
    assert bench.told(title) == {}


def test_an_item_that_is_deleted_and_restored(bench: CollectBench, title: str) -> None:
    one = bench.edit(title, Title="one")
    with bench.collecting(title):
        bench.read(title)
        bench.delete(title, one)
        bench.read(title)
        assert bench.told(title) == {one: "deleted"}
        bench.simulator.ask("recycle", {"list": title, "item_id": one, "action": "restore", "user": "Anna"})
        bench.read(title)
    assert bench.told(title) == {one: "one"}


def test_older_states_in_a_page_do_no_harm(bench: CollectBench, title: str) -> None:
    bench.switch(delta_repeat=1.0)
    items = [bench.edit(title, Title="first") for _ in range(5)]
    for item_id in items:
        bench.edit(title, item_id, Title="last")
    with bench.collecting(title):
        bench.read(title)
    assert bench.told(title) == dict.fromkeys(items, "last")


def test_a_link_that_has_expired_infers_what_is_gone(bench: CollectBench, title: str) -> None:
    items = [bench.edit(title, Title="kept") for _ in range(3)]
    bench.pair(title, *items)
    with bench.collecting(title):
        bench.read(title)
    bench.conn.execute("DELETE FROM rowtide.inbox")
    bench.delete(title, items[1])
    bench.edit(title, items[2], Title="changed")
    bench.simulator.ask("tokens", {"expire_delta": True})
    with bench.collecting(title):
        bench.read(title)
    assert bench.told(title) == {items[0]: "kept", items[1]: "inferred", items[2]: "changed"}
    assert bench.entries(title)[items[1]]["key"] == items[1]


def test_a_link_that_asks_for_an_upload_has_the_row_write_its_item_again(bench: CollectBench, title: str) -> None:
    items = [bench.edit(title, Title="kept") for _ in range(3)]
    bench.pair(title, *items)
    with bench.collecting(title):
        bench.read(title)
    bench.conn.execute("DELETE FROM rowtide.inbox")
    bench.delete(title, items[1])
    bench.simulator.ask("tokens", {"expire_delta": True})
    bench.switch(delta_resync="upload")
    with bench.collecting(title):
        bench.read(title)
    assert bench.told(title) == {items[0]: "kept", items[2]: "kept"}
    assert bench.conn.execute("SELECT key, op FROM rowtide.outbox").fetchall() == [(items[1], "r")]


@pytest.mark.parametrize("where", ["{base}/sites/{site}/lists/{list}/items/delta?token=odd", "http://127.0.0.1:9/x"])
def test_a_link_that_is_none_of_graphs(bench: CollectBench, title: str, where: str) -> None:
    """It is not followed, or Graph does not know it: the list is read from its beginning."""
    one = bench.edit(title, Title="one")
    with bench.collecting(title):
        bench.read(title)
    link = where.format(base=bench.settings.base_url, site=bench.site_id, list=bench.list_ids[title])
    bench.conn.execute("UPDATE rowtide.list_cursor SET link = %s", [link])
    bench.conn.execute("DELETE FROM rowtide.inbox")
    with bench.collecting(title):
        bench.read(title)
    assert bench.told(title) == {one: "one"}


@pytest.mark.parametrize(("status", "incarnations"), [(404, 1), (403, 0)])
def test_a_list_that_is_away_has_lost_nothing(bench: CollectBench, title: str, status: int, incarnations: int) -> None:
    """Back from a 404 it may be another state of itself: a new incarnation, which is read from its beginning."""
    one = bench.edit(title, Title="one")
    bench.pair(title, one)
    list_id = bench.list_ids[title]
    with bench.collecting(title) as collector:
        bench.read(title)
        bench.simulator.set_faults([{"list": list_id, "action": "status", "status": status}])
        collecting.hint(bench.conn, [list_id])
        eventually(lambda: list_id in collector.problems, "the problem is noted")
        noted = (f"graph_{status}", status == 404)
        eventually(lambda: (away := bench.cursor(title)) and (away.code, away.missing) == noted, "it is on record")
        assert bench.told(title) == {one: "one"}
    bench.simulator.clear_faults()
    bench.edit(title, one, Title="two")
    with bench.collecting(title) as collector:
        bench.read(title)
        assert collector.problems == {}
    assert bench.told(title) == {one: "two"}
    back = bench.cursor(title)
    assert back is not None
    assert (back.incarnation, back.code, back.missing) == (incarnations, None, False)


@pytest.mark.parametrize("action", ["status", "reset", "garbage", "delay"])
def test_a_list_that_fails_or_hangs_holds_no_other_back(bench: CollectBench, title: str, action: str) -> None:
    other = f"Orders {next(_numbers)}"
    bench.simulator.set_faults(
        [{"list": bench.list_ids[title], "action": action, "status": 503, "delay_ms": 4000, "count": 3}]
    )
    failing = bench.edit(title, Title="late")
    with bench.collecting(title, other):
        bench.read(other)
        for number in range(3):
            began = time.monotonic()
            item_id = bench.edit(other, Title=f"quick {number}")
            bench.read(other)
            assert bench.told(other)[item_id] == f"quick {number}"
            assert time.monotonic() - began < 3.5
        bench.simulator.clear_faults()
        bench.read(title)
    assert bench.told(title) == {failing: "late"}


def test_a_throttled_list_is_read_when_the_gate_opens(bench: CollectBench, title: str) -> None:
    one = bench.edit(title, Title="one")
    path = f"lists/{bench.list_ids[title]}/items/delta"
    bench.simulator.set_faults([{"path": path, "action": "status", "status": 429, "retry_after": 1, "count": 1}])
    with bench.collecting(title) as collector:
        bench.read(title)
        assert collector.problems == {}
    assert bench.told(title) == {one: "one"}


@pytest.mark.parametrize("trap", ["collect.before_commit=kill@3", "collect.after_page=kill@3"])
def test_a_process_that_is_killed_between_two_pages_loses_none(bench: CollectBench, title: str, trap: str) -> None:
    bench.switch(page_cap=2)
    items = [bench.edit(title, Title=f"item {number}") for number in range(9)]
    polled = bench.polled(title)
    assert run_forked(collect_until_read, bench.settings, bench.dsn, polled, trap=trap) == -9
    kept = len(bench.told(title))
    assert 0 < kept < 9
    killed = bench.cursor(title)
    assert killed is not None
    assert killed.midway
    bench.delete(title, items[0])  # wherever the reading stands
    bench.edit(title, items[1], Title="changed")
    assert run_forked(collect_until_read, bench.settings, bench.dsn, polled) == 0
    told = bench.told(title)
    assert told.pop(items[0], "deleted") == "deleted"
    assert told == {item_id: f"item {number}" for number, item_id in enumerate(items) if number > 0} | {
        items[1]: "changed"
    }


def test_an_item_deleted_while_the_list_is_read_whole_is_told_and_not_inferred(bench: CollectBench, title: str) -> None:
    bench.switch(page_cap=2)
    items = [bench.edit(title, Title="item") for _ in range(6)]
    bench.pair(title, *items)
    assert run_forked(
        collect_until_read, bench.settings, bench.dsn, bench.polled(title), trap="collect.after_page=kill@3"
    )
    for item_id in items:
        bench.delete(title, item_id)
    with bench.collecting(title):
        bench.read(title)
    assert bench.told(title) == dict.fromkeys(items, "deleted")


def test_links_that_are_never_taken_do_not_use_the_quota_up(bench: CollectBench, title: str) -> None:
    """Each reading of the whole list ends with a link that has expired: it waits before it is read once more."""
    one = bench.edit(title, Title="one")
    bench.switch(delta_token_life_s=0)
    with bench.collecting(title) as collector:
        list_id = bench.list_ids[title]
        eventually(lambda: collector._not_before.get(list_id, 0.0) > time.monotonic() + 5.0, "the list waits")
        assert bench.told(title) == {one: "one"}
        assert collector.ru_used <= 12


def test_two_processes_share_the_lists(bench: CollectBench, title: str) -> None:
    others = [title, *(f"Orders {next(_numbers)}" for _ in range(3))]
    with bench.collecting(*others) as first, bench.collecting(*others) as second:
        for number in range(3):
            made = {name: bench.edit(name, Title=f"item {number}") for name in others}
            for name, item_id in made.items():
                bench.read(name)
                assert bench.told(name)[item_id] == f"item {number}"
        assert first.problems == second.problems == {}
    assert all(entry["revision"] == 1 for name in others for entry in bench.entries(name).values())
    assert first.entries + second.entries == 12


def test_a_collector_ends_at_once_although_a_list_hangs(bench: CollectBench, title: str) -> None:
    bench.simulator.set_faults([{"list": bench.list_ids[title], "action": "delay", "delay_ms": 4000}])
    with bench.collecting(title) as collector:
        eventually(lambda: bench.simulator.ask("faults")["rules"][0]["hits"], "the list is asked")
        began = time.monotonic()
        collector.stop()
        eventually(lambda: not _collects(), "the collector has ended")
        assert time.monotonic() - began < 2.0
    bench.simulator.clear_faults()
    with bench.collecting(title):
        bench.read(title)


def _collects() -> bool:
    return any(one.name == "rowtide-collect" for one in threading.enumerate())
