"""Lists that go back in the model: items that were there then are as they were, in a version that is lower.

In: which list, and how it was. Out: sides, records and lineage after it. Rules: what was written before the list went
back is not accounted for any more, only what people write afterwards; a list that is found to be restored is compared
as a whole before anything of it is sent or applied; of a conflict that is open a person decides in the end.
"""

from copy import deepcopy
from dataclasses import replace
from typing import Any

from rowtide.deciding.conflicts import Choice, Winner
from rowtide.deciding.pull_steps import HoldOpen, ListRestored, PullPlan
from rowtide.deciding.records import Held, ListId
from rowtide.deciding.taken import Taken, place
from rowtide.enumeration import Compared, Differs, Equal, Kind, judge
from rowtide.keys import rowtide_key
from rowtide.way_back import Doubted, Edited, hand_back
from tests.property.both_ways.failovers import Failovers
from tests.property.both_ways.processes import Bad
from tests.property.both_ways.records_in_memory import SYNC, InboxRow, Known
from tests.property.both_ways.sides_in_memory import LISTS, Place, PlainMapping, Stored


class Restorations(Failovers):
    """The world, where a list may be put back."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: dict[Place, Stored] = {}
        self.went_back: set[ListId] = set()

    def keep_or_put_back(self) -> None:
        """Remember how the lists are, or put one back; no number is given a second time here."""
        if not self.kept:
            self.kept = deepcopy(self.lists.items)
            return
        list_id = LISTS[self.number() % 2]
        held = {place(one.pair.item) for one in self.records.ledger.values() if isinstance(one.pair, Held)}
        for at, was in sorted(self.kept.items()):
            now = self.lists.items.get(at)
            if at[0] != list_id or at not in held or now is None:
                continue
            if now.key == was.key and now.version != was.version:
                self.forget(now, was)
                self.lists.items[at] = deepcopy(was)
                self.lists.changed[list_id].append(at[1])
                self.went_back.add(list_id)
                self.page = None
                self.records.whole.add(list_id)
        self.kept = {}

    def forget(self, now: Stored, was: Stored) -> None:
        """Nobody accounts for what item and row held: which of it is newer their versions do not tell any more."""
        key = (now.key or "").partition(":")[2]
        row = self.source.rows.get(key)
        held = [now.fields, was.fields, *([] if row is None else [row.fields])]
        values = {str(one).strip() for fields in held for one in fields.values() if one is not None}
        self.lineage.blurred |= values
        self.lineage.excused |= self.lineage.reach(values)
        self.lineage.moved.add(key)

    # --- it is found --------------------------------------------------------------------------------------------------

    def end_pull(self, taken: Taken, end: PullPlan) -> None:
        """A list that went back may be found; an open conflict waits for a person."""
        row = self.records.held_by(taken)
        if isinstance(end, ListRestored):
            if end.list_id not in self.went_back:
                raise Bad("a list was found restored that was not")
            self.records.suspect.add(end.list_id)
            self.records.delay(taken, 60)
            return
        super().end_pull(taken, end)
        if isinstance(end, HoldOpen) and row is not None:
            row.open = end.conflict

    def mend(self) -> bool:
        """All that follows, once nothing is in flight."""
        doubtful = self.records.suspect | self.records.older
        busy = super().mend() or bool(doubtful)
        if doubtful and not (self.claims or self.pulling or self.stalled):
            self.deep_pass()
        opened = [row for row in self.records.inbox.values() if row.open is not None and row.parked]
        for row in opened:
            self.decide_open(row)
        return busy or bool(opened)

    def decide_open(self, row: InboxRow) -> None:
        """A person takes a side, who sees both."""
        assert row.open is not None, "nothing is open"
        saw = {name: (one.postgres, one.sharepoint) for name, one in row.open.fields.items()}
        values = {str(one).strip() for both in saw.values() for one in both if one is not None}
        values |= {str(one).strip() for one in row.entry.fields.values() if one is not None}
        self.lineage.accounted |= values
        self.lineage.blurred |= values
        row.choice = Choice(Winner.POSTGRES if row.entry.version % 2 else Winner.SHAREPOINT, {}, saw)
        row.open, row.parked = None, False

    # --- the deep pass ------------------------------------------------------------------------------------------------

    def deep_pass(self) -> None:
        """Each pair is compared with its item; a row whose attempt is unexplained keeps its list for the next pass."""
        lists, self.records.older = self.records.suspect | self.records.older, set()
        if lists - self.went_back:
            raise Bad("an item was found older in a list that was not restored")
        began, self.records.suspect = self.records.suspect, set(self.records.suspect)
        for key, known in sorted(self.records.ledger.items()):
            pair = known.pair
            if isinstance(pair, Held) and pair.item.list_id in lists:
                self.compare(key, known)
        self.records.suspect -= began  # a list that was found restored on the way is read by the next pass

    def compare(self, key: str, known: Known) -> None:
        """Mend the pair, or hand it back."""
        pair = known.pair
        assert isinstance(pair, Held), "it has an item"
        at = place(pair.item)
        item = self.lists.item(at) if at in self.lists.items else None
        compared = Compared(key, pair, item, rowtide_key(SYNC, key), moved=False, young=False)
        found, waiting = judge(compared, PlainMapping()), self.records.outbox.get(key)
        if isinstance(found, Equal):
            known.pair = found.pair or pair
        if not isinstance(found, Differs) or item is None:
            return
        is_older = found.finding.kind is Kind.OLDER
        if waiting is not None and waiting.sent and not is_older:
            return
        if is_older and not item.by_app:
            self.records.suspect.add(at[0])
        handed = hand_back(compared, found.finding, self.switches.restored and at[0] in self.records.suspect)
        if isinstance(handed, Doubted):
            known.pair = handed.pair
            self.records.note(replace(self.lists.entry(at), suspect=True), key)
        elif isinstance(handed, Edited):
            self.records.note(self.lists.entry(at), key)
        elif handed is None:
            known.pair = found.pair
            self.records.put(key, "r", None, pair.as_of.position)
