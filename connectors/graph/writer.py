"""The process-wide writer: carries out the commands of claimed rows and hands back their outcomes.

In: `InFlight` claims of planned rows, from any thread. Out: outcomes for settle, fetched by `poll`. Rules: never two
commands of one row at a time; a 429 closes the gate for the whole app and hands all rows back as not applied. This
file holds the thread and what other threads may ask of it; `batch_sender` sends, `answers` handles the answers.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from connectors import loops
from connectors.graph.answers import AnswerHandler, Claim
from connectors.graph.auth import TokenSource
from connectors.graph.batch_sender import BatchSender
from connectors.graph.batch_slots import SLOW_S, BatchSlots
from connectors.graph.budget import PREPAID_RU, Budget
from connectors.graph.exchanges import Exchanges, Told, log_exchange
from connectors.graph.send_backoff import Health
from connectors.graph.settings import GraphSettings
from connectors.loops import Loop
from rowtide.deciding.in_flight import InFlight, Rules, release
from rowtide.deciding.outcomes import Outcome
from rowtide.error_catalogue import process_errors
from rowtide.errors import RowtideError
from rowtide.holds import FaultHold
from state import failpoints


@dataclass(frozen=True, slots=True)
class WriterCounters:
    """What the writer did since it was made."""

    ru_used: int
    requests: int
    writes: int
    throttled: int  # batches with a 429 in them
    failures: int  # batches that were not answered


class Writer:
    """One writer for one app in one tenant."""

    def __init__(
        self,
        settings: GraphSettings,
        budget: Budget,
        *,
        rules_of: Callable[[str], Rules],
        site_of: Callable[[str], str | None],
        now: Callable[[], datetime],
        is_ours: Callable[[datetime], bool],
        failed: Callable[[RowtideError], None],
        told: Sequence[Told] = (),
    ) -> None:
        """``rules_of`` a sync and ``site_of`` a list raise KeyError for what is not applied (any more).

        ``site_of`` is None for a list that SharePoint has no more: nothing is asked of it.

        ``now`` is the state database's clock: leases and attempts are dated by it. ``is_ours`` says whether
        what was claimed at a time may still be sent by this process. ``failed`` is told of a fault after
        which nobody knows which rows the writer has. ``told`` hear of each batch that was sent.
        """
        self._lease = timedelta(seconds=settings.lease_s)
        self._rules_of = rules_of
        self._health = Health(settings.name, budget)
        tokens = TokenSource(settings)
        slots = BatchSlots()
        self._answers = AnswerHandler(settings.name, budget, self._health, tokens, lambda: slots.hanging)
        self._sender = BatchSender(
            settings,
            budget,
            self._health,
            tokens,
            self._answers,
            slots,
            Exchanges(settings.name, [log_exchange, *told]),
            site_of=site_of,
            now=now,
            is_ours=is_ours,
            guarded=self._guarded,
        )
        self._name, self._failed = settings.name, failed
        self._outcomes = self._answers.outcomes
        self._unpolled = 0
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = Loop(failpoints.LOOP_GRAPH, self._run, threading.Event(), f"rowtide-graph-{settings.name}")

    def start(self) -> None:
        """Starts the writer's thread."""
        self._thread.start()

    def submit(self, plans: Sequence[InFlight]) -> None:
        """Takes rows over; `poll` returns each of them once. Never blocks."""
        with self._lock:
            self._unpolled += len(plans)
        self._loop.call_soon_threadsafe(self._guarded, partial(self._accept, plans))

    def poll(self) -> list[Outcome]:
        """The outcomes since the last call. Never blocks."""
        outcomes: list[Outcome] = []
        while self._outcomes:
            outcomes.append(self._outcomes.popleft())
        if outcomes:
            with self._lock:
                self._unpolled -= len(outcomes)
        return outcomes

    def pending(self) -> int:
        """Number of submitted rows whose outcome was not polled yet."""
        return self._unpolled

    @property
    def problem(self) -> RowtideError | None:
        """Why nothing moves; None when all is well."""
        return self._health.problem

    @property
    def list_problems(self) -> dict[str, RowtideError]:
        """Why single lists do not move, by list id."""
        return self._health.lists.problems

    @property
    def faults(self) -> list[FaultHold]:
        """The lists that fail, and the tenant if it does."""
        of_tenant = self._health.fault
        return self._health.lists.faults if of_tenant is None else [of_tenant, *self._health.lists.faults]

    @property
    def list_waits(self) -> dict[str, float]:
        """By list that fails the seconds until one row of it may be sent; of one that hangs until the next look."""
        hanging, failing = self._sender.slots.hanging, self._health.lists.waits
        return {**dict.fromkeys(hanging, SLOW_S), **failing} if hanging else failing

    def heed(self, fault: FaultHold) -> None:
        """Wait for a list, or for the tenant, as another process does."""
        (self._health.lists if fault.scope == "list" else self._health).heed(fault)

    def hasten(self, fault: FaultHold) -> None:
        """Wait no longer than is written down by now of the same failure."""
        (self._health.lists if fault.scope == "list" else self._health).hasten(fault)

    def forget(self, fault: FaultHold) -> None:
        """The list, or the tenant, fails no more: another process was answered, or a person says so."""
        if fault.scope == "list":
            self._health.lists.forget(fault.object)
        else:
            self._health.forget(fault)

    @property
    def counters(self) -> WriterCounters:
        """What was done so far."""
        sender, health = self._sender, self._health
        return WriterCounters(sender.ru_used, sender.requests, self._answers.writes, health.throttled, health.failures)

    def stop(self, grace_s: float = 1.0) -> list[Outcome]:
        """Ends the writer; the last outcomes. Rows in flight get ``grace_s``, then their outcome is unknown."""
        if self._thread.is_alive():
            ended = asyncio.run_coroutine_threadsafe(self._sender.shut_down(grace_s), self._loop)
            ended.result(grace_s + 5.0)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5.0)
        return self.poll()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        turning = self._loop.create_task(loops.tick_while_turning())
        self._loop.run_forever()
        turning.cancel()
        self._loop.run_until_complete(asyncio.gather(turning, return_exceptions=True))
        self._loop.close()

    def _guarded(self, act: Callable[[], None]) -> None:
        """On the writer's thread, whose event loop would go on after an error as if nothing were lost."""
        try:
            self._thread.turn()
            act()
        except Exception as error:
            self._thread.note(error)
            self._failed(process_errors.WRITER_FAILED(graph=self._name, error=type(error).__name__))

    def _accept(self, plans: Sequence[InFlight]) -> None:
        """On the writer's thread: queue the rows of applied syncs, then send."""
        for in_flight in plans:
            desired = in_flight.work.desired
            try:
                rules = self._rules_of(desired.sync)
            except KeyError:
                self._answers.end(release(in_flight.known, 30.0, "the sync is not applied any more"), PREPAID_RU)
                continue
            self._answers.admit(Claim(in_flight, rules, desired.lease_until - self._lease))
        self._sender.pump()
