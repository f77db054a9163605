"""What the demo says at its end: a document for machines, a page for people, and what to try while it stays up.

In: the last `Figures`, the `Verdict`, how the first load went. Out: the JSON document, text. Rule: the document's keys
are an interface: ``committed delivered differences duplicates latency_ms ru_used writes coalesced suppressed verdict``
stay, others may be added.
"""

from dataclasses import dataclass
from typing import Literal, TypedDict

from demo.comparison import Verdict
from demo.environment import FLOW, Environment
from demo.live_view import Figures, conflicts, edits, milliseconds
from demo.options import DemoOptions
from demo.shop.workload import WorkloadTally
from rowtide.pacing import WRITE_RU, tier_of

SHOWN = 20
"""Differences named one by one."""


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """How long it took to bring the rows that were there already into the lists."""

    writes: int
    seconds: float


class Percentiles(TypedDict):
    """Milliseconds from commit to Graph's answer."""

    p50: float | None
    p95: float | None
    p99: float | None


class TypedEditsDocument(TypedDict):
    """What people did in SharePoint, and seconds until it was in PostgreSQL."""

    made: int
    arrived: int
    p50_s: float | None
    p95_s: float | None


class MetConflictsDocument(TypedDict):
    """Fields that both sides changed: decided by a policy, or waiting for a person."""

    decided: int
    waiting: int


class FirstLoadDocument(TypedDict):
    """What the first load wrote, and how long it took."""

    writes: int
    seconds: float


class SummaryDocument(TypedDict):
    """The one document of ``--json``."""

    verdict: Literal["equal", "different", "interrupted"]
    differences: int | None
    duplicates: int | None
    committed: int
    changes: int
    delivered: int
    writes: int
    coalesced: int
    suppressed: int
    latency_ms: Percentiles
    ru_used: float
    throttled: int
    waiting: int
    parked: int
    transactions: int
    acts: dict[str, int]
    rows: int | None
    items: int | None
    difference_kinds: dict[str, int]
    edits: TypedEditsDocument
    conflicts: MetConflictsDocument
    first_load: FirstLoadDocument | None
    seconds: float
    seed: int
    rate: float
    tier: str


