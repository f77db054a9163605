"""Keeps a subscription to each list whose changes are collected, where the process's file says where Graph reaches it.

In: the lists that are collected, what Graph has subscribed. Out: subscriptions that live. Rules (docs/design.md section
22): one process at a time does so for a tenant; nothing is stored; whatever fails here makes edits later and loses
none, because lists are polled all the same.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from connectors import listening
from connectors.graph import subscription_requests
from connectors.graph.batch import Throttled
from connectors.graph.client import Method
from connectors.graph.links import Paging
from connectors.graph.webhook_receiver import Receiver
from connectors.readings import WebhookReading
from flows.graph_reads import GraphReads, PacedGraph
from flows.graph_rounds import GraphRounds
from rowtide import subscriptions
from rowtide.error_catalogue import graph_errors, process_errors
from rowtide.errors import RowtideError
from rowtide.pacing import QUERY_RU, WRITE_RU
from rowtide.polling import PolledList
from rowtide.subscriptions import ListSubscription
from state import collecting, failpoints
from state.collecting import ListCursor

log = structlog.get_logger()

IDLE_S: Final = 0.5
LOCKED_S: Final = 5.0
"""Seconds after which a tenant that another process sees to is looked at again."""
LOOK_S: Final = 600.0
"""Seconds between two looks at the subscriptions of a tenant that gave no reason for one."""


class Subscriber(GraphRounds[dict[str, ListCursor]]):
    """One thread a process; each tenant with ``webhooks`` is looked at now and then, and for a reason."""

    def __init__(
        self,
        state_dsn: str,
        lists: Callable[[str], Sequence[PolledList]],
        graphs: Mapping[str, PacedGraph],
        changed: Callable[[Collection[str]], None],
    ) -> None:
        """``lists``: those of a tenant whose changes are collected; ``changed`` is told which of them have changed."""
        failed = process_errors.SUBSCRIBING_FAILED
        hooked = {name: one for name, one in graphs.items() if one.settings.webhooks is not None}
        super().__init__("webhooks", failpoints.LOOP_WEBHOOKS, state_dsn, hooked, failed, collecting.read)
        self._lists = lists
        self._known: dict[str, frozenset[str]] = {}
        self._looked_at: dict[str, float] = {}
        self._to_renew: set[str] = set()
        self._ends: dict[str, datetime] = {}
        self._receiver = Receiver(self._key_of, changed, self._renew)

    def start(self) -> None:
        """Begin; where no tenant has ``webhooks``, nobody answers."""
        if self._graphs:
            listening.receive_by(self._receiver)
        super().start()

    def stop(self) -> None:
        """End soon; subscriptions stay for the next process."""
        listening.receive_by(None)
        super().stop()

    def reading(self) -> WebhookReading | None:
        """For metrics; None where no tenant has ``webhooks``."""
        return WebhookReading(dict(self._ends), self._receiver.age_s()) if self._graphs else None

    def _renew(self, list_id: str) -> None:
        """Graph asks for the list's subscription to be renewed; from any thread."""
        self._to_renew.add(list_id)

    def _key_of(self, list_id: str) -> bytes | None:
        """The webhook key of the tenant that a list is in; None for a list that nobody is told of. From any thread."""
        for graph, one in self._graphs.items():
            if one.settings.webhooks is not None and list_id in self._known.get(graph, ()):
                return one.settings.webhooks.key
        return None

    async def _round(self, graph: str, reads: GraphReads) -> float:
        """See to the tenant's subscriptions, if there is a reason."""
        polled = {one.list_id: one for one in self._lists(graph)}
        news = polled.keys() != self._known.get(graph, frozenset())
        self._known[graph] = frozenset(polled)  # before Graph shakes hands
        looked = self._looked_at.get(graph)
        asked = self._to_renew & polled.keys()
        if looked is not None and not news and not asked and time.monotonic() - looked < LOOK_S:
            return IDLE_S
        now = self._link.run(partial(collecting.lock_subscriptions, graph=graph))
        if now is None:
            return LOCKED_S
        try:
            await self._see_to(graph, reads, polled, now, renew_all=bool(asked))
            self._to_renew -= asked
            self._looked_at[graph] = time.monotonic()
        finally:
            self._link.run(partial(collecting.unlock_subscriptions, graph=graph))
        return IDLE_S

    async def _see_to(
        self, graph: str, reads: GraphReads, polled: Mapping[str, PolledList], now: datetime, *, renew_all: bool
    ) -> None:
        """Make, renew and end; one that Graph refuses keeps no other from being made."""
        webhooks = self._graphs[graph].settings.webhooks
        assert webhooks is not None, "other tenants are left out"
        found = await self._found(graph, reads)
        steps = subscriptions.to_steps(webhooks.url, polled, found, now, renew_all)
        expires, refused = now + subscriptions.LIFE, list[RowtideError]()
        ends = {one.url: one.expires for one in sorted(found, key=lambda one: one.expires)}
        for list_id in steps.make:
            url, state = subscriptions.url_of(webhooks.url, list_id), subscriptions.client_state(webhooks.key, list_id)
            body = subscription_requests.to_body(polled[list_id].site_id, list_id, url, state, expires)
            problems = await self._ask(graph, reads, "POST", subscription_requests.PATH, body)
            refused += problems
            ends |= {} if problems else {url: expires}
        for one in steps.renew:
            path, body = f"{subscription_requests.PATH}/{one.id}", subscription_requests.to_renewal(expires)
            problems = await self._ask(graph, reads, "PATCH", path, body)
            refused += problems
            ends |= {} if problems else {one.url: expires}
        for one in steps.end:
            refused += await self._ask(graph, reads, "DELETE", f"{subscription_requests.PATH}/{one.id}", None)
        urls = [subscriptions.url_of(webhooks.url, list_id) for list_id in polled]
        self._ends[graph] = min((ends.get(url, now) for url in urls), default=expires)
        if steps.make or steps.renew or steps.end:
            log.info(
                "webhooks", graph=graph, made=len(steps.make), renewed=len(steps.renew), ended=len(steps.end),
                refused=len(refused),
            )  # fmt: skip
        if refused:
            raise refused[0]

    async def _found(self, graph: str, reads: GraphReads) -> list[ListSubscription]:
        """Every subscription of our app."""
        base_url, found = self._graphs[graph].settings.base_url, list[ListSubscription]()
        paging, link = Paging(base_url), subscription_requests.PATH
        while True:
            await self._afford(graph, QUERY_RU)
            page = subscription_requests.to_found(await reads.get(graph, link))
            if isinstance(page, RowtideError):
                raise page
            if isinstance(page, Throttled):
                self._graphs[graph].budget.close_gate(page.after_s)
                continue
            some, further = page
            found += some
            if further is None:
                return found
            if (problem := paging.problem_of(further)) is not None:
                raise problem
            link = further

    async def _ask(
        self, graph: str, reads: GraphReads, method: Method, path: str, body: bytes | None
    ) -> list[RowtideError]:
        """Send a request; why it was refused, if it was. One that nobody answered is asked again in the next turn."""
        await self._afford(graph, WRITE_RU)
        problem = subscription_requests.to_problem(await reads.send(graph, method, path, body), path)
        if isinstance(problem, Throttled):
            self._graphs[graph].budget.close_gate(problem.after_s)
            return [graph_errors.GRAPH_THROTTLES(seconds=f"{problem.after_s or 0:g}")]
        return [] if problem is None else [problem]

    async def _afford(self, graph: str, units: int) -> None:
        """Wait for units that rows leave; whoever is to end goes no further."""
        while (wait_s := self._graphs[graph].budget.take_spare(units)) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._ended.wait()
            if self._ended.is_set():
                raise asyncio.CancelledError
