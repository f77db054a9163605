"""The delivering steps, against ports of the test: what is decided, what is asked of the writers, what comes back."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from flows.steps.deliver import Deliver, Plan, Planned
from rowtide.change import Fields
from rowtide.deciding.commands import CreateItem
from rowtide.deciding.in_flight import InFlight, Rules
from rowtide.deciding.outcomes import Outcome, Release, Settle
from rowtide.deciding.records import AsOf, Desired, ETag, Held, ItemId, ListId, Pair, PairedItem, Work
from rowtide.keys import lane_name
from rowtide.position import Position

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS: Fields = {"Title": "bolt"}
LIST = ListId("list")


class Columns:
    """One field, as it is."""

    def wire_fields(self, fields: Fields) -> Fields:
        return fields

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        return {"Title": str(wire.get("Title"))}

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        return {name: value for name, value in desired.items() if base.get(name) != value}


@dataclass
class Decisions:
    """What planning asks: rules by sync, and the quota that came back."""

    rules: dict[str, Rules] = field(default_factory=lambda: {"parts": Rules(Columns(), 1, timedelta(seconds=90))})
    refunds: list[tuple[str, float]] = field(default_factory=list)

    def rules_of(self, sync: str) -> Rules:
        return self.rules[sync]

    def graph_of(self, sync: str) -> str:
        self.rules[sync]
        return "contoso"

    def now(self) -> datetime:
        return NOW

    def refund(self, graph: str, units: float) -> None:
        self.refunds.append((graph, units))


@dataclass
class Lanes:
    """Writers that end what they are told to."""

    submitted: dict[str, list[InFlight]] = field(default_factory=lambda: defaultdict(list))
    done: dict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))

    def submit(self, lane: str, begun: Sequence[InFlight]) -> None:
        self.submitted[lane] += begun

    def completed(self, lane: str) -> list[Outcome]:
        return self.done.pop(lane, [])


def work(key: str = "1", pair: Pair | None = None, sync: str = "parts") -> Work:
    desired = Desired(
        sync, key, "u", "Parts", LIST, FIELDS, False, Position(1, 20, 0), 9, 1, 1, "token", NOW, 0, 0, NOW
    )
    return Work(desired, pair)


ITEM = PairedItem(LIST, ItemId("11"), ETag('"g,3"'), FIELDS, {})
KNOWN = Held(AsOf(Position(1, 10, 0), 5, 1), ITEM)


def plan(decisions: Decisions, *works: Work) -> list[tuple[str, Planned]]:
    return list(Plan(decisions)(works))


def test_a_new_row_becomes_a_command_in_the_lane_of_its_graph() -> None:
    decisions = Decisions()
    [(lane, planned)] = plan(decisions, work())
    assert lane == planned.lane == lane_name("contoso", "parts", "1")
    assert isinstance(planned.step, InFlight)
    assert planned.step.command == CreateItem(LIST, FIELDS)
    assert decisions.refunds == []


def test_a_row_that_needs_no_request_gives_its_quota_back() -> None:
    decisions = Decisions()
    [(_, planned)] = plan(decisions, work(pair=KNOWN))
    assert isinstance(planned.step, Settle)
    assert decisions.refunds == [("contoso", 2)]


def test_a_row_whose_mapping_was_replaced_since_its_claim_is_read_anew() -> None:
    decisions = Decisions()
    decisions.rules["parts"] = replace(decisions.rules["parts"], mapping_version=2)
    [(_, planned)] = plan(decisions, work())
    assert isinstance(planned.step, Release)
    assert planned.step.reread
    assert not planned.step.unknown
    assert decisions.refunds == [("contoso", 2)]


def test_a_row_whose_sync_is_not_applied_any_more_is_handed_back() -> None:
    """The definition was replaced between the claim and the plan; the rows around it go on."""
    decisions = Decisions()
    [(_, gone), (_, kept)] = plan(decisions, work(sync="dropped"), work())
    assert isinstance(gone.step, Release)
    assert "not applied" in gone.step.reason
    assert isinstance(kept.step, InFlight)
    assert decisions.refunds == []


def test_commands_are_submitted_and_come_back_as_outcomes() -> None:
    lanes, decisions = Lanes(), Decisions()
    [(lane, begun)] = plan(decisions, work())
    [(_, settled)] = plan(decisions, work("2", KNOWN))
    deliver = Deliver(lanes)
    assert deliver.notify_at() is None
    assert deliver.on_batch([Planned(lane, begun.step), Planned(lane, settled.step)]) == ([settled.step], False)
    assert lanes.submitted == {lane: [begun.step]}
    assert deliver.on_notify() == ([], False)
    lanes.done[lane] = [Release(work(), 1.0, unknown=False)]
    assert deliver.on_notify()[0] == [Release(work(), 1.0, unknown=False)]
    assert deliver.notify_at() is None


def test_completions_are_looked_for_at_a_time_that_is_over_by_every_clock() -> None:
    """The engine compares it with this machine's clock, which may be set back meanwhile."""
    lanes = Lanes()
    [(lane, begun)] = plan(Decisions(), work())
    deliver = Deliver(lanes)
    deliver.on_batch([Planned(lane, begun.step)])
    due = deliver.notify_at()
    assert due is not None
    assert due.year == 1970
