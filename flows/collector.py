"""Reads what people change in the lists of syncs that go both ways, and puts it into the inbox.

In: the lists to be read of each tenant, hints that one has changed. Out: entries of the inbox and the links behind
them (`state.collecting`). Rules (docs/design.md section 22): whoever has a list's lock reads it; a page is one
transaction; nothing is judged here and nothing waits for whoever applies, so that a paused sync or a source that is
away holds no link back; a list that fails or hangs waits by itself; a list that answers 404 or 403 has lost nothing.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, assert_never

import structlog

from connectors.graph import links, list_changes, list_items
from connectors.graph.batch import Throttled, Unauthorized
from connectors.graph.client import MOST_BYTES
from connectors.graph.links import Rounds
from connectors.graph.list_items import NoPage, TooLarge, TooOld
from connectors.trouble import Trouble
from flows.enumerator import PAGE_BYTES
from flows.graph_reads import GraphReads, PacedGraph
from flows.graph_rounds import GraphRounds
from rowtide import polling
from rowtide.error_catalogue import graph_errors, process_errors
from rowtide.errors import GraphRefused, GraphUnavailable, RowtideError
from rowtide.list_changes import ChangesPage
from rowtide.pacing import ITEM_RU, PAGE_ITEMS, QUERY_RU
from rowtide.polling import PolledList, Turn
from state import collecting, failpoints
from state.collecting import ListCursor, Locked

log = structlog.get_logger()

IDLE_S: Final = 0.2
"""Seconds between two looks at which lists are due."""

REST_S: Final = 1.0
"""Seconds until a tenant without lists to be read is looked at again."""

AT_ONCE: Final = 4
"""Lists of a tenant that are read at a time, so that one which hangs does not hold the others back."""

MOST_HINTS: Final = 10_000
"""Further hints are forgotten: lists are asked all the same."""

LOCKED_S: Final = 1.0
"""Seconds after which a list that another process reads is looked at again."""


class Collector(GraphRounds[dict[str, ListCursor]]):
    """One thread a process; of each tenant a few lists are read at a time."""

    def __init__(
        self,
        state_dsn: str,
        lists: Callable[[str], Sequence[PolledList]],
        graphs: Mapping[str, PacedGraph],
        seed: int = 0,
    ) -> None:
        """``lists``: those of a tenant whose changes are to be collected now; asked in each turn."""
        failed, look = process_errors.COLLECTING_FAILED, collecting.read
        super().__init__("collect", failpoints.LOOP_COLLECT, state_dsn, graphs, failed, look)
        self._lists = lists
        self._jitter = random.Random(seed).uniform  # noqa: S311  spreads polls, guards nothing
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        self._page_items: dict[str, int] = {}  # of lists with wide items
        self._begun_anew: dict[str, tuple[float, int]] = {}  # when last, and how often in a row
        self._rounds = Rounds()
        self._hints = deque[str](maxlen=MOST_HINTS)
        self._troubles: dict[str, Trouble] = {}
        self.ru_used = 0
        self.entries = 0

    @property
    def problems(self) -> dict[str, RowtideError]:
        """Why single lists are not read at the moment, by list id."""
        found = ((list_id, one.problem) for list_id, one in list(self._troubles.items()))
        return {list_id: problem for list_id, problem in found if problem is not None}

    def note_changed(self, list_ids: Collection[str]) -> None:
        """Somebody says that these lists have changed: they are asked soon, by whoever reads them. From any thread."""
        self._hints.extend(list_ids)

    def _pass_on_hints(self) -> None:
        hints = [self._hints.popleft() for _ in range(len(self._hints))]
        if not hints:
            return
        try:
            self._link.run(partial(collecting.hint, list_ids=hints))
        except RowtideError:
            self._hints.extend(hints)
            raise
        self._record_changed()

    async def _round(self, graph: str, reads: GraphReads) -> float:
        """Begin to read the lists of the tenant that are due; the seconds until the next turn."""
        self._pass_on_hints()
        polled = {one.list_id: one for one in self._lists(graph)}
        if not polled:
            return REST_S
        cursors = self._on_record()
        if any(one.list_id not in cursors or cursors[one.list_id].sync != one.sync for one in polled.values()):
            for sync in {one.sync for one in polled.values()}:
                of_sync = [one.list_id for one in polled.values() if one.sync == sync]
                self._link.run(partial(collecting.begin, sync=sync, list_ids=of_sync))
            self._record_changed()
            return 0.0
        mine = {list_id: task for list_id, task in self._reading.items() if list_id in polled}
        for list_id in polling.due(Turn(one, cursors[one].due_in_s, cursors[one].hinted) for one in polled):
            if len(mine) >= AT_ONCE:
                break
            if list_id not in mine and time.monotonic() >= self._not_before.get(list_id, 0.0):
                mine[list_id] = self._begin(graph, reads, polled[list_id], len(polled))
        if mine:
            await asyncio.wait(mine.values(), timeout=IDLE_S, return_when=asyncio.FIRST_COMPLETED)
            return 0.0
        return IDLE_S

    def _begin(self, graph: str, reads: GraphReads, one: PolledList, lists: int) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(self._take_turn(graph, reads, one, lists))
        self._reading[one.list_id] = task
        task.add_done_callback(lambda _: self._reading.pop(one.list_id, None))
        return task

    async def _close(self) -> None:
        """End what is being read; whoever comes next reads it again."""
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    async def _take_turn(self, graph: str, reads: GraphReads, one: PolledList, lists: int) -> None:
        """Read a page of the list, if no other process does; whatever happens concerns no other list."""
        try:
            locked = self._link.run(partial(collecting.lock, list_id=one.list_id))
            if locked is None:
                self._waits(one.list_id, LOCKED_S)
                return
            try:
                await self._read(graph, reads, one, locked, lists)
            finally:
                self._link.run(partial(collecting.unlock, list_id=one.list_id))
        except Exception as error:
            self._thread.count(error)
            name = type(error).__name__
            problem = error if isinstance(error, RowtideError) else self._failed_round(error=name)
            self._waits(one.list_id, self._trouble(one).failed(problem, error))
        finally:
            self._record_changed()

    async def _read(self, graph: str, reads: GraphReads, one: PolledList, locked: Locked, lists: int) -> None:
        tenant, cursor = self._graphs[graph], locked.cursor
        if cursor.due_in_s > 0 and not cursor.hinted:
            return  # another process was quicker
        units = QUERY_RU if cursor.reads_whole else ITEM_RU
        # A whole list is read from what rows leave; what people change comes before rows.
        wait_s = tenant.budget.take_spare(units) if cursor.reads_whole else tenant.budget.take_poll(units)
        if wait_s > 0:
            self._waits(one.list_id, wait_s)
            return
        if cursor.link is not None and not links.is_below(tenant.settings.base_url, cursor.link):
            # What was stored is no link that Graph gave: nothing goes there.
            tenant.budget.refund(units)
            self._begin_anew(one, locked.cursor)
            return
        page_items = self._page_items.get(one.list_id, PAGE_ITEMS)
        link = cursor.link or list_items.first_link(one.site_id, one.list_id, page_items)
        self.ru_used += units
        answer = await reads.get(graph, link, MOST_BYTES if page_items == 1 else PAGE_BYTES)
        found = list_changes.to_changes(answer, one.list_id, cursor.link, one.names, tenant.settings.client_id)
        if isinstance(found, ChangesPage):
            self._take(tenant, one, locked, found, lists)
        else:
            self._take_no_page(tenant, one, cursor, found)

    def _take(self, tenant: PacedGraph, one: PolledList, locked: Locked, page: ChangesPage, lists: int) -> None:
        cursor = locked.cursor
        tenant.budget.gate.note_success()
        problem = self._rounds.problem_of(
            one.list_id,
            (cursor.incarnation, cursor.round, cursor.midway),
            cursor.link,
            page.link,
            page.is_last,
            tenant.settings.base_url,
        )
        if problem is not None:
            self._failed(one, problem)
            return
        if cursor.missing:
            log.warning("a list that was missing is back: it is read from its beginning", **_where(one))
            self._link.run(partial(collecting.begin_anew, one=cursor, restored=True))
            self._trouble(one).succeeded()
            return
        settings = tenant.settings
        even = 0.0 if settings.quota_off else polling.even_s(lists, settings.licences, settings.quota_share)
        changed = page.shows_others or cursor.hinted
        interval_s = polling.next_s(cursor.interval_s, changed, one.bounds, even)
        collected = self._link.run(
            partial(
                collecting.collect_page,
                locked=locked,
                page=page,
                polled=one,
                interval_s=interval_s,
                wait_s=polling.spread_s(interval_s, self._jitter),
            )
        )
        failpoints.hit(failpoints.COLLECT_AFTER_PAGE)
        self._trouble(one).succeeded()
        if collected is not None:
            self.entries += collected.entries

    def _take_no_page(self, tenant: PacedGraph, one: PolledList, cursor: ListCursor, found: NoPage) -> None:
        match found:
            case TooOld(upload) if cursor.link is not None:
                self._begin_anew(one, cursor, upload=upload)
            case TooOld():
                self._failed(one, graph_errors.ITEMS_UNREADABLE(status=410, code="resyncRequired"))
            case TooLarge(error):
                self._read_smaller(one, cursor, error)
            case Throttled(after_s):
                tenant.budget.close_gate(after_s)
            case Unauthorized():
                self._failed(one, graph_errors.TOKEN_REFUSED(graph=tenant.settings.name))
            case GraphRefused():
                self._failed(one, found, missing=found.code == graph_errors.GRAPH_404.code)
            case GraphUnavailable():
                self._failed(one, found)
            case _:
                assert_never(found)

    def _begin_anew(self, one: PolledList, cursor: ListCursor, *, upload: bool = False) -> None:
        now, (last, times) = time.monotonic(), self._begun_anew.get(one.list_id, (0.0, -1))
        times = times + 1 if times >= 0 and now - last < 2 * polling.ANEW_S else 0
        self._begun_anew[one.list_id] = now, times
        wait_s = polling.anew_wait_s(times)
        self._waits(one.list_id, wait_s)
        log.info("list is read from its beginning", **_where(one), upload=upload, wait_s=wait_s)
        self._link.run(partial(collecting.begin_anew, one=cursor, upload=upload or cursor.upload))

    def _read_smaller(self, one: PolledList, cursor: ListCursor, error: GraphUnavailable) -> None:
        """Read the list from its beginning with fewer items a page, because a link keeps to the page that it is of."""
        page_items = self._page_items.get(one.list_id, PAGE_ITEMS)
        if page_items == 1:
            self._failed(one, error)
            return
        self._page_items[one.list_id] = max(1, page_items // 4)
        log.info("list is read in smaller pages", **_where(one), items=page_items // 4)
        self._link.run(partial(collecting.begin_anew, one=cursor, upload=cursor.upload))

    def _failed(self, one: PolledList, error: RowtideError, *, missing: bool = False) -> None:
        """The list waits; nothing of it is taken for deleted."""
        wait_s = self._trouble(one).failed(error)
        self._waits(one.list_id, wait_s)
        note = partial(collecting.note_problem, list_id=one.list_id, problem=error, wait_s=wait_s, missing=missing)
        self._link.run(note)

    def _waits(self, list_id: str, wait_s: float) -> None:
        self._not_before[list_id] = time.monotonic() + wait_s

    def _trouble(self, one: PolledList) -> Trouble:
        if one.list_id not in self._troubles:
            self._troubles[one.list_id] = Trouble(
                "changes of a list are not read",
                "changes of a list are read again",
                self._jitter,
                sync=one.sync,
                list_id=one.list_id,
            )
        return self._troubles[one.list_id]


def _where(one: PolledList) -> dict[str, object]:
    return {"sync": one.sync, "list_id": one.list_id}
