"""Sends claims to Graph in batches, a few at a time, and reads what comes back.

In: claims from the queue of an `AnswerHandler`. Out: readings of their answers, given back to it; the quota that was
spent. Rules: waiting rows are sent at once while slots are free (`batch_slots`), else they gather, up to twenty in a
batch; a row claimed too long ago is handed back unsent, and so are all rows while the gate is closed, and those of a
list that waits (`list_pauses`) or hangs; 5xx, resets and time-outs leave a row's outcome unknown. Everything here
happens on the writer's thread.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from connectors.graph import batch, retry_after
from connectors.graph.answers import AnswerHandler, Claim
from connectors.graph.auth import TokenSource
from connectors.graph.batch import Reading, Throttled, Unauthorized
from connectors.graph.batch_slots import SLOW_S, BatchSlots
from connectors.graph.budget import Budget
from connectors.graph.client import Client, NoAnswer, NotSent, Reply
from connectors.graph.exchanges import Exchange, Exchanges, log_refused
from connectors.graph.send_backoff import Health
from connectors.graph.settings import GraphSettings
from rowtide import pacing
from rowtide.deciding.answers import NotApplied, Rejected, Unknown
from rowtide.error_catalogue import graph_errors
from rowtide.errors import RowError, RowtideError
from state import failpoints

_LOOK_S: Final = 0.1
"""Seconds between two looks whether a batch that waits for its window has to be handed back."""

_TOO_OLD: Final = NotApplied(0.0, "claimed too long ago to be sent")
_NOT_OURS: Final = NotApplied(1.0, "the process may have lost its lease")

_log = structlog.get_logger()


class BatchSender:
    """The batches of one app in one tenant."""

    def __init__(
        self,
        settings: GraphSettings,
        budget: Budget,
        health: Health,
        tokens: TokenSource,
        answers: AnswerHandler,
        slots: BatchSlots,
        exchanges: Exchanges,
        *,
        site_of: Callable[[str], str | None],
        now: Callable[[], datetime],
        is_ours: Callable[[datetime], bool],
        guarded: Callable[[Callable[[], None]], None],
    ) -> None:
        """``is_ours``: whether what was claimed at a time may still be sent by this process.

        ``guarded`` calls what the event loop calls back, and knows what follows from its failure.
        """
        self.ru_used = 0
        self.requests = 0
        self._settings, self._budget, self._health, self._tokens = settings, budget, health, tokens
        self._answers, self._site_of, self._guarded = answers, site_of, guarded
        self._exchanges = exchanges
        self._now, self._is_ours = now, is_ours
        # The lease still has room for a full time-out then.
        self._send_within = timedelta(seconds=settings.send_within_s)
        self._client: Client | None = None
        self.slots = slots

    def pump(self) -> None:
        """Sends waiting rows while slots are free; hands all back while the gate is closed."""
        answers = self._answers
        gate_s = self._budget.gate.left_s()
        if answers.queue and (gate_s > 0 or answers.stopping):
            reason = self._reason_to_hand_back()
            answers.answer_all(answers.queue.take_all(), NotApplied(gate_s, reason), self._now())
        loop = asyncio.get_running_loop()
        self.slots.look(loop.time())
        self._hand_back_waiting()
        while claims := self.slots.take(answers.queue, self._health.batch_size, loop.time()):
            self._dispatch(claims)

    def _hand_back_waiting(self) -> None:
        """Rows of lists that hang or wait go back, all but the one with which a list that has waited is tried."""
        lists, now = self._health.lists, self._now()
        for list_id in self._answers.queue.lists:
            if lists.is_waiting(list_id):
                if lists.wait_s(list_id) == 0:
                    lists.tries(list_id, self._settings.request_timeout_s)
                    self._dispatch(self._answers.queue.take([list_id], 1))
                problem = lists.problems.get(list_id)
                wait_s, reason = lists.wait_s(list_id), "the list waits" if problem is None else problem.sentence
            elif list_id in self.slots.hanging:
                wait_s, reason = SLOW_S, "an earlier request of the list has had no answer for seconds"
            else:
                continue
            self._answers.answer_all(self._answers.queue.take_all(list_id), NotApplied(wait_s, reason), now)

    def _dispatch(self, claims: Sequence[Claim]) -> None:
        if claims := self._sendable(claims):
            task = asyncio.get_running_loop().create_task(self._carry_out(claims))
            self.slots.begin(task, claims)
            task.add_done_callback(lambda done: self._guarded(partial(self._done, done)))

    def _sendable(self, claims: Sequence[Claim]) -> list[Claim]:
        """Those that may be sent; the others are handed back."""
        now, good = self._now(), list[Claim]()
        for claim in claims:
            if now - claim.claimed_at > self._send_within:
                self._answers.answer(claim, _TOO_OLD, now)
            elif not self._is_ours(claim.claimed_at):
                self._answers.answer(claim, _NOT_OURS, now)
            else:
                good.append(claim)
        return good

    def _done(self, task: asyncio.Task[None]) -> None:
        claims = self.slots.under_way.pop(task).claims
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("writer failed", error=type(error).__name__)
            for claim in claims:
                if not claim.ended and claim not in self._answers.queue:
                    self._answers.park(claim, error)
        self.pump()

    async def _carry_out(self, claims: Sequence[Claim]) -> None:
        """Sends one batch and handles each answer."""
        claims, members = self._to_members(claims)
        if not claims:
            return
        body = batch.to_body(members)
        if len(body) > batch.BODY_BYTES and len(claims) > 1:
            await self._halve(claims)
            return
        self._client = self._client or Client(self._settings, self._tokens)
        if not await self._wait_to_send(claims):
            return
        self._spend(claims)
        self._note_sent()
        failpoints.hit(failpoints.DELIVER_BEFORE_SEND)
        began_s = asyncio.get_running_loop().time()
        try:
            result = await self._client.post("/$batch", body)
        except RowtideError as error:
            self._not_sent(claims, error)
            return
        match result:
            case NotSent():
                self._not_sent(claims, result.error)
            case NoAnswer():
                self._exchanges.tell(claims, result, {}, began_s)
                self._note_lost(claims, result.error)
                self._answers.answer_all(claims, Unknown(result.error.sentence, of_row=False), self._now())
            case Reply():
                failpoints.hit(failpoints.DELIVER_AFTER_ANSWER)
                await self._read(claims, result, began_s)

    def _note_sent(self) -> None:
        """From now on the batch that this task carries out may become slow; then there is a slot for another one."""
        task = asyncio.current_task()
        if task is not None and (under_way := self.slots.under_way.get(task)) is not None:
            loop = asyncio.get_running_loop()
            under_way.sent_at = loop.time()
            loop.call_later(SLOW_S, self._guarded, self.pump)

    async def _wait_to_send(self, claims: Sequence[Claim]) -> bool:
        """Whether they may be sent now: waits while one window would hold too much, or hands them back unsent."""
        units = sum(pacing.cost_of(claim.in_flight.command) for claim in claims)
        while True:
            # The lease has to outlive the request: whatever went before, a late row is not sent.
            good = self._sendable(claims)
            if len(good) < len(claims):
                self._answers.answer_all(good, _TOO_OLD, self._now())
                return False
            wait_s = self._budget.send_wait_s(units)
            if wait_s == 0:
                return True
            gate_s = self._budget.gate.left_s()
            if self._answers.stopping or gate_s > 0:
                self._answers.answer_all(claims, NotApplied(gate_s, self._reason_to_hand_back()), self._now())
                return False
            await asyncio.sleep(min(wait_s, _LOOK_S))

    def _reason_to_hand_back(self) -> str:
        if self._answers.stopping:
            return "stopping"
        problem = self._health.problem
        return "the gate is closed" if problem is None else problem.sentence

    async def _halve(self, claims: Sequence[Claim]) -> None:
        middle = len(claims) // 2
        await self._carry_out(claims[:middle])
        await self._carry_out(claims[middle:])

    def _to_members(self, claims: Sequence[Claim]) -> tuple[list[Claim], list[dict[str, object]]]:
        """The requests of a batch; rows that cannot be put into one are answered at once."""
        good: list[Claim] = []
        members: list[dict[str, object]] = []
        for claim in claims:
            command, desired = claim.in_flight.command, claim.work.desired
            try:
                site_id = self._site_of(command.list_id)
                if site_id is None:
                    self._answers.answer(claim, batch.gone_with_list(command), self._now())
                    continue
                address = batch.Address(site_id, desired.sync, desired.key)
                members.append(batch.to_member(len(good), command, address, claim.rules.mapping))
                good.append(claim)
            except KeyError:
                self._answers.answer(claim, NotApplied(60.0, "the list is not in the applied definition"), self._now())
            except RowError as error:
                self._answers.answer(claim, Rejected(0, error.code, error.sentence), self._now())
        return good, members

    async def _read(self, claims: Sequence[Claim], reply: Reply, began_s: float) -> None:
        envelope = batch.to_envelope(reply.status, reply.headers, reply.body)
        done = self._exchanges.tell(claims, reply, envelope if isinstance(envelope, dict) else {}, began_s)
        self._note_remaining(retry_after.remaining_ru(reply.headers))
        if isinstance(envelope, dict):
            self._read_members(claims, envelope, reply.token, done)
        elif isinstance(envelope, Rejected) and len(claims) > 1:
            # One member makes the batch invalid: find it.
            await self._halve(claims)
        else:
            if isinstance(envelope, NotApplied):
                self._health.note_failure(graph_errors.BATCH_LOST(reason=envelope.reason))
            if isinstance(envelope, Unknown):
                lost = graph_errors.BATCH_LOST(reason=envelope.reason)
                self._note_lost(claims, lost)
                if after_s := retry_after.retry_after_s(reply.headers):
                    self._health.note_asked(lost, after_s)
            self._answers.apply(claims, [envelope] * len(claims), reply.token, self._now())

    def _read_members(
        self, claims: Sequence[Claim], members: dict[str, batch.Member], token: str, done: Exchange
    ) -> None:
        readings: list[Reading] = []
        kept: list[Claim] = []
        bodies: list[object] = []
        self._health.note_answered()
        missing = batch.Member(500, {}, None)
        for number, claim in enumerate(claims):
            member = members.get(str(number), missing)
            try:
                reading = batch.to_reading(
                    claim.in_flight.command, member, claim.rules.mapping, self._settings.client_id
                )
            except Exception as error:
                self._answers.park(claim, error)
                continue
            if "ratelimit-remaining" in member.headers:
                self._note_remaining(retry_after.remaining_ru(member.headers))
            readings.append(reading)
            kept.append(claim)
            bodies.append(member.body)
        log_refused(kept, readings, done, bodies)
        self._note_readings(kept, readings)
        self._answers.apply(kept, readings, token, self._now())

    def _note_readings(self, claims: Sequence[Claim], readings: Sequence[Reading]) -> None:
        """Whether Graph answers; a list that got no answer at all is to blame itself."""
        answered = {claim.list_id for claim, one in zip(claims, readings, strict=True) if not isinstance(one, Unknown)}
        lost = Counter(claim.list_id for claim in claims if claim.list_id not in answered)
        why = next((one.reason for one in readings if isinstance(one, Unknown)), "")
        for list_id, requests in lost.items():
            self._health.lists.unanswered(list_id, graph_errors.LIST_UNANSWERED(reason=why), requests)
        if not answered:
            self._health.failures += bool(lost)
        elif not any(isinstance(reading, Throttled | Unauthorized) for reading in readings):
            self._health.note_success()

    def _note_lost(self, claims: Sequence[Claim], error: RowtideError) -> None:
        self._health.note_lost(len(claims))
        self._health.note_lost_batch({claim.list_id for claim in claims}, error)

    def _spend(self, claims: Sequence[Claim]) -> None:
        """Charges what these requests cost beyond the units that were taken for their rows."""
        beyond = 0.0
        for claim in claims:
            cost = pacing.cost_of(claim.in_flight.command)
            self.ru_used += cost
            claim.paid_ru -= cost
            if claim.paid_ru < 0:
                beyond -= claim.paid_ru
                claim.paid_ru = 0
        self.requests += 1
        self._budget.charge(beyond)

    def _not_sent(self, claims: Sequence[Claim], error: RowtideError) -> None:
        """Gives the quota back and makes all wait a moment, because nothing reached Graph."""
        for claim in claims:
            cost = pacing.cost_of(claim.in_flight.command)
            self.ru_used -= cost
            claim.paid_ru += cost
        pause_s = self._health.note_failure(error, sent=False)
        self._answers.answer_all(claims, NotApplied(pause_s, error.sentence), self._now())

    def _note_remaining(self, remaining: float | None) -> None:
        if remaining is not None:
            self._budget.note_remaining(remaining)

    async def shut_down(self, grace_s: float) -> None:
        """Hands back rows that were not sent; batches under way get ``grace_s``, then their outcome is unknown."""
        self._answers.stopping = True
        self.pump()
        tasks = dict(self.slots.under_way)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)
            for task in late:
                left = [claim for claim in tasks[task].claims if not claim.ended]
                self._answers.answer_all(left, Unknown("stopped while it was under way", of_row=False), self._now())
        self.pump()
        if self._client is not None:
            await self._client.close()
