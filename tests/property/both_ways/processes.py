"""The processes of a two-way sync over sides and records in memory: capture, collect, deliver, pull.

In: which of them takes a step, and what becomes of it (`crowd.FATES`). Out: changed sides and records; `Bad` at once
where something is done that may never be. Rule: between any two steps anything else may happen; a step that the core
decides is the core's, nothing of it is repeated here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rowtide.change import Fields
from rowtide.deciding import claimed, pull, whose
from rowtide.deciding.answers import Answer, NotApplied, Unknown
from rowtide.deciding.apply import (
    Absent,
    Delete,
    Insert,
    Nothing,
    Open,
    Rekeyed,
    RowAbsent,
    RowThere,
    Unwritable,
    Write,
    decide,
)
from rowtide.deciding.conflicts import Policies, TwoWayPolicy
from rowtide.deciding.hand_over import AskVersions
from rowtide.deciding.in_flight import InFlight, Rules
from rowtide.deciding.item_versions import Versions
from rowtide.deciding.outcomes import Complete, HandOver, Outcome, ParkRow, Release, Settle
from rowtide.deciding.pull_steps import (
    Drop,
    HoldOpen,
    Later,
    ListRestored,
    ParkEntry,
    PullAnswer,
    PullInFlight,
    PullPlan,
    Reserved,
    ReserveKey,
    WaitForCapture,
)
from rowtide.deciding.recorded import Commit, Recorded, recorded
from rowtide.deciding.records import Held, ListId, PairedItem
from rowtide.deciding.taken import Applied, Apply, PullRules, Taken
from rowtide.keys import rowtide_key
from tests.property.both_ways.lineage import Lineage
from tests.property.both_ways.records_in_memory import SYNC, Records, Switches, mark_of
from tests.property.both_ways.sides_in_memory import (
    LISTS,
    START,
    Lists,
    Place,
    PlainMapping,
    Source,
    SourceRow,
    as_kept,
)

PATIENCE = timedelta(seconds=100)
SEND_WITHIN_S = 20


class Bad(AssertionError):
    """Something that may never be."""


@dataclass
class Claimed:
    """A claim in flight."""

    plan: InFlight | AskVersions
    at: datetime


@dataclass
class Pulling:
    """An entry in flight; ``apply`` and ``recorded`` once its transaction has committed."""

    taken: Taken
    plan: PullPlan
    connected: bool = True


@dataclass
class Page:
    """What was read of a list and is not recorded yet."""

    list_id: ListId
    entries: list[Place]
    shown: list[object]
    link: int
    began: int


@dataclass
class Late:
    """A request that may be carried out until then although its answer was lost."""

    carry_out: Callable[[], object]
    until: datetime


class Processes:
    """The world, and those of us who change it."""

    def __init__(self, switches: Switches, policy: TwoWayPolicy = "postgres_wins", invertible: bool = True) -> None:
        self.switches = switches
        self.lists, self.source, self.lineage = Lists(), Source(), Lineage()
        self.records = Records(switches, self.source, START)
        self.staged = 0
        self.now = START
        self.rules = Rules(PlainMapping(), 1, PATIENCE, two_ways=True)
        shards = {one: {"list": one} for one in LISTS} if invertible else {}
        self.pull_rules = PullRules(SYNC, PlainMapping(), 1, Policies(policy), shard_columns=shards)
        self.claims: dict[str, Claimed] = {}
        self.pulling: Pulling | None = None
        self.stalled: list[Pulling] = []
        self.page: Page | None = None
        self.late: list[Late] = []
        self.drawn = 100
        self.lists.on_write = self.not_put_back
        self.numbers: Iterator[int] = iter(())

    # --- the numbers ---

    def number(self) -> int:
        return next(self.numbers, 0)

    def pick(self, of: Sequence[object]) -> object:
        return of[self.number() % len(of)]

    # --- capture and collect ---

    def capture(self) -> None:
        if self.staged < len(self.source.wal):
            self.records.stage(self.source.wal[self.staged])
            self.staged += 1

    def collect(self) -> None:
        """Half a page: it is read, or recorded."""
        page = self.page
        self.records.tick += 1
        if page is None:
            list_id = LISTS[self.number() % 2]
            changed = self.lists.changed[list_id]
            places = [(list_id, one) for one in dict.fromkeys(changed[self.records.links[list_id] :])]
            shown: list[object] = [self.lists.entry(at) for at in places]
            self.page = Page(list_id, places, shown, len(changed), self.records.tick)
            return
        for entry in page.shown:
            self.records.note(entry, is_whole=page.list_id in self.records.whole)  # type: ignore[arg-type]
        self.records.whole.discard(page.list_id)
        self.records.links[page.list_id] = page.link
        self.records.rounds[page.list_id] = page.began
        self.page = None

    # --- deliver ---

    def deliver(self, fate: int) -> None:
        if self.claims and (self.number() % 4 or len(self.claims) > 1):
            self.step_claim(str(self.pick(sorted(self.claims))), fate)
            return
        for key in sorted(self.records.outbox):
            if key not in self.claims and self.claim(key):
                return

    def claim(self, key: str) -> bool:
        work = self.records.claim(key)
        if work is None:
            return False
        self.go_on(key, claimed.first(work, self.rules, self.now), self.now)
        return True

    def go_on(self, key: str, plan: InFlight | AskVersions | Outcome | Complete, at: datetime) -> None:
        self.claims.pop(key, None)
        match plan:
            case InFlight() | AskVersions():
                self.claims[key] = Claimed(plan, at)
            case Complete(work):
                self.records.complete(work)
            case Settle() | Release() | ParkRow() | HandOver():
                self.blur_gone(plan)
                self.records.end_claim(plan)

    def blur_gone(self, plan: Settle | Release | ParkRow | HandOver) -> None:
        """With an item its versions are gone: what became of an unexplained attempt to change it, nobody can say."""
        if isinstance(plan, HandOver) and plan.entry is not None and plan.entry.deleted:
            pair, sent = plan.work.pair, plan.work.desired.sent
            fields = [one.fields for one in sent] + ([pair.item.base] if sent and isinstance(pair, Held) else [])
            self.lineage.blurred |= {str(value).strip() for one in fields for value in one.values()}

    def step_claim(self, key: str, fate: int) -> None:
        claim = self.claims[key]
        command, own = claim.plan.command, rowtide_key(SYNC, key)
        answer: Answer | Versions = Unknown("lost")
        if self.now > claim.at + timedelta(seconds=SEND_WITHIN_S):
            answer = NotApplied(1.0, "too late")
        elif fate == 1:
            self.late.append(Late(lambda: self.lists.carry_out(command, own), claim.at + PATIENCE))
        elif fate != 2:
            answer = self.lists.carry_out(command, own)  # type: ignore[assignment]
            if fate == 3:
                answer = Unknown("lost")
        if fate == 4:
            self.lose_claim(key)
            return
        if isinstance(answer, Versions) and not self.switches.versions:
            answer = Versions(())
        self.go_on(key, claimed.after(claim.plan, answer, self.rules, self.now), claim.at)

    def lose_claim(self, key: str) -> None:
        """The process dies; the lease ends."""
        work = self.claims.pop(key).plan.work
        row = self.records.outbox.get(key)
        if row is not None and row.lease == work.desired.token:
            row.lease = None

    # --- pull ---

    def pull(self, fate: int) -> None:
        if self.pulling is None:
            for at in sorted(self.records.inbox):
                if (taken := self.records.take(at)) is not None:
                    taken = self.with_applied(taken)
                    self.pulling = Pulling(taken, whose.first(taken, self.pull_rules))
                    return
            return
        pulling, self.pulling = self.pulling, None
        if fate == 4:
            self.lose_pull(pulling)
        elif fate == 5:
            pulling.connected = False
            self.lose_lease(pulling)
            self.stalled.append(pulling)
        elif self.step_pull(pulling, fate):
            self.pulling = pulling

    def resume_stalled(self) -> None:
        if self.stalled:
            pulling = self.stalled.pop(0)
            while self.step_pull(pulling, 0):
                pass

    def lose_pull(self, pulling: Pulling) -> None:
        self.lose_lease(pulling)
        if not self.switches.inbox:
            self.records.inbox.clear()

    def lose_lease(self, pulling: Pulling) -> None:
        row = self.records.held_by(pulling.taken)
        if row is not None:
            row.lease = None

    def with_applied(self, taken: Taken) -> Taken:
        applied = self.source.applied.get(taken.key or "")
        if applied is None or applied.place != taken.entry.place:
            of_item = [one for one in self.source.applied.values() if one.place == taken.entry.place]
            applied = max(of_item, key=lambda one: one.version, default=applied)
        return replace(taken, applied=applied)

    def step_pull(self, pulling: Pulling, fate: int) -> bool:
        """One step of an entry; whether there are more."""
        match pulling.plan:
            case PullInFlight() as plan:
                pulling.plan = pull.after(plan, self.asked(plan, pulling, fate), self.pull_rules, self.now)
                pulling.taken = getattr(pulling.plan, "taken", pulling.taken)
                return True
            case Apply() as apply:
                if not pulling.connected:
                    return False
                pulling.plan = self.transact(apply)
                return True
            case end:
                self.end_pull(pulling.taken, end)
                return False

    def asked(self, plan: PullInFlight, pulling: Pulling, fate: int) -> PullAnswer:
        command = plan.command
        if isinstance(command, ReserveKey):
            answer = self.records.reserve(plan.taken, command.key, command.item)
            return Reserved(self.with_applied(answer.taken)) if isinstance(answer, Reserved) else answer
        if fate == 2:
            return Unknown("lost")
        found = self.lists.carry_out(command, None)
        return Unknown("lost") if fate == 3 else found  # type: ignore[return-value]

    def transact(self, apply: Apply) -> PullPlan:
        key, at = apply.key, apply.at
        row = None if at is None else self.source.rows.get(at)
        seen = RowAbsent() if row is None else RowThere(row.list_id, dict(row.fields))
        applied = self.with_applied(apply.taken).applied if self.switches.applied else None
        verdict = decide(apply, applied, seen, self.pull_rules)
        if isinstance(verdict, Open | Absent | Rekeyed | Unwritable):
            return pull.without_commit(apply, verdict)
        if key is None:
            key = str(self.drawn)
            self.drawn += 1
            item = PairedItem(apply.entry.list_id, apply.entry.item_id, apply.entry.etag, {}, {})
            self.records.reserve(apply.taken, key, item)
        changed = self.changed_by(verdict, row, apply.entry.list_id)
        lsn, record = self.source.lsn, replace(verdict.applied, key=key, xid=self.source.lsn + 1)
        if isinstance(verdict, Write | Insert | Delete | Nothing):
            self.judge(verdict.applied, apply, row)
            self.source.writes += bool(changed)
            if row is not None and changed and changed[0] is not None:
                self.not_put_back(as_kept(row.fields), as_kept(changed[0].fields))
            rows = {at or key: changed[0]} if changed else {}
            lsn = self.source.commit(rows, (key, record) if self.switches.applied else None)
        done = recorded(apply, verdict, seen, Commit(key, lsn, lsn), self.pull_rules)
        return pull.with_key(apply, done, self.pull_rules)

    def not_put_back(self, before: Fields, after: Fields) -> None:
        """Nothing of ours puts a value back over which a person wrote another in the item."""
        for name, value in after.items():
            old = before.get(name)
            if old not in self.lineage.typed or value in (old, None) or value not in self.lineage.known_reach(old):
                continue
            if not self.lineage.is_unknowable(value, old):
                raise Bad(f"{old} became {value} again")

    def changed_by(self, verdict: object, row: SourceRow | None, list_id: ListId) -> list[SourceRow | None]:
        match verdict:
            case Write(_, fields, columns) if row is not None and (fields or columns):
                goes_to = ListId(columns["list"]) if columns else row.list_id
                return [SourceRow(goes_to, {**row.fields, **fields})]
            case Insert(_, fields):
                return [SourceRow(list_id, dict(fields))]
            case Delete():
                return [None]
            case _:
                return []

    def judge(self, applied: Applied, apply: Apply, row: SourceRow | None) -> None:
        for record in applied.conflicts:
            mark = mark_of(record)
            if mark in self.records.conflicts:
                continue  # one of before, which nobody has noted yet
            if why := self.lineage.invented(record, apply.key or "", row, apply.entry):
                raise Bad(why)
            self.records.conflicts[mark] = record

    def end_pull(self, taken: Taken, end: PullPlan) -> None:
        row = self.records.held_by(taken)
        match end:
            case Drop():
                self.records.end_entry(taken, None)
            case Recorded():
                if self.records.end_entry(taken, end):
                    self.records.noted |= {mark_of(one) for one in end.conflicts}
            case Later(after_s=after_s):
                self.records.delay(taken, after_s)
            case WaitForCapture():
                if row is not None:
                    row.absent_at = (self.source.era, self.source.lsn)
                    self.records.delay(taken, 0)
            case ParkEntry() | HoldOpen():
                if row is not None:
                    row.parked = True
                    row.lease = None
            case ListRestored():
                raise Bad("a list was found restored that was not")
            case _:
                raise Bad(f"an end of an entry: {end}")

    # --- time ---

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.records.now = self.now
        self.late = [one for one in self.late if one.until > self.now]

    def arrive_late(self) -> None:
        if self.late:
            self.late.pop(self.number() % len(self.late)).carry_out()
