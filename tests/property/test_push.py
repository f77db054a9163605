"""Histories of one row against in-memory lists: lost answers, late requests, crashes, foreign hands, moves, deletes.

Whatever happens between any two steps, the lists converge on what was committed last, never hold two items with the
key once all is quiet, the ledger never goes back, and a state that is agreed already costs no write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rowtide.change import Fields, Operation
from rowtide.deciding import push
from rowtide.deciding.answers import (
    Answer,
    Changed,
    Deleted,
    Found,
    Item,
    Missing,
    NotApplied,
    Rejected,
    Unknown,
    Written,
)
from rowtide.deciding.commands import Command, CreateItem, DeleteItem, LookAtItem, LookForKey, MoveItem, UpdateItem
from rowtide.deciding.in_flight import InFlight, Rules
from rowtide.deciding.outcomes import Complete, ParkRow, Release, Settle
from rowtide.deciding.records import (
    Desired,
    ETag,
    Held,
    ItemId,
    ListId,
    NoItem,
    Pair,
    PairedItem,
    Sent,
    Standing,
    Work,
    version_of,
)
from rowtide.keys import rowtide_key
from rowtide.position import Position

SYNC, KEY = "orders", "1"
LISTS = (ListId("A"), ListId("B"))
PATIENCE = timedelta(seconds=100)
SEND_WITHIN_S, START = 20, datetime(2026, 1, 1, tzinfo=UTC)


FATES = st.sampled_from(
    ("done", "done", "done", "lost before", "lost after", "late", "late, crash", "throttled", "done, crash")
)


class PlainMapping:
    """Two text fields; the lists keep ``b`` in capitals."""

    names = ("a", "b")

    def wire_fields(self, fields: Fields) -> Fields:
        return fields

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        return {name: value if isinstance(value := wire.get(name), str) else None for name in self.names}

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        return {
            name: value
            for name, value in desired.items()
            if not (name in base and base[name] == value) and not (name in kept and kept[name] == value)
        }


def as_kept(fields: Fields) -> Fields:
    return {name: str(value).upper() if name == "b" and value is not None else value for name, value in fields.items()}


@dataclass
class Stored:
    fields: Fields
    version: int
    by_app: bool


Place = tuple[ListId, ItemId]


@dataclass
class Lists:
    """Two lists with a unique key column; every write raises an item's version."""

    items: dict[Place, Stored] = field(default_factory=dict)
    made: dict[ListId, int] = field(default_factory=dict)
    writes: int = 0
    shows_etag: bool = True
    unique: bool = True

    def carry_out(self, command: Command) -> Answer:
        mine = [(place, one) for place, one in self.items.items() if place[0] == command.list_id]
        match command:
            case CreateItem(list_id, fields) | MoveItem(list_id, fields, _):
                if mine and self.unique:
                    return Rejected(400, "invalidRequest", "duplicate value", duplicate=True)
                # Ids are the list's own, so that items of both lists often have the same.
                self.made[list_id] = self.made.get(list_id, 0) + 1
                item_id = ItemId(str(self.made[list_id]))
                self.writes += 1
                self.items[list_id, item_id] = Stored(as_kept(fields), 1, True)
                return Written(item_id, self._etag(list_id, item_id) if self.shows_etag else None)
            case LookForKey():
                return Found(tuple(self._item(*place) for place, _ in mine))
            case LookAtItem(list_id, item_id):
                return Found((self._item(list_id, item_id),)) if (list_id, item_id) in self.items else Missing()
            case UpdateItem(list_id, item_id, etag, fields):
                stored = self.items.get((list_id, item_id))
                if stored is None:
                    return Missing()
                if etag != self._etag(list_id, item_id):
                    return Changed()
                self.write(list_id, item_id, fields, True)
                self.writes += 1
                shown = self._etag(list_id, item_id) if self.shows_etag else None
                return Written(item_id, shown, dict(stored.fields))
            case DeleteItem(list_id, item_id, etag):
                if (list_id, item_id) not in self.items:
                    return Missing()
                if etag != self._etag(list_id, item_id):
                    return Changed()
                del self.items[list_id, item_id]
                self.writes += 1
                return Deleted()

    def write(self, list_id: ListId, item_id: ItemId, fields: Fields, by_app: bool) -> None:
        stored = self.items[list_id, item_id]
        stored.fields = {**stored.fields, **as_kept(fields)}
        stored.version += 1
        stored.by_app = by_app

    def _etag(self, list_id: ListId, item_id: ItemId) -> ETag:
        return ETag(f'"{list_id}{item_id},{self.items[list_id, item_id].version}"')

    def _item(self, list_id: ListId, item_id: ItemId) -> Item:
        one = self.items[list_id, item_id]
        return Item(item_id, self._etag(list_id, item_id), dict(one.fields), one.by_app, rowtide_key(SYNC, KEY))


@dataclass
class Late:
    """A request whose answer was lost before it was carried out: it still may be, until ``until``."""

    command: Command
    until: datetime


