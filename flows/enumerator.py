"""Reads the items of lists for deep reconciles and diffs, in a thread of the process that delivers to their tenants.

In: enumerations that are asked for (`state.enumeration`), the view in force. Out: their pages in the state database.
Rules (docs/decisions/0018-deliver-reads-the-lists.md): the process that delivers reads, because the tenant's quota is
its own; what is read gets the units that rows leave; one page at a time and list by list, so that no list waits for
another one of its tenant.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import assert_never

import structlog

from connectors.graph import links, list_items
from connectors.graph.batch import Throttled, Unauthorized
from connectors.graph.client import MOST_BYTES
from connectors.graph.links import Rounds
from connectors.graph.list_items import TooLarge, TooOld
from connectors.pace import Pace
from connectors.trouble import Trouble
from flows.applied_view import View
from flows.graph_reads import GraphReads, PacedGraph
from flows.graph_rounds import GraphRounds
from rowtide.enumeration import ItemsPage
from rowtide.error_catalogue import graph_errors, process_errors
from rowtide.errors import GraphRefused, GraphUnavailable, RowtideError
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.pacing import PAGE_ITEMS
from state import enumeration, failpoints
from state.enumeration import Enumeration

log = structlog.get_logger()

IDLE_S = 0.2
"""Seconds between two looks whether something is to be read."""


PAGE_BYTES = 4 << 20
"""A page of several items that is larger is read in smaller ones: it is in memory several times."""


class Enumerator(GraphRounds[list[Enumeration]]):
    """The reader of a process."""

    def __init__(self, state_dsn: str, view: Callable[[], View], tenants: Mapping[str, PacedGraph], pace: Pace) -> None:
        failed, look = process_errors.ENUMERATION_FAILED, enumeration.read_wanted
        super().__init__("enumerate", failpoints.LOOP_ENUMERATE, state_dsn, tenants, failed, look)
        self._view = view
        self._pace = pace
        self._troubles: dict[str, Trouble] = {}
        self._not_before: dict[str, float] = {}
        self._page_items: dict[str, int] = {}  # of lists with wide items
        self._rounds = Rounds()
        self.ru_used = 0

    async def _round(self, graph: str, reads: GraphReads) -> float:
        """Read a page of each list that is asked for; the seconds until the next round."""
        view = self._view()
        waits = [IDLE_S]
        for one in self._on_record():
            compiled = view.catalog.syncs.get(one.sync)
            # Whoever asked under another mapping asks again.
            if compiled is not None and compiled.graph == graph and compiled.version == one.mapping_version:
                waits.append(await self._read(reads, view, compiled, one))
        return min(waits)

    async def _read(self, reads: GraphReads, view: View, compiled: CompiledSync, one: Enumeration) -> float:
        """Read the next page of a list; the seconds until the one after it may be read."""
        if time.monotonic() < self._not_before.get(one.list_id, 0.0):
            return IDLE_S
        tenant = self._graphs[compiled.graph]
        units = list_items.units_of(one.link, one.ended)
        wait_s = tenant.budget.take_spare(units)
        if wait_s > 0:
            return wait_s
        begun = one if one.midway else self._link.run(lambda conn: enumeration.begin_round(conn, one))
        site_id = view.catalog.site_of(one.list_id)
        if begun is None or site_id is None:
            tenant.budget.refund(units)
            return IDLE_S
        if begun.link is not None and not links.is_below(tenant.settings.base_url, begun.link):
            # What was stored is no link that Graph gave: nothing goes there.
            tenant.budget.refund(units)
            return self._take(tenant, begun, TooOld(), units)
        link = begun.link or self._first_link(site_id, one.list_id)
        alone = self._page_items.get(one.list_id) == 1
        answer = await reads.get(compiled.graph, link, MOST_BYTES if alone else PAGE_BYTES)
        self._record_changed()
        self.ru_used += units
        reading = list_items.to_page(answer, one.list_id, compiled, tenant.settings.client_id)
        return self._take(tenant, begun, reading, units)

    def _first_link(self, site_id: str, list_id: str) -> str:
        return list_items.first_link(site_id, list_id, self._page_items.get(list_id, PAGE_ITEMS))

    def _take(self, tenant: PacedGraph, one: Enumeration, reading: list_items.PageReading, units: int) -> float:
        match reading:
            case ItemsPage():
                if (problem := self._link_problem(tenant, one, reading)) is not None:
                    return self._failed(one, problem)
                self._link.run(partial(enumeration.save_page, one=one, page=reading, units=units))
                failpoints.hit(failpoints.ENUMERATION_AFTER_PAGE)
                self._trouble(one).succeeded()
                self._pace.note(one.sync, "compared", len(reading.items))
                tenant.budget.gate.note_success()
                return 0.0
            case TooOld():
                log.info("list is read from its beginning", sync=one.sync, list_id=one.list_id)
                self._link.run(partial(enumeration.restart, one=one))
                return 0.0
            case TooLarge(error):
                return self._read_smaller(one, error)
            case Throttled(after_s):
                return tenant.budget.close_gate(after_s)
            case Unauthorized():
                return self._failed(one, graph_errors.TOKEN_REFUSED(graph=tenant.settings.name))
            case GraphUnavailable() | GraphRefused():
                return self._failed(one, reading)
            case _:
                assert_never(reading)

    def _link_problem(self, tenant: PacedGraph, one: Enumeration, page: ItemsPage) -> GraphUnavailable | None:
        """Why the link behind the page is not to be kept: it leads away, or the round does not end."""
        reading, base_url = (one.sync, one.purpose, one.list_id), tenant.settings.base_url
        return self._rounds.problem_of(reading, one.began_at, one.pages, page.link, page.is_last, base_url)

    def _read_smaller(self, one: Enumeration, error: GraphUnavailable) -> float:
        """Read the list from its beginning with fewer items a page, because a link keeps to the page that it is of."""
        page_items = self._page_items.get(one.list_id, PAGE_ITEMS)
        if page_items == 1:
            return self._failed(one, error)
        self._page_items[one.list_id] = max(1, page_items // 4)
        log.info("list is read in smaller pages", sync=one.sync, list_id=one.list_id, items=page_items // 4)
        self._link.run(partial(enumeration.restart, one=one))
        return 0.0

    def _failed(self, one: Enumeration, error: RowtideError) -> float:
        wait_s = self._trouble(one).failed(error)
        self._link.run(partial(enumeration.note_problem, one=one, sentence=error.sentence))
        self._not_before[one.list_id] = time.monotonic() + wait_s
        return IDLE_S

    def _trouble(self, one: Enumeration) -> Trouble:
        if one.list_id not in self._troubles:
            self._troubles[one.list_id] = Trouble(
                "list is not read", "list is read again", sync=one.sync, list_id=one.list_id
            )
        return self._troubles[one.list_id]
