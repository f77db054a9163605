"""The phases by which a deep pass reads the lists: enumerate before the table is compared, round and judge after it.

In: a pass's record, the items as a delivering process reads them (`flows.enumerator`). Out: the record moved on; ledger
rows that say what was seen, with the rows that mend it. Rules (docs/design.md section 9): what an edit is, is told by
the base; an item with the key of a row that has none is taken up, not made again; what belongs to nobody is counted and
never touched; whatever moves is judged again, and then left to the next pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, assert_never

import structlog

from flows import handed_back, matching
from flows.source_table import Table
from flows.unpaired import by_key, first_of_key, read_unpaired
from rowtide import mass_delete
from rowtide.deciding.records import ETag, Held, ItemId, LeftItem, Leftover, ListId, NoItem, WrongKey
from rowtide.enumeration import Differs, Equal, Kind, Moving, Verdict, judge
from rowtide.keys import rowtide_key, stand_in
from rowtide.reconcile import MOST_TURNS, next_phase
from state import enumeration, failpoints
from state.database import Connection
from state.enumeration import Enumeration
from state.reconcile import items, pairing
from state.reconcile import record as reconcile
from state.reconcile.items import Doubtful, Loose
from state.reconcile.mends import Mend
from state.reconcile.record import Reconcile

log = structlog.get_logger()

PAIRS_A_STEP = 5000
_ASKED = ["asked"]
AGAIN: Final = "an item was left whose row had gone while the lists were read"
"""Why one more pass is asked for; it asks for another only where it took up something."""

REST: Final = timedelta(seconds=2)
"""How long after the round of one turn that of the next may begin: rows that waited shall have been written by then."""

_OF_A_TURN = ("moving", "waiting", "parked", "orphans", "strangers", "handed_over", "doubted", "renumbered")


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists of a sync that an enumeration reads; ``lag``: for how long Graph may show an item as it was before."""

    ids: tuple[str, ...]
    lag: timedelta