@dataclass
class Waiting:
    """The outbox row."""

    op: Operation
    target: ListId | None
    fields: Fields
    partial: bool
    position: Position
    revision: int
    due_at: datetime
    sent: tuple[Sent, ...] = ()
    parked: bool = False


def last_item(pair: Pair) -> PairedItem | None:
    return pair.last if isinstance(pair, NoItem) else pair.item


def place(item: PairedItem) -> Place:
    return item.list_id, item.item_id


Truth = tuple[ListId, Fields] | None  # the source row: its list and fields


class RowHistory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.lists = Lists()
        self.truth: Truth = None
        self.has_foreign_hands = False
        self.row: Waiting | None = None
        self.ledger: Pair | None = None
        self.in_flight: InFlight | None = None
        self.claimed_at = START
        self.token = 0
        self.lsn = 0
        self.late: list[Late] = []
        self.row_rules = Rules(PlainMapping(), 1, PATIENCE)

    @initialize(unique=st.booleans(), has_foreign_hands=st.booleans())
    def set_up(self, unique: bool, has_foreign_hands: bool) -> None:
        # Without the unique column, nothing but our own patience stands between a lost POST and a second item.
        self.lists.unique = unique
        self.has_foreign_hands = has_foreign_hands

    # --- the source ---

    @rule(target_list=st.sampled_from(LISTS), a=st.sampled_from("xy"), b=st.sampled_from(("p", None)))
    def commit_upsert(self, target_list: ListId, a: str, b: str | None) -> None:
        self.truth = (target_list, {"a": a, "b": b})
        self._stage("u", target_list, {"a": a, "b": b}, False)

    @rule(a=st.sampled_from("xy"), deletes=st.booleans())
    def commit_partial_or_delete(self, a: str, deletes: bool) -> None:
        if self.truth is None or deletes:
            self.truth = None
            self._stage("d", None, {}, False)
            return
        self.truth = (self.truth[0], {**self.truth[1], "a": a})
        self._stage("u", self.truth[0], {"a": a}, True)

    def _stage(self, op: Operation, target: ListId | None, fields: Fields, partial: bool) -> None:
        self.lsn += 1
        position = Position(1, self.lsn, 0)
        old = self.row
        if old is not None and partial:
            if old.op == "u":
                fields, partial = {**old.fields, **fields}, old.partial
            else:
                op, fields, partial = "r", {}, False
        self.row = Waiting(
            op, target, fields, partial, position, old.revision + 1 if old else 1, self.now, old.sent if old else ()
        )

    # --- the world ---

    @rule(which=st.integers(0, 1), what=st.sampled_from(("a", "b", "touch", "delete")))
    def foreign_hand(self, which: int, what: str) -> None:
        places = sorted(self.lists.items)
        if not places or not self.has_foreign_hands:
            return
        if what == "delete":
            del self.lists.items[places[which % len(places)]]
            return
        self.lists.write(*places[which % len(places)], {} if what == "touch" else {what: "f"}, False)

    @rule(seconds=st.sampled_from((1, 30, 90)), shows_etag=st.booleans())
    def pass_time(self, seconds: int, shows_etag: bool) -> None:
        self.lists.shows_etag = shows_etag
        self._set_now(self.now + timedelta(seconds=seconds))

    def _set_now(self, now: datetime) -> None:
        self.now = now
        # What does not arrive in time never does.
        self.late = [one for one in self.late if one.until > now]

    @precondition(lambda self: self.late)
    @rule(which=st.integers(0, 2))
    def arrive_late(self, which: int) -> None:
        self.lists.carry_out(self.late.pop(which % len(self.late)).command)

    # --- delivery ---

    @rule(fates=st.lists(FATES, min_size=1, max_size=6))
    def deliver(self, fates: list[str]) -> None:
        """A claim and some of its steps, without anything in between."""
        if self.in_flight is None and self.row is not None:
            self._set_now(max(self.now, self.row.due_at))
            self.claim()
        for fate in fates:
            self.step(fate)

    @rule(fate=FATES)
    def claim_or_step(self, fate: str) -> None:
        if self.in_flight is not None:
            self.step(fate)
        elif self.row is not None:
            self.claim()

    def claim(self) -> None:
        row = self.row
        assert row is not None
        if row.due_at > self.now or row.parked:
            return
        self.token += 1
        self.claimed_at = self.now
        desired = Desired(
            SYNC, KEY, row.op, row.target, row.target, dict(row.fields), row.partial, row.position, 0, 1, row.revision,
            str(self.token), self.now + timedelta(seconds=120), 0, 0, self.now, row.sent,
        )  # fmt: skip
        row.sent = (*row.sent, Sent(str(self.token), row.op, row.target, dict(row.fields), self.now))
        self._go_on(push.first(Work(desired, self.ledger), self.row_rules, self.now))

    def step(self, fate: str) -> None:
        in_flight = self.in_flight
        if in_flight is None:
            return
        sent_too_late = self.now > self.claimed_at + timedelta(seconds=SEND_WITHIN_S)
        answer: Answer = Unknown("lost")
        if sent_too_late or fate == "throttled":
            answer = NotApplied(1.0, "throttled")
        elif fate.startswith("late"):
            self.late.append(Late(in_flight.command, self.claimed_at + PATIENCE))
        elif fate != "lost before":
            answer = self.lists.carry_out(in_flight.command)
            if fate == "lost after":
                answer = Unknown("lost")
        if fate.endswith("crash"):
            self.in_flight = None
            return
        self._go_on(push.after(in_flight, answer, self.row_rules, self.now))

    def _go_on(self, plan: push.Plan) -> None:
        self.in_flight = None
        match plan:
            case InFlight():
                self.in_flight = plan
            case Complete(work):
                self._complete(work)
            case Settle() | Release() | ParkRow():
                self._record(plan)

    def _complete(self, work: Work) -> None:
        """What `due` does: the row as the source has it now, in place of what could not be decided."""
        row = self.row
        assert row is not None
        row.sent = tuple(one for one in row.sent if one.token != work.desired.token)
        if row.revision == work.desired.revision:
            row.revision += 1
            row.partial = False
            row.op = "d" if self.truth is None else "u"
            row.target, row.fields = self.truth or (None, {})

    def _record(self, outcome: Settle | Release | ParkRow) -> None:
        row, desired = self.row, outcome.work.desired
        assert row is not None
        if outcome.pair is not None:
            self._write_ledger(outcome.pair)
        if isinstance(outcome, Settle):
            row.sent = ()
            if row.revision == desired.revision and not outcome.again and not outcome.pair.leftovers:
                self.row = None
            return
        if not outcome.unknown:
            row.sent = tuple(one for one in row.sent if one.token != desired.token)
        if isinstance(outcome, Release):
            row.due_at = self.now + timedelta(seconds=outcome.after_s)
            return
        row.parked = row.revision == desired.revision

    def _write_ledger(self, pair: Pair) -> None:
        old = self.ledger
        if old is not None:
            assert pair.as_of.position >= old.as_of.position
            before, after = last_item(old), last_item(pair)
            if before is not None and after is not None and place(before) == place(after) and after.etag is not None:
                assert version_of(after.etag) >= version_of(before.etag)
        self.ledger = pair

    # --- what must hold ---

    @invariant()
    def a_row_is_never_parked(self) -> None:
        # Nobody else's column is unique here, and every value can be written.
        assert self.row is None or not self.row.parked

    def teardown(self) -> None:
        """Quiet: all is delivered, what is late arrives; then a last change, and one that changes nothing."""
        self.in_flight = None
        self._drain()
        for one in self.late:
            self.lists.carry_out(one.command)
        if not self.has_foreign_hands:
            # Nothing that was on its way when the row was settled has changed anything.
            self._check_lists()
        if self.truth is None:
            self._stage("d", None, {}, False)
        else:
            # A value no earlier state had: the item is met, whatever a person did to it.
            self.truth = (self.truth[0], {**self.truth[1], "a": "last"})
            self._stage("u", *self.truth, False)
        self._drain()
        self._check_lists()
        if self.truth is not None:
            writes = self.lists.writes
            self._stage("u", *self.truth, False)
            self._drain()
            assert self.lists.writes == writes, "a write although nothing differs"
        assert self.ledger is not None
        assert self.ledger.as_of.position == Position(1, self.lsn, 0)
        if self.truth is None:
            assert isinstance(self.ledger, NoItem)
        else:
            assert isinstance(self.ledger, Held)
            assert self.ledger.standing is Standing.LIVE

    def _check_lists(self) -> None:
        if self.truth is None:
            assert self.lists.items == {}
            return
        assert isinstance(self.ledger, Held)
        assert list(self.lists.items) == [(self.truth[0], self.ledger.item.item_id)]
        assert next(iter(self.lists.items.values())).fields == as_kept(self.truth[1])

    def _drain(self) -> None:
        for _ in range(200):
            if self.row is None:
                return
            self._set_now(max(self.now, self.row.due_at) + timedelta(milliseconds=1))
            self.claim()
            while self.in_flight is not None:
                self.step("done")
        raise AssertionError(f"not delivered: {self.row}")


RowHistory.TestCase.settings = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRowHistory = RowHistory.TestCase


def test_an_item_that_was_there_before_explains_no_lost_post() -> None:
    """The row moves back while its old item is still to be removed: that one is taken up, and the POST comes late."""
    history = RowHistory()
    history.set_up(unique=False, has_foreign_hands=False)
    history.commit_upsert(target_list=LISTS[0], a="x", b=None)
    history.deliver(fates=["done"])
    history.commit_upsert(target_list=LISTS[1], a="x", b=None)
    for fates in (["done"], ["lost before"], ["done"]):
        history.deliver(fates=fates)
    history.commit_upsert(target_list=LISTS[0], a="x", b="p")
    history.deliver(fates=["late"])
    assert [type(one.command) for one in history.late] == [MoveItem]
    history.teardown()
