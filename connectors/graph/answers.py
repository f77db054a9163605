"""Handles Graph's answer for each row: the row's next command follows, or its outcome.

In: claims with the readings of their answers. Out: claims to be sent (again) in ``queue``, outcomes in ``outcomes``.
Rules (docs/design.md section 6): `rowtide.deciding.claimed.after` decides, nothing here does; a row is in flight at
most once; a fault of our own parks one row and touches no other. Everything here happens on the writer's thread.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from connectors.graph.auth import TokenSource
from connectors.graph.batch import ListRefused, Reading, Throttled, Unauthorized
from connectors.graph.budget import PREPAID_RU, Budget
from connectors.graph.list_queues import ListQueues
from connectors.graph.send_backoff import Health
from rowtide.deciding import claimed
from rowtide.deciding.answers import Answer, Deleted, NotApplied, Unknown, Written
from rowtide.deciding.hand_over import AskVersions
from rowtide.deciding.in_flight import InFlight, Rules, release
from rowtide.deciding.item_versions import Versions
from rowtide.deciding.outcomes import Outcome, ParkRow, Release
from rowtide.deciding.records import ListId, Work
from rowtide.error_catalogue import graph_errors, row_errors
from rowtide.log_row import LogRow
from rowtide.position import position_text

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Claim:
    """A row in flight."""

    in_flight: InFlight | AskVersions
    rules: Rules
    claimed_at: datetime
    paid_ru: float = PREPAID_RU
    asked_again: bool = False  # with a fresh token
    ended: bool = False

    @property
    def work(self) -> Work:
        """The claimed row."""
        return self.in_flight.work

    @property
    def list_id(self) -> str:
        """The list that its command is for."""
        return self.in_flight.command.list_id

    @property
    def in_log(self) -> dict[str, object]:
        """What log lines about the row carry."""
        desired = self.work.desired
        row = LogRow(desired.sync, desired.key)
        return {"sync": desired.sync, "key_hash": row, "position": position_text(*desired.position)}


class AnswerHandler:
    """The claims of one writer between their requests; ``stopping`` ends a claim instead of sending its next one."""

    def __init__(
        self, name: str, budget: Budget, health: Health, tokens: TokenSource, hanging: Callable[[], Collection[str]]
    ) -> None:
        """``hanging``: the lists with a batch that has been without an answer for long."""
        self.queue: ListQueues[Claim] = ListQueues()
        self.outcomes: deque[Outcome] = deque()
        self.stopping = False
        self.writes = 0
        self._name = name
        self._budget = budget
        self._health = health
        self._tokens = tokens
        self._hanging = hanging
        self._busy: set[tuple[str, str]] = set()

    def admit(self, claim: Claim) -> None:
        """Put a claim in the queue; the row is handed back while an earlier claim of it is under way."""
        desired = claim.work.desired
        row = (desired.sync, desired.key)
        if row in self._busy:
            self.end(release(claim.in_flight.known, 1.0, "an earlier claim of the row is still under way"), PREPAID_RU)
            return
        self._busy.add(row)
        self.queue.append(claim)

    def apply(self, claims: Sequence[Claim], readings: Sequence[Reading], token: str, now: datetime) -> None:
        """Handle one reading for each claim; a refused token or quota is handled once for all."""
        throttled = [reading.after_s for reading in readings if isinstance(reading, Throttled)]
        gate_s = self._health.note_throttled(throttled) if throttled else 0.0
        pairs = zip(claims, readings, strict=True)
        unauthorized = [claim for claim, reading in pairs if isinstance(reading, Unauthorized)]
        pause_s = self._note_unauthorized(unauthorized, token) if unauthorized else 0.0
        for claim, reading in zip(claims, readings, strict=True):
            match reading:
                case Throttled():
                    self.answer(claim, NotApplied(gate_s, "Graph throttles the app"), now)
                case Unauthorized():
                    self._answer_unauthorized(claim, pause_s, now)
                case ListRefused():
                    self._answer_list_refused(claim, reading, now)
                case _:
                    self.answer(claim, reading, now)

    def _note_unauthorized(self, claims: Sequence[Claim], token: str) -> float:
        """The token is refused; if a fresh one was refused before, the app has a problem. Seconds to wait then."""
        self._tokens.forget(token)
        if not any(self._is_refused(claim) for claim in claims):
            return 0.0
        return self._health.note_failure(graph_errors.TOKEN_REFUSED(graph=self._name), sent=False)

    def _is_refused(self, claim: Claim) -> bool:
        return claim.asked_again or self.stopping

    def _answer_unauthorized(self, claim: Claim, pause_s: float, now: datetime) -> None:
        """Send the command once more with a fresh token, or hand the row back."""
        if self._is_refused(claim):
            self.answer(claim, NotApplied(pause_s, graph_errors.TOKEN_REFUSED(graph=self._name).sentence), now)
        else:
            claim.asked_again = True
            self.queue.append(claim)

    def _answer_list_refused(self, claim: Claim, refused: ListRefused, now: datetime) -> None:
        problem = graph_errors.LIST_REFUSED(status=refused.status, code=refused.code, said=refused.sentence)
        after_s = self._health.lists.failed(claim.list_id, problem)
        self.answer(claim, NotApplied(after_s, problem.sentence), now)

    def answer_all(self, claims: Iterable[Claim], answer: Answer, now: datetime) -> None:
        """Handle the same answer for each of these claims."""
        for claim in claims:
            self.answer(claim, answer, now)

    def answer(self, claim: Claim, answer: Answer | Versions, now: datetime) -> None:
        """Queue the row's next command, or end its claim."""
        if isinstance(answer, Written | Deleted):
            self.writes += 1
        if not isinstance(answer, NotApplied | Unknown):
            self._health.lists.answered(claim.list_id)
        if isinstance(answer, Unknown) and self._health.lists.is_waiting(claim.list_id):
            answer = replace(answer, of_row=False)  # the list is to blame, and has a wait of its own
        try:
            following = claimed.after(claim.in_flight, answer, claim.rules, now)
        except Exception as error:
            self.park(claim, error)
            return
        if isinstance(following, InFlight | AskVersions):
            if not self.stopping:
                claim.in_flight = following
                self.queue.append(claim)
                return
            following = release(following.known, 0.0, "stopping")
        if isinstance(following, Release) and self._is_silent(claim.list_id):
            following = replace(following, list_id=ListId(claim.list_id))
        self._finish(claim, following)

    def _is_silent(self, list_id: str) -> bool:
        return self._health.lists.is_waiting(list_id) or list_id in self._hanging()

    def park(self, claim: Claim, error: BaseException) -> None:
        """Park the row after a fault of our own; its neighbours go on."""
        _log.error("row cannot be decided", **claim.in_log, error=type(error).__name__)
        why = row_errors.INTERNAL_ERROR(error=type(error).__name__)
        self._finish(claim, ParkRow(claim.work, why.code, why.sentence, unknown=True))

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        claim.ended = True
        self._busy.discard((claim.work.desired.sync, claim.work.desired.key))
        self.end(outcome, claim.paid_ru)

    def end(self, outcome: Outcome, refund_ru: float) -> None:
        """Hand an outcome on, and the units that were taken for the row and not used."""
        self._budget.refund(refund_ru)
        self.outcomes.append(outcome)