class DeepSteps:
    """The phases of one pass; each call is one step, and returns the record and whether something was done."""

    def __init__(self, state: Connection, table: Table, lists: Lists) -> None:
        self._state = state
        self._table = table
        self._lists = lists
        self._compiled = table.compiled
        self._unresolved: dict[str, Loose] | None = None
        self._copies: dict[str, list[Loose]] | None = None

    # --- before the table is compared ---------------------------------------------------------------------------------

    def enumerate(self, record: Reconcile) -> tuple[Reconcile, bool]:
        """Wait until every item was seen, then take up those whose rows have none, and pair those without a key."""
        read = enumeration.read(self._state, record.sync, "deep")
        if {(one.list_id, one.mapping_version) for one in read} != {
            (list_id, self._compiled.version) for list_id in self._lists.ids
        }:
            enumeration.ask(self._state, record.sync, "deep", self._compiled.version, self._lists.ids)
            return record, True
        if not all(one.complete for one in read):
            return self._wait(record, read), False
        failpoints.hit(failpoints.ENUMERATION_BEFORE_TAKE_UP)
        record = self._take_up(record)
        if self._compiled.match:
            record = matching.match(self._state, self._table, record)
        return self._enter(record, seen=enumeration.count_seen(self._state, record.sync, "deep")), True

    def _take_up(self, record: Reconcile) -> Reconcile:
        """Make pairs of rows without an item and the items that carry their keys.

        Items that our own application made are taken up also when their rows are gone, so that they are deleted as
        such, after the breaker.
        """
        found = first_of_key(read_unpaired(self._state, record.sync, "deep", waiting=False).rest)
        keys = sorted(found)
        for start in range(0, len(keys), PAIRS_A_STEP):
            some = keys[start : start + PAIRS_A_STEP]
            absent = set(self._table.absent(some)[1])
            deletes = self._compiled.deletes == "propagate"
            wanted = {key: found[key] for key in some if key not in absent or (deletes and found[key].made_by_app)}
            record, _ = pairing.adopt(self._state, record, wanted)
        return record

    def take_up_of(self, record: Reconcile, keys: Sequence[str]) -> Reconcile:
        """Take up the items of rows that nobody knew: only their table tells which digest is whose."""
        if self._unresolved is None:
            loose = items.read_loose(self._state, record.sync, "deep")
            self._unresolved = {str(one.item_key): one for one in reversed(loose) if one.ours and one.key is None}
        if not self._unresolved:
            return record
        found = {}
        for key in keys:
            one = self._unresolved.get(rowtide_key(record.sync, key))
            if one is not None:
                found[key] = one
        if found:
            record, _ = pairing.adopt(self._state, record, found)
        return record

    def take_up_of_nobody(self, record: Reconcile) -> Reconcile:
        """Take up what our application made for rows that nobody knew and the compared table has not.

        Only a digest is left of their keys. A stand-in makes them pairs like any other, so that they are deleted after
        the breaker.
        """
        if self._compiled.deletes != "propagate":
            return record
        loose = items.read_loose(self._state, record.sync, "deep")
        digests = {stand_in(str(one.item_key)): one for one in reversed(loose) if _is_of_nobody(one)}
        found = {key: one for key, one in digests.items() if key is not None}
        if found:
            record, _ = pairing.adopt(self._state, record, found)
        return record

    # --- after it -----------------------------------------------------------------------------------------------------

    def round(self, record: Reconcile) -> tuple[Reconcile, bool]:
        """Wait for what changed in the lists until now."""
        if record.after_key != _ASKED:
            if not self._has_rested(record):
                return record, False
            enumeration.ask_round(self._state, record.sync, "deep")
            return reconcile.save(self._state, replace(record, after_key=_ASKED)), True
        read = enumeration.read(self._state, record.sync, "deep")
        if not all(one.complete for one in read):
            return self._wait(record, read), False
        turned = replace(record, counts={**record.counts, **dict.fromkeys(_OF_A_TURN, 0)})
        self._copies = None
        return self._enter(turned, turns=1), True

    def _has_rested(self, record: Reconcile) -> bool:
        """Whether what moved in the turn before has had time to settle."""
        return not record.counts.get("turns", 0) or enumeration.has_rested(self._state, record.sync, "deep", REST)

    def judge(self, record: Reconcile) -> tuple[Reconcile, bool]:
        """Compare the next pairs with their items, and mend what differs."""
        if record.after_key is None:
            held = self._held(record)
            if held is not None:
                return held
            record = replace(record, waits=None)
        if self._copies is None:
            self._copies = by_key(read_unpaired(self._state, record.sync, "deep", waiting=False).copies)
        after = record.after_key[0] if record.after_key else ""
        page = items.read_doubtful(
            self._state, record.sync, "deep", after, PAIRS_A_STEP, self._lists.lag, self._copies.keys()
        )
        apart, mends, names = self._judge(page.pairs)
        if page.last is not None:
            record = replace(record, after_key=[page.last])
            return pairing.mend(self._state, record.counting(**apart), mends, names), True
        record = pairing.mend(self._state, record.counting(**apart), mends, names)
        return self._end_of_turn(record), True

    def _held(self, record: Reconcile) -> tuple[Reconcile, bool] | None:
        """Before the first item is made anew: hold the sync where very many are missing; None where they may be made.

        Held before, the lists are read once more at first: the items may be there again.
        """
        if self._compiled.two_ways:
            return None  # none is made anew: that it is missing is for the way back
        missing, pairs = items.count_missing(self._state, record.sync, self._lists.lag)
        tripped = mass_delete.judge_missing(record.sync, missing.count, pairs, self._compiled.breaker)
        if tripped is None:
            return None
        if record.waits is not None:
            again = replace(record, phase="round", after_key=None, waits=None)
            return reconcile.forget_absent(self._state, again), True
        log.warning("sync held", sync=record.sync, code=tripped.code, problem=tripped.unquoted)
        waits = replace(record, waits=tripped.sentence)
        said = (tripped.code, tripped.sentence)
        return reconcile.hold_missing(self._state, waits, *said, missing, self._lists.lag), False

    def _judge(self, pairs: Sequence[Doubtful]) -> tuple[dict[str, int], list[Mend], dict[str, str]]:
        """Counts of what is left alone, what the ledger is to say, and by key as what it is counted."""
        apart = {"moving": 0, "waiting": 0, "parked": 0}
        mends: list[Mend] = []
        names: dict[str, str] = {}
        back = handed_back.WayBack(self._state, self._compiled)
        for one in pairs:
            key, known, copies = one.compared.key, one.compared.pair, (self._copies or {}).get(one.compared.key, [])
            verdict = judge(one.compared, self._compiled)
            if one.waits is not None and not one.untouched and not _is_older(verdict):
                apart[one.waits] += 1
                if copies and one.waits == "waiting":  # a row that is to be deleted takes them along
                    names[key] = "copies"
                    mends.append(_to_mend(one, known, copies))
                continue
            if isinstance(verdict, Differs) and (handed := back.take(one, verdict)) is not None:
                apart[handed.counted] = apart.get(handed.counted, 0) + 1
                mends += [] if handed.mend is None else [handed.mend]
                continue
            match verdict:
                case Moving():
                    apart["moving"] += 1
                case Equal(pair) if not copies:
                    if pair is not None and one.waits is None:
                        mends.append(Mend(key, one.updated_at, pair, stage=False))
                case Equal(pair):
                    names[key] = "copies"
                    mends.append(_to_mend(one, pair or known, copies))
                case Differs(finding, pair):
                    if pair != known or copies:  # else it was mended in a turn before, and waits
                        names[key] = finding.kind.value
                        mends.append(_to_mend(one, pair, copies))
                case _:
                    assert_never(verdict)
        back.end()
        return apart, mends, names

    def _end_of_turn(self, record: Reconcile) -> Reconcile:
        """One more turn while something moved or waited for another reason than that it is being mended."""
        loose = read_unpaired(self._state, record.sync, "deep").rest
        moving = sum(read_unpaired(self._state, record.sync, "deep", waiting=False).unsettled.values())
        orphans = sum(one.ours for one in loose)
        record = record.counting(orphans=orphans, strangers=len(loose) - orphans, moving=moving)
        counts = record.counts
        unjudged = counts.get("moving", 0) + counts.get("waiting", 0)
        if unjudged and counts.get("turns", 0) < MOST_TURNS:
            return reconcile.save(self._state, replace(record, phase="round", after_key=None, waits=None))
        left = moving or any(self._could_be_taken_up(one) for one in loose)
        if left and (record.why != AGAIN or counts.get("adopted")):
            reconcile.request(self._state, record.sync, AGAIN, deep=True)
        return self._enter(record)

    def _could_be_taken_up(self, one: Loose) -> bool:
        """Whether the item is ours to delete: its row was not settled yet when items were taken up, and is gone now."""
        can_be_named = one.key is not None or stand_in(str(one.item_key)) is not None
        return one.ours and one.made_by_app and can_be_named and self._compiled.deletes == "propagate"

    def _enter(self, record: Reconcile, **counts: int) -> Reconcile:
        assert record.phase is not None
        phase = next_phase(record.phase, record.unread, False, deep=True)  # type: ignore[arg-type]
        following = replace(record.counting(**counts), phase=phase, after_key=None, waits=None)
        return reconcile.save(self._state, following)

    def _wait(self, record: Reconcile, read: Sequence[Enumeration]) -> Reconcile:
        problem = next((one.problem for one in read if one.problem is not None), None)
        waits = problem or "The items of its lists are being read, which needs a process with the role deliver."
        return record if waits == record.waits else reconcile.save(self._state, replace(record, waits=waits))


