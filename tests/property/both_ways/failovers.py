"""Failovers of the source in the model: the newest commits are gone, and a new era of the sync begins.

In: how many commits are lost. Out: sides, records and lineage after it. Rules: what people had written into rows goes
with the history of their own side; what pull had written there is looked for before anything of its row is sent; a pass
compares every row with the ledger once that is done.
"""

from rowtide.deciding.lost_edits import again
from rowtide.deciding.records import Arriving, Held, NoItem
from rowtide.deciding.taken import Apply
from rowtide.position import Position
from tests.property.both_ways.processes import Processes, Pulling
from tests.property.both_ways.records_in_memory import SYNC
from tests.property.both_ways.sides_in_memory import Transaction, as_kept

MOST_LOST = 4


class Failovers(Processes):
    """The world, where a source may lose its newest commits."""

    wants_pass = False

    def fail_over(self) -> None:
        """A standby is promoted that lacks some commits; sessions on the source are gone with the primary.

        Where no commit is lost, only the slot was: the server is the same one.
        """
        lost = self.source.wal[len(self.source.wal) - min(len(self.source.wal), self.number() % (MOST_LOST + 1)) :]
        for change in reversed(lost):
            if not change.records:
                self.excuse(change)
        self.source.fail_over(len(lost))
        self.staged = len(self.source.wal)
        self.records.open_era()
        self.wants_pass = True
        for pulling in [*self.stalled, *([self.pulling] if self.pulling is not None else [])]:
            pulling.connected = pulling.connected and not lost

    def excuse(self, change: Transaction) -> None:
        """What people did to rows in a lost commit is lost by their own side; what they had seen is there again."""
        for key, after in change.after.items():
            before = change.before[key]
            was = set() if before is None else {str(one) for one in as_kept(before.fields).values()}
            made = set() if after is None else {str(one) for one in as_kept(after.fields).values()}
            self.lineage.excused |= made - was
            self.lineage.blurred |= was | made
            self.lineage.moved.add(key)
            gone = self.lineage.gone_row.get(key)
            if before is not None and gone is not None:
                self.lineage.excused.add(gone)
            if before is None and after is not None:
                self.lineage.row_gone(key, after.fields)
                vanished = self.lineage.gone_row[key]
                self.lineage.excused.add(vanished)
                self.lineage.blurred.add(vanished)

    def step_pull(self, pulling: Pulling, fate: int) -> bool:
        """One step; an entry that meets a session which is gone is due again."""
        if isinstance(pulling.plan, Apply) and not pulling.connected:
            self.lose_lease(pulling)
            return False
        return super().step_pull(pulling, fate)

    # --- what is lost of edits ---

    def look_through(self) -> bool:
        """Of one pair, whether the source has what was pulled into its row; False: it is known of all."""
        for key in sorted(self.records.looked_at_next()):
            known = self.records.ledger[key]
            assert known.pulled is not None, "nothing was pulled"
            lost = again(SYNC, key, known.pair, known.pulled, self.source.applied.get(key))
            if lost is not None and self.switches.again:
                self.records.put_again(key, lost.entry)
                if lost.left is not None:
                    self.records.put_again(key, lost.left)
                if lost.frees:
                    known.pair = NoItem(known.pair.as_of, None, known.pair.leftovers)
                    known.pulled = None
            known.pulled_era = self.source.era
            return True
        return False

    def pull(self, fate: int) -> None:
        """Nothing is taken before every pair was looked at."""
        if self.pulling is not None or not self.look_through():
            super().pull(fate)

    # --- the pass of the new era ---

    def mend(self) -> bool:
        """All that follows a failover; whether there was anything of it to do."""
        busy = self.wants_pass
        while self.look_through():
            busy = True
        if self.wants_pass:
            self.wants_pass = False
            self.pass_over()
        return busy

    def capture(self) -> None:
        """The stream of the new era, or the pass."""
        if self.wants_pass and not self.records.looked_at_next() and self.number() % 2 == 0:
            self.wants_pass = False
            self.pass_over()
        else:
            super().capture()

    def pass_over(self) -> None:
        """Each row that differs from what waits, or from the ledger, is staged; so is each that is gone."""
        records, era = self.records, self.source.era
        for key in sorted({*self.source.rows, *records.ledger, *records.outbox}):
            known, waiting, row = records.ledger.get(key), records.outbox.get(key), self.source.rows.get(key)
            pair = None if known is None else known.pair
            positions = [Position(era, 0, 0)]
            positions += [] if pair is None else [pair.as_of.position]
            position = max(positions if waiting is None else [*positions, waiting.position])
            if row is None:
                if (waiting is not None and waiting.op == "u") or (waiting is None and isinstance(pair, Held)):
                    records.put(key, "d", None, position)
            elif waiting is not None:
                if waiting.op == "u" or (waiting.op == "d" and waiting.position.era < era):
                    records.put(key, "u", row, position)
            elif isinstance(pair, Held):
                if pair.item.list_id != row.list_id or pair.item.base != row.fields:
                    records.put(key, "u", row, position)
            elif not isinstance(pair, Arriving):
                records.put(key, "u", row, position)
