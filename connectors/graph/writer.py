"""The process-wide writer: carries the commands of claimed rows out and hands their outcomes back.

In: `Progress`es of planned rows, from any thread. Out: outcomes for settle, fetched by `poll`. Rules: what is there is
sent at once while fewer than four batches are in flight, else rows gather up to twenty a batch; never two commands of
one row at a time; a row claimed too long ago is handed back unsent; a 429 closes the gate for the whole app and hands
everything back as not applied; 5xx, resets and time-outs leave it unknown. It decides nothing:
`rowtide.deciding.push.after` says what follows from an answer.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from connectors.graph import batch
from connectors.graph.auth import TokenSource
from connectors.graph.batch import ListRefused, Reading, Throttled, Unauthorized
from connectors.graph.budget import PREPAID_RU, Budget
from connectors.graph.client import Client, NoAnswer, NotSent, Reply
from connectors.graph.send_backoff import Health
from connectors.graph.settings import GraphSettings
from rowtide import pacing
from rowtide.deciding import push
from rowtide.deciding.commands import Answer, Deleted, NotApplied, Outcome, ParkRow, Rejected, Unknown, Work, Written
from rowtide.deciding.push import Progress, Rules
from rowtide.errors import IdentityRefused, RowError, RowtideError
from state import failpoints

IN_FLIGHT: Final = 4
"""Batches under way at once: Graph advises few concurrent requests."""

_log = structlog.get_logger()


@dataclass(slots=True)
class WriterCounters:
    """What the writer did since it was made."""

    ru_used: int = 0
    requests: int = 0
    writes: int = 0
    throttled: int = 0  # batches with a 429 in them
    failures: int = 0  # batches that were not answered


@dataclass(slots=True, eq=False)
class _Claim:
    """A row under way."""

    progress: Progress
    rules: Rules
    send_by: datetime
    paid_ru: float = PREPAID_RU
    asked_again: bool = False  # with a fresh token
    ended: bool = False

    @property
    def work(self) -> Work:
        return self.progress.work


class Writer:
    """One writer for one app in one tenant."""

    def __init__(
        self,
        settings: GraphSettings,
        budget: Budget,
        *,
        rules_of: Callable[[str], Rules],
        site_of: Callable[[str], str],
        now: Callable[[], datetime],
        on_outcome: Callable[[], None] | None = None,
    ) -> None:
        """``rules_of`` a sync and ``site_of`` a list raise KeyError for what is not applied (any more).

        ``now`` is the state database's clock: leases and attempts are dated by it.
        """
        self._settings, self._budget = settings, budget
        self._rules_of, self._site_of, self._now = rules_of, site_of, now
        self._on_outcome = on_outcome
        self._tokens = TokenSource(settings)
        self._client: Client | None = None
        self._queue: deque[_Claim] = deque()
        self._busy: set[tuple[str, str]] = set()
        self._tasks: dict[asyncio.Task[None], Sequence[_Claim]] = {}
        self._outcomes: deque[Outcome] = deque()
        self._unpolled = 0
        self._lock = threading.Lock()
        self._stopping = False
        self._health = Health(settings.name, budget)
        self._counters = WriterCounters()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"graph-{settings.name}", daemon=True)

    # --- from any thread ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the writer's thread."""
        self._thread.start()

    def submit(self, plans: Sequence[Progress]) -> None:
        """Takes rows over; each comes back once by `poll`. Never blocks."""
        with self._lock:
            self._unpolled += len(plans)
        self._loop.call_soon_threadsafe(self._accept, plans)

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
        """Rows submitted whose outcome was not polled yet."""
        return self._unpolled

    @property
    def problem(self) -> str | None:
        """One sentence why nothing moves; None when it does."""
        return self._health.problem

    @property
    def list_problems(self) -> dict[str, str]:
        """Why single lists do not move, by list id."""
        return dict(self._health.lists)

    @property
    def counters(self) -> WriterCounters:
        """What was done so far."""
        health = self._health
        return replace(self._counters, throttled=health.throttled, failures=health.failures)

    def stop(self, grace_s: float = 1.0) -> list[Outcome]:
        """Ends the writer: what is in flight gets ``grace_s``, then its outcome is unknown. The last outcomes."""
        if self._thread.is_alive():
            ended = asyncio.run_coroutine_threadsafe(self._shut_down(grace_s), self._loop)
            ended.result(grace_s + 5.0)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5.0)
        return self.poll()

    # --- on the writer's thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _accept(self, plans: Sequence[Progress]) -> None:
        for progress in plans:
            desired = progress.work.desired
            row = (desired.sync, desired.key)
            # Sent within this time of its claim; a full time-out is then left on the lease.
            age_s = self._settings.lease_s - self._settings.send_within_s
            send_by = desired.lease_until - timedelta(seconds=age_s)
            try:
                rules = self._rules_of(desired.sync)
            except KeyError:
                self._end(push.release(progress, 30.0, "the sync is not applied any more"), PREPAID_RU)
                continue
            if row in self._busy:
                self._end(push.release(progress, 1.0, "an earlier claim of the row is still under way"), PREPAID_RU)
                continue
            self._busy.add(row)
            self._queue.append(_Claim(progress, rules, send_by))
        self._pump()

    def _pump(self) -> None:
        """Sends what is there while batches are free; hands everything back while the gate is closed."""
        gate_s = self._budget.gate_s()
        if self._queue and (gate_s > 0 or self._stopping):
            reason = "stopping" if self._stopping else self._health.problem or "the gate is closed"
            waiting, self._queue = self._queue, deque()
            self._answer_all(waiting, NotApplied(gate_s, reason))
        while self._queue and len(self._tasks) < IN_FLIGHT:
            count = min(self._health.batch_size, len(self._queue))
            self._dispatch([self._queue.popleft() for _ in range(count)])

    def _dispatch(self, claims: Sequence[_Claim]) -> None:
        now = self._now()
        late = [claim for claim in claims if now > claim.send_by]
        if late:
            self._answer_all(late, NotApplied(0.0, "claimed too long ago to be sent"))
            claims = [claim for claim in claims if now <= claim.send_by]
        if claims:
            task = self._loop.create_task(self._carry_out(claims))
            self._tasks[task] = claims
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        claims = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("writer failed", error=type(error).__name__)
            for claim in claims:
                if not claim.ended and claim not in self._queue:
                    self._park(claim, error)
        self._pump()

    async def _carry_out(self, claims: Sequence[_Claim]) -> None:
        """One batch: out, back, and what follows from each answer."""
        claims, members = self._to_members(claims)
        if not claims:
            return
        body = batch.to_body(members)
        if len(body) > batch.BODY_BYTES and len(claims) > 1:
            await self._halve(claims)
            return
        self._client = self._client or Client(self._settings, self._tokens)
        self._spend(claims)
        failpoints.hit(failpoints.DELIVER_BEFORE_SEND)
        try:
            result = await self._client.post("/$batch", body)
        except RowtideError as error:
            self._not_sent(claims, error)
            return
        match result:
            case NotSent():
                self._not_sent(claims, result.error)
            case NoAnswer():
                self._health.note_lost(len(claims))
                self._health.note_failure(result.error.sentence)
                self._answer_all(claims, Unknown(result.error.sentence))
            case Reply():
                failpoints.hit(failpoints.DELIVER_AFTER_ANSWER)
                await self._read(claims, result)

    async def _halve(self, claims: Sequence[_Claim]) -> None:
        middle = len(claims) // 2
        await self._carry_out(claims[:middle])
        await self._carry_out(claims[middle:])

    def _to_members(self, claims: Sequence[_Claim]) -> tuple[list[_Claim], list[dict[str, object]]]:
        """The requests of a batch; rows that cannot be put into one are answered at once."""
        good: list[_Claim] = []
        members: list[dict[str, object]] = []
        for claim in claims:
            command, desired = claim.progress.command, claim.work.desired
            try:
                site_id = self._site_of(command.list_id)
                address = batch.Address(site_id, desired.sync, desired.key)
                members.append(batch.to_member(len(good), command, address, claim.rules.mapping))
                good.append(claim)
            except KeyError:
                self._answer(claim, NotApplied(60.0, "the list is not in the applied definition"), self._now())
            except RowError as error:
                self._answer(claim, Rejected(0, error.code, error.sentence), self._now())
        return good, members

    async def _read(self, claims: Sequence[_Claim], reply: Reply) -> None:
        envelope = batch.to_envelope(reply.status, reply.headers, reply.body)
        self._note_remaining(batch.remaining_ru(reply.headers))
        if isinstance(envelope, dict):
            self._read_members(claims, envelope, reply.token)
        elif isinstance(envelope, Rejected) and len(claims) > 1:
            # One member spoils the batch: find it.
            await self._halve(claims)
        else:
            if isinstance(envelope, NotApplied):
                self._health.note_failure(envelope.reason)
            if isinstance(envelope, Unknown):
                self._health.note_lost(len(claims))
                self._health.note_failure(envelope.reason)
                after_s = batch.retry_after_s(reply.headers)
                self._budget.pause(after_s or 0.0)
            self._apply(claims, [envelope] * len(claims), reply.token)

    def _read_members(self, claims: Sequence[_Claim], members: dict[str, batch.Member], token: str) -> None:
        readings: list[Reading] = []
        kept: list[_Claim] = []
        self._health.note_answered()
        missing = batch.Member(500, {}, None)
        for number, claim in enumerate(claims):
            member = members.get(str(number), missing)
            try:
                reading = batch.to_reading(
                    claim.progress.command, member, claim.rules.mapping, self._settings.client_id
                )
            except Exception as error:
                self._park(claim, error)
                continue
            if "ratelimit-remaining" in member.headers:
                self._note_remaining(batch.remaining_ru(member.headers))
            readings.append(reading)
            kept.append(claim)
        if readings and all(isinstance(reading, Unknown) for reading in readings):
            self._health.note_failure("Graph answers no request of a batch")
        elif not any(isinstance(reading, Throttled | Unauthorized) for reading in readings):
            self._health.note_success()
        self._apply(kept, readings, token)

    def _apply(self, claims: Sequence[_Claim], readings: Sequence[Reading], token: str) -> None:
        """What follows from each reading; a refused token or quota concerns everybody, once."""
        throttled = [reading.after_s for reading in readings if isinstance(reading, Throttled)]
        gate_s = self._health.note_throttled(throttled) if throttled else 0.0
        if any(isinstance(reading, Unauthorized) for reading in readings):
            self._tokens.forget(token)
        now = self._now()
        for claim, reading in zip(claims, readings, strict=True):
            match reading:
                case Throttled():
                    self._answer(claim, NotApplied(gate_s, "Graph throttles the app"), now)
                case Unauthorized():
                    self._answer_unauthorized(claim, now)
                case ListRefused():
                    self._answer_list_refused(claim, reading, now)
                case _:
                    self._answer(claim, reading, now)

    def _answer_unauthorized(self, claim: _Claim, now: datetime) -> None:
        """Once more with a fresh token; a fresh one refused is a problem of the app."""
        if not claim.asked_again and not self._stopping:
            claim.asked_again = True
            self._queue.append(claim)
            return
        self._health.problem = f"Graph does not accept the token of graph '{self._settings.name}'"
        self._budget.pause(2.0)
        self._answer(claim, NotApplied(2.0, self._health.problem), now)

    def _answer_list_refused(self, claim: _Claim, refused: ListRefused, now: datetime) -> None:
        problem = f"Graph answered {refused.status} {refused.code} for the list: {refused.sentence}"
        self._health.lists[claim.progress.command.list_id] = problem
        self._answer(claim, NotApplied(refused.after_s, problem), now)

    def _answer_all(self, claims: Iterable[_Claim], answer: Answer) -> None:
        now = self._now()
        for claim in claims:
            self._answer(claim, answer, now)

    def _answer(self, claim: _Claim, answer: Answer, now: datetime) -> None:
        """What follows: the next command of the row, or its end."""
        list_id = claim.progress.command.list_id
        if isinstance(answer, Written | Deleted):
            self._counters.writes += 1
        if self._health.lists and not isinstance(answer, NotApplied | Unknown):
            self._health.lists.pop(list_id, None)
        try:
            following = push.after(claim.progress, answer, claim.rules, now)
        except Exception as error:
            self._park(claim, error)
            return
        if isinstance(following, Progress):
            if not self._stopping:
                claim.progress = following
                self._queue.append(claim)
                return
            following = push.release(following, 0.0, "stopping")
        self._finish(claim, following)

    def _park(self, claim: _Claim, error: BaseException) -> None:
        """A fault of our own: the row stands aside, its neighbours go on."""
        _log.error("row cannot be decided", sync=claim.work.desired.sync, error=type(error).__name__)
        sentence = f"Rowtide failed on this row ({type(error).__name__}); please report it"
        self._finish(claim, ParkRow(claim.work, "internal_error", sentence, unknown=True))

    def _finish(self, claim: _Claim, outcome: Outcome) -> None:
        claim.ended = True
        self._busy.discard((claim.work.desired.sync, claim.work.desired.key))
        self._end(outcome, claim.paid_ru)

    def _end(self, outcome: Outcome, refund_ru: float) -> None:
        self._budget.refund(refund_ru)
        self._outcomes.append(outcome)
        if self._on_outcome is not None:
            self._on_outcome()

    # --- quota and failures ---------------------------------------------------------------------------------------

    def _spend(self, claims: Sequence[_Claim]) -> None:
        """Charges what these requests cost beyond what was taken for their rows."""
        beyond = 0.0
        for claim in claims:
            cost = pacing.cost_of(claim.progress.command)
            self._counters.ru_used += cost
            claim.paid_ru -= cost
            if claim.paid_ru < 0:
                beyond -= claim.paid_ru
                claim.paid_ru = 0
        self._counters.requests += 1
        self._budget.charge(beyond)

    def _not_sent(self, claims: Sequence[_Claim], error: RowtideError) -> None:
        """Nothing reached Graph: the quota is given back, everybody waits a moment."""
        for claim in claims:
            cost = pacing.cost_of(claim.progress.command)
            self._counters.ru_used -= cost
            claim.paid_ru += cost
        least_s = 2.0 if isinstance(error, IdentityRefused) else 0.2
        pause_s = self._health.note_failure(error.sentence, least_s)
        self._answer_all(claims, NotApplied(pause_s, error.sentence))

    def _note_remaining(self, remaining: float | None) -> None:
        if remaining is not None:
            self._budget.note_remaining(remaining)

    async def _shut_down(self, grace_s: float) -> None:
        self._stopping = True
        self._pump()
        tasks = dict(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)
            for task in late:
                self._answer_all(
                    [claim for claim in tasks[task] if not claim.ended], Unknown("stopped while it was under way")
                )
        self._pump()
        if self._client is not None:
            await self._client.close()
