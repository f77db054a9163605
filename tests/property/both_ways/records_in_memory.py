"""The records of a two-way sync in memory: outbox, ledger, inbox and cursors, with the rules that guard them.

In: staged changes, outcomes of push, ends of pull. Out: claims and taken entries. Rule: each method is one transaction
of the state database; a lease that is not held any more writes nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rowtide.change import Fields, Operation
from rowtide.deciding import whose
from rowtide.deciding.conflicts import UNKNOWN_TIMES, Choice, ConflictRecord
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.leftovers import unexplained_post
from rowtide.deciding.outcomes import HandOver, ParkRow, Release, Settle
from rowtide.deciding.pull_steps import KeyBusy, Reserved
from rowtide.deciding.pulled import Pulled
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import (
    Desired,
    Held,
    LeftItem,
    ListId,
    NoItem,
    Pair,
    PairedItem,
    Sent,
    Work,
    last_item,
    version_of,
)
from rowtide.deciding.taken import Taken, WaitingRow, place
from rowtide.error_catalogue.row_errors import ITEM_OLDER_THAN_KNOWN
from rowtide.keys import rowtide_key
from rowtide.position import Position
from tests.property.both_ways.sides_in_memory import LISTS, Place, Source, SourceRow, Transaction

SYNC = "s"
LEASE = timedelta(seconds=120)


@dataclass(frozen=True)
class Switches:
    """The five rules, and what is done about lost edits and restored lists; each can be left out."""

    inbox: bool = True
    one_side: bool = True
    applied_at: bool = True
    applied: bool = True
    versions: bool = True
    again: bool = True
    restored: bool = True


@dataclass
class OutboxRow:
    """What waits for a row."""

    op: Operation
    list_id: ListId | None
    fields: Fields
    position: Position
    revision: int
    due_at: datetime
    sent: tuple[Sent, ...] = ()
    lease: str | None = None
    parked: bool = False
    is_read: bool = False
    attempts: int = 0


@dataclass
class Known:
    """A ledger row."""

    pair: Pair
    applied_at: tuple[int, int] | None = None
    pulled: Pulled | None = None
    pulled_era: int = 0


@dataclass
class InboxRow:
    """An entry that waits. ``seen``: the tick of the page that showed it. ``pair``: its row's when it was taken."""

    entry: InboxEntry
    seen: int
    due_at: datetime
    key: str | None = None
    lease: str | None = None
    pair: Pair | None = None
    absent_at: tuple[int, int] | None = None
    parked: bool = False
    era: int = 0
    open: ConflictRecord | None = None
    choice: Choice | None = None


Met = tuple[Place, int, str, str]
"""An item, its version, a kind of conflict, and the values that met."""


def mark_of(conflict: ConflictRecord) -> Met:
    """By what a conflict is recorded once."""
    values = sorted((name, one.postgres, one.sharepoint, one.base) for name, one in conflict.fields.items())
    return (conflict.list_id, conflict.item_id), conflict.version, conflict.kind.name, repr(values)