def _to_mend(one: Doubtful, pair: Held | NoItem, copies: Sequence[Loose]) -> Mend:
    """The ledger says what was seen, and which copies are to go; the row mends it, read anew where it waits."""
    made = replace(pair, leftovers=(*pair.leftovers, *_left(copies, one)))
    return Mend(one.compared.key, one.updated_at, made, True, waits=one.waits is not None, anew=one.untouched)


def _is_of_nobody(one: Loose) -> bool:
    return one.ours and one.made_by_app and one.key is None


def _is_older(verdict: Verdict) -> bool:
    """Whether the item went back. A row that waits cannot go on then: only what was seen may lower a version."""
    return isinstance(verdict, Differs) and verdict.finding.kind is Kind.OLDER


def _left(copies: Sequence[Loose], one: Doubtful) -> list[Leftover]:
    """What is to become of the other items with a row's key: ours goes, a person's only loses the key.

    While the row's own item lacks it, every other one has to lose it first, also one that goes: it is unique.
    """
    own = one.compared.item
    lacks = own is None or own.row_key != one.compared.row_key
    left: list[Leftover] = []
    for copy in copies:
        list_id, item_id, etag = ListId(copy.list_id), ItemId(copy.item_id), ETag(copy.etag)
        if lacks or not copy.made_by_app:
            left.append(WrongKey(list_id, item_id, etag))
        if copy.made_by_app:
            left.append(LeftItem(list_id, item_id, None if lacks else etag))
    return left