@dataclass(frozen=True, slots=True)
class Summary:
    """How a demo ended; ``verdict`` None: it was ended before anything could be compared."""

    options: DemoOptions
    figures: Figures
    tally: WorkloadTally
    first_load: FirstLoad | None
    verdict: Verdict | None

    @property
    def word(self) -> Literal["equal", "different", "interrupted"]:
        """The verdict in one word."""
        if self.verdict is None:
            return "interrupted"
        return "equal" if self.verdict.equal else "different"

    def document(self) -> SummaryDocument:
        """The summary as JSON; latencies and counts are of the live phase."""
        figures, verdict, load = self.figures, self.verdict, self.first_load
        people = figures.people
        return {
            "verdict": self.word,
            "differences": None if verdict is None else verdict.others,
            "duplicates": None if verdict is None else verdict.duplicates,
            "committed": figures.committed,
            "changes": figures.changes,
            "delivered": figures.delivered,
            "writes": figures.writes,
            "coalesced": figures.coalesced,
            "suppressed": figures.suppressed,
            "latency_ms": {"p50": _round(figures.p50_ms), "p95": _round(figures.p95_ms), "p99": _round(figures.p99_ms)},
            "ru_used": figures.ru_used,
            "throttled": figures.throttled,
            "waiting": figures.waiting,
            "parked": figures.parked,
            "transactions": self.tally.transactions,
            "acts": dict(sorted(self.tally.acts.items())),
            "rows": None if verdict is None else verdict.rows,
            "items": None if verdict is None else verdict.items,
            "difference_kinds": {} if verdict is None else verdict.by_kind(),
            "edits": {
                "made": people.made,
                "arrived": people.arrived,
                "p50_s": _round(people.p50_s),
                "p95_s": _round(people.p95_s),
            },
            "conflicts": {"decided": people.decided, "waiting": people.waiting},
            "first_load": None if load is None else {"writes": load.writes, "seconds": round(load.seconds, 1)},
            "seconds": self.options.seconds,
            "seed": self.options.seed,
            "rate": self.options.rate,
            "tier": self.options.tier,
        }

    def lines(self) -> list[str]:
        """The summary for people."""
        figures, verdict = self.figures, self.verdict
        rest = figures.waiting + figures.parked
        said = [
            "",
            f"committed   {figures.committed:,} row changes in {self.tally.transactions:,} business transactions",
            f"delivered   {figures.delivered:,} rows, commit to Graph's answer: p50 {milliseconds(figures.p50_ms)}, "
            f"p95 {milliseconds(figures.p95_ms)}, p99 {milliseconds(figures.p99_ms)}",
            f"changes     {figures.changes:,} in the stream = {figures.coalesced:,} coalesced + {figures.suppressed:,} "
            f"nothing to the lists + {figures.written:,} written" + (f" + {rest:,} not delivered yet" if rest else ""),
            f"writes      {figures.writes:,} requests that changed a list (a row that moves takes two)",
            f"quota       {figures.ru_used:,.0f} resource units, {figures.throttled:,} refusals (429)",
            f"edits       {edits(figures.people)}",
            f"conflicts   {conflicts(figures.people)}",
        ]
        if verdict is None:
            return [*said, "verdict     interrupted: nothing was compared"]
        if verdict.equal:
            but = f"; {len(verdict.waiting)} of them waits for a person" if verdict.waiting else ""
            return [*said, f"verdict     EQUAL: {verdict.rows:,} rows, {verdict.items:,} items, no duplicate{but}"]
        shown = [f"  {one}" for one in verdict.differences[:SHOWN]]
        more = len(verdict.differences) - len(shown)
        return [
            *said,
            f"verdict     DIFFERENT: {verdict.others:,} differences, {verdict.duplicates:,} duplicates",
            *shown,
            *([f"  and {more:,} more"] if more > 0 else []),
        ]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def slow_load(writes: int, tier: str, licences: int, share: float) -> str:
    """How long the first load would have taken with the tier's quota on."""
    rate = tier_of(licences).ru_per_minute * share / 60 / WRITE_RU
    return f"with the quota of tier {tier} on, it would have taken {writes / rate:,.0f} s"


def invitation(environment: Environment) -> list[str]:
    """What to try while the demo stays up."""
    config, addresses = environment.config, environment.addresses
    return [
        "",
        "The demo stays up until Ctrl-C. Open the lists in a browser and change some rows; change a customer there",
        "and look into the table:",
        "",
        f"  lists        {addresses.lists_url}",
        f"  PostgreSQL   {addresses.source_dsn}",
        f"  metrics      {addresses.metrics_url}",
        f"  definition   {config}",
        f"  flow's log   {environment.log_of(FLOW)}",
        "",
        f'  {environment.cluster.binaries / "psql"} "{addresses.source_dsn}"',
        "    UPDATE orders SET status = 'shipped' WHERE id = 42;          -- one PATCH, in a second or so",
        "    UPDATE orders SET region = 'US' WHERE id = 43;               -- the item moves to another list",
        "    UPDATE orders SET status = 'draft' WHERE id = 44;            -- leaves the row filter: the item goes",
        "    UPDATE orders SET picked_by = 'you';                         -- no mapped column: no write at all",
        "    UPDATE order_lines SET unit_price = unit_price * 1.1;        -- bulk; small changes overtake it",
        "    UPDATE customers SET name = name || '.' WHERE id = 1;        -- again and again: changes coalesce",
        "",
        f"  rowtide conflicts list -c {config}",
        f'  rowtide conflicts resolve ID --take sharepoint --why "they know best" -c {config}',
        f"  rowtide status --watch -c {config}",
        f"  rowtide pause orders -c {config}     (and resume)",
    ]
