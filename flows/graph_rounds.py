"""A thread that reads lists in rounds, beside the rows of a process that delivers.

In: what a subclass does in a round of a tenant. Out: nothing. Rules: each tenant's rounds have waits of their own, so
that one which hangs or refuses its credential holds no other back; a round that fails ends nothing: it is said once,
and the tenant's next one waits longer with each failure.
"""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

from connectors import loops
from connectors.loops import Loop
from connectors.trouble import Trouble
from flows.graph_reads import GraphReads, PacedGraph
from rowtide.error_catalogue.entries import Entry
from rowtide.errors import RowtideError
from state.database import Connection, Link

T = TypeVar("T")

FRESH_S = 0.2
"""Seconds for which one look at the records serves every tenant."""


class GraphRounds(ABC, Generic[T]):
    """One thread a process, on whose loop each tenant goes its rounds; each has one client, as long as the thread."""

    def __init__(
        self,
        name: str,
        failpoint: str,
        state_dsn: str,
        graphs: Mapping[str, PacedGraph],
        failed: Entry[RowtideError],
        look: Callable[[Connection], T],
    ) -> None:
        """``name``: of the session; ``failpoint``: of the loop; ``failed``: what an unexpected error is called.

        ``look`` reads from the records what asks for a round.
        """
        self._graphs = graphs
        self._link = Link(state_dsn, f"rowtide {name}")
        self._failed_round = failed
        self._look_up = look
        self._looked: tuple[float, T] | None = None
        self._ended = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = threading.Event()
        self._thread = Loop(failpoint, self._run, self._stop)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; what is under way is done again by the next process."""
        self._stop.set()
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._ended.set)

    @abstractmethod
    async def _round(self, graph: str, reads: GraphReads) -> float:
        """Do what is to be done now in a tenant; the seconds until its next round."""

    async def _close(self) -> None:
        """End what a subclass has under way beside its rounds."""

    def _on_record(self) -> T:
        """What the records ask for, read a moment ago at most: every tenant looks, and one look serves all."""
        now = time.monotonic()
        if self._looked is None or now - self._looked[0] >= FRESH_S:
            self._looked = now, self._link.run(self._look_up)
        return self._looked[1]

    def _record_changed(self) -> None:
        """The next look reads the records anew."""
        self._looked = None

    def _run(self) -> None:
        self._loop.run_until_complete(self._go_rounds())
        self._loop.close()
        self._link.close()

    async def _go_rounds(self) -> None:
        reads = GraphReads(self._graphs)
        try:
            # A group, so that none goes on beside the rounds that a loop which failed begins anew.
            async with loops.ticking(), asyncio.TaskGroup() as tenants:
                for graph in self._graphs:
                    tenants.create_task(self._rounds_of(graph, reads))
        finally:
            await self._close()
            await reads.close()

    async def _rounds_of(self, graph: str, reads: GraphReads) -> None:
        trouble = Trouble("lists are not read", "lists are read again", thread=self._thread.name, graph=graph)
        while not self._ended.is_set():
            try:
                self._thread.turn()
                wait_s = await self._round(graph, reads)
                trouble.succeeded()
            except Exception as error:
                self._thread.count(error)
                name = type(error).__name__
                problem = error if isinstance(error, RowtideError) else self._failed_round(error=name)
                wait_s = trouble.failed(problem, error)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._ended.wait()
