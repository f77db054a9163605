"""Deliver without a state database: outbox and ledger of the tests in memory, decisions and writer as they are.

In: rows committed, a `Writer`. Out: outcomes, recorded as settle records them. Called by the writer's tests.
"""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from connectors.graph.budget import Budget
from connectors.graph.exchanges import Told
from connectors.graph.settings import GraphSettings
from connectors.graph.writer import Writer
from rowtide.change import Fields, JsonValue, Operation
from rowtide.deciding import push
from rowtide.deciding.in_flight import InFlight, Rules
from rowtide.deciding.outcomes import Complete, HandOver, Outcome, ParkRow, Release, Settle
from rowtide.deciding.records import Desired, Held, ListId, Pair, PairedItem, Sent, Work
from rowtide.errors import RowtideError
from rowtide.position import Position

SYNC = "orders"


class Columns:
    """Title, Notes and Amount, as they are."""

    names = ("Title", "Notes", "Amount")

    def wire_fields(self, fields: Fields) -> Fields:
        return fields

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        return {name: as_json(wire.get(name)) for name in self.names}

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        return {
            name: value
            for name, value in desired.items()
            if (name not in base or base[name] != value) and (name not in kept or kept[name] != value)
        }


def as_json(value: object) -> JsonValue:
    return value if isinstance(value, str | int | float) else None


def clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class Row:
    """What waits of one row."""

    op: Operation
    list_id: ListId | None
    fields: Fields
    position: Position
    revision: int = 1
    due_at: datetime = field(default_factory=clock)
    sent: tuple[Sent, ...] = ()
    claimed: bool = False


class Delivery:
    """An outbox, a ledger, and the writer between them and a simulator."""

    def __init__(
        self, settings: GraphSettings, site_id: str, budget: Budget | None = None, told: Sequence[Told] = ()
    ) -> None:
        self.settings = settings
        self.rules = Rules(Columns(), 1, settings.patience)
        self.budget = budget or Budget(settings)
        self.faults: list[RowtideError] = []
        self.writer = Writer(
            settings,
            self.budget,
            rules_of=lambda _: self.rules,
            site_of=lambda _: site_id,
            now=clock,
            is_ours=lambda _: True,
            failed=self.faults.append,
            told=told,
        )
        self.rows: dict[str, Row] = {}
        self.ledger: dict[str, Pair] = {}
        self.outcomes: list[Outcome] = []
        self._lsn = itertools.count(1)
        self._token = itertools.count(1)
        self.writer.start()

    def commit(self, key: str, list_id: str | None, fields: Fields) -> None:
        """A row as it is now; list None: deleted."""
        old = self.rows.get(key)
        op: Operation = "d" if list_id is None else "u"
        target = None if list_id is None else ListId(list_id)
        self.rows[key] = Row(op, target, fields, Position(1, next(self._lsn), 0))
        if old is not None:
            self.rows[key].sent, self.rows[key].revision = old.sent, old.revision + 1
            self.rows[key].claimed = old.claimed

    def item(self, key: str) -> PairedItem:
        """The item the ledger knows of."""
        pair = self.ledger[key]
        assert isinstance(pair, Held)
        return pair.item

    def claim(self, limit: int = 200) -> list[InFlight]:
        """Leases due rows and plans them; plans that need no request are recorded at once."""
        now = clock()
        plans: list[InFlight] = []
        for key, row in list(self.rows.items()):
            if row.claimed or row.due_at > now or len(plans) >= limit:
                continue
            token = str(next(self._token))
            desired = Desired(
                SYNC, key, row.op, None, row.list_id, dict(row.fields), False, row.position, 0, 1, row.revision, token,
                now + timedelta(seconds=self.settings.lease_s), 0, 0, now, row.sent,
            )  # fmt: skip
            row.sent = (*row.sent, Sent(token, row.op, row.list_id, dict(row.fields), now))
            row.claimed = True
            plan = push.first(Work(desired, self.ledger.get(key)), self.rules, now)
            if isinstance(plan, InFlight):
                plans.append(plan)
            else:
                assert not isinstance(plan, Complete)
                self.outcomes.append(plan)
                self._record(plan)
        return plans

    def settle(self) -> list[Outcome]:
        """Records what the writer has ended."""
        outcomes = self.writer.poll()
        for outcome in outcomes:
            self._record(outcome)
        self.outcomes += outcomes
        return outcomes

    def deliver(self, timeout_s: float = 60.0, until: Callable[[], bool] | None = None) -> None:
        """Claims and settles until nothing waits (or ``until``)."""
        deadline = time.monotonic() + timeout_s
        while self.rows if until is None else not until():
            assert time.monotonic() < deadline, f"{len(self.rows)} rows wait; {self.writer.problem}; {self._last()}"
            if self.budget.gate.left_s() == 0:
                plans = self.claim()
                if plans:
                    self.writer.submit(plans)
            if not self.settle():
                # Nothing ended: a moment for the writer's thread. Deadlines, not this pause, decide.
                time.sleep(0.002)

    def _last(self) -> Sequence[str]:
        return [outcome.reason for outcome in self.outcomes[-3:] if isinstance(outcome, Release)]

    def _record(self, outcome: Outcome) -> None:
        desired = outcome.work.desired
        row = self.rows[desired.key]
        row.claimed = False
        if outcome.pair is not None:
            self.ledger[desired.key] = outcome.pair
        assert not isinstance(outcome, HandOver), "these syncs push"
        if isinstance(outcome, Settle):
            row.sent = ()
            if row.revision == desired.revision and not outcome.again and not outcome.pair.leftovers:
                del self.rows[desired.key]
            return
        if not outcome.unknown:
            row.sent = tuple(one for one in row.sent if one.token != desired.token)
        if isinstance(outcome, ParkRow):
            del self.rows[desired.key]
        else:
            row.due_at = clock() + timedelta(seconds=outcome.after_s)
