"""What a source lacks that has lost its newest transactions, of the edits that pull had applied to a row.

In: the `Pulled` of a pair, the source's `applied`, which shares the fate of the row. Out: `Lost`, by which the entry of
an item is applied once more; `Again`, what is to be applied once more of a pair. Called inside a row's transaction,
and for every pair after a break in the source's history. Rules (docs/design.md section 19): a field that says again
what pull had overwritten takes the item's value; one that says something else was changed since, which is a conflict;
a row that pull had made is made, one that it had deleted is deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rowtide.change import Fields
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.pulled import Pulled, digest
from rowtide.deciding.records import (
    Held,
    ItemId,
    LeftItem,
    ListId,
    NoItem,
    Pair,
    PairedItem,
    Standing,
    version_of,
)
from rowtide.deciding.sides import FieldChange, is_other
from rowtide.deciding.taken import Applied, Taken, etag_of_version, place
from rowtide.keys import rowtide_key


@dataclass(frozen=True, slots=True)
class Lost:
    """What the source has not any more: fields, each with what it held before it was pulled (digests), the row, a move.

    ``gone``: that the item's deletion was applied to the row with this digest.
    """

    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    inserted: bool = False
    moved_from: ListId | None = None
    gone: str | None = None

    @property
    def of_item(self) -> bool:
        """Whether something is lost that the pair's item shows still."""
        return bool(self.fields) or self.inserted or self.moved_from is not None

    def gone_back(self, row: Fields) -> frozenset[str]:
        """The fields in which the row says again what pull had overwritten."""
        return frozenset(name for name, was in self.fields.items() if digest(row.get(name)) in was)


NOTHING_LOST = Lost()


def lost_of(pulled: Pulled | None, applied: Applied | None) -> Lost:
    """What the source lacks of what was pulled into a row; `applied` is its record of the row."""
    if pulled is None or not _is_behind(applied, pulled):
        return NOTHING_LOST
    since = 0 if applied is None else applied.xid
    agreed = {} if applied is None or applied.agreed is None else applied.agreed.agreed
    fields = {name: [one.digest for one in ones if one.xid > since] for name, ones in pulled.over.items()}
    return Lost(
        {name: frozenset(was) | _digests(name, agreed) for name, was in fields.items() if was},
        pulled.inserted is not None and pulled.inserted > since,
        pulled.moved.from_list if pulled.moved is not None and pulled.moved.xid > since else None,
        pulled.gone,
    )


def _digests(name: str, agreed: Fields) -> frozenset[str]:
    """A field that is as the source itself agreed on last was not changed since, either."""
    return frozenset({digest(agreed[name])} if name in agreed else ())


def lost_by(taken: Taken) -> Lost:
    """The same, of an entry that was taken; what is lost of an item that the row has left comes after all else."""
    lost = lost_of(taken.pulled, taken.applied)
    left = _left_of(taken.pair, taken.pulled, lost)
    if left is None or taken.pulled is None:
        return lost
    others = _others(lost, taken.pulled)
    if others.fields or place(left) != taken.entry.place:
        return others
    return lost


def lost_of_left(taken: Taken) -> tuple[ListId, ItemId] | None:
    """The item that the row has left whose edit the source has lost, and nothing else."""
    lost = lost_of(taken.pulled, taken.applied)
    left = _left_of(taken.pair, taken.pulled, lost)
    return None if left is None or taken.pulled is None or _others(lost, taken.pulled).fields else place(left)


def with_left_again(pair: Pair, taken: Taken, before: Fields | None, after: Fields) -> Pair:
    """The pair once all else that is lost was applied again: an edit of an item that the row has left is news again.

    ``before`` and ``after``: the row then. Where it is as it was before the edit, the edit is compared with that.
    """
    pulled, lost = taken.pulled, lost_of(taken.pulled, taken.applied)
    left = _left_of(taken.pair, pulled, lost)
    if left is None or pulled is None or place(left) == taken.entry.place or not _others(lost, pulled).fields:
        return pair
    names = lost.fields.keys() & pulled.written
    back = names if before is None else names & lost.gone_back(before)
    agreed = {name: value for name, value in (left.base or {}).items() if name not in names}
    kept = {name: value for name, value in (left.kept or {}).items() if name not in names}
    etag = etag_of_version(left.etag, version_of(left.etag) - 1)
    news = replace(left, etag=etag, base={**agreed, **{name: after.get(name) for name in back}}, kept=kept)
    return replace(pair, leftovers=tuple(news if one == left else one for one in pair.leftovers))


def _left_of(pair: Pair | None, pulled: Pulled | None, lost: Lost) -> LeftItem | None:
    """The item that the row has left whose edit was pulled last, if that is lost."""
    if pair is None or pulled is None or lost.inserted or lost.moved_from is not None:
        return None
    found = (one for one in pair.leftovers if isinstance(one, LeftItem) and place(one) == pulled.place)
    return next((one for one in found if one.base is not None and lost.fields.keys() & pulled.written), None)


def _others(lost: Lost, pulled: Pulled) -> Lost:
    """What is lost besides the edit that was pulled last."""
    return replace(lost, fields={name: was for name, was in lost.fields.items() if name not in pulled.written})


def _is_behind(applied: Applied | None, pulled: Pulled) -> bool:
    """Whether the source knows less than the ledger. Versions are of one item; else the transactions tell."""
    if applied is None:
        return True
    if applied.place == pulled.place:
        return applied.version < pulled.version
    return applied.xid < pulled.xid


def seen_again(
    lost: Lost, found: Mapping[str, FieldChange], row: Fields, item: Fields, mapping: FieldMapping
) -> dict[str, FieldChange]:
    """What happened to each field since both sides last agreed, in a source that has lost what they agreed on."""
    back = lost.gone_back(row)
    return {
        name: _seen_again(name in back, is_other(name, item[name], row.get(name), mapping))
        if name in lost.fields
        else change
        for name, change in found.items()
    }


def _seen_again(is_back: bool, differs: bool) -> FieldChange:
    if not differs:
        return FieldChange.SAME
    return FieldChange.ITEM if is_back else FieldChange.DIFFERING


# --- after a break ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Again:
    """An entry by which something is applied once more. ``frees``: the pair has no item until its row is made again.

    ``left``: an entry of an item that the row has left, for what comes after that.
    """

    entry: InboxEntry
    frees: bool = False
    left: InboxEntry | None = None


def again(sync: str, key: str, pair: Pair | None, pulled: Pulled, applied: Applied | None) -> Again | None:
    """What is to be applied once more of a pair, after a break in the source's history; None: nothing of it."""
    lost = lost_of(pulled, applied)
    left, shown = _left_of(pair, pulled, lost), None
    if left is not None:
        shown = _agreed(PairedItem(*place(left), left.etag, left.base or {}, left.kept or {}), sync, key)
        if not _others(lost, pulled).fields:
            return Again(shown)
    match pair:
        case Held(item=item, standing=Standing.LIVE) if lost.of_item:
            return Again(_agreed(item, sync, key), frees=lost.inserted, left=shown)
        case NoItem() if lost.gone is not None:
            return Again(InboxEntry(*pulled.place, 0, None, True, {}, None, False, None, None))
        case _:
            return None


def _agreed(item: PairedItem, sync: str, key: str) -> InboxEntry:
    """An entry that shows the item as it was agreed."""
    fields, version = {**item.base, **item.kept}, version_of(item.etag)
    return InboxEntry(*place(item), version, item.etag, False, fields, rowtide_key(sync, key), False, None, None)
