"""A server in Graph's place that leads the reader of lists away, or round and round; links that stand in the records.

In: `tests.integration.graph.hostile`, a token of the simulator's authority, an enumeration that is asked for. Rule: no
link that leads away is kept or followed, and a round that does not end is said and asked no more but now and then.
"""

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from connectors.graph.budget import Budget
from connectors.pace import Pace
from flows.enumerator import Enumerator
from flows.graph_reads import PacedGraph
from state import enumeration
from tests.e2e.conftest import Simulator
from tests.integration.graph.conftest import settings_for
from tests.integration.graph.hostile import Answer, Hostile, running
from tests.integration.reconcile.bench import Bench, eventually

pytestmark = pytest.mark.long

DELTA = "/sites/site/lists/list-Orders/items/delta"
NEXT, LAST = "@odata.nextLink", "@odata.deltaLink"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Somebody who gives tokens."""
    simulator = Simulator(Path(tmp_path_factory.mktemp("authority")), "--tier", "off")
    yield simulator
    simulator.close()


def read(bench: Bench, authority: Simulator, answer: Answer, link: str = "") -> tuple[enumeration.Enumeration, Hostile]:
    """How far the list is read when a problem is noted or it is over; ``link``: where the records say that it goes on.

    In it ``{elsewhere}`` is another server.
    """
    version = bench.catalog.syncs["orders"].version

    def over() -> enumeration.Enumeration | None:
        [found] = enumeration.read(bench.state, "orders", "deep")
        return found if found.problem or found.complete else None

    async def watch() -> tuple[enumeration.Enumeration, Hostile]:
        async with running({DELTA: answer}) as hostile:
            enumeration.ask(bench.state, "orders", "deep", version, ["list-Orders"])
            if link:
                stored = link.format(elsewhere=hostile.elsewhere)
                bench.state.execute("UPDATE rowtide.enumeration SET midway = true, link = %s", [stored])
            settings = settings_for(authority, base_url=hostile.base_url)
            tenants = {"contoso": PacedGraph(settings, Budget(settings))}
            reader = Enumerator(bench.state_dsn, bench.view, tenants, Pace())
            reader.start()
            try:
                found = await asyncio.to_thread(eventually, over, "the list is read, or the problem is noted")
            finally:
                reader.stop()
            return found, hostile

    return asyncio.run(watch())


def page(link: Callable[[Hostile, int], tuple[str, str]]) -> Answer:
    """Pages without items; ``link`` makes the kind and the text of the link behind the page of that number."""
    numbers = count(1)

    def answer(hostile: Hostile, _request: web.Request) -> dict[str, Any]:
        kind, text = link(hostile, next(numbers))
        return {"value": [], kind: text}

    return answer


def test_a_round_that_ends_is_read(bench: Bench, authority: Simulator) -> None:
    answer = page(lambda hostile, n: (NEXT if n < 5 else LAST, f"{hostile.base_url}{DELTA}?token={n}"))
    found, hostile = read(bench, authority, answer)
    assert (found.complete, found.problem, found.pages, len(hostile.asked)) == (True, None, 5, 5)


@pytest.mark.parametrize("kind", [NEXT, LAST])
def test_a_link_to_elsewhere_is_not_kept(bench: Bench, authority: Simulator, kind: str) -> None:
    found, hostile = read(bench, authority, page(lambda hostile, _: (kind, f"{hostile.elsewhere}{DELTA}?token=1")))
    assert "leads away" in (found.problem or "")
    assert (found.link, found.pages, hostile.led_away) == (None, 0, [])


@pytest.mark.parametrize("length", [1, 7])
def test_a_circle_is_noticed(bench: Bench, authority: Simulator, length: int) -> None:
    answer = page(lambda hostile, n: (NEXT, f"{hostile.base_url}{DELTA}?token={n % length}"))
    found, hostile = read(bench, authority, answer)
    assert "pages" in (found.problem or "")
    assert not found.complete
    assert len(hostile.asked) < 30


def test_a_link_in_the_records_that_leads_away_is_not_followed(bench: Bench, authority: Simulator) -> None:
    """Whoever may write the records gets no token: the list is read from its beginning."""
    answer = page(lambda hostile, _: (LAST, f"{hostile.base_url}{DELTA}?token=1"))
    found, hostile = read(bench, authority, answer, "{elsewhere}/sites/site/lists/list-Orders/items/delta?token=1")
    assert (found.complete, found.problem, hostile.led_away) == (True, None, [])