@dataclass
class Records:
    """All of them."""

    switches: Switches
    source: Source
    now: datetime
    outbox: dict[str, OutboxRow] = field(default_factory=dict)
    ledger: dict[str, Known] = field(default_factory=dict)
    inbox: dict[Place, InboxRow] = field(default_factory=dict)
    conflicts: dict[Met, ConflictRecord] = field(default_factory=dict)
    """Those that were decided, in a transaction of the source."""
    noted: set[Met] = field(default_factory=set)
    """Those that somebody finds on record."""
    cursor: tuple[int, int] = (1, 0)
    whole: set[ListId] = field(default_factory=set)
    """Lists whose links are of no use any more: what is read of them next may lower versions."""
    links: dict[ListId, int] = field(default_factory=lambda: dict.fromkeys(LISTS, 0))
    rounds: dict[ListId, int] = field(default_factory=lambda: dict.fromkeys(LISTS, 0))
    suspect: set[ListId] = field(default_factory=set)
    older: set[ListId] = field(default_factory=set)
    """Lists of rows that were parked because their items are older than what was written: a deep pass is asked for."""
    tick: int = 0
    tokens: int = 0

    def token(self) -> str:
        self.tokens += 1
        return str(self.tokens)

    # --- capture ---

    def stage(self, change: Transaction) -> None:
        """What a transaction of the source says, merged into what waits."""
        position = Position(self.source.era, change.lsn, 0)
        for key, row in change.after.items():
            op: Operation = "u" if row is not None else "r" if change.rekeyed else "d"
            self.put(key, op, row, position)
        self.cursor = (self.source.era, change.lsn)

    def put(self, key: str, op: Operation, row: SourceRow | None, position: Position) -> None:
        old = self.outbox.get(key)
        list_id, fields = (row.list_id, dict(row.fields)) if row is not None else (None, {})
        if old is None:
            self.outbox[key] = OutboxRow(op, list_id, fields, position, 1, self.now)
            return
        self.outbox[key] = replace(
            old, op=op, list_id=list_id, fields=fields, position=max(position, old.position), due_at=self.now,
            revision=old.revision + 1, parked=False, is_read=False, attempts=0 if old.parked else old.attempts,
        )  # fmt: skip

    # --- deliver ---

    def entries_of(self, key: str) -> list[InboxRow]:
        """Entries that wait for the pair."""
        known = self.ledger.get(key)
        places = set() if known is None else places_of(known.pair)
        mine = rowtide_key(SYNC, key)
        return [
            row
            for at, row in self.inbox.items()
            if at in places or row.key == key or row.entry.item_key == mine
        ]  # fmt: skip

    def claim(self, key: str) -> Work | None:
        """The row; None: it may not go."""
        row, known = self.outbox[key], self.ledger.get(key)
        if row.lease is not None or row.due_at > self.now or self.suspect:
            return None
        waits = (self.switches.one_side and bool(self.entries_of(key))) or key in self.unconfirmed()
        if (waits or row.parked) and not (row.sent or (known is not None and has_lost_post(known.pair))):
            return None
        if self.switches.applied_at and known is not None and known.applied_at is not None:
            era, lsn = known.applied_at
            if era == self.cursor[0] and self.cursor[1] < lsn:
                return None
            if era != self.cursor[0] and not row.is_read:
                row.op, row.list_id, row.fields = "r", None, {}
        token = self.token()
        desired = Desired(
            SYNC, key, row.op, row.list_id, row.list_id, dict(row.fields), False, row.position, 0, 1, row.revision,
            token, self.now + LEASE, 0, row.attempts, self.now, row.sent,
        )  # fmt: skip
        row.lease = token
        only_look = waits or row.parked
        if row.op != "r" and not only_look:
            row.sent = (*row.sent, Sent(token, row.op, row.list_id, dict(row.fields), self.now))
        return Work(desired, None if known is None else known.pair, only_look=only_look)

    def complete(self, work: Work) -> None:
        """The row as the source has it now, in place of what could not be decided."""
        row = self.outbox[work.desired.key]
        row.lease = None
        row.sent = tuple(one for one in row.sent if one.token != work.desired.token)
        if row.revision == work.desired.revision:
            now = self.source.rows.get(work.desired.key)
            row.revision += 1
            row.is_read = True
            row.op, row.list_id, row.fields = ("d", None, {}) if now is None else ("u", now.list_id, dict(now.fields))

    def end_claim(self, end: Settle | Release | ParkRow | HandOver) -> None:
        desired = end.work.desired
        row = self.outbox.get(desired.key)
        if row is None or row.lease != desired.token:
            return
        row.lease = None
        if end.pair is not None:
            self.write_pair(desired.key, end.pair)
        match end:
            case Settle(again=again, pair=pair):
                row.sent, row.attempts = (), 0
                if row.revision == desired.revision and not again and not pair.leftovers:
                    del self.outbox[desired.key]
            case HandOver(entry=entry):
                row.sent, row.attempts = (), 0
                if entry is not None:
                    self.note(entry, desired.key)
            case Release(after_s=after_s, unknown=unknown, blame=blame):
                if not unknown:
                    row.sent = tuple(one for one in row.sent if one.token != desired.token)
                row.due_at = self.now + timedelta(seconds=after_s)
                row.attempts += blame
            case ParkRow(code=code):
                if code == ITEM_OLDER_THAN_KNOWN.code and isinstance(end.work.pair, Held):
                    self.older.add(end.work.pair.item.list_id)
                row.sent = tuple(one for one in row.sent if one.token != desired.token)
                row.parked = row.revision == desired.revision

    def write_pair(self, key: str, pair: Pair) -> None:
        known = self.ledger.get(key)
        if known is None:
            self.ledger[key] = Known(pair)
            return
        before, now = last_item(known.pair), last_item(pair)
        assert pair.as_of.position >= known.pair.as_of.position, "a position fell"
        if before is not None and now is not None and place(before) == place(now) and now.etag is not None:
            assert version_of(now.etag) >= version_of(before.etag), "a version fell"
        known.pair = pair

    # --- a new era ---

    def open_era(self) -> None:
        """Capture reads another stream from here on."""
        self.cursor = (self.source.era, self.source.lsn)

    def unconfirmed(self) -> set[str]:
        """Rows of which it is not known whether the source has what was pulled into them."""
        era = self.cursor[0]
        return {key for key, one in self.ledger.items() if one.pulled is not None and one.pulled_era < era}

    def looked_at_next(self) -> set[str]:
        """Those of which it can be said: nothing is on its way of a row that pull had made."""
        return {key for key in self.unconfirmed() if not self._is_on_its_way(key)}

    def _is_on_its_way(self, key: str) -> bool:
        pulled, row = self.ledger[key].pulled, self.outbox.get(key)
        is_made = pulled is not None and pulled.inserted is not None
        return is_made and row is not None and (row.lease is not None or bool(row.sent))

    def put_again(self, key: str, entry: InboxEntry) -> None:
        """What was agreed goes into the inbox, unless its list has told something newer.

        Whoever has taken an entry of the item does not know what is lost: it stays when that one ends.
        """
        old = self.inbox.get(entry.place)
        if old is None:
            self.inbox[entry.place] = InboxRow(entry, self.tick, self.now, key)
        elif not entry.deleted and not old.entry.deleted and entry.version > old.entry.version:
            self.note(entry, key)
        else:
            old.entry = replace(old.entry, revision=old.entry.revision + 1)

    # --- collect ---

    def note(self, entry: InboxEntry, key: str | None = None, is_whole: bool = False) -> None:
        """An entry goes into the inbox; a newer one of its item is kept, unless the list was read as a whole."""
        entry, old = replace(entry, seen_at=self.now), self.inbox.get(entry.place)
        if old is None:
            self.inbox[entry.place] = InboxRow(entry, self.tick, self.now, key)
            return
        is_older = not entry.deleted and not old.entry.deleted and entry.version < old.entry.version
        if is_older and not is_whole:
            return
        revision = old.entry.revision + 1
        is_suspect = (entry.suspect or old.entry.suspect) and not entry.deleted
        newer = replace(entry, revision=revision, suspect=is_suspect)
        self.inbox[entry.place] = replace(old, entry=newer, seen=self.tick, key=old.key or key, parked=False)

    # --- pull ---

    def key_of(self, entry: InboxEntry, noted: str | None) -> str | None:
        """The row key by live pair or leftover, else by the item's RowtideKey."""
        for key, known in self.ledger.items():
            if entry.place in places_of(known.pair):
                return key
        if noted is not None:
            return noted
        prefix = f"{SYNC}:"
        item_key = entry.item_key or ""
        return item_key.removeprefix(prefix) if item_key.startswith(prefix) else None

    def take(self, at: Place) -> Taken | None:
        """The entry with all that is known; None: it may not be applied."""
        row = self.inbox[at]
        if row.lease is not None or row.due_at > self.now or row.parked or self.suspect:
            return None
        if row.absent_at is not None and not self._passed(row.absent_at):
            return None
        key = self.key_of(row.entry, row.key)
        if self._is_busy(key):
            return None
        row.lease, row.era = self.token(), self.source.era
        row.key = key or row.key
        row.pair = None if key not in self.ledger else self.ledger[key].pair
        return self.taken(row, key)

    def _is_busy(self, key: str | None) -> bool:
        """Whether the row is on its way to its list, or may be."""
        waiting, known = (None, None) if key is None else (self.outbox.get(key), self.ledger.get(key))
        if not self.switches.one_side or waiting is None:
            return False
        return waiting.lease is not None or bool(waiting.sent) or (known is not None and has_lost_post(known.pair))

    def _passed(self, at: tuple[int, int]) -> bool:
        return self.cursor[0] > at[0] or self.cursor >= at

    def taken(self, row: InboxRow, key: str | None) -> Taken:
        entry, known = row.entry, None if key is None else self.ledger.get(key)
        waiting = None if key is None else self._waiting(key)
        twins = {
            at: other for at, other in self.inbox.items()
            if at != entry.place and not other.entry.deleted and key is not None
            and other.entry.item_key == rowtide_key(SYNC, key)
        }  # fmt: skip
        ended = all(self.rounds[one] > row.seen for one in LISTS)
        return Taken(
            entry, key, None if known is None else known.pair, waiting, None, row.lease or "", row.choice,
            UNKNOWN_TIMES, bool(twins), ended, row.absent_at is not None and self._passed(row.absent_at),
            None if known is None else known.pulled, self._others_wait(entry.place, known, twins),
        )  # fmt: skip

    def _others_wait(self, at: Place, known: Known | None, twins: Collection[Place]) -> frozenset[Place]:
        left = () if known is None else tuple(one for one in known.pair.leftovers if isinstance(one, LeftItem))
        others = {*(place(one) for one in left), *twins} - {at}
        return frozenset(one for one in others if one in self.inbox and not self.inbox[one].parked)

    def _waiting(self, key: str) -> WaitingRow | None:
        row = self.outbox.get(key)
        if row is None:
            return None
        others = (one for one, other in self.outbox.items() if one != key and other.position == row.position)
        of_a_change = row.op != "u" and row.position.lsn > 0
        rekeyed = next((one for one in others if self.outbox[one].op == "u"), None) if of_a_change else None
        return WaitingRow(row.op, False, None, rekeyed)

    def held_by(self, taken: Taken) -> InboxRow | None:
        """The inbox row, if the lease is still held."""
        row = self.inbox.get(taken.entry.place)
        return row if row is not None and row.lease == taken.token else None

    def reserve(self, taken: Taken, key: str, item: PairedItem) -> Reserved | KeyBusy:
        row = self.held_by(taken)
        if row is None or self._is_busy(key):
            return KeyBusy()
        known = self.ledger.get(key)
        pair = whose.reserved_pair(None if known is None else known.pair, item, 1)
        if pair is not None:
            self.write_pair(key, pair)
            row.key = key
        row.pair = None if key not in self.ledger else self.ledger[key].pair
        # A newer entry may have taken its place: what was taken is applied, and the newer one stays.
        return Reserved(replace(self.taken(row, key), entry=taken.entry))

    def end_entry(self, taken: Taken, done: Recorded | None) -> bool:
        """The end of an entry, with what is recorded of it; whether the lease was still held."""
        row = self.held_by(taken)
        if row is None:
            return False
        row.lease = None
        if done is not None and done.pair is not None and not self._stands(row, done.key):
            return False
        if done is not None and done.pair is not None and done.key is not None:
            self.write_pair(done.key, done.pair)
            if done.applied_lsn is not None:
                self.end_apply(self.ledger[done.key], (row.era, done.applied_lsn), done)
            if (waiting := self.outbox.get(done.key)) is not None:
                waiting.is_read = False
            is_of_before = done.applied_lsn is not None and row.era < self.cursor[0]
            if (done.reread or is_of_before) and done.key not in self.outbox:
                self.put(done.key, "r", None, done.pair.as_of.position)
        if row.entry.revision == taken.entry.revision:
            del self.inbox[taken.entry.place]
        return True

    def _stands(self, row: InboxRow, key: str | None) -> bool:
        """Whether the pair is as it was when the entry was taken."""
        known = self.ledger.get(key or "")
        return row.pair is (None if known is None else known.pair)

    def end_apply(self, known: Known, at: tuple[int, int], done: Recorded) -> None:
        if known.applied_at is None or known.applied_at <= at:
            known.applied_at = at
            if done.pulled is not None:
                known.pulled, known.pulled_era = done.pulled, at[0]

    def delay(self, taken: Taken, after_s: float) -> None:
        if (row := self.held_by(taken)) is not None:
            row.lease = None
            row.due_at = self.now + timedelta(seconds=after_s)


def places_of(pair: Pair) -> set[Place]:
    """The pair's item and those it has left."""
    left = {place(one) for one in pair.leftovers if isinstance(one, LeftItem)}
    return left if isinstance(pair, NoItem) else {place(pair.item), *left}


def has_lost_post(pair: Pair) -> bool:
    """Whether a POST is unaccounted for: the row is as uncertain as one with attempts."""
    return unexplained_post(pair.leftovers) is not None
