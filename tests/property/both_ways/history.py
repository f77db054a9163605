"""One random history of a two-way sync: people on both sides, our processes, and all that may go wrong in between.

In: numbers, each an act or a choice of one; `Switches`. Out: `Bad` with what did not hold after all was quiet. Rules:
every value is written once, so that each is known by its origin (`Lineage`); a value that nobody saw go is lost; two
values of which one was seen by whoever wrote the other are no conflict.
"""

from collections.abc import Sequence
from typing import assert_never

from rowtide.change import Fields
from rowtide.deciding.conflicts import TwoWayPolicy
from rowtide.deciding.records import Held, ListId, LostPost
from rowtide.keys import rowtide_key
from tests.property.both_ways.crowd import EVERYBODY, FATES, Act, Crowd
from tests.property.both_ways.processes import Bad
from tests.property.both_ways.records_in_memory import SYNC, Switches, places_of
from tests.property.both_ways.restorations import Restorations
from tests.property.both_ways.sides_in_memory import (
    LISTS,
    NAMES,
    Place,
    SourceRow,
    Stored,
    as_kept,
)

QUIET_ROUNDS = 400


class History(Restorations):
    """The world, and the people who change it."""

    def __init__(
        self,
        switches: Switches,
        policy: TwoWayPolicy = "postgres_wins",
        invertible: bool = True,
        crowd: Crowd = EVERYBODY,
    ) -> None:
        super().__init__(switches, policy, invertible)
        self.crowd = crowd

    # --- people ---

    def row_changes(self) -> None:
        keys, kinds = self.crowd.keys, self.crowd.rows
        key = keys[self.number() % 2] if self.number() % 4 else self.any_key()
        what, row = kinds[self.number() % len(kinds)], self.source.rows.get(key)
        if row is None:
            gone = self.lineage.gone_row.pop(key, None)
            fields: Fields = {name: self.lineage.written(name, gone) for name in NAMES}
            self.lineage.made(key)
            made = SourceRow(LISTS[what % 2], fields)
            if any(one.key == rowtide_key(SYNC, key) and at[0] != made.list_id for at, one in self.lists.items.items()):
                self.lineage.moved.add(key)
            self.source.commit({key: made})
        elif what < 6:
            name = NAMES[what % 2]
            value = self.lineage.written(name, row.fields[name])
            if what == 5:
                value += " "
            self.source.commit({key: row._replace(fields={**row.fields, name: value})})
        elif what < 8:
            self.lineage.row_gone(key, row.fields)
            if self.is_elsewhere(key):
                self.lineage.excused.add(self.lineage.gone_row[key])
            self.source.commit({key: None})
        elif what == 8 and f"{key}r" not in self.source.rows:
            self.lineage.rekeyed(key, row.fields)
            self.source.commit({key: None, f"{key}r": row}, rekeyed=True)
        else:
            other = LISTS[1 - LISTS.index(row.list_id)]
            self.lineage.moved.add(key)
            self.source.commit({key: row._replace(list_id=other)})

    def is_elsewhere(self, key: str) -> bool:
        """Whether a moved or copied item has the row's key, of which no record knows yet: it brings the row back."""
        known = self.records.ledger.get(key)
        places = set() if known is None else places_of(known.pair)
        mine = rowtide_key(SYNC, key)
        return any(one.key == mine and at not in places for at, one in self.lists.items.items())

    def any_key(self) -> str:
        keys = sorted(self.source.rows)
        return str(self.pick(keys)) if keys else self.crowd.keys[0]

    def item_changes(self) -> None:
        kinds = self.crowd.items
        places, what = sorted(self.lists.items), kinds[self.number() % len(kinds)]
        if not places or what == 11:
            self.new_item(what)
            return
        at = places[self.number() % len(places)]
        stored = self.lists.items[at]
        if what < 6:
            name = NAMES[what % 2]
            self.lists.write(at, {name: self.lineage.written(name, stored.fields[name], True)}, False)
        elif what < 8:
            self.item_deleted(at)
            self.lists.remove(at)
        elif what == 8:
            self.lists.touch(at)
        elif what == 9:
            self.restore()
        else:
            self.move_item(at)

    def item_deleted(self, at: Place) -> None:
        """Notes whose deletion it is. Of an item that no record has yet, nobody can tell that it was there.

        Of one that was moved to a list which no row can be put into, its row makes another in its own list: it has left
        the one that is deleted, or is about to.

        Of one with a copy that has its key, nobody can tell that it was not moved: what the copy holds may be older
        than what was agreed, and reads as an edit.
        """
        stored, others = self.lists.items[at], [one for place, one in self.lists.items.items() if place != at]
        known = any(at in places_of(one.pair) for one in self.records.ledger.values())
        copies = [one for one in others if one.key is not None and one.key == stored.key]
        copied = any(one.key == stored.key for one in others)
        self.lineage.blurred |= {str(value) for one in copies for value in one.fields.values()}
        key = (stored.key or "").partition(":")[2]
        self.lineage.item_gone(at, key, stored.key if known and not copied else None, stored.fields)
        row = self.source.rows.get(key)
        if row is not None and row.list_id != at[0] and not self.pull_rules.shard_columns:
            self.lineage.excused.add(self.lineage.gone_item[at])
        if any(row.sent for row in self.records.outbox.values()):
            self.lineage.blurred.add(self.lineage.gone_item[at])

    def new_item(self, what: int) -> None:
        fields: Fields = {name: self.lineage.written(name, None, True) for name in NAMES}
        self.lists.make(LISTS[self.number() % 2], fields, False, None)

    def restore(self) -> None:
        """Somebody takes an item out of the bin; what it says is known again."""
        places = [at for at, one in sorted(self.lists.bin.items()) if self.lists.holder(at[0], one.key) is None]
        if places:
            at = places[self.number() % len(places)]
            stored = self.lists.bin.pop(at)
            self.lists.items[at] = stored
            key = (stored.key or "").partition(":")[2]
            self.lineage.made(key)
            if key in self.source.rows:  # a row was made anew since; what is old in the item nobody can tell
                self.lineage.blurred |= {str(one).strip() for one in stored.fields.values()}
            self.lists.write(at, {}, False)

    def move_item(self, at: Place) -> None:
        """Somebody moves the item to the other list, or copies it there; its RowtideKey goes along."""
        other, stored = LISTS[1 - LISTS.index(at[0])], self.lists.items[at]
        if self.lists.holder(other, stored.key) is not None:
            return
        self.lists.make(other, dict(stored.fields), False, stored.key)
        self.lineage.made((stored.key or "").partition(":")[2])
        self.blur(stored)
        if self.number() % 2:
            if stored.key is None:  # nobody can tell it from a deletion and a new item
                self.lineage.item_gone(at, "", None, stored.fields)
            self.lists.remove(at)
            del self.lists.bin[at]

    def blur(self, stored: Stored) -> None:
        """A copy has no versions of ours: what became of an unexplained attempt, it cannot tell."""
        key = (stored.key or "").partition(":")[2]
        row, known = self.records.outbox.get(key), self.records.ledger.get(key)
        leftovers = () if known is None else known.pair.leftovers
        if (row is not None and row.sent) or any(isinstance(one, LostPost) for one in leftovers):
            self.lineage.blurred |= {str(one) for one in stored.fields.values()}

    # --- a history ---

    def play(self, numbers: Sequence[int]) -> None:
        """The acts that the numbers say, then quiet; `Bad` if anything does not hold."""
        if self.crowd.at_rest:
            self.row_changes()
            self.settle_down()
        self.numbers = iter(numbers)
        while (number := next(self.numbers, None)) is not None:
            act = self.crowd.acts[number % len(self.crowd.acts)]
            for _ in range(self.crowd.steps_of(act, self.number())):
                self.act(act, self.crowd.fates[self.number() % len(self.crowd.fates)])
        self.settle_down()
        self.check()

    def act(self, act: Act, fate: int) -> None:
        match act:
            case Act.ROW:
                self.row_changes()
            case Act.ITEM:
                self.item_changes()
            case Act.CAPTURE:
                self.capture()
            case Act.COLLECT:
                self.collect()
            case Act.DELIVER:
                self.deliver(fate)
            case Act.PULL:
                self.pull(fate)
            case Act.REST:
                self.rest(FATES[self.number() % len(FATES)])
            case _:
                assert_never(act)

    def rest(self, fate: int) -> None:
        match fate:
            case 0:
                self.something_passes(self.number() % 8)
            case 1 | 2:
                self.arrive_late()
            case 4:
                self.fail_over()
            case 5:
                self.keep_or_put_back()
            case _:
                self.resume_stalled()

    def something_passes(self, what: int) -> None:
        if what < 3:
            self.fail_over()
        elif what == 3:
            self.keep_or_put_back()
        else:
            self.pass_time((1, 30, 90)[self.number() % 3])

    # --- quiet ---

    def settle_down(self) -> None:
        self.numbers = iter(())
        while self.stalled:
            self.resume_stalled()
        while self.late:
            self.arrive_late()
        for _ in range(QUIET_ROUNDS):
            if not self.cycle():
                return
        raise Bad(f"it does not come to rest: {self.records.outbox} {self.records.inbox}")

    def cycle(self) -> bool:
        """A round of every process; whether anything was left to do."""
        busy = bool(self.claims or self.pulling or self.page or self.records.outbox or self.records.inbox)
        busy |= self.mend()
        while self.staged < len(self.source.wal):
            self.capture()
            busy = True
        for list_id in LISTS:
            busy |= self.collect_all(list_id)
        for key in sorted(self.claims):
            while key in self.claims:
                self.step_claim(key, 0)
        for key in sorted(self.records.outbox):
            if self.claim(key):
                while key in self.claims:
                    self.step_claim(key, 0)
        while self.pulling is not None:
            self.pull(0)
        for _ in range(len(self.records.inbox)):
            self.pull(0)
            while self.pulling is not None:
                self.pull(0)
        self.pass_time(2)
        return busy

    def collect_all(self, list_id: ListId) -> bool:
        if self.page is not None:
            self.collect()
        news = self.records.links[list_id] < len(self.lists.changed[list_id])
        self.numbers = iter([LISTS.index(list_id)])
        self.collect()
        self.collect()
        return news

    def check(self) -> None:
        rows, live = self.source.rows, {key: one.pair for key, one in self.records.ledger.items()}
        held = {key: pair for key, pair in live.items() if isinstance(pair, Held)}
        if set(held) != set(rows):
            raise Bad(f"rows {sorted(rows)}, live pairs {sorted(held)}")
        places = {(pair.item.list_id, pair.item.item_id): key for key, pair in held.items()}
        if set(places) != set(self.lists.items):
            raise Bad(f"items {sorted(self.lists.items)}, pairs {places}")
        for at, key in places.items():
            row, stored = rows[key], self.lists.items[at]
            if row.list_id != at[0] or as_kept(row.fields) != stored.fields or stored.key != rowtide_key(SYNC, key):
                raise Bad(f"row {key} {row}, item {at} {stored}")
        unnoted = set(self.records.conflicts) - self.records.noted
        if not self.source.has_lost and unnoted:
            raise Bad(f"decided and never noted: {sorted(unnoted)}")
        if lost := self.lineage.lost(row.fields for row in rows.values()):
            raise Bad(f"lost: {sorted(lost)}")
        if lost := self.lineage.deletions_lost({key: row.fields for key, row in rows.items()}):
            raise Bad(f"deletions lost: {sorted(lost)}")
        writes = self.lists.writes, self.source.writes
        for _ in range(3):
            self.cycle()
        if (self.lists.writes, self.source.writes) != writes:
            raise Bad("a write in a quiet cycle")
